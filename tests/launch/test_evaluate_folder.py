"""The folder that an evaluation writes into: files of others stay, results of before go."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import fakes
import numpy as np
import pytest
import torch

from midframe.benchmark.folder import check
from midframe.errors import UserError
from midframe.launch import evaluate
from midframe.models.average import Average

COMMON = ("benchmark=middlebury_upr", "device=cpu", "threads=1")


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    fakes.middlebury(tmp_path / "data", 2, size=(24, 32), two_folders=False)
    return tmp_path


def _run(*words, root="data"):
    given = (f"benchmark.root={root}",) if root else ()
    return evaluate.main([*COMMON, *given, *words])


def _record(folder):
    return json.loads((Path(folder) / "summary.json").read_text())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("journal.jsonl", '{"mine": 1}\n'),
        ("journal.1.jsonl", "notes\n"),
        ("journal.lock", "mine"),
        ("images.csv", "a,b\n"),
        ("summary.json", '{"answer": 42}'),
        ("summary.json", "[]"),
        ("summary.md", "# Mine\n"),
    ],
)
def test_files_of_others_are_told_from_results(tmp_path, name, content):
    check(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"holds other files \({name}\).*give an empty folder"):
        check(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == [content]


@pytest.mark.parametrize(
    ("folder", "name", "words"),
    [
        ("out", "journal.jsonl", ["beside=[]"]),
        ("out", "images.csv", ["beside=[]"]),
        ("out/beside/average", "summary.json", ["beside=[average]"]),
    ],
)
def test_files_of_others_are_refused_and_stay(work, capsys, folder, name, words):
    mine = work / folder / name
    mine.parent.mkdir(parents=True)
    mine.write_text('{"mine": 1}')
    assert _run("model=dis", "out=out", *words) == 2
    shown = capsys.readouterr()
    assert f"holds other files ({name})" in shown.err and "give an empty folder" in shown.err
    assert mine.read_text() == '{"mine": 1}'
    assert [path for path in Path("out").absolute().rglob("*") if path.is_file()] == [mine]


def test_what_only_resembles_a_journal_stays(work):
    others = [Path("out/journal_mine.jsonl"), Path("out/journal.old.jsonl"), Path("out/notes.txt")]
    Path("out").mkdir()
    for path in others:
        path.write_text("mine")
    assert _run("model=average", "beside=[]", "out=out") == 0
    assert all(path.read_text() == "mine" for path in others)
    assert not list(Path("out").glob("journal.jsonl"))


def _psnr(scene):
    image, truth = (
        cv2.imread(f"out/{kind}/test/{scene}.png").astype(np.float64)
        for kind in ("images", "truth")
    )
    return 10 * np.log10(255**2 / ((image - truth) ** 2).mean())


def test_pictures_are_of_the_model_that_the_summary_names(work, capsys):
    assert _run("model=dis", "out=out", "save_images=true", "beside=[average]") == 0
    assert _record("out")["pictures"] is True and Path("out/beside/average/images").is_dir()
    Path("out/notes.txt").write_text("mine")
    assert _run("model=average", "out=out", "beside=[]") == 0
    assert "the result of dis there makes room" in capsys.readouterr().err
    assert sorted(p.name for p in Path("out").iterdir() if p.name != "beside") == [
        *("images.csv", "notes.txt", "summary.json", "summary.md")
    ]
    assert not Path("out/beside/average").exists()
    assert _record("out")["model"] == "average" and _record("out")["pictures"] is False
    assert _run("model=average", "out=out", "beside=[]", "save_images=true") == 0
    assert "makes room" not in capsys.readouterr().err  # the same result, and now its pictures
    (row, *_) = Path("out/images.csv").read_text().splitlines()[1:]
    assert _psnr(row.split(",")[1]) == pytest.approx(float(row.split(",")[2]), abs=0.1)


@pytest.mark.slow
def test_a_killed_run_leaves_no_result_of_the_model_before(work, monkeypatch):
    assert _run("model=dis", "out=out", "save_images=true", "beside=[]") == 0

    def stop(self, x, **hints):
        raise KeyboardInterrupt

    monkeypatch.setattr(Average, "forward", stop)
    assert _run("model=average", "out=out", "save_images=true", "beside=[]") == 130
    names = {path.name for path in Path("out").iterdir()}
    assert "journal.jsonl" in names and not names & {"summary.json", "images.csv", "images"}
    monkeypatch.undo()
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    assert _run("model=average", "out=out", "save_images=true", "beside=[]") == 0
    assert _record("out")["model"] == "average"


def test_all_missing_data_is_told_before_anything_is_measured(work, capsys):
    words = ("benchmark=[middlebury_upr,vimeo,ucf101]", f"paths.data={work / 'none'}")
    here = f"benchmark.suites.middlebury_upr.root={work / 'data'}"
    assert _run("model=average", *words, here, "out=out", root=None) == 2
    shown = capsys.readouterr()
    for name in ("vimeo", "ucf101"):
        assert f"benchmark.suites.{name}.root=DIR or paths.data=DIR" in shown.err
    assert "mean of" not in shown.out and not Path("out").exists()


def test_the_real_number_of_threads_is_recorded_and_told_apart(work, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    keys = set()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert _run("model=average", "threads=null", "beside=[]", f"out={threads}") == 0
            record = _record(str(threads))
            assert record["threads"] == threads
            keys.add(record["run_key"])
    finally:
        torch.set_num_threads(before)
    assert len(keys) == 2
