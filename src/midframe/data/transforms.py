"""Augmentations of the papers, acting on frames, target, time, flow and events together.

An augmentation first *plans*: it draws all that is random and says which part of the frames must
be read. Then the plan is applied to that part, so a random-access source reads no more than it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from midframe.data.records import Box, Sample
from midframe.errors import UserError

Crop = int | tuple[int, int] | None


@dataclass(frozen=True)
class Plan:
    """One drawn augmentation, in the order of its application.

    Attributes:
        box: the part of every frame, flow field and bin of events that must be read.
        enlarged: the crop (after enlarging that part x2), or None where nothing is enlarged.
        channel_order: RGB becomes BGR.
        vertical_flip: top and bottom change places; flow y changes its sign.
        horizontal_flip: left and right change places; flow x changes its sign.
        transpose: rows become columns; flow x and y change places.
        turns: quarter turns, counter-clockwise.
        time_reversal: the last frame becomes the first, t becomes 1 - t; bins of events change
            their order and sign. (A camera that saw it backward would have reported a little else:
            its pixels compare with the last event that they reported.)
    """

    box: Box
    enlarged: Box | None = None
    channel_order: bool = False
    vertical_flip: bool = False
    horizontal_flip: bool = False
    transpose: bool = False
    turns: int = 0
    time_reversal: bool = False

    def apply(self, sample: Sample) -> Sample:
        """Return the augmented sample; ``sample`` holds what ``box`` covers and is left as it is.

        Frames may come back as views of ``sample``'s with any strides: the copy into a batch is
        then the only one.
        """
        turn, back = self.turns % 4, self.turns in (2, 3)
        steps: list[tuple[bool, Callable[[Sample], Sample]]] = [
            (self.enlarged is not None, lambda s: _enlarge(s, self.enlarged)),
            (self.channel_order, _swap_channels),
            (self.vertical_flip, _flip_vertical),
            (self.horizontal_flip, _flip_horizontal),
            (self.transpose, _transpose),
            # a quarter turn is a transpose and a flip, two are both flips
            (turn in (1, 3), _transpose),
            (turn in (1, 2), _flip_vertical),
            (back, _flip_horizontal),
            (self.time_reversal, _reverse_time),
        ]
        for wanted, step in steps:
            if wanted:
                sample = step(sample)
        return sample


@dataclass(frozen=True)
class Augment:
    """Random crop and the augmentations that the papers train with, each with its probability.

    IFRNet trains with resize .1, crop 224, channel order .5, vertical flip .3, horizontal flip
    .5, transpose .05 ("rotation" in its code) and time reversal .5, in this order.

    Attributes:
        crop: the side of a square crop, (height, width), or None for whole frames.
        resize: probability that frames are enlarged x2 (bilinear) before the crop; flow doubles.
        channel_order: probability of RGB becoming BGR.
        vertical_flip: probability of top and bottom changing places.
        horizontal_flip: probability of left and right changing places.
        transpose: probability of rows becoming columns.
        rotate: probability of a rotation by 90, 180 or 270 degrees.
        time_reversal: probability of playing the clip backward.
    """

    crop: Crop = None
    resize: float = 0.0
    channel_order: float = 0.0
    vertical_flip: float = 0.0
    horizontal_flip: float = 0.0
    transpose: float = 0.0
    rotate: float = 0.0
    time_reversal: float = 0.0

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UserError(f"data.augment.{name}={value}: give a probability from 0 to 1")
        if _pair(self.crop) is None:
            odd = [n for n in ("resize", "transpose", "rotate") if getattr(self, n)]
            if odd:
                raise UserError(
                    f"data.augment.{odd[0]} changes the size of a frame; set data.crop, "
                    f"or data.augment.{odd[0]}=0"
                )

    def plan(self, rng: np.random.Generator, height: int, width: int, name: str = "") -> Plan:
        """Draw an augmentation for frames of this size.

        Args:
            rng: what is drawn from; the number of draws is always the same.
            height: rows of the frames.
            width: columns of the frames.
            name: the clip, for the message.

        Raises:
            UserError: if the crop is bigger than the frame.
        """
        chance = dict(zip(_PROBABILITIES, rng.random(len(_PROBABILITIES))))
        row, column = rng.random(2)
        turns = int(rng.integers(1, 4))
        drawn = {key: bool(chance[key] < getattr(self, key)) for key in _PROBABILITIES}
        resize, rotate = drawn.pop("resize"), drawn.pop("rotate")
        turns = turns if rotate else 0

        crop = _pair(self.crop)
        if crop is None:
            return Plan(Box(0, 0, height, width), None, **drawn)
        if drawn["transpose"] != (turns % 2 == 1):  # what is cut out will be laid on its side
            crop = crop[::-1]
        _check_fits(crop, height, width, name)
        scale = 2 if resize else 1
        top = int(row * (scale * height - crop[0] + 1))
        left = int(column * (scale * width - crop[1] + 1))
        box, enlarged = Box(top, left, *crop), None
        if resize:
            box, enlarged = _source_of(box, height, width)
        return Plan(box, enlarged, **drawn, turns=turns)


_PROBABILITIES = (
    "resize",
    "channel_order",
    "vertical_flip",
    "horizontal_flip",
    "transpose",
    "rotate",
    "time_reversal",
)


def centre_crop(crop: Crop, height: int, width: int, name: str = "") -> Plan:
    """Return the plan of a centre crop, or of whole frames where ``crop`` is None."""
    size = _pair(crop)
    if size is None:
        return Plan(Box(0, 0, height, width))
    _check_fits(size, height, width, name)
    return Plan(Box((height - size[0]) // 2, (width - size[1]) // 2, *size))


def _pair(crop: Crop) -> tuple[int, int] | None:
    if crop is None:
        return None
    pair = (crop, crop) if isinstance(crop, int) else tuple(crop)
    if len(pair) != 2 or min(pair) < 1:
        raise UserError(f"crop {crop}: give one positive number, or [height, width]")
    return pair[0], pair[1]


def _check_fits(crop: tuple[int, int], height: int, width: int, name: str) -> None:
    if crop[0] > height or crop[1] > width:
        raise UserError(
            f"clip {name or '(unnamed)'}: the crop of {crop[1]}x{crop[0]} is bigger than the "
            f"frame of {width}x{height}; set a smaller crop"
        )


def _source_of(crop: Box, height: int, width: int) -> tuple[Box, Box]:
    """Return what must be read so that ``crop`` can be cut from the x2 frame, and where."""

    def span(start: int, size: int, limit: int) -> tuple[int, int]:
        # bilinear needs one neighbour more on each side; at the frame's edge there is none
        first = max(0, start // 2 - 1)
        return first, min(limit, (start + size + 1) // 2 + 1) - first

    top, rows = span(crop.top, crop.height, height)
    left, columns = span(crop.left, crop.width, width)
    inner = Box(crop.top - 2 * top, crop.left - 2 * left, crop.height, crop.width)
    return Box(top, left, rows, columns), inner


Picture = Callable[[np.ndarray], np.ndarray]


def _map(sample: Sample, picture: Picture, flow: Picture, events: Picture | None = None) -> Sample:
    """Apply ``picture`` to frames and target (n, H, W, 3), ``flow`` to flow (T, 2, H, W, 2).

    ``events`` is for events (n, H, W, C); None treats them as pictures.
    """
    counts = picture if events is None else events
    return replace(
        sample,
        frames=picture(sample.frames),
        target=None if sample.target is None else picture(sample.target),
        flow=None if sample.flow is None else flow(sample.flow),
        events=None if sample.events is None else counts(sample.events),
        events_ends=None if sample.events_ends is None else counts(sample.events_ends),
    )


def _enlarge(sample: Sample, crop: Box | None) -> Sample:
    import cv2

    assert crop is not None
    rows = slice(crop.top, crop.top + crop.height)
    columns = slice(crop.left, crop.left + crop.width)

    def twice(x: np.ndarray) -> np.ndarray:
        size = (2 * x.shape[1], 2 * x.shape[0])
        return cv2.resize(x, size, interpolation=cv2.INTER_LINEAR)[rows, columns]

    def frames(x: np.ndarray) -> np.ndarray:
        return np.stack([twice(one) for one in x])

    def flow(x: np.ndarray) -> np.ndarray:
        # unknown flow is NaN, which spreads to its neighbours instead of changing them
        return 2 * np.stack([frames(pair) for pair in x])

    def events(x: np.ndarray) -> np.ndarray:
        return x.repeat(2, axis=1).repeat(2, axis=2)[:, rows, columns]  # counts stay whole

    return _map(sample, frames, flow, events)


def _swap_channels(sample: Sample) -> Sample:
    return _map(sample, lambda x: x[..., ::-1], lambda x: x, lambda x: x)


def _flip_vertical(sample: Sample) -> Sample:
    return _map(sample, lambda x: x[:, ::-1], lambda x: _negated(x[:, :, ::-1], 1))


def _flip_horizontal(sample: Sample) -> Sample:
    return _map(sample, lambda x: x[:, :, ::-1], lambda x: _negated(x[:, :, :, ::-1], 0))


def _negated(flow: np.ndarray, component: int) -> np.ndarray:
    flow = flow.copy()
    np.negative(flow[..., component], out=flow[..., component])
    return flow


def _transpose(sample: Sample) -> Sample:
    return _map(sample, lambda x: x.swapaxes(1, 2), lambda x: x.swapaxes(2, 3)[..., ::-1])


def _reverse_time(sample: Sample) -> Sample:
    # targets turn round as well, so that times keep rising
    sample = _map(sample, lambda x: x[::-1], lambda x: x[::-1, ::-1], lambda x: -x[::-1, ..., ::-1])
    return replace(sample, t=np.ascontiguousarray(1 - sample.t[::-1], dtype=np.float32))
