"""A clip that is its own truth: a level that rises from frame to frame, and what parts of it hold.

Blended by time, what lies between two frames is known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from threading import current_thread

import numpy as np
import torch

from midframe.models.average import Average
from midframe.models.base import Interpolator
from midframe.models.timeline import Ends, Timeline
from midframe.types import Prediction
from midframe.video.frame import Format, Frame
from midframe.video.inbetween import Maker
from midframe.video.timing import Part

FORM = Format(8, 6, 16, "444", "rgb")
RATE = Fraction(25)


class Four(Average):
    """Four frames, the middle only: a cubic."""

    context = 2
    times = "half"

    def forward(self, x, **hints):
        f0, f1, f2, f3 = x.frames.unbind(1)
        return Prediction((9 * (f1 + f2) - (f0 + f3))[:, None] / 16)


class Middle(Average):
    """Two frames, the middle only."""

    times = "half"

    def forward(self, x, **hints):
        assert (x.t == 0.5).all()
        return super().forward(x)


def frame_of(level: int, form: Format = FORM) -> Frame:
    planes = tuple(np.full(shape, level, form.sample) for shape in form.shapes)
    return Frame(form, planes)


class Levels:
    """A clip: frame k has the level ``levels[k]``; counts where reading began and what was read."""

    def __init__(self, levels, form: Format = FORM, cut_off: int | None = None):
        self.levels, self.format = list(levels), form
        self.times = [k / RATE for k in range(len(self.levels))]
        self.begun: list[int] = []
        self.read_numbers: list[int] = []
        self.threads: set[str] = set()
        self.cut_off = len(self.levels) if cut_off is None else cut_off
        self.closed = 0

    def read(self, first: int, last: int | None = None) -> Iterator[Frame]:
        self.begun.append(first)
        try:
            for number in range(first, self.cut_off):
                self.read_numbers.append(number)
                self.threads.add(current_thread().name)
                yield frame_of(self.levels[number], self.format)
        finally:
            self.closed += 1


class Store:
    """Takes parts, and has them when they are complete."""

    def __init__(self):
        self.parts: dict[int, list[tuple[Fraction, Frame]]] = {}
        self.threads: set[str] = set()

    @contextmanager
    def writer(self, part: Part):
        taken: list[tuple[Fraction, Frame]] = []

        class One:
            def write(_, frame: Frame, pts: Fraction) -> None:
                self.threads.add(current_thread().name)
                taken.append((pts, frame))

        yield One()
        self.parts[part.number] = taken

    @property
    def shown(self) -> list[tuple[Fraction, Frame]]:
        return [one for number in sorted(self.parts) for one in self.parts[number]]

    @property
    def levels(self) -> list[int]:
        return [int(frame.planes[0].max()) for _, frame in self.shown]


def maker_of(model: Interpolator, ends: Ends = "interpolate", batch: int = 1) -> Maker:
    def predictor(load, has):
        return Timeline(model, load, has, ends, batch=batch)

    context = model.context
    return Maker(
        predictor,
        torch.from_numpy,
        lambda x: x.numpy(),
        2 * context - 2,
        4 * context - 3,
        batch,
    )
