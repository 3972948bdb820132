"""What training prints and how fast it says it is."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from midframe.engine.module import VFIModule
from midframe.engine.progress import (
    Bar,
    Lines,
    Speed,
    ValidationReport,
    progress_bar,
    validation_line,
)

FRAMES = {f"val/{n}{x}": 1.0 for n in ("psnr", "ssim", "ie") for x in ("", "_average")}
FLOW = {"val/epe": 1.25, "val/epe_still": 3.0, "val/fl_all": 0.125}


class Clock:
    """Stands for time.monotonic."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def trainer(**values: Any) -> Any:
    usual = {
        "global_step": 1,
        "max_steps": 40,
        "world_size": 1,
        "log_every_n_steps": 1,
        "is_global_zero": True,
        "sanity_checking": False,
        "callback_metrics": {},
        "num_val_batches": [3],
        "progress_bar_callback": None,
    }
    return SimpleNamespace(**{**usual, **values})


def test_flow_networks_report_flow_and_interpolators_what_they_have() -> None:
    flow = "EPE 1.250 px (no motion 3.000), 12.5% off by over 3 px"
    assert validation_line(7, FLOW, 0.5) == f"step      7 |   0.5 min | {flow}"
    assert "EPE" not in validation_line(7, FRAMES, 0.5) and "PSNR" in validation_line(7, FRAMES, 1)
    both = validation_line(7, {**FRAMES, **FLOW}, 0.5)
    assert both.endswith(flow) and "PSNR 1.00 (average 1.00, +0.00) dB" in both


def test_speed_counts_samples_of_all_devices_and_leaves_validation_out(clock: Clock) -> None:
    logged: list[float] = []
    module = SimpleNamespace(log=lambda name, value, prog_bar: logged.append(value))
    speed = Speed()

    def step(number: int, seconds: float) -> None:
        run = trainer(global_step=number, world_size=2, log_every_n_steps=2)
        speed.on_train_batch_start(run, module, None, 0)
        clock.now += seconds
        speed.on_train_batch_end(run, module, None, [0] * 3, 0)  # three samples a device

    step(1, 2.0)
    assert logged == []
    step(2, 4.0)
    assert logged == [pytest.approx(2.0)]  # 12 samples in 6 seconds
    step(3, 1.0)
    speed.on_validation_start(trainer(), module)
    clock.now += 1000
    step(4, 1.5)
    assert logged[1:] == [pytest.approx(4.0)]  # what came before the validation does not count


def test_a_validation_is_one_line_of_the_first_rank(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    report = ValidationReport()
    clock.now += 90
    report.on_validation_end(trainer(global_step=20, callback_metrics=FRAMES), None)
    line = validation_line(20, FRAMES, 1.5)
    assert capsys.readouterr().out == f"{line}\n"
    lines: list[str] = []
    bar = SimpleNamespace(print=lines.append)  # would be torn apart by a plain print
    run = trainer(global_step=20, callback_metrics=FRAMES, progress_bar_callback=bar)
    report.on_validation_end(run, None)
    assert lines == [line]
    report.on_validation_end(trainer(is_global_zero=False, callback_metrics=FRAMES), None)
    report.on_validation_end(trainer(sanity_checking=True, callback_metrics=FRAMES), None)
    assert capsys.readouterr().out == ""


def test_lines_come_at_the_first_step_and_every_few_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines(seconds=10)
    metrics = {"train/loss": 0.5, "train/psnr": 30.0, "train/samples_per_s": 4.25}
    for step in range(1, 30):
        run = trainer(global_step=step, callback_metrics=metrics)
        lines.on_train_batch_end(run, None, None, None, 0)
        clock.now += 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "step      1/40 | loss 0.5000  PSNR 30.00  samples/s 4.2"
    assert [line.split("/")[0].split()[1] for line in shown] == ["1", "11", "21"]
    clock.now += 100
    lines.on_train_batch_end(trainer(is_global_zero=False), None, None, None, 0)
    assert capsys.readouterr().out == ""


def test_the_bar_counts_steps_of_the_run_and_batches_of_a_validation() -> None:
    bar = Bar()
    bar.on_train_batch_end(trainer(), None, None, None, 0)  # of another rank: nothing to draw
    bar.on_train_start(trainer(global_step=8), None)
    assert bar._progress is not None
    (training,) = bar._progress.tasks
    assert (training.completed, training.total) == (8, 40)
    metrics = {"train/loss": 0.5, "train/epe": 2.0}
    bar.on_train_batch_end(trainer(global_step=9, callback_metrics=metrics), None, None, None, 0)
    assert training.completed == 9 and training.fields["values"] == "loss 0.5000  EPE 2.00"
    bar.on_validation_start(trainer(), None)
    bar.on_validation_batch_end(trainer())
    _, validating = bar._progress.tasks
    assert (validating.completed, validating.total) == (1, 3)
    bar.on_validation_end(trainer(), None)
    assert bar._progress.tasks == [training]
    progress = bar._progress
    bar.on_exception(trainer(), None, KeyboardInterrupt())
    assert not progress.live.is_started, "the terminal is given back"
    bar.on_train_end(trainer(), None)


@pytest.mark.parametrize(("terminal", "kind"), [(True, Bar), (False, Lines)])
def test_a_terminal_gets_a_bar_and_a_pipe_lines(
    terminal: bool, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert type(progress_bar()) is kind


def test_a_step_is_measured_where_somebody_looks_and_nowhere_else() -> None:
    connector = SimpleNamespace(should_update_logs=False)
    run = SimpleNamespace(log_every_n_steps=10, max_steps=75, _logger_connector=connector)
    module: Any = SimpleNamespace(_first=None, global_step=0, trainer=run, _trainer=run)

    def looked(steps: range) -> list[int]:
        found = []
        for module.global_step in steps:
            if VFIModule._is_looked_at(module):
                found.append(module.global_step)
        return found

    # resumed at step 40: its first step is shown, the tenth ones and the last are logged
    assert looked(range(40, 75)) == [40, 49, 59, 69, 74]
    connector.should_update_logs = True  # Lightning's own count has slipped
    assert looked(range(50, 52)) == [50, 51]


def test_the_bar_waits_for_the_device_twice_a_second_only(clock: Clock) -> None:
    bar = Bar()
    bar.on_train_start(trainer(), None)
    assert bar._progress is not None
    shown = []
    for step in range(1, 9):
        run = trainer(global_step=step, callback_metrics={"train/loss": float(step)})
        bar.on_train_batch_end(run, None, None, None, 0)
        shown.append(bar._progress.tasks[0].fields["values"])
        clock.now += 0.125
    bar.on_train_end(trainer(), None)
    assert shown == ["loss 1.0000"] * 4 + ["loss 5.0000"] * 4
