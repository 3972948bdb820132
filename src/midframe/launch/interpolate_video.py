"""`midframe interpolate INPUT OUTPUT`: a video with frames between its frames."""

from __future__ import annotations

import argparse
import io
import shlex
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midframe.errors import UserError
from midframe.launch.convert_out import check_out
from midframe.launch.convert_plan import KEEP, REPLACE, Job, facts, plan, told, told_more
from midframe.launch.convert_report import KINDS, Report
from midframe.video.clip import PUBLISHED
from midframe.video.codecs import SPEEDS
from midframe.video.colour import MATRICES, RANGES
from midframe.video.pictures import SUFFIXES, is_pattern
from midframe.video.yuv import CHROMAS, DEPTHS
from midframe.video.yuv import SUFFIX as RAW

if TYPE_CHECKING:
    import torch

    from midframe.models.base import Interpolator

_ENDS = ("interpolate", "repeat")  # `midframe.models.timeline.ENDS`, which would import PyTorch
_AUDIO = ("copy", "stretch", "drop")
_RAW_OPTIONS = ("size", "depth", "chroma")
_OPTIONS = (
    *("slow_motion", "input_fps", "codec", "quality", "lossless", "output_chroma", "audio"),
    *(
        "scene_cuts",
        "cut_threshold",
        "duplicates",
        "memory",
        "preview",
        "profile",
        "batch",
        "dry_run",
        "restart",
        "ends",
        "matrix",
        "range",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of videos."""
    group = parser.add_argument_group("videos (files, folders of pictures, frames/%04d.png)")
    _add_output(group)
    _add_way(group)
    _add_meaning(group)
    group = parser.add_argument_group(
        "raw video (.yuv)", "what the file's name does not say, such as clip_1920x1080_10bit.yuv"
    )
    group.add_argument("--size", metavar="WxH", help="of a frame")
    group.add_argument("--depth", type=int, choices=DEPTHS, help="bits a sample; default: 8")
    group.add_argument("--chroma", choices=CHROMAS, help="default: 420")


def _add_output(group: argparse._ArgumentGroup) -> None:
    """How the output lasts, sounds and is encoded."""
    group.add_argument(
        "--slow-motion",
        metavar="N",
        help="last N times longer; at the same rate unless one is given",
    )
    group.add_argument("--audio", choices=_AUDIO, help="default: copy; of slow motion: drop")
    group.add_argument("--codec", help="such as h264, hevc, av1, vp9, prores, ffv1; as the input")
    group.add_argument("--quality", type=int, help="on the codec's scale, of pictures 1 to 100")
    group.add_argument("--speed", choices=SPEEDS, default="medium", help="of the encoder")
    group.add_argument("--lossless", action="store_true", help="lose nothing, where it can be")
    group.add_argument("--output-chroma", choices=CHROMAS, help="default: as the input")


def _add_way(group: argparse._ArgumentGroup) -> None:
    """How frames are made, by which means, and what is said of it."""
    group.add_argument(
        "--scene-cuts",
        metavar="auto|off|FILE",
        help="where shots begin: found by their content (the default but for raw video), nowhere, "
        "or a list, a frame's number or seconds in a line",
    )
    group.add_argument(
        "--cut-threshold",
        type=float,
        metavar="X",
        help="least mean change at a cut, in grey levels; default: 8",
    )
    group.add_argument(
        "--duplicates",
        choices=(KEEP, REPLACE),
        help="of animated or telecined material: keep repeated frames (the default), or replace "
        "them by what lies between their neighbours",
    )
    group.add_argument(
        "--memory",
        metavar="auto|GiB",
        help="that may be taken; large frames are worked on with flow at a reduced size or in "
        "blocks. Default: auto, what is free",
    )
    group.add_argument("--batch", metavar="N", help="pairs of frames at once; default: auto")
    group.add_argument(
        "--devices", metavar="N", default="1", help="processes, on a GPU each; auto: all GPUs"
    )
    group.add_argument(
        "--preview", action="store_true", help="show the input beside what is made of it"
    )
    group.add_argument(
        "--profile", action="store_true", help="say at last where time and memory went"
    )
    group.add_argument(
        "--compare",
        action="store_true",
        help="make no video: predict every second frame from its neighbours and say how well; "
        "with a folder DIR, write numbers and a plot",
    )
    group.add_argument("--dry-run", action="store_true", help="say what would be done, and do not")
    group.add_argument(
        "--restart", action="store_true", help="begin anew where the same command was interrupted"
    )
    group.add_argument(
        "--progress", choices=KINDS, default=KINDS[0], help="json: an object in each line"
    )


def _add_meaning(group: argparse._ArgumentGroup) -> None:
    """What the frames of the input are, where it does not say it."""
    group.add_argument(
        "--input-fps", metavar="FPS", help="of pictures and raw video that do not say it"
    )
    group.add_argument(
        "--ends",
        choices=_ENDS,
        help="first and last gap of a model of four frames: from repeated frames (the default), "
        "or an outer frame once more, as published",
    )
    group.add_argument(
        "--matrix",
        choices=(*MATRICES, PUBLISHED),
        help="of colours, where the video does not say it or is wrong; default: bt709 from 720 "
        f"lines on, else bt601; of raw video {PUBLISHED}: 8 bits of bt601 as published "
        "evaluations read it",
    )
    group.add_argument("--range", choices=RANGES, help="of colours, likewise; default: limited")


def is_video(args: argparse.Namespace) -> bool:
    """Whether the command is about a video; `UserError` where its options do not fit together."""
    raw = args.input.suffix.lower() == RAW
    given = [f"--{name}" for name in _RAW_OPTIONS if getattr(args, name) is not None]
    if given and not raw:
        raise UserError(f"{' '.join(given)} is for raw video; {args.input} is no {RAW} file")
    if _is_picture(args.input) and (args.out is not None or _is_picture(args.second)):
        given = [name for name in _OPTIONS if getattr(args, name)]
        if given:
            option = f"--{given[0].replace('_', '-')}"
            raise UserError(f"{option} is for videos; {args.input} is one picture")
        return False
    if args.out is not None:
        raise UserError(f"--out is for pictures; of a video: {args.input.name} OUTPUT")
    return True


def run(args: argparse.Namespace, load: Callable[[], tuple[Interpolator, torch.device]]) -> int:
    """Interpolate a video; `UserError` for what the user can mend.

    Args:
        args: see `add_arguments` and `midframe.launch.interpolate.add_arguments`.
        load: gives the model and where it is, once the files were looked at.
    """
    from midframe.video.join import planned

    report = Report(args.progress)
    with report.telling():
        _check_words(args)
        job = plan(args)
        check_out(job, args.overwrite)
        lost = planned(job.clip, job.target, stretch=job.request.slow, audio=job.audio)
        _tell(job, args, report)
        settings = _settings(args)  # of a model that there is
        if args.dry_run:
            for words in lost:  # which a conversion says when it has happened
                report.note(words)
            if args.engine is not None:
                load()  # which is quick, and may be refused
            report.say("nothing was written: --dry-run")
            return 0
        from midframe.launch.convert import make

        make(job, args, load, settings, report)
        total, new = len(job.schedule), job.new
        report.say(f"{total} frames, {new} of them at times between: {job.out}")
        report.event("done", path=str(job.out), frames=total, new=new)
        if job.target.kind == "raw":
            report.say(f"play it:  {_player(job)}")
    return 0


def _check_words(args: argparse.Namespace) -> None:
    """Refuse what would be noticed only when the model is loaded."""
    if args.memory is not None:
        from midframe.launch import memory_need

        if args.memory != memory_need.AUTO:
            memory_need.gibibytes(args.memory)
    if args.engine is not None and not args.engine.expanduser().exists():
        raise UserError(f"there is no engine {args.engine}; `midframe export` makes one")


def compare(args: argparse.Namespace, load: Callable[[], tuple[Interpolator, torch.device]]) -> int:
    """Say how well a model predicts frames of a video; see `run`."""
    from midframe.launch import convert_compare

    return convert_compare.run(args, load, _settings(args))


def help_out(args: argparse.Namespace, rank: int) -> int:
    """Make parts of what another process has begun; see `midframe.launch.convert_team`.

    Args:
        args: of that process.
        rank: which of its helpers this is, from 1 on.
    """
    from midframe.launch import interpolate
    from midframe.launch.convert import help_out
    from midframe.launch.inference import resolve_device

    if args.device in ("auto", "cuda") and resolve_device("auto").type == "cuda":
        args.device = f"cuda:{rank}"
    help_out(plan(args), args, lambda: interpolate._load(args, frames=None), _settings(args))
    return 0


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and (path.is_file() or not is_pattern(path))


def _settings(args: argparse.Namespace) -> Any:
    """Return all that is known of the model before it is loaded, as plain data."""
    from midframe.launch import interpolate

    with redirect_stdout(io.StringIO()):  # it is said when the model is loaded
        config = interpolate._config(args)
    return {key: config.get(key) for key in ("name", "net", "hints", "motion", "parts")}


def _tell(job: Job, args: argparse.Namespace, report: Report) -> None:
    report.event("plan", **facts(job), **({"new": job.new} if args.dry_run else {}))
    for line in told(job):
        report.say(line)
    for note in job.clip.notes:
        report.note(note)
    for words in job.target.words:
        report.say(f"  {words}")
    if args.dry_run:
        for line in told_more(job):
            report.say(line)


def _player(job: Job) -> str:
    form = job.target.form
    words = ["ffplay", "-f", "rawvideo", "-pixel_format", form.pixel_format]
    words += ["-video_size", f"{form.width}x{form.height}"]
    if job.rate and not job.assumed:
        words += ["-framerate", str(job.rate)]
    return shlex.join([*words, str(job.out)])
