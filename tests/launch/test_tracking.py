"""One training, and what its loggers and its record tell of it afterwards."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import train
from wandb_file import config, history, kinds

SECRET = "hunter2-is-not-for-others"


@pytest.mark.slow  # two trainings, some 10 s
def test_all_loggers_and_the_record_tell_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STORAGE_TOKEN_OF_TEST", SECRET)
    monkeypatch.setattr(sys, "stdin", None)
    wandb.teardown()
    runs = tmp_path / "runs"
    assert train(runs, "logger=[csv,tensorboard,wandb]") == 0
    assert wandb.run is None, "it was ended"
    wandb.teardown()  # waits for its files
    (run,) = runs.iterdir()
    record = json.loads((run / "run.json").read_text())

    with (run / "metrics.csv").open() as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file)}
    (path,) = run.glob("wandb/offline-run-*/*.wandb")
    told = history(path)
    losses = {row["trainer/global_step"]: row["train/loss"] for row in told if "train/loss" in row}
    assert losses == pytest.approx({k: float(v["train/loss"]) for k, v in rows.items()})
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    curve = {event.step: event.value for event in events.Scalars("train/loss")}
    assert curve == pytest.approx(losses, rel=1e-5) and len(curve) == 4
    assert len(events.Images("validation")) == 2
    assert len([row for row in told if "validation._type" in row]) == 2

    assert kinds(path, "run")[0].run_id == record["wandb"]
    described = config(path)
    assert described["model"]["name"] == "ifrnet_s" and described["trainer"]["max_steps"] == 4
    assert described["record"]["revision"] == record["revision"]
    assert described["record"]["data"] == record["data"]

    assert record["seeds"] == {"run": 1234, "data": 1234} and record["world"] == 1
    assert record["hardware"]["memory_gib"] > 0 and (run / record["packages"]).is_file()
    (start,) = record["starts"]
    assert (start["step"], start["steps"], start["status"]) == (0, 4, "finished")

    assert train(runs, "logger=[csv,wandb]", f"resume={run}", "trainer.max_steps=6") == 0
    again = json.loads((run / "run.json").read_text())
    (other,) = set(run.glob("wandb/offline-run-*/*.wandb")) - {path}
    assert kinds(other, "run")[0].run_id == record["wandb"] == again["wandb"]
    assert [one["step"] for one in again["starts"]] == [0, 4]

    for file in (one for one in run.rglob("*") if one.is_file()):
        content = file.read_bytes()
        assert SECRET.encode() not in content and b"STORAGE_TOKEN_OF_TEST" not in content, file
