"""Reads back what wandb wrote offline: a log of protobuf records, in blocks as LevelDB's.

The file begins with ":W&B", 0xBEE1 and a version in 7 bytes. Blocks have 32 KiB; a piece of a
record is crc32, length and kind (1 whole, 2 first, 3 middle, 4 last) and its bytes, and where fewer
than seven bytes of a block are left nothing is written. Of wandb itself, only its messages are
used.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 32768
_HEAD = struct.Struct("<IHB")


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a ``.wandb`` file; a last one that is cut off is left out."""
    from wandb.proto import wandb_internal_pb2 as messages

    data = path.read_bytes()
    assert struct.unpack("<4sHB", data[:7])[:2] == (b":W&B", 0xBEE1)
    at, pieces = 7, b""
    while at + _HEAD.size <= len(data):
        if _BLOCK - at % _BLOCK < _HEAD.size:
            at += _BLOCK - at % _BLOCK
            continue
        checksum, length, kind = _HEAD.unpack_from(data, at)
        if not length and not kind:
            return
        at += _HEAD.size
        piece = data[at : at + length]
        if len(piece) < length:
            return
        assert zlib.crc32(bytes([kind]) + piece) == checksum
        at += length
        pieces += piece
        if kind in (1, 4):
            record = messages.Record()
            record.ParseFromString(pieces)
            pieces = b""
            yield record


def kinds(path: Path, kind: str) -> list[Any]:
    """Return the content of all records of a kind: run, config, history, exit, files ..."""
    return [getattr(r, kind) for r in records(path) if r.WhichOneof("record_type") == kind]


def history(path: Path) -> list[dict[str, Any]]:
    """Return what was logged, row by row, without wandb's own columns."""
    rows = [
        {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in one.item}
        for one in kinds(path, "history")
    ]
    return [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]


def config(path: Path) -> dict[str, Any]:
    """Return the configuration as it stands after all updates."""
    found: dict[str, Any] = {}
    updates = [one.config for one in kinds(path, "run")] + kinds(path, "config")
    for update in updates:
        for item in update.update:
            found[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    return found


def only_file(directory: Path) -> Path:
    """Return the one ``.wandb`` file below a run directory."""
    (path,) = set(directory.glob("wandb/*run-2*/*.wandb"))
    return path
