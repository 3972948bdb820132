"""Tables between marker lines: put there, put anew, and nothing else touched."""

from __future__ import annotations

import pytest

from midframe.errors import UserError
from midframe.speed.marked import placed, replaced

START, END = "<!-- models -->", "<!-- /models -->"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_all_outside_the_markers_stays_byte_for_byte(newline: bytes) -> None:
    before = b"# \xff caf\xc3\xa9\r\nmixed\n" + START.encode() + newline
    after = END.encode() + newline + b"\n\ntail without end \x00 <!-- models"
    old = before + b"old" + newline + b"table" + newline + after
    new = replaced(old, START, END, "a | b\nc\\1\\g<0>", "it")
    assert new == before + b"a | b" + newline + b"c\\1\\g<0>" + newline + after
    assert replaced(new, START, END, "a | b\nc\\1\\g<0>", "it") == new
    assert replaced(before + after, START, END, "x", "it") == before + b"x" + newline + after


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        START,
        f"{START}\n",
        f"{END}\n",
        f"{END}\n{START}\n",
        f"{START}\n{START}\n{END}\n",
        f"{START}\n{END}\n{END}\n",
        f"text {START}\n{END}\n",
    ],
)
def test_missing_markers_are_an_error(text: str) -> None:
    with pytest.raises(UserError, match="it has [0-9] lines <!-- models -->"):
        replaced(text.encode(), START, END, "x", "it")


def put(text: str, table: str) -> str:
    return placed(text.encode(), START, END, table, "it", "## Models").decode()


def test_a_first_table_goes_to_the_end_under_its_heading() -> None:
    table = f"{START}\n| a |\n{END}\n"
    assert put("", "| a |") == f"## Models\n\n{table}"
    assert put("# Text\n\nwords\n\n\n", "| a |") == f"# Text\n\nwords\n\n## Models\n\n{table}"
    assert put("## Models\nwords", "| a |") == f"## Models\nwords\n\n{table}"


def test_the_next_table_takes_its_place() -> None:
    once = put("# Text\n", "old") + "after\n"
    assert put(once, "new") == once.replace("old", "new")


@pytest.mark.parametrize("text", [f"{START}\n", f"{END}\n", 2 * f"{START}\n{END}\n"])
def test_half_a_pair_or_two_are_not_guessed_at(text: str) -> None:
    with pytest.raises(UserError, match="it has"):
        put(text, "x")
