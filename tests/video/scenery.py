"""What is shown of a clip, when."""

from __future__ import annotations

from fractions import Fraction

from moving import Store, maker_of
from reels import RATE, Reel

from midframe.models.base import Interpolator
from midframe.video.frame import Frame
from midframe.video.inbetween import Gate
from midframe.video.pipeline import convert
from midframe.video.timing import Request, Schedule, parts


def converted(
    reel: Reel, model: Interpolator, gate: Gate | None, factor: str = "2", frames: int = 1000
) -> list[tuple[Fraction, Frame]]:
    """Return what is shown of a clip, made in parts of about as many frames."""
    schedule = Schedule(reel.times, 1 / RATE, Request(factor=Fraction(factor)))
    store = Store()
    todo = iter(parts(schedule, frames))
    convert(reel, reel.format, schedule, todo, maker_of(model), store.writer, gate=gate)
    return store.shown
