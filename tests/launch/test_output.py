"""Files that measuring commands leave behind, and sizes from words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midframe.errors import UserError
from midframe.launch import arguments, output

MARKERS = "<!-- a -->", "<!-- b -->"


def test_json_is_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "a.json"
    output.show_json({"name": "café"}, str(file))
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads(file.read_text()) == {"name": "café"}
    assert shown.err == f"wrote {file}\n"
    output.show_json({}, None)
    assert capsys.readouterr().err == ""


def test_a_table_goes_into_a_new_text_and_through_a_link(tmp_path: Path) -> None:
    text, link = tmp_path / "text.md", tmp_path / "link.md"
    output.put_table(text, MARKERS, "| one |", "## Title")
    link.symlink_to(text)
    output.put_table(link, MARKERS, "| two |", "## Title")
    assert link.is_symlink()
    assert text.read_text() == "## Title\n\n<!-- a -->\n| two |\n<!-- b -->\n"


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        output.read(tmp_path / "absent")
    with pytest.raises(UserError, match="cannot read"):
        output.put_table(tmp_path, MARKERS, "x", "## Title")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        output.write(tmp_path / "file" / "below", b"")


def test_a_size_is_width_and_height() -> None:
    assert arguments.size("448X256") == (448, 256)
    with pytest.raises(UserError):
        arguments.size("²x3")  # digits, but of no number
    for text in ("448", "0x5", "axb", "1x2x3", "-1x2"):
        with pytest.raises(UserError, match=f"--size {text}: give WIDTHxHEIGHT"):
            arguments.size(text)
