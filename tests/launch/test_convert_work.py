"""The folder of finished parts: what is taken from it, set aside, locked and left."""

from __future__ import annotations

import pytest

from midframe.errors import UserError
from midframe.launch import locks
from midframe.launch.convert_work import Work, folder_of
from midframe.video.timing import Part

PARTS = [Part(k, 4 * k, 4 * k + 4, 8 * k, 8 * k + 8) for k in range(5)]


def work(tmp_path, helps=False, anew=False, **identity):
    return Work(tmp_path / "out.mp4", identity, PARTS, ".segment", helps, anew)


def finish(work, *numbers):
    for number in numbers:
        work.path(PARTS[number]).write_bytes(b"part")


def test_parts_are_done_when_they_have_their_name_and_given_out_once(tmp_path):
    with work(tmp_path, a=1) as first:
        finish(first, 0, 3)
        assert [p.number for p in first.done()] == [0, 3]
        with work(tmp_path, helps=True, a=1) as other:
            mine, theirs = first.todo(), other.todo()
            taken = [next(mine), next(theirs), next(mine)]
            assert [p.number for p in taken] == [1, 2, 4]
            assert list(theirs) == [] == list(mine)
        finish(first, 1)
    with work(tmp_path, a=1) as again:  # claims of what has ended count no more
        assert not again.notes
        assert [p.number for p in again.todo()] == [2, 4]


def test_nothing_is_left_of_a_failure_without_a_whole_part(tmp_path):
    for error in (UserError, KeyboardInterrupt):
        with pytest.raises(error), work(tmp_path, a=1):
            raise error
        assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), work(tmp_path, a=1) as begun:
        finish(begun, 2)
        raise KeyboardInterrupt
    assert begun.folder.is_dir()


def test_other_settings_are_set_aside_and_found_again(tmp_path):
    with work(tmp_path, model="a", times="x") as first:
        finish(first, 0, 1)
    with work(tmp_path, model="b", times="x") as second:
        (note,) = second.notes
        assert "other settings (model) was set aside" in note
        assert not second.done()
    with work(tmp_path, model="c", times="x") as third:  # nothing whole of the second
        assert not third.notes
        finish(third, 4)
    with work(tmp_path, model="a", times="x") as again:
        assert [p.number for p in again.done()] == [0, 1] and len(again.notes) == 1
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 2 and names[0] == ".out.mp4.midframe"


def test_a_damaged_plan_is_another_conversion(tmp_path):
    with work(tmp_path, a=1) as first:
        finish(first, 0)
    (first.folder / "plan.json").write_text("{")
    with work(tmp_path, a=1) as again:
        assert not again.done() and "other options" in again.notes[0]


def test_one_process_at_a_time(tmp_path):
    with (
        work(tmp_path, a=1),
        pytest.raises(UserError, match="another process"),
        work(tmp_path, a=1),
    ):
        pass
    with locks.take(folder_of(tmp_path / "out.mp4")):
        for other in (1, 2):
            with pytest.raises(UserError, match="another process"), work(tmp_path, a=other):
                pass
        with pytest.raises(UserError, match="another process"), work(tmp_path, anew=True, a=1):
            pass


def test_beginning_anew_deletes_ones_own_parts_alone(tmp_path):
    with work(tmp_path, a=1) as mine:
        finish(mine, 0)
    with work(tmp_path, a=2) as other:
        finish(other, 0)
        finish(other, 2)
    with work(tmp_path, anew=True, a=1) as mine:
        assert not mine.done()
    with work(tmp_path, a=2) as other:
        assert [part.number for part in other.done()] == [0, 2]


def test_a_helper_of_something_else_ends(tmp_path):
    with (
        work(tmp_path, a=1),
        pytest.raises(UserError, match="changed while"),
        work(tmp_path, helps=True, a=2),
    ):
        pass
