"""Work shared by several processes, and gone on with after a kill: always the same outcome."""

from __future__ import annotations

import dataclasses
import functools
import json
import random

import fakes
import pytest
from teams import together

from midframe.benchmark import report
from midframe.benchmark.batches import Batching
from midframe.benchmark.journal import Journal, Row
from midframe.benchmark.pictures import Pictures
from midframe.benchmark.predictor import Predictor
from midframe.benchmark.protocol import Metric, Protocol
from midframe.benchmark.runner import run
from midframe.errors import UserError
from midframe.models.average import Average

SCENES = Protocol(
    "scenes",
    1,
    "midframe.data.layouts.middlebury.other",
    ("test",),
    {},
    {"psnr": Metric("psnr"), "ie": Metric("interpolation_error", better="lower")},
    layout_options={"on_error": "skip"},
)
TIMES = dataclasses.replace(
    SCENES,
    layout="midframe.data.layouts.gopro.clips",
    layout_options={"factor": 8, "on_error": "skip"},
    times=tuple(i / 8 for i in range(1, 8)),
)
VOLATILE = ("made", "seconds_per_image", "reused_images")


@pytest.fixture
def root(tmp_path):
    return fakes.middlebury(tmp_path / "data", 7, size=(24, 32), two_folders=False)


def _content(outcome):
    """All of a result but how long it took."""
    record = report.summary(outcome, {})
    rows = [(row.key, dict(row.values)) for row in outcome.rows]
    kept = {key: value for key, value in record.items() if key not in VOLATILE}
    return rows, outcome.groups, outcome.sizes, json.dumps(kept, default=str)


def _run(protocol, root, team=None, **options):
    given = {} if team is None else {"team": team}
    return run(Predictor(Average(), protocol), protocol, root, **given, **options)


@pytest.mark.parametrize("size", [2, 3, 9])  # more processes than clips as well
@pytest.mark.parametrize("most", [1, 2])
def test_any_number_of_processes_gives_the_same_outcome(root, size, most):
    alone = _run(SCENES, root, batching=Batching(most))
    for shared in together(size, lambda t: _run(SCENES, root, t, batching=Batching(most))):
        assert _content(shared) == _content(alone)


def test_so_do_clips_with_several_times(tmp_path):
    root = fakes.gopro(tmp_path, test=2, frames=27, size=(24, 32))
    alone = _run(TIMES, root)
    assert len(alone.rows) > 7 and len(alone.rows) % 7 == 0
    for by in (Batching(1), Batching(2)):
        for shared in together(2, functools.partial(_run, TIMES, root, batching=by)):
            assert _content(shared) == _content(alone)


def test_what_cannot_be_read_is_said_once_and_in_order(root):
    for scene in ("Dimetrodon", "Grove3"):
        (root / scene / "frame11.png").write_bytes(b"")
    alone = _run(SCENES, root)
    assert [p.split()[1] for p in alone.problems[-2:]] == ["Dimetrodon:", "Grove3:"]
    for shared in together(3, lambda t: _run(SCENES, root, t)):
        assert _content(shared) == _content(alone)


def _journalled(folder, root, size, **options):
    def one(team):
        journal = Journal(folder / "journal.jsonl", "key", team.rank)
        try:
            return _run(SCENES, root, team, journal=journal, **options)
        finally:
            journal.close()

    return together(size, one)[0]


def _lines(folder):
    """How many rows lie in each journal."""
    files = sorted(folder.glob("journal*.jsonl"))
    return {path.name: len(path.read_text().splitlines()) - 1 for path in files}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (3, 2), (2, 2)])
def test_what_a_kill_leaves_is_gone_on_with_by_any_number(root, tmp_path, before, after, seed):
    by = Batching(1 + seed % 2)
    whole = _run(SCENES, root, batching=by)
    folder, rng = tmp_path / "out", random.Random(seed)
    _journalled(folder, root, before, batching=by)
    assert len(_lines(folder)) == before and sum(_lines(folder).values()) == 7
    for path in folder.glob("journal*.jsonl"):  # each is cut off somewhere, also in a line
        data = path.read_bytes()
        path.write_bytes(data[: rng.randrange(len(data))])
    resumed = _journalled(folder, root, after, batching=by)
    assert _content(resumed) == _content(whole)
    assert set(_lines(folder)) <= {"journal.jsonl", "journal.1.jsonl"}
    again = _journalled(folder, root, 1, batching=by)
    assert again.reused == 7 and _content(again) == _content(whole)


def test_rows_are_measured_again_where_a_picture_is_missing(root, tmp_path):
    pictures = Pictures(tmp_path / "out")
    _journalled(tmp_path / "out", root, 2, pictures=pictures)
    (tmp_path / "out" / "images" / "test" / "Grove2.png").unlink()
    (tmp_path / "out" / "truth" / "test" / "Hydrangea.png").unlink()
    resumed = _journalled(tmp_path / "out", root, 2, pictures=pictures)
    assert resumed.reused == 5 and len(list((tmp_path / "out").rglob("*.png"))) == 3 * 7


def test_processes_that_see_other_data_are_refused(root, tmp_path):
    other = fakes.middlebury(tmp_path / "other", 6, size=(24, 32), two_folders=False)
    with pytest.raises(UserError, match="process 1 sees other clips than the first"):
        together(2, lambda t: _run(SCENES, other if t.rank else root, t))


def test_the_first_process_alone_keeps_others_out(root, tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", "key")
    journal.open()
    Journal(tmp_path / "journal.jsonl", "key", rank=1).add([Row("a", "test")])
    with pytest.raises(UserError, match="another process is evaluating into"):
        Journal(tmp_path / "journal.jsonl", "key").open()
    journal.close(discard=True)
    assert not list(tmp_path.glob("journal*"))


def test_a_full_disk_is_named_and_what_is_there_stays(root, tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl", "key")
    journal.add([Row("a", "test")])

    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(journal, "_file", Full())
    with pytest.raises(UserError, match=r"cannot write into .*No space left .*out=DIR"):
        journal.add([Row("b", "test")])
    monkeypatch.undo()
    journal.close()
    assert Journal(tmp_path / "journal.jsonl", "key").find("test", "a") is not None


def test_pictures_that_cannot_be_written_are_named(root, tmp_path):
    (tmp_path / "images").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot write into"):
        _run(SCENES, root, pictures=Pictures(tmp_path))
