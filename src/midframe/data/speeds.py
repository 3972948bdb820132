"""How many pixels shots move from frame to frame, measured once and kept beside their frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from midframe.data.cutting import Shot
from midframe.files import write_json

NAME = "speeds.json"
SIDE = 320  # pixels; flow is computed on frames reduced to this, which is enough for its size
QUANTILE = 0.95  # of the pixels: what a fast object of some size does, and no single outlier
_VERSION = 1
Begin = Callable[[str, int], Callable[[], None]]


def with_speeds(shots: Sequence[Shot], begin: Begin | None = None) -> list[Shot]:
    """Return the shots of one video with their `Shot.speed`.

    The speed of a frame is the length, in pixels of the frame, that 95 % of its pixels do not
    exceed of DIS flow (Kroeger et al., ECCV 2016) from the frame before; it is 0 for the first of a
    shot.

    Args:
        shots: whole, as `midframe.data.shots.load_or_cut` gives them.
        begin: starts a bar of so many frames, under a name, where they have to be measured; what it
            returns is called for each.
    """
    if not shots:
        return []
    file = Path(shots[0].frames[0].path).parent / NAME
    known = _read(file, shots)
    if known is None:
        count = sum(len(shot.frames) - 1 for shot in shots)
        advance = begin(shots[0].name.partition("/")[0], count) if begin else _unseen
        known = {shot.name: _measured(shot, advance) for shot in shots}
        write_json(file, {"version": _VERSION, "speeds": known})
    return [replace(shot, speed=tuple(known[shot.name])) for shot in shots]


def _unseen() -> None:
    """Show nothing."""


def _read(file: Path, shots: Sequence[Shot]) -> dict[str, list[float]] | None:
    """Return what was measured before, if it is there and of these shots."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        speeds = found["speeds"] if found["version"] == _VERSION else {}
        fits = all(len(speeds[shot.name]) == len(shot.frames) for shot in shots)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return speeds if fits else None


def _measured(shot: Shot, advance: Callable[[], None]) -> list[float]:
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    speeds, before = [0.0], _small(shot.frames[0].read())
    for frame in shot.frames[1:]:
        here = _small(frame.read())
        length = np.linalg.norm(flow.calc(before, here, None), axis=-1)
        scale = frame.width / here.shape[1]
        speeds.append(round(float(np.quantile(length, QUANTILE)) * scale, 2))
        before = here
        advance()
    return speeds


def _small(image: np.ndarray) -> np.ndarray:
    """Return a grey picture of at most `SIDE` pixels on its longer side."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = SIDE / max(height, width)
    if scale >= 1:
        return grey
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
