"""From ST-MFNet to a small one that learnt from it, by the commands of docs/compression.md."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import fakes
import pytest
import torch
import yaml
from test_resume import assert_same, finish, rows_of, start, state_of, wait_for_step

from midframe import create_model
from midframe.cli import main
from midframe.launch import evaluate

pytestmark = pytest.mark.slow

TURN, STEPS = 4, 8  # the first orthant step, and how many there are
TINY = [
    *("model=stmfnet", "model.net.flow=false", "model.net.features=[48,32,32,32]"),
    *("model.net.kernels=8", "model.net.grid=[4,8,12]", "model.net.texture=[4,6,8,10]"),
    "model.net.fuse=4",
]
SHORT = [
    *("data=sample", "data.crop=128", "data.global_batch=1", "data.val.crop=128"),
    *("data.val.limit=1", "data.val.batch=1", "trainer.checkpoint_every=2"),
    *("trainer.max_steps=4", "trainer.val_check_interval=4"),
]
PHASE_1 = [
    *TINY,
    *SHORT,
    *(f"trainer.max_steps={STEPS}", "optimizer=obproxsg", f"optimizer.prox={TURN / STEPS}"),
    *("optimizer.eps=0.05", "optimizer.lambda_=0.05", "trainer.gradient_clip_val=1"),
    "callbacks=[default,sparsity]",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one's own, whose conf/model takes what is written."""
    (tmp_path / "mine" / "conf" / "model").mkdir(parents=True)
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path / "mine"))
    return tmp_path / "mine" / "conf" / "model"


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def only_run(runs: Path) -> Path:
    (run,) = (p for p in runs.iterdir() if p.is_dir())
    return run


def started(runs: Path, *words: str) -> subprocess.Popen[str]:
    """Start a training; the sample is decoded once for all of them."""
    return start(runs, *words, f"paths.data={runs.parent / 'data'}")


def train(runs: Path, *words: str) -> Path:
    """Train by a command of its own; returns the run."""
    finish(started(folder(runs), *words))
    return only_run(runs)


def test_teacher_compression_distillation_evaluation(project: Path, tmp_path: Path) -> None:
    teacher = train(tmp_path / "teacher", *TINY, *SHORT)
    sparse = phase_1_with_and_without_a_break(tmp_path, teacher)

    # the narrower network, and what survived of the large one
    out, survived = project / "narrow.yaml", tmp_path / "survived.pth"
    assert main(["compress", str(sparse), "--out", str(out), "--transfer", str(survived)]) == 0
    narrow = create_model("narrow", weights=survived)
    begun = narrow.state_dict()
    assert sum(v.numel() for v in begun.values()) < sum(v.numel() for v in saved(teacher).values())
    net = yaml.safe_load(out.read_text())["net"]
    assert net["flow"] is False and net["features"][0] == 32 and net["kernels"] < 8

    # phase 2: from the teacher's frames, by one command
    distil = ["loss=distillation", "teacher=model", f"teacher.weights={teacher}"]
    student = train(tmp_path / "student", "model=narrow", f"weights={survived}", *distil, *SHORT)
    row = rows_of(tmp_path / "student")[3]
    assert float(row["train/teacher"]) > 0 and float(row["train/target"]) > 0
    trained = saved(student)
    assert trained.keys() == begun.keys(), "there is something of the teacher in it"
    assert any(not torch.equal(trained[key], begun[key]) for key in begun)

    # and its checkpoint is measured like any other
    root, report = fakes.davis90(tmp_path / "davis90", (7,)), tmp_path / "report"
    words = [f"benchmark.root={root}", "model=narrow", f"weights={student}", "device=cpu"]
    assert evaluate.main(["benchmark=davis90", *words, "threads=1", f"out={report}"]) == 0
    record = json.loads((report / "summary.json").read_text())
    assert record["images"] == 1 and 0 < record["mean"]["psnr"] < 100
    assert record["weights"].startswith(str(student))


def phase_1_with_and_without_a_break(tmp_path: Path, teacher: Path) -> Path:
    """Train for zeros twice, once killed in the first phase; returns that run."""
    command = [*PHASE_1, f"weights={teacher}"]
    whole = train(tmp_path / "whole", *command)
    killed = folder(tmp_path / "killed")
    victim = started(killed, *command)
    wait_for_step(killed, 2)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    reached = int(str(state_of(killed)["global_step"]))
    assert 2 <= reached < STEPS, "killed too late to prove anything"
    assert f"resumed at step {reached}" in finish(started(killed, *command))

    first, second = state_of(tmp_path / "whole"), state_of(killed)
    for key in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(first[key], second[key], key)
    assert second["optimizer_states"][0]["state"]["steps"] == {"count": STEPS}  # type: ignore[index]
    assert rows_of(killed) == rows_of(tmp_path / "whole")
    told = [json.loads((run / "sparsity.json").read_text()) for run in (whole, only_run(killed))]
    assert told[0] == told[1] and told[0]["density"] < 0.9, "the second phase did not come"
    assert list(whole.glob("pictures/sparsity_*.png"))
    return only_run(killed)


def saved(run: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a run's last checkpoint, by their names in the model."""
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    return {key.removeprefix("model."): value for key, value in state.items()}
