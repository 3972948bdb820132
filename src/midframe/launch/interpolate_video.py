"""`midframe interpolate IN.yuv OUT.yuv`: a raw video with frames between its frames."""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from midframe.errors import UserError
from midframe.launch.progress import Progress
from midframe.video.colour import (
    MATRICES,
    RANGES,
    Colour,
    Planes,
    common_residue,
    published_colour,
    residue,
    to_rgb,
    to_yuv,
    usual_colour,
)
from midframe.video.media import SUFFIXES
from midframe.video.yuv import (
    CHROMAS,
    DEPTHS,
    SUFFIX,
    YuvReader,
    YuvWriter,
    check_name,
    facts_of_name,
    format_of,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from midframe.models.base import Interpolator
    from midframe.models.timeline import Timeline

PUBLISHED = "published"
_ENDS = ("interpolate", "repeat")  # `midframe.models.timeline.ENDS`, which would import PyTorch
_OPTIONS = ("size", "depth", "chroma", "matrix", "range", "ends")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of videos."""
    group = parser.add_argument_group(
        "raw video (.yuv)", "what the file's name does not say, such as clip_1920x1080_10bit.yuv"
    )
    group.add_argument("--size", metavar="WxH", help="of a frame")
    group.add_argument("--depth", type=int, choices=DEPTHS, help="bits a sample; default: 8")
    group.add_argument("--chroma", choices=CHROMAS, help="default: 420")
    group.add_argument(
        "--matrix",
        choices=(*MATRICES, PUBLISHED),
        help="default: bt709 from 720 lines on, else bt601; "
        f"{PUBLISHED}: 8 bits of bt601 as published evaluations read it",
    )
    group.add_argument("--range", choices=RANGES, help="default: limited")
    group.add_argument(
        "--ends",
        choices=_ENDS,
        help="first and last gap of a model of four frames: from repeated frames (the default), "
        "or an outer frame once more, as published",
    )


def is_video(args: argparse.Namespace) -> bool:
    """Whether the command is about a video; `UserError` where its options do not fit together."""
    suffix = args.input.suffix.lower()
    if suffix in SUFFIXES:
        raise UserError(
            f"{args.input}: of videos, only raw ones can be read as yet; make one with "
            f"ffmpeg -i {shlex.quote(args.input.name)} -pix_fmt yuv420p clip_WxH.yuv"
        )
    if suffix != SUFFIX:
        given = [f"--{name}" for name in _OPTIONS if getattr(args, name) is not None]
        if given:
            raise UserError(f"{' '.join(given)} is for raw video; {args.input} is no {SUFFIX} file")
        return False
    if args.out is not None:
        raise UserError(f"--out is for pictures; of a video: IN{SUFFIX} OUT{SUFFIX}")
    return True


def run(args: argparse.Namespace, load: Callable[[], tuple[Interpolator, torch.device]]) -> int:
    """Interpolate a video; `UserError` for what the user can mend.

    Args:
        args: see `add_arguments` and `midframe.launch.interpolate.add_arguments`.
        load: gives the model and where it is, once the files were looked at.
    """
    from midframe.models.timeline import BISECTION, ENDS, Timeline, parse_times

    times = parse_times(args.factor, args.times)
    job = _plan(args, len(times))
    with job.reader:
        model, device = load()
        colour, reader = job.colour, job.reader

        def frame(number: int) -> Tensor:
            import torch

            return torch.from_numpy(to_rgb(reader.read(number), colour)).to(device)

        timeline = Timeline(model, frame, reader.frames, args.ends or ENDS[0])
        if reader.frames < 2 * model.context:
            print(
                f"note: {reader.frames} frames for a model that reads {2 * model.context}: "
                "the outer ones are read twice"
            )
        try:
            _write(job, timeline, times)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{job.out} was not written") from None
    if timeline.bisects and len(times) > 1:
        print(f"note: {BISECTION}")
    between = (reader.frames - 1) * len(times)
    print(f"{reader.frames + between} frames, {between} of them new: {job.out}")
    print(f"play it:  {_player(job, times)}", flush=True)
    return 0


@dataclass(frozen=True)
class _Job:
    reader: YuvReader
    out: Path
    colour: Colour
    fps: Fraction | None


def _plan(args: argparse.Namespace, new: int) -> _Job:
    """Find out what there is to do and say so; ``new`` is the number of frames in a gap."""
    from midframe.launch.arguments import size

    if not args.input.is_file():
        raise UserError(f"{args.input}: no such file")
    form = format_of(args.input, args.size and size(args.size), args.depth, args.chroma)
    out = args.second
    if out.suffix.lower() != SUFFIX:
        raise UserError(f"{out}: raw video is written as yet; end the name in {SUFFIX}")
    check_name(out, form)
    if out.is_dir():
        raise UserError(f"{out} is a folder; give a file")
    if out.exists():
        if out.samefile(args.input):
            raise UserError(f"{out} is the input; give another name")
        if not args.overwrite:
            raise UserError(f"{out} exists; give another name, or add --overwrite")
    if args.matrix == PUBLISHED:
        if args.range:
            raise UserError(f"--matrix {PUBLISHED} knows its range; leave out --range")
        colour = published_colour(form)
    else:
        usual = usual_colour(form)
        colour = Colour(args.matrix or usual.matrix, args.range or usual.range)
    reader = YuvReader(args.input, form)
    fps = facts_of_name(args.input).fps
    rate = f", {float(fps):g} frames a second" if fps else ""
    print(f"{args.input}: {reader.frames} frames of {form}, {colour}{rate}")
    if reader.left_over:
        print(
            f"note: {reader.left_over} bytes behind the last whole frame are left out; "
            "where the picture is wrong, give --size, --depth, --chroma"
        )
    _check_room(out, (reader.frames + (reader.frames - 1) * new) * form.frame_bytes)
    return _Job(reader, out, colour, fps)


def _check_room(out: Path, needed: int) -> None:
    folder = next(p for p in out.absolute().parents if p.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{out} takes {needed / 1e9:.1f} GB, there are {free / 1e9:.1f} GB free in {folder}"
        )


def _write(job: _Job, timeline: Timeline, times: Sequence[Fraction]) -> None:
    """Write all frames: those of the input as they are, bit by bit, and new ones between."""
    reader = job.reader
    gaps = reader.frames - 1
    total = reader.frames + gaps * len(times)
    with (
        Progress("interpolating", total, unit="frames") as progress,
        YuvWriter(job.out, reader.format) as writer,
    ):
        ends = (_End(job, timeline, number) for number in range(reader.frames))
        first = next(ends)
        writer.write(first.frame)
        progress.advance()
        for gap, second in enumerate(ends):
            shared = None
            for rgb in timeline.between(gap, times):
                same = [end for end in (first, second) if rgb is timeline.at(end.number)]
                if same:  # nothing moves here, or the frame is repeated
                    writer.write(same[0].frame)
                else:
                    shared = shared or common_residue(first.beyond, second.beyond)
                    picture = rgb.cpu().numpy()
                    writer.write(to_yuv(picture, reader.format, job.colour, shared))
                progress.advance()
            writer.write(second.frame)
            progress.advance()
            first = second


class _End:
    """A frame of the input, at an end of a gap."""

    def __init__(self, job: _Job, timeline: Timeline, number: int) -> None:
        self.number, self.frame = number, job.reader.read(number)
        self._job, self._timeline = job, timeline

    @cached_property
    def beyond(self) -> Planes:
        """What it has beyond the RGB that the model reads."""
        rgb = self._timeline.at(self.number).cpu().numpy()
        return residue(self.frame, rgb, self._job.colour)


def _player(job: _Job, times: Sequence[Fraction]) -> str:
    form = job.reader.format
    words = ["ffplay", "-f", "rawvideo", "-pixel_format", form.pixel_format]
    words += ["-video_size", f"{form.width}x{form.height}"]
    even = list(times) == [Fraction(k + 1, len(times) + 1) for k in range(len(times))]
    if job.fps and even:
        words += ["-framerate", str(job.fps * (len(times) + 1))]
    return shlex.join([*words, str(job.out)])
