"""Loggers keep what a resumed run had and never ask for a key."""

from __future__ import annotations

import os
import subprocess
import sys
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
    second.continue_from(20)
    second.log_metrics({"loss": 9.0}, 30)
    second.finalize("x")
    assert rows(second.path)[1:] == ["10,1.0,", "20,2.0,30.0", "30,9.0,"]
    assert not list(tmp_path.glob("*.part"))


def test_wandb_without_a_key_is_offline(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from midframe.engine.loggers import wandb_logger, log_image\n"
        f"logger = wandb_logger({str(tmp_path)!r}, 'run-1')\n"
        "logger.log_metrics({'loss': 1.5}, 3)\n"
        "log_image(logger, 'grid', np.zeros((8, 8, 3), np.uint8), 3)\n"
        "logger.experiment.finish()\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    env |= {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "wandb").glob("offline-run-*-run-1")
    assert list(run.glob("*.wandb")) and list(run.glob("files/media/images/*.png"))


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
