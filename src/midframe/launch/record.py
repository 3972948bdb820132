"""What ``run.json`` says of each start of a run, besides versions and revision."""

from __future__ import annotations

import os
import platform
import re
import secrets
import time
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from midframe.cores import usable_cores
from midframe.engine.wandb_logger import wandb_id
from midframe.files import write_text
from midframe.launch import machine
from midframe.launch.difference import difference
from midframe.models.weights import LAST
from midframe.paths import projects

PACKAGES = "packages.txt"
DIFF = "diff.patch"
# What a directory holds that nothing was learnt in.
RECORDS = {".lock", "run.json", "config.yaml", PACKAGES, DIFF}


def started(directory: Path, record: dict[str, Any], step: int, cfg: DictConfig) -> dict[str, Any]:
    """Return what a start adds to the record, and write what is too long for it beside.

    Args:
        directory: of the run.
        record: as it stands; of a run that goes on, the earlier starts are in it.
        step: from which this start trains on; 0 for a new run.
        cfg: with the seeds.

    Returns:
        starts (one more; time, step, host, devices' names, file of the diff), wandb (the id,
        kept over all starts), seeds, hardware, packages (a file) and code (what differs from the
        commit).
    """
    before = _closed(record.get("starts") or [], directory, step) if step else []
    name = str(record.get("id", directory.name))
    write_text(directory / PACKAGES, packages())
    code, patch = difference([Path(__file__).parent, *projects()])
    file = _write_patch(directory, patch, before, step)
    start = {"time": now(), "step": step, "host": platform.node(), "diff": file}
    return {
        "starts": [*before, start],
        "wandb": record.get("wandb") or f"{wandb_id(name)[-55:]}-{secrets.token_hex(4)}",
        "seeds": {"run": cfg.get("seed"), "data": OmegaConf.select(cfg, "data.seed")},
        "hardware": hardware(),
        "packages": PACKAGES,
        "code": code,
    }


def ended(record: dict[str, Any], status: str, steps: int | None) -> dict[str, Any]:
    """Return what the end of a start changes in the record."""
    starts = [dict(one) for one in record.get("starts") or []]
    if starts:
        starts[-1] |= {"ended": now(), "status": status, "steps": steps}
    return {"status": status, "ended": now(), **({"starts": starts} if starts else {})}


def _closed(starts: list[dict[str, Any]], directory: Path, step: int) -> list[dict[str, Any]]:
    """Return earlier starts; the last, if it was killed, ends with the checkpoint that goes on."""
    if not starts or starts[-1].get("ended"):
        return list(starts)
    last, checkpoint = dict(starts[-1]), directory / LAST
    written = _stamp(checkpoint.stat().st_mtime) if checkpoint.is_file() else ""
    last |= {"ended": max(written, str(last.get("time"))), "status": "killed", "steps": step}
    return [*starts[:-1], last]


def now() -> str:
    """Return the time of this machine to the second."""
    return _stamp(time.time())


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def hardware() -> dict[str, Any]:
    """Return processor, cores, memory and all GPUs, as they are and not in words."""
    gpus = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        found = torch.cuda.get_device_properties(index)
        memory = round(found.total_memory / machine.GIB, 1)
        gpus.append(
            {"name": found.name, "memory_gib": memory, "capability": f"{found.major}.{found.minor}"}
        )
    total = re.match(r"[\d.]+", machine.memory())
    return {
        "processor": machine.processor().rpartition(",")[0],
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_gib": float(total[0]) if total else None,
        "gpus": gpus,
        "driver": machine.driver() if gpus else None,
        "cuda": torch.version.cuda,
        "host": platform.node(),
        "system": platform.platform(),
    }


@lru_cache(maxsize=1)
def packages() -> str:
    """Return all installed packages, one a line as pip writes them."""
    read = [one.metadata for one in metadata.distributions()]  # each access reads the file anew
    found = {one["Name"]: one["Version"] for one in read if one["Name"]}
    lines = sorted((f"{name}=={version}" for name, version in found.items()), key=str.lower)
    return "\n".join(lines) + "\n"


def _write_patch(directory: Path, patch: str, before: list[Any], step: int) -> str | None:
    """Write the diff, of a start with another one than the last under a name of its own."""
    if not patch:
        return None
    last = next((one["diff"] for one in reversed(before) if one.get("diff")), None)
    if last and (directory / last).is_file() and (directory / last).read_text() == patch:
        return str(last)
    name = f"diff-{step}.patch" if last else DIFF
    write_text(directory / name, patch)
    return name
