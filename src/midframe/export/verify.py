"""What an exported graph computes against what PyTorch does, on frames of a film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.data.io import ImageFile
from midframe.export.engine import Engine
from midframe.export.graph import input_names
from midframe.models.base import Interpolator
from midframe.plain_text import in_words
from midframe.types import Inputs

Size = tuple[int, int]  # width, height
Tell = Callable[[str], object]  # is given a line of what is going on
FILM = Path(__file__).parent / "frames"  # four successive ones; README.md there says of what
_MOTION = 6.0  # pixels: of the flow that models get which do not compute it from the frames
_TIMES = (0.5, 0.25)
_USUAL = 64  # pixels: least side of what is compared, where any size will do


def silent(line: str) -> None:
    """Tell nobody."""


class Difference(NamedTuple):
    """How far the frames of two runs are apart, of values in [0, 1].

    Attributes:
        size: (width, height) of the frames.
        t: their time.
        greatest: the largest difference of any value; infinite where a value is not finite.
        mean: over all values.
    """

    size: Size
    t: float
    greatest: float
    mean: float


def moving(model: Interpolator, size: Size, t: float = 0.5, number: int = 0) -> Inputs:
    """Return what a model reads: successive frames of a film, and noise for the other fields.

    Args:
        model: any; of the number of bins of events it says ``bins``.
        size: (width, height); of the middle of the frames, which are enlarged if need be.
        t: the time.
        number: of the noise.
    """
    width, height = size
    names = range(2 - model.context, 2 + model.context)
    pictures = np.stack([_cut(ImageFile(str(FILM / f"{name}.jpg")).read(), size) for name in names])
    frames = torch.from_numpy(pictures).permute(0, 3, 1, 2)[None].float() / 255
    bins = int(getattr(getattr(model, "model", model), "bins", 0))
    random = torch.Generator().manual_seed(number)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    flow = F.interpolate(noise(2, 2, 5, 5), (height, width), mode="bicubic")
    fields = {
        "events": noise(1, 1, bins, height, width).round(),
        "events_ends": noise(1, 2, bins, height, width).round(),
        "motion": _MOTION / 4 * flow[None, None],
    }
    return Inputs(frames, torch.tensor([[t]]), **{name: fields[name] for name in model.needs})


def _cut(picture: np.ndarray, size: Size) -> np.ndarray:
    """Return the middle of a picture, which is enlarged where it is smaller than that."""
    width, height = size
    least = max(width / picture.shape[1], height / picture.shape[0])
    if least > 1:
        sides = [max(round(side * least), most) for side, most in zip(picture.shape[1::-1], size)]
        picture = cv2.resize(picture, sides, interpolation=cv2.INTER_CUBIC)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def example(model: Interpolator, size: Size) -> list[Tensor]:
    """Return the inputs of a model's graph, in their order, to record it with."""
    x = moving(model, size)
    names = input_names(model.context, model.times, model.needs)
    values: dict[str, Tensor] = dict(zip(names, x.frames.unbind(1)))
    values["t"] = x.t[0].clone()
    for name in model.needs:
        field = getattr(x, name)
        values[name] = field if name == "events_ends" else field[:, 0]
    return [values[name].contiguous() for name in names]


def sizes_to_check(size: Size | None, multiple: int) -> list[Size]:
    """Return the sizes to compare: the only one, or of any some that are multiples and some not."""
    if size is not None:
        return [size]
    step = max(multiple, -(-_USUAL // multiple) * multiple)
    return [(2 * step, step + multiple), (step + 5, step + 9), (step + 1, 2 * step - 1)]


@torch.no_grad()
def differences(
    engine: Engine,
    model: Interpolator,
    sizes: Sequence[Size],
    hints: dict[str, Any],
    tell: Tell = silent,
) -> list[Difference]:
    """Run both on the same frames.

    Args:
        engine: the exported file.
        model: the same in PyTorch, on the CPU.
        sizes: (width, height) of the frames.
        hints: of the model's calls.
        tell: is given a line for every size.
    """
    times = _TIMES if model.times == "any" else (0.5,)
    found = []
    for number, size in enumerate(sizes):
        tell(f"comparing at {in_words(size)}")
        for t in times:
            x = moving(model, size, t, number)
            there, here = engine.interpolate(x).frame, model.interpolate(x, **hints).frame
            apart = (there - here).abs().nan_to_num(nan=float("inf"))
            found.append(Difference(size, t, float(apart.max()), float(apart.mean())))
    return found
