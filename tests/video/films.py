"""Small films whose frames say their number, made by PyAV alone, and how PyAV alone reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT = 64, 48
_BITS = 8


def luma(number: int, width: int = WIDTH, height: int = HEIGHT, depth: int = 8) -> np.ndarray:
    """Return a plane whose upper half has the number as eight dark and bright bars."""
    plane = np.tile(np.linspace(60, 180, width), (height, 1))
    for bit in range(_BITS):
        left, right = bit * width // _BITS, (bit + 1) * width // _BITS
        plane[: height // 2, left:right] = 200 if number >> bit & 1 else 40
    return np.rint(plane * 2 ** (depth - 8)).astype(np.uint8 if depth == 8 else np.uint16)


def number_of(plane: np.ndarray, depth: int = 8) -> int:
    """Return the number that a plane shows, however lossy its way was."""
    height, width = plane.shape
    row = plane[height // 8 : height * 3 // 8].astype(float).mean(0) / 2 ** (depth - 8)
    bars = [row[b * width // _BITS : (b + 1) * width // _BITS] for b in range(_BITS)]
    return sum(1 << bit for bit, bar in enumerate(bars) if np.median(bar) > 120)


def picture(number: int, pixels: str = "yuv420p", width: int = WIDTH, height: int = HEIGHT) -> Any:
    """Return a PyAV frame in a planar pixel format; chroma and alpha follow the number, too."""
    form = av.VideoFrame(width, height, pixels)
    depth = form.format.components[0].bits
    for index, plane in enumerate(form.planes):
        row = plane.line_size // (1 if depth == 8 else 2)
        view = np.frombuffer(plane, np.uint8 if depth == 8 else np.uint16).reshape(-1, row)
        view = view[: plane.height, : plane.width]
        if index == 0 or pixels.startswith("gb") and index < 3:
            view[...] = luma(number, plane.width, plane.height, depth)
        else:
            view[...] = (100 + 10 * index + number % 32) << (depth - 8)
    return form


@dataclass
class Film:
    """What `shoot` writes.

    Attributes:
        times: of the frames, in seconds.
        base: unit that the times are written in.
        audio: codec of a sound of the same length, a click every half second; "" for none.
        audio_start: of the sound, in seconds.
        context: attributes of the video's codec context, such as colorspace.
        muxer: options of the container.
    """

    times: Sequence[Fraction]
    codec: str = "libx264"
    pixels: str = "yuv420p"
    base: Fraction = Fraction(1, 90000)
    rate: Fraction = Fraction(25)
    width: int = WIDTH
    height: int = HEIGHT
    options: dict[str, str] = field(default_factory=dict)
    audio: str = ""
    audio_start: Fraction = Fraction(0)
    context: dict[str, Any] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    chapters: list[dict[str, Any]] = field(default_factory=list)
    attachments: dict[str, bytes] = field(default_factory=dict)
    rotation: float = 0
    last: Fraction | None = None


def even(count: int, rate: Fraction | int = 25, start: Fraction | int = 0) -> list[Fraction]:
    """Return the times of frames at a constant rate."""
    return [Fraction(start) + i / Fraction(rate) for i in range(count)]


def shoot(path: Path, film: Film, muxer: str | None = None) -> Path:
    """Write a film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=muxer, options=film.muxer) as out:
        out.metadata.update(film.metadata)
        stream = out.add_stream(film.codec, rate=film.rate, time_base=film.base)
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, film.pixels
        stream.time_base = film.base
        stream.options = film.options
        for name, value in film.context.items():
            setattr(stream.codec_context, name, value)
        if film.rotation:
            stream.set_display_rotation(film.rotation)
        sound = _sound(out, film)
        for name, data in film.attachments.items():
            out.add_attachment(name, "application/octet-stream", data)
        if film.chapters:
            out.set_chapters(film.chapters)
        gaps = [b - a for a, b in zip(film.times, film.times[1:])]
        gaps.append(film.last or (gaps[-1] if gaps else 1 / film.rate))
        lasts = {round(t / film.base): round(gap / film.base) for t, gap in zip(film.times, gaps)}
        for number, time in enumerate(film.times):
            frame = picture(number, film.pixels, film.width, film.height)
            frame.pts, frame.time_base = round(time / film.base), film.base
            frame.duration = lasts[frame.pts]
            for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
                if name in film.context:
                    setattr(frame, name, film.context[name])
            _mux(out, stream.encode(frame), lasts)
        _mux(out, stream.encode(), lasts)
        if sound is not None:
            end = film.times[-1] + gaps[-1]
            for samples in _clicks(sound, film.audio_start, end):
                out.mux(sound.encode(samples))
            out.mux(sound.encode(None))
    return path


def _mux(out: Any, packets: Iterable[Any], lasts: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = lasts.get(packet.pts, packet.duration)
        out.mux(packet)


def _sound(out: Any, film: Film) -> Any:
    if not film.audio:
        return None
    rate = 48000
    sound = out.add_stream(film.audio, rate=rate)
    sound.layout = "mono"
    return sound


def _clicks(sound: Any, start: Fraction, end: Fraction) -> Iterable[Any]:
    rate = sound.codec_context.sample_rate
    total = int((end - start) * rate)
    wave = np.zeros(total, np.float32)
    for at in range(0, total, rate // 2):
        wave[at : at + 480] = 0.5 * np.sin(np.arange(len(wave[at : at + 480])) * 0.3)
    for at in range(0, total, 1024):
        part = wave[None, at : at + 1024]
        form = sound.codec_context.format.name
        if form.startswith("s16"):
            part = (part * 32767).astype(np.int16)
        block = av.AudioFrame.from_ndarray(part, format=form, layout="mono")
        block.sample_rate, block.pts = rate, at + int(start * rate)
        block.time_base = Fraction(1, rate)
        yield block


def numbers(path: Path, **options: Any) -> list[tuple[Fraction, int]]:
    """Return time and shown number of every frame, as plain PyAV decodes them."""
    found = []
    with av.open(str(path), **options) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            depth = frame.format.components[0].bits
            grey = frame if not frame.format.is_rgb else frame.reformat(format="gray")
            depth = 8 if frame.format.is_rgb else depth
            plane = grey.planes[0]
            kind = np.uint8 if depth == 8 else np.uint16
            view = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind().itemsize)
            time = frame.pts * frame.time_base if frame.pts is not None else None
            found.append((time, number_of(view[: frame.height, : frame.width], depth)))
    return found
