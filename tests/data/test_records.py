"""The rules of a clip: what layouts may return, and what they are told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from midframe.data.io import ImageFile
from midframe.data.module import Data
from midframe.data.records import Clip, check_clips, ends, time_of
from midframe.errors import UserError

FRAMES = tuple(ImageFile(f"{i}.png") for i in range(7))
GOOD = Clip("street/0001", FRAMES, (0, 2, 4, 6), (3,), {3: (FRAMES[0], FRAMES[1])})


def test_time_is_0_and_1_at_the_two_middle_inputs() -> None:
    assert ends((0, 2)) == (0, 2) and ends((0, 2, 4, 6)) == GOOD.ends == (2, 4)
    assert [time_of(i, (0, 4)) for i in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert [GOOD.time(i) for i in GOOD.inputs] == [-1, 0, 1, 2]


def test_clips_by_the_rules_pass() -> None:
    flow = dict.fromkeys((0, 1), FRAMES[:2])  # targets at the frames' own times have flow
    pair = Clip("a", FRAMES[:2], (0, 1), (0, 1), flow)
    check_clips([GOOD, replace(GOOD, id="street/0002")], 2, "mine")
    check_clips([pair], 1, "mine")
    check_clips([], 1, "mine")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"inputs": (6, 4, 2, 0)}, "must rise"),
        ({"inputs": (0, 2, 2, 6)}, "must rise"),
        ({"inputs": (0, 2, 4, 7)}, "among its 7 frames"),
        ({"inputs": (-1, 2, 4, 6)}, "among its 7 frames"),
        ({"inputs": (0, 2)}, "2 input frames, but the model takes 4"),
        ({"targets": (5,)}, "between the two middle inputs, 2 and 4"),
        ({"targets": (3, 1)}, "between the two middle inputs"),
        ({"targets": (2,)}, "flow is given per target"),
        ({"frames": ("0.png",) * 7}, "frames holds a str and no Source; give midframe.data.io.Im"),
        ({"flow": {3: (FRAMES[0], "1.flo")}}, "flow holds a str and no Source"),
        ({"events": {3: None}}, "events holds None and no Source"),
        ({"id": "../x"}, "the id is no path"),
        ({"id": "/x"}, "the id is no path"),
        ({"id": ""}, "the id is no path"),
    ],
)
def test_what_breaks_a_rule_is_named(change: dict[str, object], message: str) -> None:
    wrong = replace(GOOD, **change)
    with pytest.raises(UserError, match=message) as error:
        check_clips([replace(GOOD, id="b"), wrong], 2, "mine")
    assert f"data mine, clip {wrong.id!r}: " in str(error.value)


def test_ids_are_unique() -> None:
    with pytest.raises(UserError, match="clip 'street/0001': two clips have this id"):
        check_clips([GOOD, GOOD], 2, "mine")


class _Lazy(Sequence[Clip]):
    def __init__(self) -> None:
        self.made: list[int] = []

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index):
        self.made.append(index)
        return replace(GOOD, id=str(index), targets=() if index == 0 else (0,), flow={})


def test_of_a_lazy_sequence_both_ends_are_looked_at() -> None:
    clips = _Lazy()
    with pytest.raises(UserError, match="clip '-1': targets="):
        check_clips(clips, 2, "mine")
    assert clips.made == [0, -1]


def test_a_run_looks_at_what_its_layout_returns() -> None:
    def layout(root: Path | None, split: str, context: int) -> list[Clip]:
        return [replace(GOOD, inputs=(6, 4, 2, 0))]

    with pytest.raises(UserError, match="data mine, clip 'street/0001': inputs="):
        Data("mine", layout, None, context=2).clips("train")
