"""Clips turned upright, for files that cannot say how to turn them when they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from midframe.video.clip import Clip, Source
from midframe.video.format import Chroma, Format
from midframe.video.frame import Frame

_ONE = 1 << 16  # of a display matrix, whose numbers have 16 bits behind the point
# What columns and lines that share a sample of chroma are called once they have changed places.
_TRANSPOSED: dict[Chroma, Chroma] = {"420": "420", "444": "444", "410": "410"}
_TRANSPOSED.update({"422": "440", "440": "422"})


@dataclass(frozen=True)
class Turn:
    """A quarter turn, a mirror, or both: first the transposition, then the flips.

    Attributes:
        transposed: whether lines become columns.
        left_right: whether columns change their order then.
        up_down: whether lines do.
    """

    transposed: bool
    left_right: bool
    up_down: bool

    def plane(self, plane: np.ndarray) -> np.ndarray:
        """Return a plane (H, W) turned."""
        turned = plane.T if self.transposed else plane
        turned = turned[:, ::-1] if self.left_right else turned
        return np.ascontiguousarray(turned[::-1] if self.up_down else turned)

    def form(self, form: Format) -> Format | None:
        """Return the format of turned frames; None: there is none, as of 4:1:1."""
        if not self.transposed:
            return form
        chroma = _TRANSPOSED.get(form.chroma)
        if chroma is None:
            return None
        return replace(form, width=form.height, height=form.width, chroma=chroma)


def turn_of(display: tuple[int, ...]) -> Turn | None:
    """Return what a display matrix (ISO/IEC 14496-12, 8.2.2) asks for.

    Args:
        display: nine numbers a, b, u, c, d, v, x, y, w; a pixel (p, q) is shown at
            (a p + c q + x, b p + d q + y).

    Returns:
        None where it is no quarter turn, or also shears or scales.
    """
    a, b, _, c, d = display[:5]
    if b == c == 0 and abs(a) == abs(d) == _ONE:
        return Turn(False, a < 0, d < 0)
    if a == d == 0 and abs(b) == abs(c) == _ONE:
        return Turn(True, c < 0, b < 0)
    return None


@dataclass(frozen=True)
class _Turned:
    """Frames of a source, turned."""

    source: Source
    turn: Turn
    form: Format

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Frame]:
        for frame in self.source.read(first, last):
            planes = tuple(map(self.turn.plane, frame.planes))
            yield Frame(self.form, planes, frame.colour, frame.damaged)


def upright(clip: Clip) -> Clip:
    """Return a clip whose frames stand upright as they are; the same where they do already.

    What cannot be turned, such as by 30 degrees, stays as it is, with a note.
    """
    if clip.tags.display is None:
        return clip
    turn = turn_of(clip.tags.display)
    form = None if turn is None else turn.form(clip.format)
    if turn is None or form is None:
        words = f"the rotation, {clip.tags.rotation:g} degrees, is not kept: this output has none"
        return replace(clip, notes=[*clip.notes, words])
    aspect = clip.tags.aspect
    if turn.transposed and aspect:
        aspect = 1 / aspect
    tags = replace(clip.tags, display=None, rotation=0.0, aspect=aspect)
    notes = list(clip.notes)
    if turn != Turn(False, False, False):
        notes.append("frames are turned upright: this output cannot say that players should")
    source = _Turned(clip.source, turn, form)
    return replace(clip, format=form, tags=tags, source=source, notes=notes)
