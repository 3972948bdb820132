"""Conversions without a model: every frame of a clip, and copies of it between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from midframe.video.clip import Clip, Reading, open_clip
from midframe.video.frame import Frame
from midframe.video.join import join
from midframe.video.target import Output, Target, plan_output
from midframe.video.writer import SegmentWriter


@dataclass
class Made:
    """What came of it: times and frames as they were handed over, and words for people."""

    clip: Clip
    target: Target
    times: list[Fraction]
    frames: list[Frame]
    words: list[str]


def convert(
    source: Path,
    out: Path,
    output: Output | None = None,
    *,
    factor: int = 2,
    stretch: Fraction | int = 1,
    audio: str = "copy",
    every: int = 7,
    reading: Reading | None = None,
) -> Made:
    """Write ``factor`` times as many frames, in parts of ``every``."""
    stretch = Fraction(stretch)
    clip = open_clip(source, reading)
    rate = None if clip.rate is None else clip.rate * factor / stretch
    target = plan_output(clip, out, rate, output, stretch)
    times: list[Fraction] = []
    frames: list[Frame] = []
    for number, frame in enumerate(clip.read()):
        here = clip.times[number]
        gap = clip.times[number + 1] - here if number + 1 < len(clip) else 0
        for k in range(factor if gap else 1):
            times.append((here + gap * Fraction(k, factor)) * stretch)
            frames.append(frame)
    parts = []
    work = out.parent / f".{out.name}.parts"
    for start in range(0, len(times), every):
        parts.append(work / f"{start:06d}")
        with SegmentWriter(parts[-1], target) as writer:
            for time, frame in zip(times[start : start + every], frames[start : start + every]):
                writer.write(frame, time)
    words = join(parts, clip, target, stretch=stretch, audio=audio, last=clip.last * stretch)  # type: ignore[arg-type]
    return Made(clip, target, times, frames, words)


def clicks(path: Path, loud: float = 0.1) -> list[float]:
    """Return when the sound of a file becomes loud, in seconds, as plain PyAV decodes it."""
    found: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(np.float64)
            if frame.format.name.startswith("s16"):
                samples /= 32768
            elif frame.format.name.startswith("s32"):
                samples /= 2**31
            samples = samples.reshape(-1, len(frame.layout.channels)).mean(1) if not (
                frame.format.is_planar
            ) else samples.mean(0)  # fmt: skip
            for at in np.nonzero(np.abs(samples) > loud)[0]:
                time = float(frame.pts * frame.time_base) + at / frame.sample_rate
                if not found or time > found[-1] + 0.2:
                    found.append(time)
    return found


def lengths(path: Path) -> dict[str, float]:
    """Return when the last packet of each kind of stream ends, in seconds."""
    ends: dict[str, float] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                kind = packet.stream.type
                ends[kind] = max(ends.get(kind, 0.0), end)
    return ends


def planes_of(path: Path, pixels: str) -> list[list[np.ndarray]]:
    """Return the planes of every frame in a planar pixel format, as plain PyAV decodes them."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.format.name != pixels:
                frame = frame.reformat(format=pixels)
            planes = []
            for plane in frame.planes:
                wide = frame.format.components[0].bits > 8
                row = np.frombuffer(plane, np.uint16 if wide else np.uint8)
                row = row.reshape(plane.height, -1)[:, : plane.width]
                planes.append(np.array(row))
            found.append(planes)
    return found


def same(sent: Sequence[Frame], got: Sequence[Sequence[Any]]) -> bool:
    """Whether frames came back sample for sample; RGB in FFmpeg's order G, B, R."""
    if len(sent) != len(got):
        return False
    for frame, planes in zip(sent, got):
        order: list[int] = list(range(len(planes)))
        if frame.format.family == "rgb":
            order = [2, 0, 1, *order[3:]]
        if not all(np.array_equal(a, planes[i]) for a, i in zip(frame.planes, order)):
            return False
    return True
