"""Curves as an SVG picture: panels one above the other, each with its lines over one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BELOW = 960, 240, 64, 16, 44, 58
_COLOURS = ("#1f6fb4", "#c7611b", "#3a8f4d", "#7d4fa3")
_TICKS = 5


@dataclass(frozen=True)
class Panel:
    """Lines over the same axis.

    Attributes:
        title: with the unit.
        lines: values by name, as many as there are positions; None where there is none.
    """

    title: str
    lines: dict[str, Sequence[float | None]]


def svg(
    title: str,
    positions: Sequence[float],
    panels: Sequence[Panel],
    axis: str,
    marks: Sequence[float] = (),
) -> str:
    """Return a picture as text.

    Args:
        title: of the whole.
        positions: along the axis, ascending, at least one.
        panels: from top to bottom.
        axis: what positions are, with the unit.
        marks: positions of vertical lines.
    """
    height = _TOP + len(panels) * (_HEIGHT + _BELOW)
    first, last = positions[0], max(positions[-1], positions[0] + 1e-9)

    def across(position: float) -> float:
        return _LEFT + (position - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="16" font-size="14">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        top = _TOP + number * (_HEIGHT + _BELOW)
        parts += _panel(panel, top, [across(p) for p in positions], [across(m) for m in marks])
        for tick in ticks(first, last):
            parts.append(_text(across(tick), top + _HEIGHT + 15, f"{tick:g}", "middle"))
        parts.append(_text(_WIDTH - _RIGHT, top + _HEIGHT + 30, axis, "end"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def ticks(low: float, high: float) -> list[float]:
    """Return a few round numbers from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    return [
        k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def _panel(panel: Panel, top: float, xs: Sequence[float], marks: Sequence[float]) -> list[str]:
    known = [v for line in panel.lines.values() for v in line if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.05 * (high - low) or 0.5
    low, high = low - room, high + room

    def down(value: float) -> float:
        return top + (high - value) / (high - low) * _HEIGHT

    right = _WIDTH - _RIGHT
    parts = [
        f'<rect x="{_LEFT}" y="{top}" width="{right - _LEFT}" height="{_HEIGHT}" fill="none" '
        'stroke="#999"/>',
        _text(_LEFT, top - 6, panel.title),
    ]
    for tick in ticks(low, high):
        y = down(tick)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#e4e4e4"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{tick:g}", "end"))
    for x in marks:
        parts.append(f'<path d="M{x:.1f} {top}v{_HEIGHT}" stroke="#888" stroke-dasharray="4 3"/>')
    place = float(right)
    for number, (name, line) in reversed(list(enumerate(panel.lines.items()))):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(
            f'<path d="{_path(xs, [v if v is None else down(v) for v in line])}" fill="none" '
            f'stroke="{colour}" stroke-width="1.5"/>'
        )
        parts.append(_text(place, top - 6, name, "end", colour))
        place -= 7.0 * len(name) + 16
    return parts


def _path(xs: Sequence[float], ys: Sequence[float | None]) -> str:
    words, pen = [], False
    for x, y in zip(xs, ys):
        if y is not None:
            words.append(f"{'L' if pen else 'M'}{x:.1f} {y:.1f}")
            if not pen:
                words.append("h0.01")  # so that a point alone is seen
        pen = y is not None
    return "".join(words)


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'paint-order="stroke" stroke="white" stroke-width="3">{escape(text)}</text>'
    )
