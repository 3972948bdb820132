"""Raw planar YUV files: frames without a header, so size and depth come from options or the name.

A file is nothing but frames, each the planes Y, U and V. Samples of more than 8 bits take two
bytes, little endian. The sides of chroma planes are rounded up where sizes are odd, as in ffmpeg.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from midframe.errors import UserError
from midframe.files import aside_of, remove_leftovers
from midframe.video.format import Chroma, Format
from midframe.video.timing import NAMED_RATES

SUFFIX = ".yuv"
CHROMAS: tuple[Chroma, ...] = ("420", "422", "444")
DEPTHS = (8, 10, 12, 14, 16)
YuvFormat = Format

_SIZE = re.compile(r"(?<!\d)([1-9]\d{0,4})[xX]([1-9]\d{0,4})(?!\d)")
_DEPTH = re.compile(r"(?<!\d)(8|10|12|14|16)[-_ ]?bit|(?<=4\d\dp)(10|12|14|16)le", re.I)
_CHROMA = re.compile(r"(?<!\d)(420|422|444)(?!\d)")
_FPS = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)[-_ ]?(?:fps|hz)(?![a-z])", re.I)
_FPS_BEHIND_SIZE = re.compile(
    r"(?<!\d)\d+[xX]\d+_(?!4[24][024](?!\d))(\d{2,3})(?=_|$)"
)  # of test sequences


@dataclass(frozen=True)
class YuvFrame:
    """One frame: its format and the planes Y, U, V, uint8 or uint16, of the format's shapes."""

    format: YuvFormat
    planes: tuple[np.ndarray, np.ndarray, np.ndarray]

    def tobytes(self) -> bytes:
        """Return the frame as it lies in a file."""
        return b"".join(plane.astype(self.format.dtype).tobytes() for plane in self.planes)


@dataclass(frozen=True)
class NameFacts:
    """What the name of a file says about its frames; None where it says nothing.

    Attributes:
        sequence: what stands before the first "-", or the whole name without its suffix.
        size: (width, height), as in "1920x1080".
        depth: bits, as in "10bit" or "yuv420p10le".
        chroma: as in "420" or "yuv444p".
        fps: frames a second, as in "60fps", or "832x480_50" of test sequences; 23.976 and its like
            are 24000/1001.
    """

    sequence: str
    size: tuple[int, int] | None = None
    depth: int | None = None
    chroma: Chroma | None = None
    fps: Fraction | None = None


def facts_of_name(path: str | Path) -> NameFacts:
    """Return what the file's name says, for example Park-1920x1080_50fps_10bit_420.yuv."""
    name = Path(path).stem
    size, chroma = _SIZE.search(name), _CHROMA.search(_SIZE.sub("x", name))
    depths = [int(one or other) for one, other in _DEPTH.findall(name)]
    fps = _FPS.search(name) or _FPS_BEHIND_SIZE.search(name)
    return NameFacts(
        sequence=name.split("-")[0],
        size=None if size is None else (int(size[1]), int(size[2])),
        depth=max(depths, default=None),
        chroma=None if chroma is None else next(c for c in CHROMAS if c == chroma[1]),
        fps=None if fps is None else _rate(fps[1]),
    )


def format_of(
    path: str | Path,
    size: tuple[int, int] | None = None,
    depth: int | None = None,
    chroma: Chroma | None = None,
) -> YuvFormat:
    """Return the format of a file: what is given, then what its name says, then 8 bit and 420.

    Args:
        path: the file; only its name is looked at.
        size: (width, height).
        depth: bits a sample.
        chroma: see `YuvFormat`.

    Raises:
        UserError: if nothing says the size.
    """
    facts = facts_of_name(path)
    size = size or facts.size
    if size is None:
        raise UserError(
            f"{path}: raw YUV does not tell its size; give --size WxH, "
            "or name the file such as clip_1920x1080.yuv"
        )
    return YuvFormat(*size, depth or facts.depth or 8, chroma or facts.chroma or "420")


def check_name(path: str | Path, form: YuvFormat) -> None:
    """Raise `UserError` if the name of a file to write says other things than its format."""
    facts = facts_of_name(path)
    said = {"size": facts.size, "depth": facts.depth, "chroma": facts.chroma}
    true = {"size": (form.width, form.height), "depth": form.depth, "chroma": form.chroma}
    wrong = [what for what, value in said.items() if value is not None and value != true[what]]
    if wrong:
        raise UserError(
            f"{path}: the {' and '.join(wrong)} in this name would not be true, frames are "
            f"written as {form}; choose another name"
        )


class YuvReader:
    """The frames of a file, in order or by number, one in memory at a time; a context manager.

    Args:
        path: the file.
        form: its format, see `format_of`.

    Attributes:
        frames: how many whole frames there are.
        left_over: bytes behind the last whole frame; not 0 where the format is wrong or the file
            was cut off.

    Raises:
        UserError: if there is no such file, or not one whole frame in it.
    """

    def __init__(self, path: str | Path, form: YuvFormat) -> None:
        self.path, self.format = Path(path), form
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file")
        size = self.path.stat().st_size
        self.frames, self.left_over = divmod(size, form.frame_bytes)
        if not self.frames:
            raise UserError(
                f"{self.path}: {size} bytes are less than one frame of {form} "
                f"({form.frame_bytes} bytes); check size, depth and chroma"
            )
        try:
            self._file: IO[bytes] = self.path.open("rb")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror})") from error

    def __enter__(self) -> YuvReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[YuvFrame]:
        return (self.read(number) for number in range(self.frames))

    def read(self, number: int) -> YuvFrame:
        """Return a frame, counted from 0.

        Raises:
            IndexError: for a number that is not there.
            UserError: if the file has become shorter, cannot be read, or has samples of more bits
                than its format says.
        """
        if not 0 <= number < self.frames:
            raise IndexError(f"frame {number} of {self.frames}")
        data = bytearray(self.format.frame_bytes)
        try:
            self._file.seek(number * len(data))
            count = self._file.readinto(data)  # type: ignore[attr-defined]
        except OSError as error:
            raise UserError(
                f"{self.path}: frame {number} cannot be read ({error.strerror})"
            ) from error
        if count != len(data):
            raise UserError(f"{self.path}: ends within frame {number}; it was whole at first")
        samples = np.frombuffer(data, self.format.dtype).astype(self.format.dtype.newbyteorder("="))
        if self.format.depth not in (8, 16) and samples.max() > self.format.peak:
            raise UserError(
                f"{self.path}: frame {number} has a sample of {samples.max()}, which takes more "
                f"than {self.format.depth} bits; check depth"
            )
        first, second, third = self.format.shapes
        ends = np.cumsum([h * w for h, w in (first, second)])
        y, u, v = np.split(samples, ends)
        return YuvFrame(self.format, (y.reshape(first), u.reshape(second), v.reshape(third)))


class YuvWriter:
    """A file that gets its name when it is complete; a context manager.

    Frames go to a hidden file beside it, which is renamed at the end and deleted on an error.

    Args:
        path: the file, replaced if it is there.
        form: what frames have to be.

    Raises:
        UserError: if it cannot be written there; on entering, or when the disk is full.
    """

    def __init__(self, path: str | Path, form: YuvFormat) -> None:
        self.path, self.format = Path(path), form
        self._final = self.path.resolve()  # a link stays one
        self._aside = aside_of(self._final.with_name(f".{self._final.name}"))
        self._file: IO[bytes] | None = None

    def __enter__(self) -> YuvWriter:
        try:
            self._final.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._final.parent)
            self._file = self._aside.open("wb")
        except OSError as error:
            raise self._failed(error) from error
        return self

    def write(self, frame: YuvFrame) -> None:
        """Append a frame.

        Raises:
            ValueError: for a frame of another format.
            UserError: if it cannot be written.
        """
        shapes = tuple(plane.shape for plane in frame.planes)
        if frame.format != self.format or shapes != self.format.shapes:
            raise ValueError(f"{self.path} takes frames of {self.format}, not {frame.format}")
        assert self._file is not None, "use it as a context manager"
        try:
            self._file.write(frame.tobytes())
        except OSError as error:
            raise self._failed(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        try:
            self._file.close()
            if kind is None:
                self._aside.replace(self._final)
        except OSError as failure:
            if kind is None:
                raise self._failed(failure) from failure
        finally:
            self._aside.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> UserError:
        return UserError(f"cannot write {self.path}: {error.strerror}")


def _rate(text: str) -> Fraction | None:
    return NAMED_RATES.get(text) or Fraction(text) or None
