"""The task behind `midframe pack`: any data set, as its layout reads it, becomes shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from midframe.data.pack import count_pictures, pack_clips
from midframe.engine.build import build_data
from midframe.launch import entry
from midframe.launch.check import check_data
from midframe.launch.commands import advised
from midframe.launch.progress import Progress


def run(overrides: Sequence[str]) -> int:
    """Pack from a command line; returns the exit code."""
    return entry.run("pack", pack, overrides)


def pack(cfg: DictConfig) -> None:
    """Pack both splits of ``cfg.data`` into ``cfg.out`` and say how to use it."""
    check_data(cfg)
    data = build_data(cfg)
    out = Path(cfg.out or Path(cfg.paths.data, "packed", data.name))
    clips = {split: data.clips(split) for split in dict.fromkeys((data.split, data.val.split))}
    with Progress("packing", count_pictures(clips), unit="pictures") as progress:
        done = pack_clips(
            clips,
            out,
            context=data.context,
            root=data.root,
            name=data.name,
            shard_bytes=cfg.shard_mb << 20,
            on_error=data.on_error,
            advance=progress.advance,
        )
    print(
        f"{out}: the splits {' and '.join(clips)}, no others (data.split, data.val.split)\n"
        f"{done.clips} clips in {done.shards} shards ({done.shards - done.written} were "
        f"there already), {done.skipped} clips left out\n"
        f"use it:  {advised('train', f'data={data.name}', f'data.root={out}')}"
    )
