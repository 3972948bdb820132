"""Packing any data set into shards: each frame once, in files that are read by memory mapping."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from midframe.data.records import Clip, Source
from midframe.data.shards import (
    INDEX,
    PACK,
    PIECE,
    VERSION,
    ShardWriter,
    read_json,
)
from midframe.errors import UserError
from midframe.files import remove_leftovers, write_json

_log = logging.getLogger(__name__)
_SHARD_BYTES = 256 << 20


@dataclass(frozen=True)
class Packed:
    """What `pack_clips` did.

    Attributes:
        clips: stored, over all splits.
        skipped: left out because a file of theirs could not be read, or is not there at all.
        written: shards made by this call; the others were there already.
        shards: in all.
    """

    clips: int
    skipped: int
    written: int
    shards: int


@dataclass
class _Part:
    """What goes into one shard: frames and flow fields that no earlier shard holds."""

    frames: list[Source] = field(default_factory=list)
    flows: list[Source] = field(default_factory=list)


@dataclass
class _Plan:
    """Which source goes where; follows from clips and ``pixels`` alone, so a later run agrees.

    Attributes:
        parts: one per shard.
        frames: the number of each frame.
        flows: the number of each flow field.
        pixels: of the first frame that can be read, by which shards are filled.
    """

    parts: list[_Part]
    frames: dict[Source, int]
    flows: dict[Source, int]
    pixels: int = 0


def pack_clips(
    clips_by_split: Mapping[str, Sequence[Clip]],
    out: str | Path,
    *,
    context: int,
    name: str = "",
    root: str | Path | None = None,
    shard_bytes: int = _SHARD_BYTES,
    on_error: Literal["raise", "skip"] = "raise",
    advance: Callable[[int], None] = lambda count: None,
) -> Packed:
    """Write the frames and flow of clips into shards that `open_packed` reads.

    Finished shards are kept when this is interrupted; the same call goes on after them.

    Args:
        clips_by_split: the clips of each split; frames that clips share are stored once.
        out: a new folder, or one that an interrupted call with the same clips left.
        context: frames on each side of the gap that the clips were made for.
        name: of the data set.
        root: the folder of the data set; a pack begun from it may be continued after it has moved.
        shard_bytes: size of a shard, about.
        on_error: "skip" leaves out clips with an unreadable file and counts them. A pack that
            "raise" has stopped may be continued with "skip"; with "raise" again, shards with
            something left out are written anew.
        advance: is told how many pictures were stored, or were already, see `count_pictures`.

    Raises:
        UserError: if a file cannot be read, or ``out`` holds something else.
    """
    out = Path(out)
    plans = {s: _plan(clips, shard_bytes, on_error) for s, clips in clips_by_split.items()}
    digest = _fingerprint(clips_by_split, plans, root, context, shard_bytes)
    head = {"kind": "pack", "version": VERSION, "name": name, "context": context}
    head |= {"splits": list(plans), "fingerprint": digest}
    _claim(out, head)
    written = kept = 0
    for split, plan in plans.items():
        folder = out / split
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
        for number, part in enumerate(plan.parts):
            written += _write_part(folder, number, part, on_error, advance)
        kept += _write_index(folder, plan, clips_by_split[split])
    write_json(out / PACK, {**head, "complete": True})
    total = sum(len(clips) + getattr(clips, "missing", 0) for clips in clips_by_split.values())
    if kept < total:
        _log.warning("%s: %d of %d clips left out, see the log", out, total - kept, total)
    return Packed(kept, total - kept, written, sum(len(plan.parts) for plan in plans.values()))


def count_pictures(clips_by_split: Mapping[str, Sequence[Clip]]) -> int:
    """Return how many frames and flow fields `pack_clips` stores, each counted once a split."""
    total = 0
    for clips in clips_by_split.values():
        total += len({frame for clip in clips for frame in clip.frames})
        total += len({flow for clip in clips for pair in clip.flow.values() for flow in pair})
    return total


def _plan(clips: Sequence[Clip], shard_bytes: int, on_error: str) -> _Plan:
    parts = [_Part()]
    pixels = _first_pixels(clips, on_error)  # of one frame: a plan must not open every file
    plan = _Plan(parts, {}, {}, pixels)
    room = shard_bytes
    for clip in clips:
        if clip.events:
            raise UserError(
                f"clip {clip.id} has events, which a pack does not hold; prepared recordings are "
                "shards already, and scenes are rendered when they are read"
            )
        if room <= 0:
            parts.append(_Part())
            room = shard_bytes
        for frame in clip.frames:
            if frame not in plan.frames:
                plan.frames[frame] = len(plan.frames)
                parts[-1].frames.append(frame)
                room -= 3 * pixels
        for flow in (flow for pair in clip.flow.values() for flow in pair):
            if flow not in plan.flows:
                plan.flows[flow] = len(plan.flows)
                parts[-1].flows.append(flow)
                room -= 4 * pixels
    return plan


def _first_pixels(clips: Sequence[Clip], on_error: str) -> int:
    """Return height times width of the first frame that can be read; 0 where none can."""
    for frame in (frame for clip in clips for frame in clip.frames):
        try:
            height, width = frame.size()
            return height * width
        except UserError as error:
            if on_error != "skip":
                raise _with_advice(error) from error
    return 0


def _with_advice(error: UserError) -> UserError:
    return UserError(f"{error}; mend it, or leave such clips out with data.on_error=skip")


def _fingerprint(
    clips_by_split: Mapping[str, Sequence[Clip]],
    plans: Mapping[str, _Plan],
    root: str | Path | None,
    *settings: Any,
) -> str:
    """Return a hash of every frame and flow field, and of their places in clips and shards."""
    top = None if root is None else os.path.abspath(root) + os.sep  # noqa: PTH100
    digest = hashlib.sha256(repr(settings).encode())
    for split, clips in clips_by_split.items():
        plan = plans[split]
        digest.update(f"{split} {len(clips)} {plan.pixels}\n".encode())
        for source in (*plan.frames, *plan.flows):  # in the order of their numbers
            digest.update(f"{_describe(source, top)}\n".encode())
        for clip in clips:
            frames = [plan.frames[frame] for frame in clip.frames]
            flows = [(k, *map(plan.flows.get, pair)) for k, pair in sorted(clip.flow.items())]
            digest.update(f"{clip.id} {clip.inputs} {clip.targets} {frames} {flows}\n".encode())
    return digest.hexdigest()[:16]


def _describe(source: Source, top: str | None) -> str:
    """Return what tells a source from others; files below ``top`` by their place in it."""
    path = getattr(source, "path", None)
    if path is None:
        return repr(source)
    # no links are followed: a picture that is a link is known by its own name; plain strings, since
    # there are 250,000 of them
    place = os.path.abspath(path)  # noqa: PTH100
    if top is not None:
        place = place.removeprefix(top)
    return f"{type(source).__name__} {place.replace(os.sep, '/')} {getattr(source, 'offset', 0)}"


def _claim(out: Path, head: dict[str, Any]) -> None:
    """Begin or go on with the pack in ``out``; refuse a folder with other content."""
    if (out / PACK).is_file():
        found = read_json(out / PACK, "pack")
        if found["fingerprint"] != head["fingerprint"]:
            raise UserError(
                f"{out}: holds another pack ('{found['name']}', other clips, labels or options); "
                "delete it or choose another folder with out=<folder>"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: the folder is not empty; choose another with out=<folder>")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: the folder cannot be made ({error.strerror})") from error
    write_json(out / PACK, {**head, "complete": False})


def _write_part(
    folder: Path, number: int, part: _Part, on_error: str, advance: Callable[[int], None]
) -> bool:
    """Write one shard and its table, unless both are there; returns whether it was written."""
    shard, table = folder / f"shard-{number:05d}.bin", folder / f"shard-{number:05d}.json"
    if _is_done(shard, table, on_error):
        advance(len(part.frames) + len(part.flows))
        return False
    frames: list[Any] = []
    flows: list[Any] = []
    for leftover in folder.glob(f"{shard.name}.*.part"):
        leftover.unlink()
    with ShardWriter(shard) as writer:
        for sources, places, add in (
            (part.frames, frames, writer.add_frame),
            (part.flows, flows, writer.add_flow),
        ):
            for source in sources:
                try:
                    places.append(add(source.read()))
                except UserError as error:
                    if on_error != "skip":
                        raise _with_advice(error) from error
                    places.append(None)
                    _log.warning("left out: %s", error)
                advance(1)
    content = {"kind": "shard", "version": VERSION, "bytes": writer.size}
    content |= {"piece": PIECE, "crc32": writer.checksums}
    write_json(table, {**content, "frames": frames, "flows": flows})
    return True


def _is_done(shard: Path, table: Path, on_error: str) -> bool:
    if not (shard.is_file() and table.is_file()):
        return False
    content = read_json(table, "shard")
    lacking = None in content["frames"] or None in content["flows"]
    return shard.stat().st_size == content["bytes"] and (on_error == "skip" or not lacking)


def _write_index(folder: Path, plan: _Plan, clips: Sequence[Clip]) -> int:
    """Write the index of a split from the tables of its shards; returns the clips it holds."""
    shards: list[dict[str, Any]] = []
    frames: list[Any] = []
    flows: list[Any] = []
    for number in range(len(plan.parts)):
        table = read_json(folder / f"shard-{number:05d}.json", "shard")
        entry = {"file": f"shard-{number:05d}.bin", "bytes": table["bytes"]}
        if table.get("piece") == PIECE:  # older packs have no checksums
            entry["crc32"] = table["crc32"]
        shards.append(entry)
        frames += [None if place is None else [number, *place] for place in table["frames"]]
        flows += [None if place is None else [number, *place] for place in table["flows"]]
    entries = []
    for clip in clips:
        pictures = [plan.frames[frame] for frame in clip.frames]
        labels = {k: [plan.flows[flow] for flow in pair] for k, pair in clip.flow.items()}
        unread = any(frames[i] is None for i in pictures)
        if unread or any(flows[i] is None for pair in labels.values() for i in pair):
            continue
        entry = {"id": clip.id, "group": clip.group, "frames": pictures, "flow": labels}
        entries.append({**entry, "inputs": clip.inputs, "targets": clip.targets})
    # a place that is never asked for may be anything that has the right form
    frames = [[0, 0, 0, 0] if place is None else place for place in frames]
    flows = [[0, 0, 0, 0] if place is None else place for place in flows]
    head = {"kind": "clips", "version": VERSION, "piece": PIECE, "shards": shards}
    write_json(folder / INDEX, {**head, "frames": frames, "flows": flows, "clips": entries})
    return len(entries)
