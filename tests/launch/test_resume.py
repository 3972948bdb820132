"""A killed run, started again by the same command, ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from csv import DictReader
from pathlib import Path

import pytest
import torch
from same import assert_same

ROOT = Path(__file__).resolve().parents[2]
STEPS = 48
RECIPE = [
    "experiment=smoke",
    f"trainer.max_steps={STEPS}",
    "trainer.checkpoint_every=4",
    "trainer.val_check_interval=8",
    "trainer.threads=1",
    "data.global_batch=2",
    "data.crop=32",
    "data.val.limit=2",
    "logger=[csv]",
]


def start(runs: Path, *extra: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "train.py"), *RECIPE, f"paths.runs={runs}", *extra]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=runs, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def state_of(runs: Path) -> dict[str, object]:
    (directory,) = (p for p in runs.iterdir() if p.is_dir())
    return torch.load(directory / "last.ckpt", weights_only=True)


def rows_of(runs: Path) -> dict[int, dict[str, str]]:
    """Rows of metrics.csv by step, without how fast it was."""
    (path,) = runs.glob("*/metrics.csv")
    with path.open() as file:
        rows = [
            {k: v for k, v in row.items() if "samples_per_s" not in k} for row in DictReader(file)
        ]
    assert len({row["step"] for row in rows}) == len(rows)
    return {int(row.pop("step")): row for row in rows}


def wait_for_step(runs: Path, step: int) -> None:
    """Wait until the run has written a checkpoint at or after ``step``."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for path in runs.glob("*/last.ckpt"):
            if torch.load(path, weights_only=True, mmap=True)["global_step"] >= step:
                return
        time.sleep(0.02)
    raise AssertionError("the run never wrote its checkpoint")


# The second is what people run: labels computed on the fly, averaging, clipping, accumulation.
REAL = ["callbacks=[default,ema]", "teacher=dis", "loss=quick", "data.layout.flow=false"]
REAL += ["trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1", "data.workers=1"]


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], REAL], ids=["plain", "real"])
def test_killed_run_ends_bit_identical(tmp_path: Path, extra: list[str]) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    finish(start(whole, *extra))

    victim = start(killed, *extra)
    wait_for_step(killed, 12)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    reached = state_of(killed)["global_step"]
    assert 12 <= int(str(reached)) < STEPS, "killed too late to prove anything"

    output = finish(start(killed, *extra))
    assert f"resumed at step {reached}" in output
    first, second = state_of(whole), state_of(killed)
    for key in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(first[key], second[key], key)
    if REAL[0] in extra:
        assert_same(first["current_model_state"], second["current_model_state"], "current")

    assert rows_of(killed) == rows_of(whole), "metrics.csv lost or repeated something"
    (directory,) = (p for p in killed.iterdir() if p.is_dir())
    record = json.loads((directory / "run.json").read_text())
    assert record["status"] == "finished" and record["resumes"] == 1


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for_step(tmp_path, 4)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in output
    assert "the same command continues" in output
    (directory,) = (p for p in tmp_path.iterdir() if p.is_dir())
    assert json.loads((directory / "run.json").read_text())["status"] == "interrupted"
    assert "resumed at step" in finish(start(tmp_path))
