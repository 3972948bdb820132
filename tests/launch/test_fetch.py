"""`midframe fetch open`: from archives to a data set that trains, and a report of what is in it."""

from __future__ import annotations

import hashlib
import json
import re

import fakes
import numpy as np
import pytest
from tiny import train

from midframe.cli import main
from midframe.data import films
from midframe.data.layouts import open as layout
from midframe.data.photographs import OPEN_PHOTOGRAPHS
from midframe.data.textures import find_photographs
from midframe.launch import check, fetch_report


@pytest.fixture
def fetched(monkeypatch):
    """Films and photographs are made instead of taken out of packages."""

    def make(files, folder, *rest):
        if files is films.OPEN:
            fakes.open_films(folder.parent)
        else:
            fakes.photographs(folder, [one.file for one in files])

    monkeypatch.setattr(layout, "fetch", make)


@pytest.mark.usefixtures("fetched")
def test_it_becomes_a_data_set_with_a_report(tmp_path, capsys):
    root = tmp_path / "open"
    assert main(["fetch", "open", "--to", str(root)]) == 0
    said = capsys.readouterr().out
    page = (root / "report" / "README.md").read_text()
    for film in films.OPEN:
        stem = film.file.rpartition(".")[0]
        # 20 frames that pan by 4 pixels are 18 triplets, none still, none too fast
        assert f"| {stem} | 20 | 1 | 18 | 0 | 0 | 18 | 1 |" in page and stem in said
        assert film.licence in page and film.credit in page
    for one in OPEN_PHOTOGRAPHS:
        row = f"| {one.file[:-4]} | {one.licence} | {one.credit} | {one.package.name} "
        assert row in page and row in said
    assert {p.name for p in (root / "report").iterdir()} == {
        *("README.md", "motion.png", "examples.png")
    }
    assert f"data.root={root}" in said
    assert check.main(["data=open", f"data.root={root}", "data.crop=32"]) == 0
    (folder,) = re.findall(r"data=synthetic data\.layout\.photographs=(\S+)", said)
    assert len(find_photographs(folder, split=0, share=0.5).files) == 8


@pytest.mark.slow  # a training
def test_a_runs_record_names_the_photographs_and_their_content(tmp_path):
    folder = fakes.photographs(tmp_path / "photographs")
    words = ["data=synthetic", "data.layout.size=64", "data.layout.val_scenes=2", "data.crop=32"]
    words += [f"data.layout.photographs={folder}", "data.workers=0", "data.global_batch=1"]
    assert train(tmp_path / "runs", *words, "trainer.max_steps=1") == 0
    (run,) = (tmp_path / "runs").iterdir()
    told = json.loads((run / "run.json").read_text())["made_of"]
    content = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    # two of twelve are for tests, and no part of the run
    assert len(told) == 10 and told.items() < content.items()


def test_a_folder_without_the_archives_is_told_and_leaves_no_data(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    words = ["fetch", "open", "--to", str(tmp_path / "open"), "--packages", str(empty)]
    assert main(words) == 2
    assert "moviepy-2.2.1.tar.gz: no such file" in capsys.readouterr().err
    assert not list((tmp_path / "open").rglob("*.*"))


def test_triplets_are_sorted_by_what_they_do():
    from midframe.data.cutting import Shot

    frames = tuple(range(6))
    shot = Shot("a", frames, frames, (0, 1, 1, 20, 20, 20), (0, 1, 1, 30, 60, 60))
    found = fetch_report.triplets([shot], motion=12, fastest=100)
    assert [one.kind for one in found] == ["still", "kept", "kept", "too fast"]
    assert [one.pixels for one in found] == [2, 31, 90, 120]
    assert {one.kind for one in fetch_report.triplets([shot], 0, None)} == {"kept"}


def test_the_histogram_has_the_longest_bar_where_most_are():
    picture = fetch_report.histogram([5.0] * 9 + [20.0] * 3)
    bars = (picture == fetch_report._FULL).all(-1).sum(1).reshape(-1)
    rows = bars.reshape(-1, fetch_report._ROW).max(1)
    assert np.flatnonzero(rows).tolist() == [3, 5]  # 4 to 8 and 16 to 32, below the title
    assert rows[3] == 3 * rows[5]
