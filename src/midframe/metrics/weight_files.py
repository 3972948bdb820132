"""Files that metrics read: found, held against their digest, loaded once, and told to records."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor

from midframe.errors import UserError
from midframe.files import sha256_of
from midframe.models.weights import read_checkpoint

LARGEST = 1 << 30  # bytes; far more than any network of a metric has

Name = str | PathLike[str]
Identity = tuple[str, int, int]
Function = TypeVar("Function", bound=Callable[..., Tensor])


class Called(Protocol):
    """What `digests` reads of a metric: `midframe.benchmark.protocol.Metric` is one."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Keyword arguments of the function."""

    def find(self) -> Callable[..., Tensor]:
        """Return the function."""


def reads_files(*options: str, **defaults: Callable[[], Path]) -> Callable[[Function], Function]:
    """Mark a metric's options that are paths of files, so that `digests` records the files.

    Args:
        *options: names of options without which the metric reads no such file.
        **defaults: names of options with what gives the path where they are None.
    """

    def mark(function: Function) -> Function:
        vars(function)["files"] = {**dict.fromkeys(options), **defaults}
        return function

    return mark


def digests(metric: Called) -> dict[str, str]:
    """Return the SHA-256 of each file that a metric reads, by the option that names it.

    Args:
        metric: a column of a protocol.

    Returns:
        Empty for metrics without files, such as PSNR.

    Raises:
        UserError: where a file that an option names is not there.
    """
    found = {}
    for option, default in getattr(metric.find(), "files", {}).items():
        path = metric.options.get(option)
        if path is None and default is not None:
            path = default()
        if path is not None:
            name = getattr(metric.find(), "__name__", "")
            found[option] = digest_of(local_file(path, name, option, "the file once more"))
    return found


def local_file(path: Name | None, metric: str, option: str, source: str) -> Path:
    """Return the path of a file that has to be there.

    Args:
        path: as the user gave it.
        metric: the metric's name.
        option: of the metric, whose value the path is.
        source: what the file is and where it is published.

    Raises:
        UserError: with the source, where no path is given or no file is there.
    """
    if path in (None, ""):
        given = f"metrics.{metric}.options.{option}=FILE"
        raise UserError(f"metric {metric} has no {option}: get {source}; {given} gives the path")
    found = Path(str(path)).expanduser()
    where = f"metric {metric}, {option}"
    if not found.is_file():
        raise UserError(f"{where}: there is no file {found}; get {source}")
    size = found.stat().st_size
    if size > LARGEST:
        raise UserError(f"{where}: {found} has {size >> 20} MiB, which is not {source}")
    return found


def verified(path: Path, sha256: str | None, option: str) -> Path:
    """Return the path if the file's SHA-256 begins with the digest; None is not checked.

    Raises:
        UserError: for another file, or for what is no digest.
    """
    if sha256 is None:
        return path
    digest = str(sha256).strip().lower()
    if not 8 <= len(digest) <= 64 or set(digest) - set("0123456789abcdef"):
        raise UserError(f"{option}={sha256!r} is no digest: give 8 to 64 hexadecimal digits")
    found = digest_of(path)
    if not found.startswith(digest):
        raise UserError(f"{path} is not the file that {option}={digest} means: it has {found}")
    return path


def identity(path: Path) -> Identity:
    """Return what tells a file from another, and from itself before it was written again."""
    found = path.resolve()
    state = found.stat()
    return str(found), state.st_size, state.st_mtime_ns


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, read once as long as it stays the same."""
    return _digest(identity(path))


@functools.lru_cache(maxsize=64)
def _digest(file: Identity) -> str:
    return sha256_of(file[0])


def read_state(
    file: Name, shapes: Mapping[str, tuple[int, ...]], source: str, unread: str | None = None
) -> dict[str, Tensor]:
    """Return the tensors of a state dict that has these keys and shapes, no more and no less.

    Args:
        file: is read as plain tensors; nothing in it is executed.
        shapes: by key.
        source: what the file is and where it is published.
        unread: what keys may begin with that are there as well and not read.

    Raises:
        UserError: naming what does not fit.
    """
    content = read_checkpoint(file)
    known = {k: x for k, x in content.items() if unread is None or not k.startswith(unread)}
    for key in sorted(set(known) ^ set(shapes)):
        what = "lacks" if key in shapes else "has an entry too many,"
        raise UserError(f"{file} {what} {key}; get {source}")
    for key, shape in shapes.items():
        value = known[key]
        if not isinstance(value, Tensor) or value.shape != shape:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UserError(f"{file}: {key} is {found}, not {shape}; get {source}")
    return {key: known[key].float() for key in shapes}
