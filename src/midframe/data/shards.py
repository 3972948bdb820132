"""Shards: decoded frames in memory-mapped files, described by a json index.

A shard is a plain file of uint8 RGB frames (and float16 flow fields), one after the other without
any header; where each lies and how big it is stands in the index beside it. Reading a crop touches
no more of the file than the crop's rows. Nothing is pickled, and everything is written aside and
renamed, so what has its final name is complete.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from midframe.data.flow_files import from_half, to_half
from midframe.data.io import check_box
from midframe.data.records import Box, Clip
from midframe.errors import UserError
from midframe.files import aside_of

VERSION = 1
INDEX = "index.json"
PACK = "pack.json"
PIECE = 8 << 20  # bytes of a shard that have a checksum of their own, see `midframe.data.remote`


class Place(NamedTuple):
    """Where a picture lies in a shard: the first byte, and its size in pixels."""

    offset: int
    height: int
    width: int


@dataclass(frozen=True)
class ShardFrame:
    """A frame (h, w, 3) uint8 RGB in a shard.

    Attributes:
        path: of the shard.
        offset: of the first byte.
        height: in pixels.
        width: in pixels.
    """

    path: str
    offset: int
    height: int
    width: int

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.height, self.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the frame or the part inside ``box``: a view of the file, not to be written to."""
        return _part(self, box, 3, 1)


@dataclass(frozen=True)
class ShardFlow:
    """A flow field (h, w, 2) in a shard: stored as float16, read as float32, x then y in pixels.

    The attributes are those of `ShardFrame`. Half precision rounds a flow of 16 to 32 pixels to
    1/64 pixel, finer than any flow network's accuracy.
    """

    path: str
    offset: int
    height: int
    width: int

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.height, self.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the flow or the part inside ``box``."""
        return from_half(_part(self, box, 4, 2).view(np.float16))


def _part(item: ShardFrame | ShardFlow, box: Box | None, pixel: int, align: int) -> np.ndarray:
    """Return a view (h, w, bytes per pixel) of the shard."""
    memory = _mapped(item.path)
    height, width = item.height, item.width
    end = item.offset + height * width * pixel
    if end > len(memory):
        raise UserError(f"{item.path}: the shard is cut short; delete its folder and make it again")
    whole = memory[item.offset : end].reshape(height, width, pixel)
    if box is None:
        return whole
    check_box(box, (height, width), item.path)
    top, left, rows, columns = box
    part = whole[top : top + rows, left : left + columns]
    return part if align == 1 else np.ascontiguousarray(part)


@lru_cache(maxsize=4096)
def _mapped(path: str) -> np.ndarray:
    """Map a shard once per process; the file itself is closed again, only the mapping stays."""
    try:
        # a plain array over the mapping: slices of np.memmap itself cost several times more
        return np.asarray(np.memmap(path, np.uint8, mode="r"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: the shard cannot be read ({error}); delete its folder and make it again"
        ) from error


class ShardWriter:
    """Writes frames and flow one after the other into a new file.

    Use it as a context manager. The file appears under ``path`` only when the block ends without
    an error; a name that has its end ".part" is a leftover and may be deleted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.checksums: list[int] = []  # CRC-32 of every `PIECE` bytes, and of what is left
        self._aside = aside_of(path)
        self._file: BinaryIO

    def __enter__(self) -> ShardWriter:
        self._file = self._aside.open("wb")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        if kind is None:
            self._aside.replace(self.path)
        else:
            self._aside.unlink(missing_ok=True)

    def add_frame(self, image: np.ndarray) -> Place:
        """Append a frame (h, w, 3) uint8."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"a frame is (h, w, 3) uint8, got {image.dtype} {image.shape}")
        return self._add(image)

    def add_flow(self, flow: np.ndarray) -> Place:
        """Append a flow field (h, w, 2); it is rounded to float16."""
        if flow.ndim != 3 or flow.shape[2] != 2:
            raise ValueError(f"a flow is (h, w, 2), got {flow.shape}")
        return self._add(to_half(flow))

    def _add(self, array: np.ndarray) -> Place:
        place = Place(self.size, *array.shape[:2])
        content = memoryview(np.ascontiguousarray(array).data).cast("B")
        self._file.write(content)
        while content:
            room = PIECE - self.size % PIECE
            if room == PIECE:
                self.checksums.append(0)
            self.checksums[-1] = zlib.crc32(content[:room], self.checksums[-1])
            self.size += len(content[:room])
            content = content[room:]
        return place


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Read an index of this ``kind``.

    Raises:
        UserError: if it is missing, damaged, of another kind or of a version that is not known.
    """
    again = "delete the folder and make it again"
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {again}") from error
    except ValueError as error:
        raise UserError(f"{path}: the index is damaged ({error}); {again}") from error
    return parse_index(content, path, kind)


def parse_index(content: Any, path: str | Path, kind: str) -> dict[str, Any]:
    """Return what was read as an index, if it is one of this ``kind``; see `read_json`."""
    again = "delete the folder and make it again"
    if not isinstance(content, dict) or content.get("kind") != kind:
        raise UserError(f"{path}: not an index of {kind}; {again}")
    if content.get("version") != VERSION:
        raise UserError(
            f"{path}: written by another version of midframe (format "
            f"{content.get('version')}, here {VERSION}); {again}"
        )
    return content


def check_shard(path: Path, size: int) -> None:
    """Raise `UserError` unless the shard is there with exactly this many bytes."""
    if not path.is_file():
        raise UserError(f"{path}: the shard is missing; delete its folder and make it again")
    found = path.stat().st_size
    if found != size:
        raise UserError(
            f"{path}: the shard has {found} bytes instead of {size}; delete its folder and make "
            "it again"
        )


def is_packed(root: str | Path) -> bool:
    """Return whether a folder was made by `midframe pack` (finished or not)."""
    return (Path(root) / PACK).is_file()


def open_packed(root: str | Path, split: str, context: int = 1) -> list[Clip]:
    """Return the clips of a split of a packed data set, as the layout gave them.

    Args:
        root: the folder that `midframe pack` made.
        split: the layout's name of the split.
        context: frames on each side of the gap; must be that of the pack.

    Raises:
        UserError: if the pack is unfinished or damaged, lacks the split, or has another context.
    """
    root = Path(root)
    check_pack(read_json(root / PACK, "pack"), root, split, context)
    return _clips(root / split)


def check_pack(pack: Mapping[str, Any], root: str | Path, split: str, context: int) -> None:
    """Raise `UserError` where a pack is unfinished, lacks the split, or has another context."""
    if not pack["complete"]:
        raise UserError(f"{root}: packing was not finished; run the same midframe pack once more")
    if split not in pack["splits"]:
        raise UserError(f"{root}: no split '{split}' in this pack; {', '.join(pack['splits'])} are")
    if pack["context"] != context:
        raise UserError(
            f"{root}: packed for {2 * pack['context']} input frames and the model takes "
            f"{2 * context}; pack it again with model=<a model of {2 * context} frames> to "
            "another folder"
        )


def _clips(folder: Path) -> list[Clip]:
    def shard(entry: Mapping[str, Any]) -> str:
        check_shard(folder / entry["file"], entry["bytes"])
        return str(folder / entry["file"])

    path = folder / INDEX
    return clips_of(read_json(path, "clips"), path, shard, ShardFrame, ShardFlow)


def clips_of(
    index: Mapping[str, Any],
    path: str | Path,
    shard_of: Callable[[Mapping[str, Any]], Any],
    frame: Callable[..., Any],
    flow: Callable[..., Any],
) -> list[Clip]:
    """Return the clips of an index.

    Args:
        index: of a split.
        path: of the index, for messages.
        shard_of: makes of a shard's entry what its frames and fields begin with.
        frame: makes a frame of a shard, offset, height and width.
        flow: the same of a flow field.

    Raises:
        UserError: if the index is damaged.
    """
    try:
        shards = [shard_of(entry) for entry in index["shards"]]
        frames = [frame(shards[shard], *place) for shard, *place in index["frames"]]
        flows = [flow(shards[shard], *place) for shard, *place in index["flows"]]
        return [
            Clip(
                id=one["id"],
                frames=tuple(frames[i] for i in one["frames"]),
                inputs=tuple(one["inputs"]),
                targets=tuple(one["targets"]),
                flow={int(k): (flows[a], flows[b]) for k, (a, b) in one["flow"].items()},
                group=one["group"],
            )
            for one in index["clips"]
        ]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: the index is damaged ({error!r}); delete the folder and make it again"
        ) from error
