"""Training end to end through the command line's entry point."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import TINY, train

from midframe.data.dataset import ClipDataset
from midframe.launch import entry
from midframe.launch.check import check
from midframe.launch.entry import with_recipe
from midframe.launch.tasks import train_main
from midframe.models.zoo import create_model

STILL = ["optimizer.lr=1e-20", "optimizer.lr_end=1e-20"]


def only_run(runs: Path) -> Path:
    (directory,) = runs.iterdir()
    return directory


def test_a_run_leaves_everything_a_user_looks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "callbacks=[default,ema]") == 0
    run = only_run(tmp_path)
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished" and record["steps"] == 4
    assert (run / "config.yaml").is_file()
    assert len(list((run / "pictures").glob("*.png"))) == 2
    assert list((run / "tensorboard").glob("events*"))
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"train/loss", "train/charbonnier", "val/psnr", "val/psnr_average"} <= set(rows[0])
    assert not list(run.rglob("*.part"))

    shown = capsys.readouterr().out
    assert "average" in shown and "What to try next" in shown and str(run) in shown

    (longer,) = [line for line in shown.splitlines() if "python train.py" in line]
    overrides = shlex.split(longer)[2:]
    assert "trainer.max_steps=40" in overrides and "callbacks=[default,ema]" in overrides
    assert entry.run("train", check, overrides) == 0
    assert record["command"][:2] == ["python", "train.py"]  # what starts it once more
    assert record["command"][2:] == [*TINY, f"paths.runs={tmp_path}", "callbacks=[default,ema]"]

    # The checkpoint is what the commands that it prints take, and holds the averaged weights.
    model = create_model("ifrnet_s", weights=run / "last.ckpt")
    assert create_model("ifrnet_s", weights=run) is not None  # the best one
    saved = torch.load(run / "last.ckpt", weights_only=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved["state_dict"][f"model.{name}"])
    current = saved["current_model_state"]["model.decoder1.convblock.2.bias"]
    assert not torch.equal(current, model.state_dict()["decoder1.convblock.2.bias"])


def test_frame_average_start_equals_the_baseline(tmp_path: Path) -> None:
    assert train(tmp_path, "model.net.init=he", "trainer.max_steps=2", *STILL) == 0
    with (only_run(tmp_path) / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/psnr"]]
    assert rows
    for row in rows:
        # IE rounds to 8 bits, and the average of two 8-bit values lies on the edge half the time.
        for name, tolerance in (("psnr", 1e-3), ("ssim", 1e-4), ("ie", 0.03)):
            floor = float(row[f"val/{name}_average"])
            assert float(row[f"val/{name}"]) == pytest.approx(floor, abs=tolerance)


@pytest.mark.slow
def test_overfitting_one_batch_lowers_the_loss(tmp_path: Path) -> None:
    overrides = ["debug=overfit", "trainer.max_steps=40", "optimizer.lr=1e-3", "loss=l1"]
    assert train(tmp_path, *overrides, "trainer.val_check_interval=40") == 0
    with (only_run(tmp_path) / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses[-1] < 0.8 * losses[0]


def test_nan_stops_before_the_weights_and_names_the_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = create_model("ifrnet_s")
    with torch.no_grad():  # finite weights whose output overflows
        broken.decoder3.convblock[0][0].weight.fill_(1e38)
    weights = tmp_path / "broken.pth"
    torch.save(broken.state_dict(), weights)
    assert train(tmp_path / "runs", f"weights={weights}") == 2
    message = capsys.readouterr().err
    assert "decoder3.convblock.0.0" in message and "step 0" in message
    run = only_run(tmp_path / "runs")
    batch = torch.load(run / "nan_batch.pt", weights_only=True)
    assert batch["frames"].shape == (2, 2, 3, 32, 32) and len(batch["ids"]) == 2
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    assert not (run / "last.ckpt").exists()


def test_what_a_constructor_refuses_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "runs", "data.augment.rotate=7") == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x]
    assert lines == ["error: data.augment.rotate=7: give a probability from 0 to 1"]


def test_wrong_weights_leave_no_run_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "large.pth"
    torch.save(create_model("ifrnet").state_dict(), weights)
    assert train(tmp_path / "runs", f"weights={weights}") == 2
    assert "mis-shaped" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "mistake", ["+trainer.foo=1", "trainer.profiler=nope", "trainer.gradient_clip_val=x"]
)
def test_what_the_trainer_refuses_is_one_line_and_leaves_no_run_behind(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "runs", mistake) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert mistake.split("=")[0].rpartition(".")[2].split("_")[0] in line
    assert not list((tmp_path / "runs").glob("*"))


def last_steps(runs: Path) -> list[int]:
    """The steps of all checkpoints, last.ckpt first."""
    run = only_run(runs)
    names = ("last.ckpt", "best.ckpt")
    return [torch.load(run / x, weights_only=True)["global_step"] for x in names]


def rows_of(runs: Path) -> dict[int, dict[str, str]]:
    with (only_run(runs) / "metrics.csv").open() as file:
        return {int(row["step"]): row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_the_last_step_is_validated_and_may_be_the_best(tmp_path: Path) -> None:
    # From the frame average every step of a rate this small is an improvement.
    overrides = ["trainer.max_steps=3", "trainer.val_check_interval=2", "optimizer.lr=1e-5"]
    assert train(tmp_path, *overrides) == 0
    rows = rows_of(tmp_path)
    values = {step: float(row["val/psnr"]) for step, row in rows.items() if row["val/psnr"]}
    assert list(values) == [1, 2] and values[2] > values[1]
    assert last_steps(tmp_path) == [3, 3]

    # and going on from there numbers the rows as an uninterrupted run does
    more = f"resume={only_run(tmp_path)}"
    assert train(tmp_path, *overrides, "trainer.max_steps=4", more) == 0
    losses = {step: row["train/loss"] for step, row in rows_of(tmp_path).items()}
    assert list(losses) == [0, 1, 2, 3] and all(losses.values())


@pytest.mark.slow
def test_a_run_killed_before_its_summary_is_finished_by_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path) == 0
    path = only_run(tmp_path) / "run.json"
    record = json.loads(path.read_text())
    metrics = record.pop("metrics")
    path.write_text(json.dumps({**record, "status": "running"}))
    capsys.readouterr()

    assert train(tmp_path) == 0
    record = json.loads(path.read_text())
    assert (record["status"], record["metrics"]) == ("finished", metrics)
    assert "After 4 steps" in capsys.readouterr().out


@pytest.mark.slow
def test_a_resumed_run_follows_the_rate_and_decay_of_its_command(tmp_path: Path) -> None:
    rate = ["optimizer.lr=1e-3", "optimizer.lr_end=1e-3"]
    assert train(tmp_path, *rate) == 0
    run = only_run(tmp_path)
    other = ["optimizer.lr=1e-5", "optimizer.lr_end=1e-5", "optimizer.weight_decay=0.25"]
    other += ["optimizer.betas=[0.8,0.99]", "trainer.max_steps=6", f"resume={run}"]
    assert train(tmp_path, *other) == 0
    rates = [float(row["train/lr"]) for row in rows_of(tmp_path).values() if row["train/lr"]]
    assert rates == pytest.approx([1e-3] * 4 + [1e-5] * 2)
    (state,) = torch.load(run / "last.ckpt", weights_only=True)["optimizer_states"]
    (group,) = state["param_groups"]
    assert group["weight_decay"] == 0.25 and tuple(group["betas"]) == (0.8, 0.99)
    assert {int(x["step"]) for x in state["state"].values()} == {6}, "the moments are kept"


def test_a_command_without_choices_runs_the_first_recipe() -> None:
    assert with_recipe([]) == ["experiment=first"]
    assert with_recipe(["trainer.max_steps=5", "-m"])[-1] == "experiment=first"
    for choice in ("model=ifrnet", "data=vimeo", "experiment=quick", "loss=l1"):
        assert with_recipe([choice]) == [choice]


def test_bfloat16_trains(tmp_path: Path) -> None:
    # which many a processor computes slowly
    short = ["trainer.max_steps=2", "data.val.limit=1"]
    assert train(tmp_path, "trainer.precision=bf16-mixed", *short) == 0
    saved = torch.load(only_run(tmp_path) / "last.ckpt", weights_only=True)
    assert all(bool(torch.isfinite(x).all()) for x in saved["state_dict"].values())
    assert saved["state_dict"]["model.decoder1.convblock.2.bias"].dtype == torch.float32


def test_accumulation_reads_the_batches_of_the_seed_and_equals_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    original = ClipDataset.__getitem__

    def spy(self: ClipDataset, ticket: object) -> object:
        sample = original(self, ticket)  # type: ignore[arg-type]
        if sample.id.startswith("train"):
            seen.append(sample.id)
        return sample

    monkeypatch.setattr(ClipDataset, "__getitem__", spy)
    # Plain gradient descent at a large rate: the weights move by what the gradients are.
    overrides = ["loss=l2", "data.augment=null", "optimizer.lr=1", "~callbacks.pictures"]
    overrides += ["~optimizer.build.betas", "optimizer.build._target_=torch.optim.SGD"]
    overrides += [f"trainer.{word}=4" for word in ("val_check_interval", "checkpoint_every")]
    assert train(tmp_path / "a", *overrides) == 0
    first, seen[:] = list(seen), []
    assert train(tmp_path / "b", *overrides, "trainer.accumulate_grad_batches=2") == 0
    assert first == seen[: len(first)] and len(set(first)) == 8
    states = [
        torch.load(only_run(tmp_path / x) / "last.ckpt", weights_only=True)["state_dict"]
        for x in "ab"
    ]
    moved = [float((value - states[1][name]).abs().max()) for name, value in states[0].items()]
    assert max(moved) < 1e-6


@pytest.mark.parametrize("debug", ["one_batch", "profile"])
def test_debug_configs_run(debug: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    overrides = ["data=synthetic", "model=ifrnet_s", f"debug={debug}", "data.crop=32"]
    overrides += ["data.global_batch=2", "data.val.limit=2", f"paths.runs={tmp_path}"]
    overrides += ["data.layout.scenes=64", "data.layout.size=64"]
    if debug == "profile":
        overrides += ["trainer.max_steps=3", "trainer.val_check_interval=3"]
    assert train_main(overrides) == 0
    shown = capfd.readouterr()
    if debug == "profile":
        assert "run_training_batch" in shown.out + shown.err
    assert only_run(tmp_path).name.startswith("debug-")


@pytest.mark.slow
def test_a_terminal_shows_a_bar_with_loss_psnr_and_speed(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "midframe.cli", "train", *TINY, f"paths.runs={tmp_path}"]
    env = {**os.environ, "COLUMNS": "160", "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal's output
        while block := os.read(ours, 1 << 16):
            shown += block
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).decode(errors="replace")
    for word in ("training", "4/4", "loss", "PSNR", "samples/s", "validating"):
        assert word in text
