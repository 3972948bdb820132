"""Pictures to look at: flow by the colour wheel, overlays, error maps, grids for training logs.

Pictures are (h, w, 3) uint8 RGB arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from torch import Tensor

from midframe.types import UNKNOWN_FLOW, Batch, Prediction

ERROR_FULL = 48  # grey levels of error shown as full white
_PANEL = 256  # width of a grid's panels, at most
_STRIP = 20  # height of a line of text
_PAPER, _INK = 24, 235
_GAP = 4


def to_picture(frame: Tensor) -> np.ndarray:
    """Turn a frame (3, H, W) in [0, 1] into a picture, rounded to the nearest grey level."""
    levels = frame.detach().float().clamp(0, 1).mul(255).round()
    return levels.permute(1, 2, 0).byte().cpu().numpy()


def overlay(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Lay two pictures over each other at equal weight: motion shows as double edges."""
    total = first.astype(np.uint16) + second.astype(np.uint16) + 1
    return (total >> 1).astype(np.uint8)


def error_map(picture: np.ndarray, target: np.ndarray, full: float = ERROR_FULL) -> np.ndarray:
    """Show mean absolute error over RGB, black (none) over red to white (``full`` grey levels).

    The scale is fixed, so that maps of different models and steps can be compared.
    """
    import cv2

    error = np.abs(picture.astype(np.float32) - target.astype(np.float32)).mean(-1)
    levels = np.clip(error * (255 / full), 0, 255).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_HOT)[..., ::-1].copy()


@lru_cache(maxsize=1)
def colour_wheel() -> np.ndarray:
    """Return the 55 hues (55, 3) in [0, 255] of Middlebury's colour code for flow.

    Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011.
    """
    red, yellow, green, cyan, blue, magenta = np.array(
        [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255]],
        np.float64,
    )
    arcs = (
        (15, red, yellow),
        (6, yellow, green),
        (4, green, cyan),
        (11, cyan, blue),
        (13, blue, magenta),
        (6, magenta, red),
    )
    # Perceived hue changes fastest between yellow and blue, hence arcs of unequal length.
    parts = [a + (b - a) * (np.arange(n) / n)[:, None] for n, a, b in arcs]
    return np.floor(np.concatenate(parts))


def flow_picture(
    flow: np.ndarray, largest: float | None = None, legend: bool = False
) -> np.ndarray:
    """Paint flow by Middlebury's colour wheel: hue is direction, strong colour is fast.

    Args:
        flow: (H, W, 2) in pixels, x then y; unknown flow (above 1e9 or not finite) becomes black.
        largest: the length in pixels that gets full colour; None takes the field's largest.
        legend: draw the wheel and ``largest`` into the lower right corner.

    Raises:
        ValueError: for another shape.
    """
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"flow_picture takes (H, W, 2), got {flow.shape}")
    known = (np.abs(flow) <= UNKNOWN_FLOW).all(-1)  # of NaN this is false
    xy = np.where(known[..., None], flow, 0.0).astype(np.float64)
    if largest is None:
        largest = float(np.hypot(xy[..., 0], xy[..., 1]).max())
    picture = _paint(xy, largest)
    picture[~known] = 0
    if legend:
        draw_wheel(picture, f"{largest:.1f} px")
    return picture


def flow_pictures(fields: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Paint flow fields side by side, each under its title, on its own scale and with its wheel.

    Args:
        fields: titles, and flow (H, W, 2) of one height. The scale of each is its own largest
            length, as in the pictures of UPR-Net's demo.

    Returns:
        A picture; one field alone is `flow_picture` with its legend, without a title.
    """
    painted = [flow_picture(flow, legend=True) for _, flow in fields]
    if len(painted) == 1:
        return painted[0]
    titled = [np.concatenate([label(p.shape[1], t), p]) for (t, _), p in zip(fields, painted)]
    gap = np.full((titled[0].shape[0], _GAP, 3), _PAPER, np.uint8)
    parts = [part for panel in titled for part in (gap, panel)]
    return np.concatenate(parts[1:], axis=1)


def _paint(xy: np.ndarray, largest: float) -> np.ndarray:
    wheel = colour_wheel() / 255
    radius = np.hypot(xy[..., 0], xy[..., 1]) / max(largest, 1e-6)
    position = (np.arctan2(-xy[..., 1], -xy[..., 0]) / np.pi + 1) / 2 * (len(wheel) - 1)
    below = np.floor(position).astype(np.int64)
    share = (position - below)[..., None]
    hue = (1 - share) * wheel[below] + share * wheel[(below + 1) % len(wheel)]
    inside = (radius <= 1)[..., None]
    radius = radius[..., None]
    colour = np.where(inside, 1 - radius * (1 - hue), hue * 0.75)  # darker beyond the scale
    return np.floor(255 * colour).astype(np.uint8)


def draw_wheel(picture: np.ndarray, text: str = "") -> None:
    """Draw the colour wheel and a line of text into the lower right corner, in place.

    In pictures under 80 pixels there is no room for it, and nothing is drawn.
    """
    import cv2

    side = min(96, min(picture.shape[:2]) // 4)
    if side < 20:
        return
    axis = np.linspace(-1, 1, side)
    xy = np.stack(np.meshgrid(axis, axis), -1)
    disc = np.zeros((side, side), np.uint8)
    cv2.circle(disc, (side // 2, side // 2), side // 2 - 1, 255, -1, cv2.LINE_AA)
    weight = disc[..., None] / 255.0
    top, left = picture.shape[0] - side - 6, picture.shape[1] - side - 6
    corner = picture[top : top + side, left : left + side]
    corner[:] = np.rint(_paint(xy, 1.0) * weight + corner * (1 - weight)).astype(np.uint8)
    centre = (left + side // 2, top + side // 2)
    cv2.circle(picture, centre, side // 2, (90, 90, 90), 1, cv2.LINE_AA)
    if text:
        over = max(0, text_width(text) - side)  # keep long text inside the picture
        at = (max(2, left + (side - text_width(text)) // 2 - over // 2), top - 6)
        _write(picture, text, at, (20, 20, 20), halo=(255, 255, 255))


def text_width(text: str) -> int:
    """Return the width in pixels that `label` needs for a text."""
    import cv2

    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0])


def _write(
    picture: np.ndarray,
    text: str,
    at: tuple[int, int],
    colour: tuple[int, int, int],
    halo: tuple[int, int, int] | None = None,
) -> None:
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    if halo is not None:
        cv2.putText(picture, text, at, font, 0.42, halo, 4, cv2.LINE_AA)
    cv2.putText(picture, text, at, font, 0.42, colour, 1, cv2.LINE_AA)


def label(width: int, text: str) -> np.ndarray:
    """Return a strip (20, width, 3) with one line of small light text on dark ground."""
    strip = np.full((_STRIP, width, 3), _PAPER, np.uint8)
    while text and text_width(text) > width - 8:
        text = text[:-2].rstrip(".") + "." if len(text) > 2 else ""
    _write(strip, text, (4, _STRIP - 6), (_INK, _INK, _INK))
    return strip


def training_grid(pairs: Sequence[tuple[Batch, Prediction]], rows: int = 4) -> np.ndarray:
    """Draw samples as rows: overlay of the inputs, prediction, target, error and flow.

    Args:
        pairs: batches and what was predicted for them. Rows are dealt out over the batches, so
            that several batches show more different samples than one.
        rows: at most so many.

    Returns:
        One picture (H, W, 3); the caption of a row says the sample, its time and its PSNR.

    Raises:
        ValueError: without any sample.
    """
    strips = [_row(batch, pred, index) for batch, pred, index in _deal(pairs, rows)]
    if not strips:
        raise ValueError("training_grid needs at least one sample")
    width = max(strip.shape[1] for strip in strips)
    padded = [
        np.pad(s, ((0, _GAP), (0, width - s.shape[1]), (0, 0)), constant_values=_PAPER)
        for s in strips
    ]
    return np.concatenate(padded)


def _deal(
    pairs: Sequence[tuple[Batch, Prediction]], rows: int
) -> Iterator[tuple[Batch, Prediction, int]]:
    deepest = max((len(batch) for batch, _ in pairs), default=0)
    order = [(b, p, i) for i in range(deepest) for b, p in pairs if i < len(b)]
    yield from order[:rows]


def _row(batch: Batch, pred: Prediction, index: int) -> np.ndarray:
    """One sample's panels with a title above each and a caption above all."""
    time = (batch.inputs.t.shape[1] - 1) // 2
    first, second = (to_picture(f[index]) for f in batch.inputs.pair)
    middle = to_picture(pred.frame[index, time])
    panels = [("inputs", overlay(first, second)), ("prediction", middle)]
    name = batch.ids[index] if index < len(batch.ids) else f"sample {index}"
    caption = f"{name}   t = {float(batch.inputs.t[index, time]):.3g}"
    if batch.target is not None:
        target = to_picture(batch.target[index, time])
        panels += [("target", target), (f"error, white = {ERROR_FULL}", error_map(middle, target))]
        caption += f"   {_psnr(middle, target):.2f} dB"
    if pred.flow is not None:
        flow = pred.flow[index, time, 0].detach().float().permute(1, 2, 0).cpu().numpy()
        title = "flow 0 to 1" if pred.goes_forward else "flow t to 0"
        painted = _shrink(flow_picture(flow))
        draw_wheel(painted)
        panels.append((title, painted))
        caption += f"   flow up to {np.hypot(flow[..., 0], flow[..., 1]).max():.1f} px"
    columns = []
    for title, picture in panels:
        picture = _shrink(picture)
        column = np.concatenate([label(picture.shape[1], title), picture])
        columns.append(np.pad(column, ((0, 0), (0, _GAP), (0, 0)), constant_values=_PAPER))
    body = np.concatenate(columns, axis=1)
    return np.concatenate([label(body.shape[1], caption), body])


def _shrink(picture: np.ndarray) -> np.ndarray:
    import cv2

    height, width = picture.shape[:2]
    if width <= _PANEL:
        return picture
    size = (_PANEL, max(1, round(height * _PANEL / width)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _psnr(picture: np.ndarray, target: np.ndarray) -> float:
    error = float(((picture.astype(np.float64) - target) ** 2).mean())
    return 100.0 if error == 0 else 10 * np.log10(255**2 / error)
