"""Conversions end to end, the bare model, and ffmpeg's minterpolate: how fast and how good."""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from midframe.errors import UserError
from midframe.launch import interpolate, minterpolate
from midframe.launch.bench_video import FFMPEG, LOOP, WHOLE
from midframe.launch.convert import make, maker_of
from midframe.launch.convert_compare import Comparison, Row, compared
from midframe.launch.convert_plan import plan
from midframe.launch.convert_report import Report
from midframe.models.base import Interpolator
from midframe.speed.turns import ratio, turns
from midframe.types import Inputs
from midframe.video.beginning import beginning
from midframe.video.clip import Clip, open_clip
from midframe.video.cuts import FindCuts
from midframe.video.halved import Halved, OddFrames

_HELD = 2 * 2**30  # bytes of decoded frames that the bare loop may hold


def bench(
    video: Path,
    name: str,
    weights: str | None,
    rounds: int,
    device: str = "auto",
    frames: int | None = None,
) -> dict[str, Any]:
    """Measure one model on one clip: twice the frames, and every second one left out.

    The sides take turns round by round, so that what else the machine does weighs on all alike.
    All speeds are new frames a second: those of the conversions with everything that belongs to
    them (opening, decoding, predicting, encoding with the same encoder, joining), those of the
    bare loop from frames that are decoded already.

    Args:
        video: of three frames or more, all of which the memory must hold.
        name: of a model.
        weights: a file or "none"; None: those of its yaml.
        rounds: timed turns, after one that is not.
        device: where the model runs.
        frames: of the clip, from its start, at most; None: all.

    Returns:
        What can be written as JSON.

    Raises:
        UserError: for what cannot be opened or loaded, or does not fit.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = video if frames is None else beginning(video, frames, Path(folder))
        clip = open_clip(path)
        size = 12 * clip.format.width * clip.format.height
        if not 3 <= len(clip) <= max(_HELD // size, 3):
            most = _HELD // size
            raise UserError(
                f"{video}: {len(clip)} frames of {clip.format} are measured; give 3 to {most}"
            )
        args = _options(path, Path(folder) / "out.mp4", name, weights, device)
        model, where = _loaded(args)
        sides: dict[str, Callable[[], Any]] = {
            LOOP: _bare(clip, model, where),
            WHOLE: lambda: _convert(args, model, where),
        }
        if minterpolate.version() and clip.rate is not None:
            sides[FFMPEG] = lambda: minterpolate.twice(path, clip, Path(folder) / "ffmpeg.mp4")
        sides[WHOLE]()  # which loads what is loaded late
        wall, busy = turns(sides, rounds)
        quality = _quality(clip, model, where, Path(folder))
    new = len(clip) - 1
    return {
        "video": video.name,
        "size": f"{clip.format.width}x{clip.format.height}",
        "frames": len(clip),
        "model": name,
        "trained": not model.trainable or weights != "none",
        "device": str(where),
        "fps": {side: float(f"{new / sorted(s)[len(s) // 2]:.4g}") for side, s in wall.items()},
        "cpu_s": {side: round(sorted(s)[len(s) // 2], 2) for side, s in busy.items()},
        "of_bare": ratio(wall, LOOP, WHOLE),
        "of_bare_cpu": ratio(busy, LOOP, WHOLE),
        **({"of_ffmpeg": ratio(wall, FFMPEG, WHOLE)} if FFMPEG in wall else {}),
        **quality,
    }


def _options(
    video: Path, out: Path, name: str, weights: str | None, device: str
) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    words = [str(video), str(out), "--model", name, "--progress", "none", "--overwrite"]
    words += ["--device", device, "--scene-cuts", "auto", "--codec", "h264", "--quality", "16"]
    words += ["--weights", weights] if weights else []
    return parser.parse_args(words)


def _loaded(args: argparse.Namespace) -> tuple[Interpolator, torch.device]:
    return interpolate._load(args, frames=None)


def _convert(args: argparse.Namespace, model: Interpolator, device: torch.device) -> None:
    make(plan(args), args, lambda: (model, device), None, Report("none"))


def _bare(clip: Clip, model: Interpolator, device: torch.device) -> Callable[[], None]:
    """Return a loop over decoded frames with nothing around the model."""
    frames = [torch.from_numpy(frame.rgb()).to(device) for frame in clip.read()]
    c, half = model.context, torch.tensor([[0.5]], device=device)

    def loop() -> None:
        for gap in range(len(frames) - 1):
            around = [frames[min(max(gap + k, 0), len(frames) - 1)] for k in range(1 - c, c + 1)]
            made = model.interpolate(Inputs(torch.stack(around)[None], half)).frame
            made[0, 0].cpu()

    return loop


def _quality(clip: Clip, model: Interpolator, device: torch.device, folder: Path) -> dict[str, Any]:
    """Return PSNR and SSIM of the odd frames, of the model, the average and minterpolate."""
    report = Report("none")

    def task() -> Comparison:
        halved = Halved(clip, clip.format, len(clip), FindCuts())
        return Comparison(halved, OddFrames(list(clip.times)), "interpolate")

    one = task()
    with report.counting(0, 0) as counter:
        rows = compared(clip, one, maker_of(model, device, one, None, report), counter).rows
    sides = {"model": rows}
    if minterpolate.version() and clip.rate is not None:
        sides[FFMPEG] = minterpolate.quality(clip, task(), folder / "halved.nut")
    common = set.intersection(*({row.frame for row in side} for side in sides.values()))
    found: dict[str, Any] = {"compared": len(common), "psnr": {}, "ssim": {}}
    for name, side in sides.items():
        same = [row for row in side if row.frame in common]
        for measure in ("psnr", "ssim"):
            found[measure][name] = _mean(same, measure)
            found[measure]["average"] = _mean(same, f"average_{measure}")
    return found


def _mean(rows: list[Row], name: str) -> float:
    return round(fmean(getattr(row, name) for row in rows), 4)
