"""Textures of synthetic scenes: drawn by formulas, and cut out of photographs.

A texture goes on without end: one that is drawn repeats, a cut of a photograph is surrounded by its
mirror images. All follow from (seed, split, number). Each process makes those that it needs once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from midframe.data.io import decode, header_size, unreadable
from midframe.errors import UserError
from midframe.video.pictures import is_cut_off

TABLES = 32  # textures, and shapes, per split
TEXTURE = 512  # period of a texture in texels; greatest side of a cut of a photograph
STRIDES = (0.8, 1.5)  # least and greatest texels per pixel of what is drawn
CUTS = 64  # of photographs, per split
PICTURES = (".png", ".jpg", ".jpeg")  # formats whose headers tell the size before all is decoded
FOLDER = "photographs"  # where `midframe fetch open` puts them, beside the films
_SMALLEST = TEXTURE // 2  # a photograph's shorter side is not reduced below
_LEAST, _MOST = 64, 1 << 26  # pixels: of a photograph's shorter side, and in all
_LARGEST = 1 << 28  # bytes of a file


@dataclass(frozen=True)
class Photographs:
    """Those photographs of a folder that serve one split; equal where names and contents are.

    Attributes:
        digest: of names and contents.
        share: of the layers and backgrounds that show one.
        folder: where they are.
        files: their names, and the SHA-256 of each.
    """

    digest: str
    share: float
    folder: str = field(compare=False, repr=False)
    files: tuple[tuple[str, str], ...] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Surface:
    """What a layer looks like.

    Attributes:
        texture: (h, w, 3) uint8.
        from_layer: the 3x3 matrix from the layer's coordinates to the texture's.
        colour: (3, 4), what becomes of RGB.
        mirrored: whether mirror images surround the texture, and not the texture again.
    """

    texture: np.ndarray
    from_layer: np.ndarray
    colour: np.ndarray
    mirrored: bool = False


def draw_surface(
    rng: np.random.Generator,
    chance: np.random.Generator,
    seed: int,
    split: int,
    stride: float,
    photographs: Photographs | None = None,
) -> Surface:
    """Return the surface of a layer.

    Args:
        rng: of the scene; it is drawn from equally often with and without photographs, so that the
            rest of the scene is the same.
        chance: decides whether it shows a photograph, and which.
        seed: of the data set.
        split: its number.
        stride: texels per pixel, within `STRIDES`.
        photographs: where a part of the textures comes from; None for none of them.
    """
    number, angle = int(rng.integers(TABLES)), rng.uniform(0, 2 * np.pi)
    offset, colour = rng.uniform(0, TEXTURE, 2), _colour(rng)
    if photographs is None or chance.uniform() >= photographs.share:
        texture = texture_table(seed, split, number)
        return Surface(texture, similarity(stride, angle, offset), colour)
    texture = photograph_cut(photographs, seed, split, int(chance.integers(CUTS)))
    angle = chance.normal(0, 0.2)  # they stay almost upright, as what films show
    offset = chance.uniform(0, 1, 2) * texture.shape[1::-1]
    # photographs have detail down to a texel, which would flicker where a pixel spans several
    place = similarity(stride / STRIDES[1], angle, offset)
    return Surface(texture, place, _exposure(chance), mirrored=True)


def similarity(scale: float, angle: float, offset: np.ndarray) -> np.ndarray:
    """Return the 3x3 matrix that scales, turns by an angle in radians, and shifts."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, offset[0]], [s, c, offset[1]], [0.0, 0.0, 1.0]])


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Return a (3, 4) map of RGB: contrast, channel mixing around mid grey, and an offset."""
    mix = np.eye(3)[rng.permutation(3)] + rng.normal(0, 0.25, (3, 3))
    mix *= rng.uniform(0.5, 1.1) * rng.choice([-1.0, 1.0])
    offset = 127.5 - mix @ np.full(3, 127.5) + rng.normal(0, 30, 3) + rng.normal(0, 15)
    return np.concatenate([mix, offset[:, None]], 1)


def _exposure(rng: np.random.Generator) -> np.ndarray:
    """Return a (3, 4) map of RGB that a camera could have made: contrast, balance, brightness."""
    mix = np.diag(rng.uniform(0.7, 1.1) * (1 + rng.normal(0, 0.05, 3)))
    offset = 127.5 - mix @ np.full(3, 127.5) + rng.normal(0, 12)
    return np.concatenate([mix, offset[:, None]], 1)


@lru_cache(maxsize=3 * TABLES)
def texture_table(seed: int, split: int, number: int) -> np.ndarray:
    """Return a periodic texture (TEXTURE, TEXTURE, 3) uint8: a pattern, noise, some colour."""
    rng = np.random.default_rng((seed, split, 1, number))
    y, x = np.mgrid[:TEXTURE, :TEXTURE] * (2 * np.pi / TEXTURE)
    kind = ("noise", "stripes", "checker", "blobs")[number % 4]
    if kind == "noise":
        pattern = _noise(rng, 32)
    elif kind == "blobs":
        pattern = np.tanh(5 * _noise(rng, int(rng.choice([16, 32]))))
    else:
        waves = rng.integers(14, 44, 2) * rng.choice([-1, 1], 2)
        bend = rng.uniform(0, 4) * _noise(rng, 128)
        first, second = waves[0] * x + bend, waves[1] * y + bend
        if kind == "stripes":
            pattern = np.tanh(2 * np.sin(first + np.rint(waves[1] / 2) * y))
        else:
            pattern = np.tanh(2 * np.sin(first)) * np.tanh(2 * np.sin(second))
    slope = rng.uniform(0.0, 0.9)
    waves_px = (4, 8, 16, 32, 64)
    grain = sum(_noise(rng, w) * (w / 64.0) ** slope for w in waves_px)
    light = pattern * rng.uniform(0.3, 1.0) + grain / grain.std() * rng.uniform(0.5, 1.0)
    tint = [_noise(rng, int(w)) * rng.uniform(0.1, 0.5) for w in rng.choice([8, 32, 64], 3)]
    rgb = np.stack([light + t for t in tint], -1)
    return np.clip(127.5 + 52.0 * rgb / rgb.std(), 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, wavelength: int) -> np.ndarray:
    """Return smooth periodic noise of unit variance; ``wavelength`` texels between its knots."""
    import cv2

    knots = rng.normal(size=(TEXTURE // wavelength,) * 2).astype(np.float32)
    ring = np.pad(knots, 3, mode="wrap")
    big = cv2.resize(ring, None, fx=wavelength, fy=wavelength, interpolation=cv2.INTER_CUBIC)
    cut = slice(3 * wavelength, 3 * wavelength + TEXTURE)
    out = big[cut, cut]
    return (out - out.mean()) / out.std()


def find_photographs(folder: str | Path, split: int, share: float) -> Photographs:
    """Return the photographs that serve a split: by their names, and none serves two.

    A fifth of them, at least one, is for validation, a fifth for tests, the rest for training; of
    more than `CUTS` those are used that come first in the order of their names' hashes, and no
    other is opened.

    Args:
        folder: of PNG and JPEG files; others, and folders in it, do not count.
        split: 0 for training, 1 for validation, 2 for tests.
        share: see `Photographs`.

    Raises:
        UserError: for a folder that is missing or has fewer than three, and for one of them that
            is damaged, too small or too large.
    """
    folder = Path(folder).expanduser()
    try:
        paths = [p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.is_file()]
    except OSError as error:
        raise UserError(
            f"data.layout.photographs={folder}: no such folder; `midframe fetch open` makes one, "
            f"the folder {FOLDER} in what it is given by --to"
        ) from error
    if len(paths) < 3:
        raise UserError(
            f"data.layout.photographs={folder}: {len(paths)} PNG or JPEG pictures; give three or "
            "more, since training, validation and tests share none"
        )
    paths.sort(key=lambda path: hashlib.sha256(os.fsencode(path.name)).digest())
    held = max(1, len(paths) // 5)
    sides = (paths[2 * held :], paths[:held], paths[held : 2 * held])
    files = tuple((path.name, _sha256(path)) for path in sides[split][:CUTS])
    return Photographs(_digest(files), share, str(folder), files)


def _digest(files: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16]


def _sha256(path: Path) -> str:
    """Return the hash of a photograph; `UserError` if it can be told that none can be cut out."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _LARGEST else b""
    except OSError as error:
        raise unreadable(str(path), error) from error
    if size > _LARGEST:
        raise UserError(f"{path}: {size >> 20} MiB are too large for a photograph; reduce it")
    shape = header_size(str(path))
    if shape is None or is_cut_off(data):
        raise UserError(f"{path}: no PNG or JPEG picture, or cut off; mend it or take it away")
    if min(shape) < _LEAST or shape[0] * shape[1] > _MOST:
        raise UserError(
            f"{path}: {shape[1]}x{shape[0]} pixels; photographs have {_LEAST} or more on a side "
            f"and at most {_MOST:,} in all; resize it or take it away"
        )
    return hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=2 * CUTS)  # of training and validation, at most 0.8 MB each
def photograph_cut(photographs: Photographs, seed: int, split: int, number: int) -> np.ndarray:
    """Return a part of a photograph (h, w, 3) uint8 RGB, reduced; sides of up to `TEXTURE`.

    The scale is log-uniform from where the shorter side has 256 texels to full size.

    Raises:
        UserError: if the photograph is no longer what it was, or is damaged.
    """
    import cv2

    name, sha256 = photographs.files[number % len(photographs.files)]
    path = Path(photographs.folder, name)
    if _sha256(path) != sha256:
        raise UserError(f"{path}: was changed after the run had begun; start it anew")
    rng = np.random.default_rng((seed, split, 4, number))
    shape = np.array(header_size(str(path)))
    scale = float(np.exp(rng.uniform(np.log(min(1.0, _SMALLEST / shape.min())), 0.0)))
    picture = decode(str(path), _reduced(path, scale))
    if picture is None:
        raise UserError(f"{path}: not a picture that can be decoded; mend it or take it away")
    side = np.minimum(np.rint(shape * scale), TEXTURE).astype(int)
    decoded = np.array(picture.shape[:2])
    # of the photograph, as much as becomes that many texels
    taken = np.minimum(np.rint(side * decoded / (shape * scale)).astype(int), decoded)
    top, left = rng.integers(decoded - taken + 1)
    part = picture[top : top + taken[0], left : left + taken[1], ::-1]
    height, width = (int(n) for n in side)
    return cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=cv2.INTER_AREA)


def _reduced(path: Path, scale: float) -> int:
    """Return how OpenCV reads a picture that is reduced next: a JPEG not in full, if so."""
    import cv2

    if path.suffix.lower() == ".png":  # it would be decoded in full, and then have aliases
        return cv2.IMREAD_COLOR
    if scale <= 1 / 8:
        return cv2.IMREAD_REDUCED_COLOR_8
    if scale <= 1 / 4:
        return cv2.IMREAD_REDUCED_COLOR_4
    return cv2.IMREAD_REDUCED_COLOR_2 if scale <= 1 / 2 else cv2.IMREAD_COLOR
