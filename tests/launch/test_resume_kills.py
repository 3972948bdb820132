"""Runs that are killed at twenty random moments end as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import python_path
from same import assert_same, only, rows_of, state_of

pytestmark = pytest.mark.slow

TESTS = Path(__file__).resolve().parents[1]
KILLS = 20
STEPS = 64
RECIPE = [
    *("experiment=smoke", "model=cascade", "loss=l1", f"trainer.max_steps={STEPS}"),
    *("trainer.checkpoint_every=2", "trainer.val_check_interval=8", "trainer.log_every_n_steps=1"),
    *("trainer.threads=1", "data.crop=32", "data.val.limit=3", "logger=[csv]"),
    *("data.layout.scenes=64", "data.layout.size=64"),
]
# Averaged weights, accumulated and clipped gradients, a rate that follows the validation.
ALONE = ["trainer=cpu", "data.global_batch=2", "callbacks=[default,ema,early_stopping]"]
ALONE += ["trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1"]
ALONE += ["optimizer=adamax", "callbacks.early_stopping.patience=100"]
TOGETHER = ["trainer=ddp_cpu", "trainer.devices=2", "data.global_batch=2"]


def lives(folder: Path, ranks: int, seed: int, words: list[str]) -> str:
    """Train a run whole and one that is killed; return what the killer says of it."""
    command = [sys.executable, str(TESTS / "killer.py"), str(folder), str(ranks), str(KILLS)]
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": python_path(TESTS),
    }
    done = subprocess.run(
        [*command, str(seed), *RECIPE, *words], env=env, capture_output=True, text=True, timeout=540
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("ranks", "words"), [(1, ALONE), (2, TOGETHER)], ids=["one", "two"])
def test_a_run_that_is_killed_twenty_times_ends_bit_identical(
    tmp_path: Path, ranks: int, words: list[str]
) -> None:
    seed = int(os.environ.get("MIDFRAME_KILLS_SEED", 20 + ranks))
    lives(tmp_path, ranks, seed, words)
    whole, killed = only(tmp_path / "whole"), only(tmp_path / "killed")
    for name in ("last.ckpt", "best.ckpt", "previous.ckpt"):
        assert_same(state_of(whole / name), state_of(killed / name), name)
    rows = rows_of(whole)
    assert rows_of(killed) == rows, "metrics.csv lost or repeated something"
    assert [int(row["step"]) for row in rows] == list(range(STEPS))
    assert sum(bool(row["val/psnr"]) for row in rows) == -(-STEPS // 8)
    record = json.loads((killed / "run.json").read_text())
    assert record["status"] == "finished" and 5 <= record["resumes"] <= KILLS
    assert not list(killed.glob("*.part")) and not list(killed.glob("*.damaged"))
