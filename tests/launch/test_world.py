"""One loop on any number of processes: the same samples, the same curve, the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from csv import DictReader
from pathlib import Path

import pytest
import torch
from programs import python_path

TESTS = Path(__file__).resolve().parents[1]
STEPS = 5
RECIPE = [
    *("experiment=smoke", f"trainer.max_steps={STEPS}", "trainer.threads=1"),
    *("trainer.val_check_interval=5", "trainer.log_every_n_steps=1", "data.global_batch=4"),
    *("data.crop=32", "data.val.limit=3", "logger=[csv]", "optimizer=adamw"),
    *("data.layout.scenes=64", "data.layout.size=64"),
]
PARTS = ["trainer.accumulate_grad_batches=2"]
NORMED = ["model.net={_target_: normed.Normed}", "~model.net.size", "~model.net.init", "loss=l1"]
# By model: its words, those of two processes, and whether a step may be taken in two parts.
MODELS = {
    "plain": (["model=ifrnet_s"], [], True),
    "batch norm": (NORMED, ["trainer.sync_batchnorm=true"], False),  # parts are normalised apart
}


def curve_of(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in DictReader(file)]


def samples_of(runs: Path, step: int) -> list[str]:
    """The samples of a step, over all ranks."""
    lines = [x for path in sorted(runs.glob("samples*")) for x in path.read_text().splitlines()]
    return sorted(word for x in lines if x.split()[0] == str(step) for word in x.split()[1:])


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_one_process_and_two_learn_the_same(tmp_path: Path, model: str) -> None:
    words, of_two, in_parts = MODELS[model]
    worlds = {"one": (1, ["trainer=cpu"]), "two": (2, ["trainer=ddp_cpu", *of_two])}
    if in_parts:
        worlds["parts"] = (1, ["trainer=cpu", *PARTS])
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": python_path(TESTS),
    }
    found = {}
    for name, (ranks, more) in worlds.items():
        (tmp_path / name).mkdir()
        command = [sys.executable, str(TESTS / "killer.py"), str(tmp_path / name), str(ranks)]
        command += ["0", "0", *RECIPE, *words, *more]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        runs = tmp_path / name / "whole"
        (run,) = (path for path in runs.iterdir() if path.is_dir())  # one for all ranks
        samples = [samples_of(runs, step) for step in range(STEPS)]
        record = json.loads((run / "run.json").read_text())
        assert record["world"] == ranks and len(record["starts"]) == 1
        weights = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
        found[name] = (samples, curve_of(run), weights)
        assert [row["step"] for row in found[name][1]] == list(range(STEPS))
    samples, curve, weights = found["one"]
    assert all(len(x) == 4 for x in samples)
    for name in worlds.keys() - {"one"}:
        assert found[name][0] == samples
        for row, other in zip(curve, found[name][1], strict=True):
            for key in row.keys() - {"train/samples_per_s"}:
                assert other[key] == pytest.approx(row[key], rel=2e-4, abs=2e-4), (name, key)
        for key, weight in weights.items():
            # Adam's first steps are of full length whatever the gradient, so its rounding shows
            torch.testing.assert_close(found[name][2][key], weight, atol=2e-5, rtol=1e-3)
    floor = [row["val/psnr_average"] for row in (x[1][-1] for x in found.values())]
    assert len(set(floor)) == 1  # three images over two ranks, each once
