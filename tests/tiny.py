"""The smallest training that goes through everything: four steps, checked twice."""

from __future__ import annotations

from pathlib import Path

from midframe.launch.tasks import train_main

TINY = [
    "experiment=smoke",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
    "trainer.checkpoint_every=2",
    "trainer.log_every_n_steps=1",
    "trainer.threads=1",
    "data.global_batch=2",
    "data.crop=32",
    "data.layout.scenes=64",
    "data.layout.size=64",
    "data.val.limit=2",
]


def train(runs: Path, *overrides: str) -> int:
    """Train below a folder and return the exit code."""
    return train_main([*TINY, f"paths.runs={runs}", *overrides])
