"""Data sets from the command line: sound, packed into shards, damaged."""

from __future__ import annotations

import json
from pathlib import Path

import fakes
import numpy as np
import pytest

from midframe.data.io import write_image
from midframe.launch.pack import run as pack
from midframe.launch.tasks import train_main

TINY = [
    "model=ifrnet_s",
    "data=vimeo",
    "data.crop=16",
    "data.global_batch=2",
    "data.workers=0",
    "trainer.max_steps=4",
    "trainer.val_check_interval=4",
    "trainer.threads=1",
    "logger=none",
    "name=t",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fakes.vimeo_triplets(tmp_path / "vimeo")


def train(root: Path, *overrides: str) -> int:
    runs = root.parent / "runs"
    return train_main([*TINY, f"data.root={root}", f"paths.runs={runs}", *overrides])


def first_picture(root: Path) -> Path:
    return sorted(root.glob("sequences/*/*/im2.png"))[0]


def test_sound_data_trains(root: Path) -> None:
    assert train(root) == 0


def test_packed_data_set_takes_the_place_of_the_original(root: Path) -> None:
    out = root.parent / "packed"
    assert pack(["data=vimeo", f"data.root={root}", f"out={out}"]) == 0
    for picture in root.glob("sequences/*/*/*.png"):
        picture.unlink()  # nothing but the shards is left to read
    assert train(out) == 0


@pytest.mark.parametrize("damage", ["missing", "truncated", "other size", "not a picture"])
def test_damage_is_named_and_stops(
    root: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for path in sorted(root.glob("sequences/*/*/im2.png")):  # all, so that any order meets one
        names.append(str(path))
        if damage == "missing":
            path.unlink()
        elif damage == "truncated":
            path.write_bytes(path.read_bytes()[:-40])
        elif damage == "other size":
            write_image(path, np.zeros((20, 24, 3), np.uint8))
        else:
            path.write_bytes(b"hello")
    assert train(root) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    assert any(name in line for name in names)
    assert not list((root.parent / "runs").glob("*/*.ckpt"))


def test_skipped_samples_are_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = (root / "tri_trainlist.txt").read_text().split()
    (root / "sequences" / listed[0] / "im2.png").write_bytes(b"hello")
    assert train(root, "data.on_error=skip") == 0
    assert "could not be read and were left out or replaced" in capsys.readouterr().out
    (run,) = (root.parent / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["skipped"] > 0


def test_missing_root_shows_the_expected_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "nowhere") == 2
    message = capsys.readouterr().err
    assert "tri_trainlist.txt" in message and str(tmp_path / "nowhere") in message
    assert not (tmp_path / "runs").exists()
