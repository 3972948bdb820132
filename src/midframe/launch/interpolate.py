"""Put frames between two pictures, or between all frames of a video or of an event camera.

A video is a file, a folder of pictures, a pattern such as frames/%04d.png, or raw video. Of two
pictures it writes the frames, an animated GIF, an overlay and the flows into a folder.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from midframe.errors import UserError
from midframe.launch.output import whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from midframe.models.base import Interpolator
    from midframe.types import Prediction

DEFAULT_MODEL = "dis_refined"  # its weights come with midframe
FRAMES, GIF, OVERLAY, FLOW = "frames", "between.gif", "overlay.png", "flow.png"
FLOW_FILES = ("flow_0.flo", "flow_1.flo")
# what the two directions are
BACKWARD = ("flow from the middle to the first", "flow from the middle to the second")
FORWARD = ("flow from the first to the second", "flow from the second to the first")
_BLENDS = ("cosine", "linear", "mean", "published")  # `midframe.models.tiles.BLENDS`, see _ENDS
MOTION = "motion"  # made from the frames where a model needs it, see `midframe.models.motion`
_GIF_WIDTH = 640  # wider pictures are shrunk for the GIF
_SECONDS = 1.0  # from the first to the second frame, in the GIF


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe interpolate`."""
    from midframe.launch import interpolate_recording, interpolate_video

    forms = ("INPUT OUTPUT", "INPUT [DIR] --compare", "A B --out DIR", "RECORDING [DIR]")
    parser.usage = "\n       ".join(f"%(prog)s {form} [options]" for form in forms)
    first = "a video, the first of two pictures, or a recording of an event camera"
    parser.add_argument("input", type=Path, metavar="INPUT|A|RECORDING", help=first)
    second = "the video to write, the second picture, of the same size, or a new folder"
    parser.add_argument("second", type=Path, nargs="?", metavar="OUTPUT|B|DIR", help=second)
    out = "a new folder, for two pictures and recordings"
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    parser.add_argument(
        "--factor", help="frames for each; default: 2, which writes one between; of videos also 5/2"
    )
    parser.add_argument("--fps", help="frames a second instead, such as 60 or 60000/1001")
    parser.add_argument(
        "--times", help="times between 0 and 1 instead, such as 0.25,0.5; or how many, such as 3"
    )
    parser.add_argument(
        "--model",
        help=f"see `midframe models`; default: that of the run, or {DEFAULT_MODEL}",
    )
    parser.add_argument("--weights", metavar="FILE", help="a checkpoint or a run directory")
    engine = "a file of `midframe export` instead of a model: NAME.onnx, NAME.pt2 or NAME.ncnn"
    parser.add_argument("--engine", metavar="FILE", type=Path, help=engine)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument(
        "--block",
        type=int,
        metavar="PIXELS",
        help="work on blocks of this size, where a frame takes too much memory",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="PIXELS",
        help="of neighbouring blocks, which are blended there; default: 64",
    )
    parser.add_argument(
        "--blend",
        choices=_BLENDS,
        help="how overlaps are blended; default: cosine; published: blocks as ST-MFNet's code has "
        "them, at a fixed stride, with the plain mean",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    interpolate_video.add_arguments(parser)
    interpolate_recording.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Interpolate as the options say; `UserError` for what the user can mend."""
    from midframe.launch import interpolate_recording, interpolate_video

    if interpolate_recording.is_recording(args):
        given = interpolate_recording.GIVEN
        return interpolate_recording.run(args, lambda: _load(args, frames=None, given=given))
    if args.compare:
        return interpolate_video.compare(args, lambda: _load(args, frames=None))
    if args.second is None:
        raise UserError(f"{args.input} alone: give the video to write, or a second picture")
    if interpolate_video.is_video(args):
        return interpolate_video.run(args, lambda: _load(args, frames=None))
    if args.fps is not None:
        raise UserError("--fps is for videos, and is for recordings of event cameras")
    if args.out is None:
        raise UserError("two pictures need --out DIR, a new folder for what is written")
    return _run_pictures(args)


def whole_factor(args: argparse.Namespace) -> int:
    """Return a factor that is a whole number, as everything but a video takes."""
    if args.factor is not None and args.times is not None:
        raise UserError("--factor and --times say the same; give one of them")
    factor = args.factor or "2"
    if not factor.isdecimal():
        raise UserError(f"--factor {factor}: give a whole number; others are for videos")
    return int(factor)


def _run_pictures(args: argparse.Namespace) -> int:
    from midframe.models.timeline import BISECTION, ROUNDING, Timeline, parse_times
    from midframe.picture import to_picture

    times = parse_times(whole_factor(args), args.times)
    first, second = _read_pair(args.input, args.second)
    args.out = args.out.resolve()
    _check_out(args.out, args.overwrite)
    model, device = _load(args)
    pair = [_tensor(picture, device) for picture in (first, second)]
    timeline = Timeline(model, pair.__getitem__, len(pair))
    flows = _flows(timeline.middle(0))
    frames = [to_picture(frame) for frame in timeline.between(0, times)]
    if timeline.bisects and len(times) > 1:
        print(f"note: {BISECTION}")
    if timeline.rounds:
        print(f"note: {ROUNDING}")
    _write(args.out, [first, *frames, second], flows)
    plural = "s" if len(frames) > 1 else ""
    print(f"{len(frames)} frame{plural} between, {len(frames) + 2} in all: {args.out / FRAMES}")
    print(f"animation {args.out / GIF}, inputs {args.out / OVERLAY}")
    if flows:
        values = " and ".join(name for name, _ in zip(FLOW_FILES, flows))
        print(f"flow {args.out / FLOW}, its values in {values}")
    return 0


def _read_pair(first: Path, second: Path) -> tuple[np.ndarray, np.ndarray]:
    from midframe.data.io import ImageFile

    for path in (first, second):
        if path.is_dir():
            raise UserError(f"{path} is a folder; give two pictures, or a folder and a video")
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    pictures = [ImageFile(str(path)).read() for path in (first, second)]
    (h0, w0), (h1, w1) = (p.shape[:2] for p in pictures)
    if (h0, w0) != (h1, w1):
        raise UserError(
            f"{first} has {w0}x{h0} pixels and {second} has {w1}x{h1}; give two of one size"
        )
    return pictures[0], pictures[1]


def _load(
    args: argparse.Namespace, frames: int | None = 2, given: Collection[str] = ()
) -> tuple[Interpolator, torch.device]:
    """Return the model and where it is.

    Args:
        args: the options.
        frames: all there are to read; None for many.
        given: what there is beside frames, as models name it in ``needs``.
    """
    from midframe.launch.inference import in_blocks, load_model, resolve_device
    from midframe.models import zoo

    if args.engine is not None:
        return _load_engine(args, frames, given)
    config = _config(args)
    name, cls = config["name"], zoo.check_config(config)
    device = resolve_device(args.device)
    if not cls.trainable:  # classical models compute on the CPU anyway
        device = resolve_device("cpu")
    _check_given(name, cls, frames, given)
    words = {"option": "--weights ", "mend": "leave out --model to use it"}
    model = load_model(config, args.weights, device, precision=args.precision, **words)
    return in_blocks(model, args.block, args.overlap, args.blend, "--"), device


def _load_engine(
    args: argparse.Namespace, frames: int | None, given: Collection[str]
) -> tuple[Interpolator, torch.device]:
    from midframe.export.engine import load_engine
    from midframe.launch.inference import in_blocks, resolve_device
    from midframe.models.motion import guided

    others = [f"--{name}" for name in ("model", "weights") if getattr(args, name)]
    others += ["--precision"] if args.precision != "fp32" else []
    if others:
        raise UserError(f"--engine {args.engine} is a model as it is; leave out {others[0]}")
    device = resolve_device(args.device)
    engine = load_engine(args.engine, device=str(device))
    _check_given(engine.title, engine, frames, given)
    print(f"model {engine.title}, as exported in {args.engine}")
    return in_blocks(guided(engine), args.block, args.overlap, args.blend, "--"), device


def _check_given(
    name: str,
    model: Interpolator | type[Interpolator],
    frames: int | None,
    given: Collection[str],
) -> None:
    if frames is not None and frames < 2 * model.context:
        raise UserError(f"model {name} reads {2 * model.context} frames, here are only {frames}")
    lacking = sorted(model.needs - {MOTION, *given})
    if lacking:
        raise UserError(
            f"model {name} needs {', '.join(lacking)} beside the frames; "
            "give a recording of an event camera (.aedat4), or another --model"
        )


def _config(args: argparse.Namespace) -> dict[str, Any]:
    """Return the model to build: a run's own, with its options, where the weights are of one."""
    from midframe.launch.inference import as_trained
    from midframe.models import zoo
    from midframe.models.shipped import SHIPPED
    from midframe.models.weights import UNTRAINED

    run = as_trained(args.weights, args.model)
    if run is not None:
        return run
    if args.model:
        return zoo.config_of(args.model)
    if args.weights not in (None, "", UNTRAINED, SHIPPED):
        raise UserError(
            "--weights needs the name of the model that they are for: --model NAME "
            "(only a run directory of midframe says it itself)"
        )
    print(
        f"model {DEFAULT_MODEL}: classical optical flow and a small network, "
        + ("untrained" if args.weights == UNTRAINED else "whose weights come with midframe")
        + "; others: --model NAME"
    )
    return zoo.config_of(DEFAULT_MODEL)


def _tensor(picture: np.ndarray, device: torch.device) -> Tensor:
    import torch

    frame = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
    return frame.to(device).float().div(255)


def _flows(out: Prediction) -> list[tuple[str, np.ndarray]]:
    """Return what the flows of a prediction of the middle are, and the flows (h, w, 2) in pixels.

    Two of most models: from the middle frame to the first and to the second, or between these
    where it warps forward. None of a model that provides no flow.
    """
    if out.flow is None:
        return []
    fields = out.flow[0, 0].float().permute(0, 2, 3, 1).cpu().numpy()
    return list(zip(FORWARD if out.goes_forward else BACKWARD, fields))


def _check_out(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a new folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(f"--out {out} is not empty; give a new folder, or add --overwrite")
    ours = (FRAMES, GIF, OVERLAY, FLOW, *FLOW_FILES)
    foreign = [p.name for p in out.iterdir() if p.name not in ours]
    if (out / FRAMES).is_dir():
        inside = (p.name for p in (out / FRAMES).iterdir())
        foreign += [f"{FRAMES}/{n}" for n in inside if not re.fullmatch(r"\d{4}\.png", n)]
    if foreign:
        raise UserError(f"--out {out} holds {foreign[0]}, which is not ours; give a new folder")


def _write(
    out: Path, sequence: Sequence[np.ndarray], flows: Sequence[tuple[str, np.ndarray]]
) -> None:
    """Write everything into a folder beside ``out`` and move it there whole."""
    from midframe.data.flow_files import write_flow
    from midframe.data.io import write_image
    from midframe.picture import flow_pictures, overlay
    from midframe.video.gif import write_gif

    with whole(out) as aside:
        for number, picture in enumerate(sequence):
            write_image(aside / FRAMES / f"{number:04d}.png", picture)
        write_gif(aside / GIF, [_for_gif(p) for p in sequence], fps=len(sequence) / _SECONDS)
        write_image(aside / OVERLAY, overlay(sequence[0], sequence[-1]))
        if flows:
            write_image(aside / FLOW, flow_pictures(flows))
        for name, (_, flow) in zip(FLOW_FILES, flows):
            write_flow(aside / name, flow)


def _for_gif(picture: np.ndarray) -> np.ndarray:
    import cv2

    height, width = picture.shape[:2]
    if width <= _GIF_WIDTH:
        return picture
    size = (_GIF_WIDTH, max(1, round(height * _GIF_WIDTH / width)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
