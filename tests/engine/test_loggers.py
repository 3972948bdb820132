"""Loggers keep what a resumed run had, and pictures reach those that take them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from midframe.engine.loggers import MetricsCsv


def rows(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_csv_goes_on_after_a_resume(tmp_path: Path) -> None:
    first = MetricsCsv(str(tmp_path))
    for step in (10, 20, 30):
        first.log_metrics({"loss": step / 10, "epoch": 0}, step)
    first.log_metrics({"val/psnr": 30.0}, 20)
    first.finalize("x")
    assert rows(first.path) == ["step,loss,val/psnr", "10,1.0,", "20,2.0,30.0", "30,3.0,"]

    second = MetricsCsv(str(tmp_path))
    second.continue_from(21)  # steps done: rows 0 to 20
    second.log_metrics({"loss": 9.0}, 30)
    second.finalize("x")
    assert rows(second.path)[1:] == ["10,1.0,", "20,2.0,30.0", "30,9.0,"]
    assert not list(tmp_path.glob("*.part"))


def test_pictures_reach_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from midframe.engine.loggers import log_image, tensorboard_logger

    logger = tensorboard_logger(str(tmp_path))
    log_image(logger, "validation", np.full((8, 8, 3), 7, np.uint8), 5)
    logger.log_metrics({"val/psnr": 31.5}, 5)
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert [e.step for e in events.Images("validation")] == [5]
    assert events.Scalars("val/psnr")[0].value == 31.5


def test_a_run_that_begins_anew_shows_nothing_of_its_life_before(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from midframe.engine.loggers import tensorboard_logger

    lives: list[tuple[int | None, range]] = [(None, range(8)), (5, range(5, 7)), (None, range(3))]
    seen = []
    for number, (step, steps) in enumerate(lives):
        logger = tensorboard_logger(str(tmp_path), step)
        for one in steps:
            logger.log_metrics({"val/psnr": float(number)}, one)
        logger.finalize("success")
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        seen.append([(x.step, x.value) for x in events.Scalars("val/psnr")])
        time.sleep(1.1)  # files of events are named by the second
    assert seen[1] == [*((x, 0.0) for x in range(5)), (5, 1.0), (6, 1.0)]
    assert seen[2] == [(x, 2.0) for x in range(3)]
