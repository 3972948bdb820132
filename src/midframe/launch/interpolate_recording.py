"""`midframe interpolate RECORDING`: frames of an event camera at any time between its frames."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from midframe.errors import UserError
from midframe.launch.output import whole
from midframe.launch.progress import Progress
from midframe.video.timing import parse_rate

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from midframe.events.records import Events
    from midframe.models.base import Interpolator
    from midframe.models.timeline import Timeline

SUFFIXES = (".aedat4", ".npz")
FRAMES, VIDEO, SIDE_BY_SIDE = "frames", "video.mp4", "side_by_side.mp4"
GIVEN = frozenset({"events", "events_ends"})  # what a recording has beside its frames
_POLARITIES = ("unit", "released")  # `midframe.events.bins.Polarity`
_OPTIONS = ("polarity", "reader")
_CALM = Fraction(5)  # frames a second of the side by side, so that each can be looked at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of recordings."""
    group = parser.add_argument_group(
        "event camera (.aedat4, .npz, or a folder that `midframe events prepare` wrote)"
    )
    group.add_argument(
        "--polarity",
        choices=_POLARITIES,
        help="how events count that the model was trained with; default: unit; "
        "weights of the published scripts: released",
    )
    group.add_argument("--reader", help="of .aedat4, see `midframe events prepare`; default: auto")


def is_recording(args: argparse.Namespace) -> bool:
    """Whether the command is about a recording; `UserError` where its options do not fit."""
    from midframe.events.manifest import MANIFEST

    if args.input.suffix.lower() in SUFFIXES or (args.input / MANIFEST).is_file():
        return True
    given = [f"--{name}" for name in _OPTIONS if getattr(args, name) is not None]
    if given:
        raise UserError(f"{' '.join(given)} is for recordings of event cameras, not {args.input}")
    return False


def run(args: argparse.Namespace, load: Callable[[], tuple[Interpolator, torch.device]]) -> int:
    """Interpolate a recording; `UserError` for what the user can mend.

    Args:
        args: see `add_arguments` and `midframe.launch.interpolate.add_arguments`.
        load: gives the model and where it is, once the recording was looked at.
    """
    out = _out(args)
    film = open_film(args.input, args.reader or "auto")
    moments = _moments(args, film)
    print(
        f"{args.input}: {film.count} frames of {film.width}x{film.height} in "
        f"{film.seconds:.2f} s, {film.total:,} events"
    )
    model, device = load()
    timeline = _timeline(model, device, film, args.polarity or _POLARITIES[0])
    new = sum(moment.denominator > 1 for moment in moments)
    rate = Fraction(len(moments) - 1) / Fraction(film.seconds)
    if args.fps is not None:
        rate = parse_rate(args.fps, "--fps")
    with whole(out) as aside:
        _write(aside, film, timeline, moments, rate.limit_denominator(1001))
    print(f"{len(moments)} frames, {new} of them new: {out / FRAMES}")
    print(f"in real time, {float(rate):.4g} frames a second: {out / VIDEO}")
    print(f"recorded, interpolated and events at {float(_CALM):g} a second: {out / SIDE_BY_SIDE}")
    return 0


@dataclass(frozen=True)
class Film:
    """Frames and events of a recording, wherever they are.

    Attributes:
        times: of the frames in microseconds.
        height: in pixels.
        width: in pixels.
        total: number of events.
        frame: gives a frame (H, W, 3) uint8 RGB by its number.
        events: gives the events with start <= t < stop.
    """

    times: np.ndarray
    height: int
    width: int
    total: int
    frame: Callable[[int], np.ndarray]
    events: Callable[[int, int], Events]

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.times)

    @property
    def seconds(self) -> float:
        """From the first to the last frame."""
        return float(self.times[-1] - self.times[0]) / 1e6

    def four_times(self, gap: int) -> tuple[int, int, int, int]:
        """Return the times of the four frames around a gap; at an end as far off as its other."""
        start, end = int(self.times[gap]), int(self.times[gap + 1])
        first = int(self.times[gap - 1]) if gap > 0 else 2 * start - end
        last = int(self.times[gap + 2]) if gap + 2 < self.count else 2 * end - start
        return first, start, end, last

    def time(self, position: Fraction) -> int:
        """Return the time in microseconds at a position: 7/2 is halfway from frame 3 to 4."""
        gap = min(floor(position), self.count - 2)
        start, end = int(self.times[gap]), int(self.times[gap + 1])
        return start + round((position - gap) * (end - start))


def open_film(path: Path, reader: str = "auto") -> Film:
    """Open a recording: AEDAT4, a single .npz, or a folder of shards.

    Raises:
        UserError: if it is none, or has fewer than two frames.
    """
    from midframe.events.aedat import read_recording
    from midframe.events.shards import open_shards
    from midframe.events.single import load_recording

    if path.is_dir():
        shards = open_shards(path)
        total = int(shards.about["events"])
        film = Film(shards.times, shards.height, shards.width, total, shards.frame, shards.events)
    else:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        single = path.suffix.lower() == ".npz"
        recording = load_recording(path) if single else read_recording(path, reader)
        frames = recording.frames

        def frame(number: int) -> np.ndarray:
            one = frames[number]
            return one if one.ndim == 3 else np.repeat(one[..., None], 3, 2)

        events = recording.events
        film = Film(
            recording.times, recording.height, recording.width, len(events), frame, events.between
        )
    if film.count < 2:
        raise UserError(f"{path} has {film.count} frames; there is something between two or more")
    return film


def _out(args: argparse.Namespace) -> Path:
    if args.out is not None and args.second is not None:
        raise UserError(f"two folders, {args.second} and {args.out}: give one of them")
    out: Path = args.out or args.second or Path(f"{args.input.stem}-interpolated")
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a new folder with --out")
    if out.is_dir() and (found := {p.name for p in out.iterdir()}):
        if not args.overwrite:
            raise UserError(f"{out} is not empty; give a new folder, or add --overwrite")
        foreign = sorted(found - {FRAMES, VIDEO, SIDE_BY_SIDE})
        if foreign:
            raise UserError(f"{out} holds {foreign[0]}, which is not ours; give a new folder")
    return out


def _moments(args: argparse.Namespace, film: Film) -> list[Fraction]:
    """Return the positions of all frames to write; whole ones are frames of the recording."""
    from midframe.launch.interpolate import whole_factor
    from midframe.models.timeline import parse_times

    if args.fps is None:
        times = [Fraction(0), *parse_times(whole_factor(args), args.times)]
        moments = [gap + t for gap in range(film.count - 1) for t in times]
        return [*moments, Fraction(film.count - 1)]
    if args.times is not None or args.factor is not None:
        raise UserError("--fps says how many frames there are; leave out --factor and --times")
    fps = parse_rate(args.fps, "--fps")
    first, last = int(film.times[0]), int(film.times[-1])
    count = floor(Fraction(last - first) * fps / 1_000_000) + 1
    clock = [first + Fraction(1_000_000 * k) / fps for k in range(count)]
    gaps = np.searchsorted(film.times, [floor(time) for time in clock], side="right") - 1
    moments = []
    for time, gap in zip(clock, np.minimum(gaps, film.count - 2).tolist()):
        start, end = int(film.times[gap]), int(film.times[gap + 1])
        moments.append(gap + (time - start) / (end - start))
    return moments


def _timeline(model: Interpolator, device: torch.device, film: Film, polarity: str) -> Timeline:
    import torch

    from midframe.events.bins import edges_at, signed_counts
    from midframe.models.timeline import Timeline

    def frame(number: int) -> Tensor:
        picture = torch.from_numpy(np.ascontiguousarray(film.frame(number)))
        return picture.permute(2, 0, 1).to(device).float().div(255)

    def events(gap: int, times: Sequence[Fraction]) -> tuple[Tensor, Tensor]:
        four, made = film.four_times(gap), []
        for t in (*times, Fraction(0), Fraction(1)):
            edges = edges_at(four, float(t))
            some = film.events(int(edges[0]), int(edges[-1]))
            counts = signed_counts(some, edges, film.height, film.width, polarity)  # type: ignore[arg-type]
            made.append(torch.from_numpy(counts))
        stacked = torch.stack(made)[None].to(device).float()
        return stacked[:, : len(times)], stacked[:, len(times) :]

    needed = "events" in model.needs
    return Timeline(model, frame, film.count, events=events if needed else None)


def _write(
    folder: Path, film: Film, timeline: Timeline, moments: Sequence[Fraction], rate: Fraction
) -> None:
    from midframe.data.io import write_image
    from midframe.video.encode import VideoWriter

    with (
        Progress("interpolating", len(moments), unit="frames") as progress,
        VideoWriter(folder / VIDEO, rate) as video,
        VideoWriter(folder / SIDE_BY_SIDE, _CALM) as calm,
    ):
        for number, (moment, picture) in enumerate(_pictures(film, timeline, moments)):
            write_image(folder / FRAMES / f"{number:06d}.png", picture)
            video.write(picture)
            calm.write(_side_by_side(film, moments, number, moment, picture))
            progress.advance()


def _pictures(
    film: Film, timeline: Timeline, moments: Sequence[Fraction]
) -> Iterator[tuple[Fraction, np.ndarray]]:
    """Yield each position and its picture; frames of the recording as they are."""
    from midframe.picture import to_picture

    def gap_of(moment: Fraction) -> int:
        return min(floor(moment), film.count - 2)

    for gap, group in groupby(moments, gap_of):
        here = list(group)
        new = [m - gap for m in here if m.denominator > 1]
        frames = iter(timeline.between(gap, new) if new else [])
        for moment in here:
            whole = moment.denominator == 1
            yield moment, film.frame(int(moment)) if whole else to_picture(next(frames))


def _side_by_side(
    film: Film, moments: Sequence[Fraction], number: int, moment: Fraction, picture: np.ndarray
) -> np.ndarray:
    """Return the recorded frame before, the interpolated one, and it with the events around."""
    from midframe.events.draw import overlay
    from midframe.picture import label

    before = film.frame(floor(moment))
    last = len(moments) - 1
    around = [film.time(moments[min(max(number + way, 0), last)]) for way in (-1, 1)]
    now = film.time(moment)
    start, stop = ((now + side) // 2 for side in around)
    drawn = overlay(picture, film.events(start, max(stop, start + 1)))
    seconds = (now - int(film.times[0])) / 1e6
    titles = (f"recorded frame {floor(moment)}", f"{seconds:.4f} s", "events around it")
    width = film.width
    return np.hstack(
        [np.vstack([label(width, t), p]) for t, p in zip(titles, (before, picture, drawn))]
    )
