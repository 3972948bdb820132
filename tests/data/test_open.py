"""data=open: films under their names become clips; nobody sees what is held out."""

from __future__ import annotations

import fakes
import pytest

from midframe.data.films import OPEN
from midframe.data.layouts.open import clips, shots_of
from midframe.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fakes.open_films(tmp_path_factory.mktemp("open"), frames=24)


def test_every_film_is_in_both_splits_and_no_frame_is_in_two(root):
    sides = {split: clips(root, split) for split in ("train", "val")}
    frames = {s: {f for clip in side for f in clip.frames} for s, side in sides.items()}
    assert not frames["train"] & frames["val"]
    names = {film.file.rpartition(".")[0] for film in OPEN}
    for side in sides.values():
        assert {clip.group.split("/")[0] for clip in side} == names
    assert not {c.group for c in sides["train"]} & {c.group for c in sides["val"]}


def test_clips_that_move_too_far_are_left_out(root):
    """The films pan by 4 pixels a frame, 8 over a gap."""
    every = clips(root, "train", fastest=None)
    assert clips(root, "train", fastest=12) == every and every
    assert not clips(root, "train", fastest=6)
    assert all(len(shot.speed) == len(shot.frames) for s in shots_of(root).values() for shot in s)


def test_some_of_the_films(root):
    every, some = clips(root, "train"), clips(root, "train", films=["city", "bikes"])
    assert {clip.group.split("/")[0] for clip in some} == {"bikes", "city"}
    assert {c.id for c in some} == {c.id for c in every if c.id.startswith(("bikes", "city"))}
    for films in (["bike"], []):
        with pytest.raises(UserError, match=r"data\.layout\.films=.*there is .*bikes.*null takes"):
            clips(root, "train", films=films)


def test_films_that_are_not_there_are_named_with_the_command_that_brings_them(root, tmp_path):
    with pytest.raises(UserError, match=r"(?s)films/big_buck_bunny.mp4: no.*midframe fetch open"):
        clips(tmp_path, "train")
    with pytest.raises(UserError, match="no split 'test'"):
        clips(root, "test")
    with pytest.raises(UserError, match="set data.root to a folder"):
        clips(None, "train")
