"""Data sets from the command line: sound, packed into shards, damaged."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch

from midframe.data.io import write_image
from midframe.launch.pack import run as pack
from midframe.launch.tasks import train_main
from midframe.models.base import Interpolator
from midframe.types import Inputs, Prediction

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


class FourFrames(Interpolator):
    """A model that reads two frames on each side."""

    context = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        return Prediction(self.weight * x.frames.mean(1, keepdim=True))


def test_four_frame_model_on_triplets_is_told_which_data_serves_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = f"model.net={{_target_:{__name__}.FourFrames}}"
    assert train(root, net, "~model.net.size", "~model.net.init", "loss=l1") == 2
    message = capsys.readouterr().err
    assert "septuplet" in message and message.startswith("error:")
    assert not (root.parent / "runs").exists()


@pytest.mark.slow
def test_two_ranks_share_one_run_directory(tmp_path: Path) -> None:
    tiny = ["experiment=smoke", "trainer=ddp_cpu", "trainer.max_steps=4", "trainer.threads=1"]
    tiny += ["trainer.val_check_interval=4", "data.crop=32", "data.val.limit=3", "logger=[csv]"]
    tiny += ["data.layout.scenes=64", "data.layout.size=64"]
    rows = {}
    for devices in (1, 2):
        runs = tmp_path / str(devices)
        command = [sys.executable, "-m", "midframe.cli", "train", *tiny]
        command += [f"trainer.devices={devices}", f"paths.runs={runs}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        (run,) = (path for path in runs.iterdir() if path.is_dir())
        assert json.loads((run / "run.json").read_text())["status"] == "finished"
        with (run / "metrics.csv").open() as file:
            rows[devices] = [row for row in csv.DictReader(file) if row["val/psnr"]][-1]
    # the same samples, each once: the floor is equal to the last digit, the model nearly
    assert rows[1]["val/psnr_average"] == rows[2]["val/psnr_average"]
    assert float(rows[1]["val/psnr"]) == pytest.approx(float(rows[2]["val/psnr"]), abs=0.05)
