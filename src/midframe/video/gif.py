"""Animated GIF: one palette for the whole clip, ordered dither, LZW.

One palette and a fixed dither pattern keep still parts still. OpenCV writes GIF too (from 4.11 on),
but photographs come out at 21 to 31 dB there, and at 35 dB and more here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from midframe.files import write_bytes

_COLOURS = 256
_SAMPLES = 24_000  # pixels that the palette is made from
_LUT_BITS = 6  # colours are looked up with this many bits a channel
_CLEAR, _END = 256, 257
_LONGEST = 65535  # hundredths of a second: what a frame has room for
_CODES = 4096  # GIF's LZW codes have 12 bits at most


def write_gif(
    path: str | Path, frames: Sequence[np.ndarray], fps: float = 10.0, loop: bool = True
) -> None:
    """Write (h, w, 3) uint8 RGB frames of one size as an animated GIF.

    Args:
        path: the file, replaced whole; no half-written file is ever seen.
        frames: at least one.
        fps: frames per second; GIF counts in hundredths of a second, and viewers slow down
            what is faster than 50.
        loop: whether it repeats for ever.

    Raises:
        ValueError: for no frames or frames of unequal size.
    """
    write_bytes(path, encode_gif(frames, fps, loop))


def encode_gif(frames: Sequence[np.ndarray], fps: float = 10.0, loop: bool = True) -> bytes:
    """Return the bytes of a GIF, see `write_gif`."""
    if not frames or any(f.shape != frames[0].shape or f.dtype != np.uint8 for f in frames):
        raise ValueError("a GIF takes one or more (h, w, 3) uint8 frames of one size")
    height, width = frames[0].shape[:2]
    palette = Palette(frames)
    delay = max(2, round(100 / fps))
    shown = (palette.frame(frame, delay) for frame in frames)
    return b"".join([palette.head(width, height, loop and len(frames) > 1), *shown, b"\x3b"])


class Palette:
    """The colours of a GIF, and its parts in them: `head`, then each `frame`, then the byte 3b.

    Args:
        frames: (h, w, 3) uint8 RGB that colours are taken from.
        clear: whether one entry is kept for what is transparent.
    """

    def __init__(self, frames: Sequence[np.ndarray], clear: bool = False) -> None:
        self._colours = _palette(frames, _COLOURS - clear)
        self._clear = len(self._colours) if clear else None
        self._table = _nearest_table(self._colours)
        self._spread = _spacing(self._colours)

    def head(self, width: int, height: int, loop: bool) -> bytes:
        """Return what a file of this size starts with."""
        entries = np.zeros((_COLOURS, 3), np.uint8)
        entries[: len(self._colours)] = self._colours
        start = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + entries.tobytes()
        return start + (b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00" if loop else b"")

    def frame(self, image: np.ndarray, delay: int, clear: np.ndarray | None = None) -> bytes:
        """Return a frame.

        Args:
            image: (h, w, 3) uint8 RGB.
            delay: how long it is shown, in hundredths of a second; GIF has room for 655.35 s, and
                what is longer becomes that.
            clear: (h, w) bool, what is transparent; of palettes that keep an entry for it.
        """
        height, width = image.shape[:2]
        index = _index(image, self._table, self._spread)
        control = 0x04  # the next frame is drawn over this one
        if self._clear is not None:
            assert clear is not None
            control = 0x09  # it is wiped first, as it would show through
            index = np.where(clear, np.uint8(self._clear), index)
        shown = min(delay, _LONGEST)
        parts = [
            struct.pack("<BBBBHBB", 0x21, 0xF9, 4, control, shown, self._clear or 0, 0),
            struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0),
            b"\x08" + _blocks(_lzw(index.tobytes())),
        ]
        return b"".join(parts)


def _palette(frames: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return (``count``, 3) float colours: median cut, then a few rounds of k-means."""
    pixels = np.concatenate([f.reshape(-1, 3) for f in frames[:: max(1, len(frames) // 8)]])
    pixels = pixels[:: max(1, len(pixels) // _SAMPLES)].astype(np.float32)
    boxes, spread = [pixels], [_spread(pixels)]
    while len(boxes) < count:
        worst = max(range(len(boxes)), key=spread.__getitem__)
        box = boxes[worst]
        axis = int(box.var(0).argmax())
        split = np.median(box[:, axis])
        low = box[:, axis] <= split if split < box[:, axis].max() else box[:, axis] < split
        if not low.any():  # fewer colours than the palette holds
            break
        boxes[worst : worst + 1] = [box[low], box[~low]]
        spread[worst : worst + 1] = map(_spread, boxes[worst : worst + 2])
    palette = np.stack([box.mean(0) for box in boxes])
    for _ in range(4):
        nearest = _nearest(pixels, palette)
        counts = np.bincount(nearest, minlength=len(palette))
        for channel in range(3):
            total = np.bincount(nearest, pixels[:, channel], minlength=len(palette))
            palette[:, channel] = np.where(
                counts > 0, total / np.maximum(counts, 1), palette[:, channel]
            )
    unused = np.zeros((count - len(palette), 3), np.float32)
    return np.concatenate([np.rint(palette), unused])


def _spread(box: np.ndarray) -> float:
    return len(box) * float(box.var(0).max())


def _nearest(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return the index of the palette's nearest colour for each of (n, 3) colours."""
    out = np.empty(len(colours), np.int64)
    half_norm = (palette**2).sum(1) / 2
    for start in range(0, len(colours), 1 << 14):
        part = slice(start, start + (1 << 14))
        out[part] = (half_norm - colours[part] @ palette.T).argmin(1)
    return out


def _nearest_table(palette: np.ndarray) -> np.ndarray:
    steps = (np.arange(1 << _LUT_BITS, dtype=np.float32) + 0.5) * (1 << 8 - _LUT_BITS) - 0.5
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    return _nearest(cube, palette.astype(np.float32)).astype(np.uint8)


def _spacing(palette: np.ndarray) -> float:
    """Return a typical distance between neighbouring colours, which the dither has to bridge."""
    used = np.unique(palette, axis=0)
    if len(used) < _COLOURS // 2:
        return 0.0  # nearly every colour of the clip has its own entry
    distance = ((used[:, None] - used[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    return float(np.median(np.sqrt(distance.min(1)))) / 3**0.5


def _index(frame: np.ndarray, table: np.ndarray, spread: float) -> np.ndarray:
    """Return (h, w) uint8 palette indices, with a fixed 8x8 dither pattern of ``spread`` levels."""
    height, width = frame.shape[:2]
    bayer = np.zeros((1, 1))
    for _ in range(3):
        bayer = np.block([[4 * bayer, 4 * bayer + 2], [4 * bayer + 3, 4 * bayer + 1]])
    offset = ((bayer + 0.5) / bayer.size - 0.5) * spread
    tiled = np.tile(offset, (-(-height // 8), -(-width // 8)))[:height, :width, None]
    r, g, b = np.moveaxis(np.clip(np.rint(frame + tiled), 0, 255).astype(np.int64), -1, 0)
    shift = 8 - _LUT_BITS
    return table[(((r >> shift) << _LUT_BITS | g >> shift) << _LUT_BITS) | b >> shift]


def _lzw(data: bytes) -> bytes:
    """Compress palette indices with GIF's variable-width LZW, 8-bit symbols."""
    out = bytearray()
    bits, held, size = _CLEAR, 9, 9  # the stream starts with a clear code
    codes: dict[int, int] = {}
    following = _END + 1
    prefix = data[0]
    for symbol in data[1:]:
        key = prefix << 8 | symbol
        code = codes.get(key)
        if code is not None:
            prefix = code
            continue
        bits |= prefix << held
        held += size
        if following < _CODES:
            codes[key] = following
            if following == 1 << size:
                size += 1
            following += 1
        else:
            bits |= _CLEAR << held
            held += size
            codes.clear()
            following, size = _END + 1, 9
        while held >= 8:
            out.append(bits & 255)
            bits >>= 8
            held -= 8
        prefix = symbol
    bits |= prefix << held
    held += size
    if following == 1 << size and size < 12:
        size += 1
    bits |= _END << held
    held += size
    out += bits.to_bytes(-(-held // 8), "little")
    return bytes(out)


def _blocks(data: bytes) -> bytes:
    """Cut into GIF's blocks of up to 255 bytes, each after its length."""
    parts = [data[i : i + 255] for i in range(0, len(data), 255)]
    return b"".join(bytes([len(p)]) + p for p in parts) + b"\x00"
