"""What a conversion of a video will do, from the options of a command: nothing is written yet."""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sized
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from midframe.errors import UserError
from midframe.launch.arguments import size
from midframe.video.beside import wide
from midframe.video.clip import PUBLISHED, USUAL_RATE, Clip, Reading, open_clip
from midframe.video.format import Format
from midframe.video.inbetween import Gate, Maker
from midframe.video.pictures import find, is_pattern
from midframe.video.pipeline import Cuts, parse_cuts, room_for
from midframe.video.timing import (
    Part,
    Request,
    Schedule,
    parse_rate,
    parse_ratio,
    part_frames,
    parts,
    said_rate,
)
from midframe.video.yuv import SUFFIX as RAW
from midframe.video.yuv import facts_of_name

if TYPE_CHECKING:
    from midframe.video.target import Target

AUTO, OFF = "auto", "off"
KEEP, REPLACE = "keep", "replace"
_COPIES = 3  # of a belt's pictures that are there at once: on both belts, and with the model


class Footage(Protocol):
    """What frames a model gets."""

    @property
    def format(self) -> Format:
        """Of the frames."""

    def __len__(self) -> int: ...


class Task(Protocol):
    """What a model is to do, as far as it must know: see `Job`."""

    @property
    def clip(self) -> Footage:
        """What is read."""

    @property
    def schedule(self) -> Sized:
        """All that is written."""

    @property
    def spacings(self) -> Collection[int]:
        """At which parts of a gap: halves, thirds ..."""

    @property
    def ends(self) -> str:
        """See `midframe.models.timeline.Timeline`."""

    @property
    def preview(self) -> bool:
        """Whether the input is shown beside what is made of it."""


@dataclass(frozen=True)
class Job:
    """A conversion.

    Attributes:
        clip: what is read.
        out: what is written.
        target: in which form.
        request: the times that were asked for.
        schedule: those of all frames of the output.
        parts: that it is made in.
        cuts: where shots begin; None: all is one shot.
        duplicates: whether repeated frames are replaced by in-betweens.
        preview: whether the input is shown beside what is made of it.
        ends: see `midframe.models.timeline.Timeline`.
        audio: "copy", "stretch" or "drop".
        assumed: whether nobody said the input's rate.
    """

    clip: Clip
    out: Path
    target: Target
    request: Request
    schedule: Schedule
    parts: list[Part]
    cuts: Gate | None
    duplicates: bool
    preview: bool
    ends: str
    audio: str
    assumed: bool

    @cached_property
    def spacings(self) -> Counter[int]:
        """How many frames of the output lie at halves, thirds ... of a gap; at 1, of the input."""
        return self.schedule.spacings()

    @property
    def new(self) -> int:
        """How many frames of the output are none of the input."""
        return len(self.schedule) - self.spacings[1]

    @cached_property
    def repeated(self) -> int:
        """How many frames of the output show the last of the input after its first showing."""
        end, count = len(self.clip) - 1, 0
        while count < len(self.schedule) and self.schedule[-1 - count].position == end:
            count += 1
        return max(0, count - 1)

    @property
    def rate(self) -> Fraction | None:
        """Frames a second of the output; None: they vary."""
        return self.request.rate_of(self.clip.rate)

    @property
    def last(self) -> Fraction | None:
        """How long the last frame of the output is shown, in seconds; None: as the one before."""
        if self.rate is not None:
            return 1 / self.rate
        rest = self.schedule.duration + self.schedule[0].pts - self.schedule[-1].pts
        return rest or None

    @property
    def seconds(self) -> float:
        """How long the output is shown, its last frame as well."""
        passed = self.schedule[-1].pts - self.schedule[0].pts
        return float(passed + (self.last or 0))

    def gate(self, maker: Maker) -> Gate | None:
        """Return what finds shots and repeats for a model."""
        from midframe.video.duplicates import gate_of

        return gate_of(self.cuts, self.duplicates, self.clip.times, maker.behind, maker.ahead)

    def identity(self) -> dict[str, Any]:
        """Return all that the parts depend on but the model, as plain data."""
        return {
            "input": signature(self.clip.path),
            "reading": [str(self.clip.format), str(self.clip.colour), str(self.clip.rate)],
            "times": str(self.request),
            "output": repr(replace(self.target, path=Path(self.out.name), words=())),
            "scene cuts": sorted(self.cuts.numbers)
            if isinstance(self.cuts, Cuts)
            else repr(self.cuts),
            "duplicates": self.duplicates,
            "preview": self.preview,
            "ends": self.ends,
            "parts": [len(self.parts), len(self.schedule)],
        }


def plan(args: argparse.Namespace) -> Job:
    """Find out what there is to do; `UserError` for what the user can mend.

    Args:
        args: see `midframe.launch.interpolate.add_arguments`.
    """
    from midframe.video.target import Output, plan_output, turns
    from midframe.video.upright import upright

    request, clip = request_of(args), opened(args)
    if not turns(args.second):
        clip = upright(clip)
    audio = args.audio or ("copy" if request.slow == 1 else "drop")
    if audio == "copy" and request.slow != 1:
        raise UserError("--audio copy would not be in time with slow motion; give stretch or drop")
    wanted = Output(args.codec, args.quality, args.speed, args.lossless, args.output_chroma)
    rate = request.rate_of(clip.rate)
    if args.second.suffix.lower() == RAW:
        rate = rate or USUAL_RATE  # which such a file does not hold anyway
    seen = replace(clip, format=wide(clip.format)) if args.preview else clip
    # pictures and raw video have no duration that could be kept
    last = clip.last if clip.kind == "media" else Fraction(0)
    schedule = Schedule(clip.times, last, request)
    mean = len(schedule) / schedule.duration if schedule.duration else None
    target = plan_output(seen, args.second, rate, wanted, request.slow, mean)
    cuts = cuts_of(args, schedule)
    pieces = parts(schedule, part_frames(clip.format.width, clip.format.height))
    ends = args.ends or "interpolate"
    timed = clip.kind == "media" or args.input_fps
    assumed = not (timed or (clip.kind == "raw" and facts_of_name(clip.path).fps))
    return Job(
        clip=clip,
        out=args.second,
        target=target,
        request=request,
        schedule=schedule,
        parts=pieces,
        cuts=cuts,
        duplicates=args.duplicates == REPLACE,
        preview=args.preview,
        ends=ends,
        audio=audio,
        assumed=assumed,
    )


def opened(args: argparse.Namespace) -> Clip:
    """Open the input; `UserError` where there is none, or no frame in it."""
    if args.matrix == PUBLISHED and args.range:
        raise UserError(f"--matrix {PUBLISHED} knows its range; leave out --range")
    if not args.input.exists() and not is_pattern(args.input):
        raise UserError(f"{args.input}: no such file")
    reading = Reading(
        size=args.size and size(args.size),
        depth=args.depth,
        chroma=args.chroma,
        matrix=args.matrix,
        range=args.range,
        rate=args.input_fps and parse_rate(args.input_fps, "--input-fps"),
    )
    clip = open_clip(args.input, reading)
    if args.input_fps and clip.kind == "media" and clip.rate != reading.rate:
        rate = f"{said_rate(clip.rate)} frames a second" if clip.rate else "uneven times"
        raise UserError(f"--input-fps {args.input_fps}: {args.input} says {rate}; leave it out")
    return clip


def request_of(args: argparse.Namespace) -> Request:
    """Return the times that options ask for; a factor of 2 where they say nothing."""
    given = [f"--{name}" for name in ("factor", "fps", "times") if getattr(args, name) is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} say how many frames there are; give one of them")
    slow = Fraction(1)
    if args.slow_motion is not None:
        slow = parse_ratio(args.slow_motion, "--slow-motion")
    if args.fps is not None:
        return Request(fps=parse_rate(args.fps, "--fps"), slow=slow)
    if args.times is not None:
        from midframe.models.timeline import parse_times

        return Request(times=tuple(parse_times(2, args.times)), slow=slow)
    if args.factor is not None:
        return Request(factor=parse_ratio(args.factor, "--factor"), slow=slow)
    return Request(factor=slow if slow > 1 else Fraction(2), slow=slow)


def facts(job: Job) -> dict[str, Any]:
    """Return what there is to do, for programs: the event "plan" of `--progress json`."""
    clip, form = job.clip, job.clip.format
    return {
        "input": str(clip.path),
        "output": str(job.out),
        "frames_in": len(clip),
        "frames": len(job.schedule),
        "width": form.width,
        "height": form.height,
        "depth": form.depth,
        "fps_in": clip.rate and str(clip.rate),
        "fps": job.rate and str(job.rate),
        "seconds": round(job.seconds, 3),
        "words": list(job.target.words),
    }


def told(job: Job) -> Iterator[str]:
    """Yield what there is to do, in lines for people; notes are not among them."""
    clip, rate, length = job.clip, "", ""
    if not job.assumed:
        rate = f", {said_rate(clip.rate)} frames a second" if clip.rate else ", of uneven times"
    yield f"{clip.path}: {len(clip)} frames of {clip.format}, {clip.colour}{rate}"
    rate = ""
    if not job.assumed or job.target.kind not in ("raw", "pictures"):
        rate = f" at {said_rate(job.rate)} a second" if job.rate else ""
        length = f", {job.seconds:.2f} s"
    yield f"{job.out}: {len(job.schedule)} frames{rate}{length} ({job.request})"
    if job.audio == "drop" and any(other.kind == "audio" for other in clip.others):
        way = "copy" if job.request.slow == 1 else "stretch"
        yield f"  sound is left out; --audio {way} keeps it"


def told_more(job: Job) -> Iterator[str]:
    """Yield what `--dry-run` says besides."""
    total, new = len(job.schedule), job.new
    beside = [" ".join(filter(None, (o.kind, o.codec, o.language))) for o in job.clip.others]
    if job.clip.chapters:
        beside.append(f"{job.clip.chapters} chapters")
    if beside:
        yield f"beside its video the input has: {', '.join(beside)}"
    again = job.repeated
    repeats = f" ({again} of them the last one, once more)" if again else ""
    yield f"frames: {total - new} as they are in the input{repeats}, {new} new"
    if isinstance(job.cuts, Cuts):
        yield f"shots: {len(job.cuts.numbers - {0}) + 1}; nothing is predicted across their cuts"
    elif job.cuts is not None:
        yield "shots: found on the way; nothing is predicted across their cuts"
    if job.duplicates:
        yield "repeated frames are replaced by what lies between their neighbours"
    memory = picture_bytes(job) / 1e6
    yield f"memory: up to {memory:.0f} MB for pictures on their way, beside what the model takes"
    pieces = f"{len(job.parts)} part{'s' * (len(job.parts) > 1)}"
    yield f"made in {pieces}; an interrupted conversion goes on behind the last whole one"


def picture_bytes(job: Task) -> int:
    """Return the most memory that pictures on their way take."""
    form = job.clip.format
    return _COPIES * room_for(form) * (form.frame_bytes + 12 * form.width * form.height)


def signature(path: Path) -> list[Any]:
    """Return what tells an input from another that has its name, without reading it."""
    if path.is_dir() or (is_pattern(path) and not path.is_file()):
        digest = hashlib.sha256()
        found, _ = find(path)
        for one in found:
            status = one.stat()
            digest.update(f"{one.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return [str(path.absolute()), len(found), digest.hexdigest()]
    status = path.stat()
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]


def cuts_of(args: argparse.Namespace, schedule: Schedule) -> Gate | None:
    """Return what the options say of cuts; `UserError` for a list that cannot be read."""
    # raw video is one shot: a test sequence, of which published evaluations predict every gap
    raw = args.input.suffix.lower() == RAW and args.cut_threshold is None
    given = args.scene_cuts or (OFF if raw else AUTO)
    if given == AUTO:
        from midframe.video.cuts import FindCuts

        return FindCuts() if args.cut_threshold is None else FindCuts(args.cut_threshold)
    if args.cut_threshold is not None:
        raise UserError(f"--cut-threshold is for --scene-cuts {AUTO}, not for {given}")
    if given == OFF:
        return None
    path = Path(given)
    if not path.is_file():
        raise UserError(f"--scene-cuts {given}: no such file; give a list of cuts, {AUTO} or {OFF}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--scene-cuts {given}: cannot be read as text ({error})") from error
    return parse_cuts(text, schedule, given)
