"""Packed data sets that lie elsewhere: read through fsspec, by pieces, into a local cache."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from midframe.data.cache import PieceCache
from midframe.data.flow_files import from_half
from midframe.data.io import check_box
from midframe.data.records import Box, Clip
from midframe.data.shards import INDEX, PACK, PIECE, check_pack, clips_of, parse_index
from midframe.errors import UserError

_TRIES = 4
_PAUSE = 0.5  # seconds before the second try, then twice as long each time
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
}


@dataclass(frozen=True)
class CacheOptions:
    """Where pieces of remote shards are kept, and how much of them.

    Attributes:
        dir: a folder on a local disk, which several runs may share.
        gb: at most so many gigabytes (of 10^9 bytes).
    """

    dir: str | Path
    gb: float = 50.0

    def open(self, piece: int) -> PieceCache:
        """Return the cache for pieces of so many bytes; `UserError` where they find no room."""
        bound = int(self.gb * 1e9)
        if bound < 4 * (piece + 64):
            raise UserError(
                f"data.cache.gb={self.gb:g}: too little; pieces have {piece / 1e9:.3f} GB, and "
                "four of them is the least"
            )
        return PieceCache(Path(self.dir).expanduser().absolute(), bound)


class RemoteShard(NamedTuple):
    """A shard that lies elsewhere.

    Attributes:
        url: of the shard.
        size: in bytes.
        piece: bytes of a piece; the last may be shorter.
        checksums: CRC-32 of each piece; empty where the pack has none.
        version: of the pack, so that another one at the same place is not taken for it.
        cache: where pieces are kept.
    """

    url: str
    size: int
    piece: int
    checksums: tuple[int, ...]
    version: str
    cache: PieceCache

    def read(self, start: int, end: int) -> bytes:
        """Return bytes of the shard, from the cache or through it."""
        parts = []
        for number in range(start // self.piece, (end - 1) // self.piece + 1):
            first = number * self.piece
            size = min(self.piece, self.size - first)
            checksum = self.checksums[number] if self.checksums else None
            parts.append(
                self.cache.read(
                    f"{self.url} {self.version} {self.size} {self.piece} {number} {checksum}",
                    size,
                    max(start - first, 0),
                    min(end - first, size),
                    partial(self._fetch, first, size, checksum),
                    checksum,
                )
            )
        return b"".join(parts)

    def _fetch(self, first: int, size: int, checksum: int | None) -> bytes:
        wrong = ""
        for _ in range(2):  # the way here may do harm as well
            found = fetch(self.url, first, first + size)
            if len(found) == self.size > size:  # a server that knows nothing of ranges
                found = found[first : first + size]
            if len(found) != size:
                wrong = f"{len(found)} bytes came instead of {size}"
            elif checksum is not None and zlib.crc32(found) != checksum:
                wrong = "the checksum is another"
            else:
                return found
        raise UserError(
            f"{self.url}: damaged from byte {first} on ({wrong}); copy the folder again"
        )


@dataclass(frozen=True)
class RemoteFrame:
    """A frame (h, w, 3) uint8 RGB in a remote shard; see `midframe.data.shards.ShardFrame`."""

    shard: RemoteShard
    offset: int
    height: int
    width: int

    @property
    def path(self) -> str:
        """The shard's URL."""
        return self.shard.url

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.height, self.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the frame or the part inside ``box``."""
        return _part(self, box, 3)


@dataclass(frozen=True)
class RemoteFlow(RemoteFrame):
    """A flow field (h, w, 2) in a remote shard, float16 there and float32 here."""

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the flow or the part inside ``box``."""
        return from_half(np.ascontiguousarray(_part(self, box, 4)).view(np.float16))


def _part(item: RemoteFrame, box: Box | None, pixel: int) -> np.ndarray:
    """Read the rows of the box, and no others, and return (h, w, bytes per pixel)."""
    if box is not None:
        check_box(box, (item.height, item.width), item.path)
    top, left, rows, columns = box or Box(0, 0, item.height, item.width)
    line = item.width * pixel
    start = item.offset + top * line
    content = item.shard.read(start, start + rows * line)
    lines = np.frombuffer(content, np.uint8).reshape(rows, item.width, pixel)
    return lines[:, left : left + columns]


def is_remote(root: object) -> bool:
    """Return whether a data set's folder is a URL, such as s3://bucket/folder."""
    return re.match(r"[A-Za-z][\w+.-]*(::[\w+.-]+)*://", str(root)) is not None


def check_url(root: str) -> str:
    """Return a URL without a slash at its end; refuse one with a password, which is recorded."""
    if urlsplit(root).password:
        raise UserError(
            "data.root: a run's record keeps the URL, so give no password in it; fsspec finds "
            "credentials where the service's own tools keep them, or in ~/.config/fsspec/conf.json"
        )
    return root.rstrip("/")


def open_remote(root: str, split: str, context: int, cache: CacheOptions) -> list[Clip]:
    """Return the clips of a split of a packed data set that lies elsewhere.

    Args:
        root: URL of a folder that `midframe pack` made, as fsspec takes it.
        split: the layout's name of the split.
        context: frames on each side of the gap; must be that of the pack.
        cache: where pieces of shards are kept.

    Raises:
        UserError: as `midframe.data.shards.open_packed` does, and for what is not there, may not
            be read or needs a package that is not installed.
    """
    root = check_url(root)
    pack = _read_json(f"{root}/{PACK}", "pack", f"; {root} has to be what midframe pack made")
    check_pack(pack, root, split, context)
    where = f"{root}/{split}/{INDEX}"
    index = _read_json(where, "clips")
    piece = int(index.get("piece", PIECE))
    opened = cache.open(piece)

    def shard(entry: Mapping[str, Any]) -> RemoteShard:
        sums = tuple(int(x) for x in entry.get("crc32", ()))
        if sums and len(sums) != -(-entry["bytes"] // piece):
            raise ValueError("as many checksums as pieces")
        url = f"{root}/{split}/{entry['file']}"
        return RemoteShard(url, int(entry["bytes"]), piece, sums, pack["fingerprint"], opened)

    return clips_of(index, where, shard, RemoteFrame, RemoteFlow)


def _read_json(url: str, kind: str, hint: str = "") -> dict[str, Any]:
    content = fetch(url, hint=hint)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise UserError(f"{url}: the index is damaged ({error}); copy the folder again") from error
    return parse_index(found, url, kind)


def fetch(url: str, start: int | None = None, end: int | None = None, hint: str = "") -> bytes:
    """Return a file that lies elsewhere, or a part of it; what may pass is tried again.

    Raises:
        UserError: for what is not there, may not be read, or fails again and again.
    """
    from fsspec.core import url_to_fs

    pause = _PAUSE
    for attempt in range(_TRIES):
        try:
            system, path = url_to_fs(url)  # kept by fsspec, anew in each process
            return bytes(system.cat_file(path, start=start, end=end))
        except ImportError as error:
            scheme = url.split(":")[0]
            package = _PACKAGES.get(scheme, "its package for fsspec")
            raise UserError(
                f"{url}: {scheme}:// needs another package: pip install {package}"
            ) from error
        except FileNotFoundError as error:
            raise UserError(f"{url}: no such file, folder or bucket{hint}") from error
        except PermissionError as error:
            raise UserError(f"{url}: you have no right to read it ({error})") from error
        except Exception as error:  # every service has errors of its own
            status = getattr(error, "status", None)
            if status in (401, 403):
                raise UserError(f"{url}: you have no right to read it (HTTP {status})") from error
            if "rotocol not known" in str(error):
                raise UserError(f"{url}: fsspec knows no {url.split(':')[0]}://") from error
            if attempt + 1 == _TRIES:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UserError(f"{url}: cannot be read ({reason[:300]})") from error
            time.sleep(pause)
            pause *= 2
    raise AssertionError("the last try returns or raises")
