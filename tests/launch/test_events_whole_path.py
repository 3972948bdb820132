"""From a recording to frames between its own: prepare, both published stages, interpolate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from midframe import cli
from midframe.data.io import ImageFile
from midframe.events.aedat import read_recording
from midframe.launch.tasks import train_main as train

pytestmark = pytest.mark.slow

SMALL = [
    "model.motion.network=dis",
    "model.net.channels=[4,4,8,8,8]",
    "data.global_batch=2",
    "data.crop=64",
    "data.workers=0",
    "data.val.limit=1",
    "trainer.max_steps=3",
    "trainer.val_check_interval=3",
    "logger=none",
]
REFINE = ["model.net.features=[4,4,8]", "model.net.embed=8", "model.net.decoder=[8,4,4]"]


@pytest.fixture(params=["real", "simulated"])
def recording(request, tmp_path: Path, shared_data: Callable[[str], Path]) -> Path:
    pytest.importorskip("dv_processing", reason="the extra 'events' is not installed")
    if request.param == "real":
        return shared_data("aedat4") / "davis346.aedat4"
    path = tmp_path / "scene.aedat4"
    words = ["synthetic", "--out", str(path), "--seconds", "1.6", "--size", "96x80"]
    assert cli.main(["events", "simulate", *words]) == 0
    return path


def test_a_recording_teaches_both_stages_which_interpolate_it(recording: Path, tmp_path: Path):
    torch.set_num_threads(1)
    prepared, out = tmp_path / "events", tmp_path / "out"
    assert cli.main(["events", "prepare", str(recording), "--out", str(prepared)]) == 0
    where = [*SMALL, f"data.root={prepared}", f"paths.runs={tmp_path}"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(["experiment=event_stage1", *where, f"run.dir={one}"]) == 0
    second = ["experiment=event_stage2", f"stage1={one}", *REFINE]
    assert train([*second, *where, f"run.dir={two}"]) == 0
    words = ["interpolate", str(recording), str(out), "--weights", str(two), "--times", "1"]
    assert cli.main(words) == 0
    frames = read_recording(recording).frames
    written = sorted((out / "frames").iterdir())
    assert len(written) == 2 * len(frames) - 1
    for number in (0, len(frames) - 1):
        kept = ImageFile(str(written[2 * number])).read()
        shown = frames[number] if frames.ndim == 4 else np.repeat(frames[number][..., None], 3, 2)
        np.testing.assert_array_equal(kept, shown)
