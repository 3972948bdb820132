"""Arrays in .npz files, read with what each may be known beforehand; never pickled.

A file claims sizes in three places: the directory of the archive, the head of each array, and what
whoever reads expects. All three are compared before anything of that size is allocated.
"""

from __future__ import annotations

import io
import math
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from midframe.errors import UserError
from midframe.files import aside_of

Form = tuple[np.dtype, tuple[int, ...]]

_HEAD = 4096  # bytes of an array's head: a few words; 128 as a rule
_WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write arrays, aside and renamed.

    Raises:
        OSError: if that is not possible.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}"))
    try:
        with aside.open("wb") as file:
            (np.savez_compressed if compressed else np.savez)(
                file, allow_pickle=False, **{name: array for name, array in arrays.items()}
            )
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def forms(path: Path) -> dict[str, Form]:
    """Return dtype and shape of each array in a file, which is not read further.

    Raises:
        UserError: if it is missing or damaged, or an array isn't as long as it claims.
    """
    with _Archive(path) as archive:
        return {name: archive.form(name) for name in archive.names}


def read_npz(path: Path, expected: Mapping[str, Form]) -> dict[str, np.ndarray]:
    """Read arrays that are known to be of these dtypes and shapes.

    Raises:
        UserError: if the file is missing or damaged, or has something else in it.
    """
    with _Archive(path) as archive:
        if set(archive.names) != set(expected):
            held = ", ".join(sorted(archive.names))
            raise ValueError(f"it holds {held}, not {', '.join(sorted(expected))}")
        for name, form in expected.items():
            if archive.form(name) != form:
                raise ValueError(f"its {name} is {archive.form(name)}, not {form}")
        return {name: archive.array(name) for name in expected}


# what zipfile, zlib and NumPy raise for damaged bytes; RuntimeError where they can't unpack them
_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, OverflowError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


class _Archive:
    """An .npz file; what is wrong with it becomes a `UserError` that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Archive:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except _DAMAGE as error:
            raise self._error(error) from error
        self._members = {one.filename.removesuffix(".npy"): one for one in self._zip.infolist()}
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        self._zip.close()
        if isinstance(error, _DAMAGE):
            raise self._error(error) from error

    @property
    def names(self) -> list[str]:
        """Names of the arrays."""
        return list(self._members)

    def form(self, name: str) -> Form:
        """Return dtype and shape as an array's head says them, if they fit its length."""
        member = self._members[name]
        if member.compress_type not in _WAYS or member.flag_bits & 1:
            raise ValueError(f"its {name} is packed in a way that is not used here")
        with self._zip.open(member) as file:
            head = io.BytesIO(file.read(_HEAD))
        version = npy.read_magic(head)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its {name} is of another version of NumPy's format")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(head)
        length = head.tell() + math.prod(shape) * dtype.itemsize
        if dtype.hasobject or fortran and len(shape) > 1 or min(shape, default=0) < 0:
            raise ValueError(f"its {name} is no plain array")
        if length != member.file_size:
            raise ValueError(f"its {name} has {member.file_size} bytes instead of {length}")
        if member.file_size > max(member.compress_size, 1) * 1032:  # deflate can't do more
            raise ValueError(f"its {name} claims more than its bytes can hold")
        return dtype, shape

    def array(self, name: str) -> np.ndarray:
        """Return an array whose `form` has been looked at."""
        with self._zip.open(self._members[name]) as file:
            return npy.read_array(file, allow_pickle=False)

    def _error(self, error: BaseException) -> UserError:
        text = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        return UserError(
            f"{self.path}: cannot be read ({text or type(error).__name__}); make it again"
        )
