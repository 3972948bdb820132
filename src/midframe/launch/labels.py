"""The task behind `midframe labels`: a frozen teacher writes flow labels for a whole data set."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from midframe.cores import usable_cores
from midframe.data import labels as files
from midframe.data.manifest import claim, finish
from midframe.data.module import Data
from midframe.engine.labels import check_room, find_work, write_labels
from midframe.engine.teachers import FlowTeacher
from midframe.errors import UserError
from midframe.launch import entry
from midframe.launch.check import check_data
from midframe.launch.commands import advised
from midframe.launch.inference import resolve_device
from midframe.launch.progress import Progress


def run(overrides: Sequence[str]) -> int:
    """Label from a command line; returns the exit code."""
    return entry.run("labels", label, overrides)


def label(cfg: DictConfig) -> None:
    """Write the labels of ``cfg.data`` by ``cfg.teacher`` and say how to use them."""
    if cfg.dtype not in files.SUFFIXES:
        raise UserError(f"dtype={cfg.dtype}: give {' or '.join(files.SUFFIXES)}")
    number, shards = shard_of(cfg.shard)
    workers = _workers(cfg.workers)
    device = resolve_device(cfg.device, rank=_local_rank())
    teacher = _teacher(cfg)
    check_data(cfg)
    data: Data = instantiate(cfg.data, labels=files.NO_LABELS)
    split = cfg.split or data.split
    out = _folder(cfg, data)
    clips = data.clips(split)
    head = {
        "data": data.name,
        "options": files.layout_options(data.layout),
        "teacher": dict(teacher.settings),
        "dtype": cfg.dtype,
    }
    claim(out, head, split, cfg.overwrite)  # may delete labels: what can be wrong was looked at
    work = find_work(clips, out, cfg.dtype, (number, shards), workers)
    check_room(work, out, cfg.dtype, shards)
    total = len(work)
    title = "labels" if shards == 1 else f"labels {number + 1}/{shards}"
    with Progress(title, total, bar=shards == 1) as progress:
        try:
            write_labels(
                work,
                out,
                teacher,
                dtype=cfg.dtype,
                device=device,
                workers=workers,
                on_error=data.on_error,
                advance=progress.advance,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{work.done + progress.done} of {work.done + total} samples are labelled; the "
                "same command goes on there"
            ) from None
    suffix = files.SUFFIXES[cfg.dtype]
    lacking = finish(out, split, clips, lambda c: files.written(out, c, suffix), work.left_out)
    skipped = sum(map(len, work.left_out.values()))
    left = f", {skipped} left out because a frame cannot be read" if skipped else ""
    print(f"{out}: {progress.done} samples labelled, {work.done} were there already{left}")
    if lacking:
        print(f"{lacking} of the split '{split}' are still to be labelled (by other shards)")
    else:
        root = [] if data.root is None else [f"data.root={data.root}"]
        command = advised("train", f"data={data.name}", *root, f"data.labels={out}")
        print(f"use them:  {command}", flush=True)


def shard_of(shard: Any) -> tuple[int, int]:
    """Return the number of this process, from 0 on, and how many there are.

    ``shard`` is "2/8" for the second of eight; None asks torchrun's variables, then srun's.
    """
    if shard is not None:
        match = re.fullmatch(r"(\d+)/(\d+)", str(shard).strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"shard={shard}: give for example shard=2/8, the second of eight")
        return int(match[1]) - 1, int(match[2])
    env = os.environ
    if "RANK" in env and "WORLD_SIZE" in env:
        return int(env["RANK"]), int(env["WORLD_SIZE"])
    # a batch script itself has a SLURM_PROCID as well: only srun's steps are ranks
    if "SLURM_PROCID" in env and "SLURM_STEP_NUM_TASKS" in env:
        return int(env["SLURM_PROCID"]), int(env["SLURM_STEP_NUM_TASKS"])
    return 0, 1


def _teacher(cfg: DictConfig) -> FlowTeacher:
    if not cfg.teacher.get("estimator"):
        raise UserError("choose who labels: teacher=liteflownet or pwcnet (with weights), or dis")
    if cfg.weights is not None:
        if "weights" not in cfg.teacher:
            raise UserError(f"weights={cfg.weights}: this teacher takes none")
        cfg.teacher.weights = cfg.weights
    teacher: FlowTeacher = instantiate(cfg.teacher.estimator)
    return teacher


def _folder(cfg: DictConfig, data: Data) -> Path:
    if cfg.out:
        return Path(cfg.out).expanduser()
    if data.root is not None and data.root.is_dir():
        return data.root / "flow"
    return Path(cfg.paths.data, "labels", data.name)


def _workers(workers: Any) -> int:
    if workers == "auto":
        share = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        return max(2, min(share, 16))
    if not isinstance(workers, int) or workers < 1:
        raise UserError(f"workers={workers}: give a number from 1 on, or auto")
    return workers


def _local_rank() -> int:
    """Return the number of this process on its machine, from torchrun or srun; 0 when alone."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0)))
