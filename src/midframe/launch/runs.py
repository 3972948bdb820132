"""Run directories: the same command finds its unfinished run and goes on there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from omegaconf import DictConfig, OmegaConf

from midframe.engine.checkpoint import BEST, LAST
from midframe.errors import UserError
from midframe.launch.environment import environment

# What does not change what is learnt is left out of a run's identity.
_VOLATILE = ("resume", "paths", "hydra", "logger", "callbacks", "run", "debug")
# Tells the other ranks of this machine which run they belong to.
SHARED = "MIDFRAME_RUN"


@dataclass
class Run:
    """An open run.

    Attributes:
        dir: where everything of the run is written.
        id: name of the run, the same after every resume.
        checkpoint: what to continue from, or None for a start.
        step: the optimizer step of that checkpoint.
        record: contents of run.json.
    """

    dir: Path
    id: str
    checkpoint: Path | None = None
    step: int = 0
    record: dict[str, Any] = field(default_factory=dict)
    _lock: IO[str] | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process owns the run; other ranks only read it."""
        return self._lock is not None

    def save(self, **changes: Any) -> None:
        """Update run.json."""
        if not self.is_main:
            return
        self.record.update(changes)
        aside = self.dir / "run.json.part"
        aside.write_text(json.dumps(self.record, indent=1, default=str) + "\n")
        aside.replace(self.dir / "run.json")

    def close(self, status: str) -> None:
        """Record how it ended and release the directory."""
        self.save(status=status, ended=time.strftime("%Y-%m-%dT%H:%M:%S"))
        if self._lock is not None:
            self._lock.close()


def identity(cfg: DictConfig) -> str:
    """Eight hex digits that follow from everything that changes what is learnt."""
    tree = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(tree, dict)
    kept = {k: v for k, v in tree.items() if k not in _VOLATILE}
    kept["callbacks"] = {k: v for k, v in (tree.get("callbacks") or {}).items() if k == "ema"}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def open_run(cfg: DictConfig) -> Run:
    """Find or make the run directory of a config, by ``cfg.resume``.

    auto continues this config's unfinished run if there is one and starts a new one otherwise;
    never starts a new one; a run directory or a checkpoint continues that, with this config.
    """
    shared = os.environ.get(SHARED)
    if shared and os.environ.get("LOCAL_RANK", "0") != "0":  # a rank that the main process started
        directory, _, checkpoint = shared.partition(os.pathsep)
        path = Path(checkpoint) if checkpoint else None
        step = (_step_of(path) or 0) if path else 0
        return Run(Path(directory), Path(directory).name, path, step)
    run = _find(cfg)
    os.environ[SHARED] = os.pathsep.join((str(run.dir), str(run.checkpoint or "")))
    return run


def _find(cfg: DictConfig) -> Run:
    resume = str(cfg.resume)
    if resume not in ("auto", "never"):
        return _reopen(Path(resume), cfg)
    if cfg.run.dir:
        return _open(Path(cfg.run.dir), cfg, fresh=resume == "never")
    base = Path(cfg.paths.runs) / f"{cfg.name}-{identity(cfg)}"
    for number in range(1, 10_000):
        directory = base if number == 1 else base.with_name(f"{base.name}-{number}")
        status = read_record(directory).get("status")
        if directory.exists() and (resume == "never" or status == "finished"):
            continue
        try:
            return _open(directory, cfg)
        except BlockingIOError:  # somebody is at work there: the next number is ours
            continue
    raise UserError(f"no free run directory beside {base}; remove old runs")


def read_record(directory: Path) -> dict[str, Any]:
    """Return run.json of a directory, or an empty record."""
    try:
        return json.loads((directory / "run.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _reopen(path: Path, cfg: DictConfig) -> Run:
    if path.is_dir():
        return _open(path, cfg)
    if not path.is_file():
        raise UserError(f"resume={path}: no such run directory or checkpoint")
    step = _step_of(path)
    if step is None:
        raise UserError(f"resume={path} is not a checkpoint of midframe, or it is damaged")
    run = _open(path.parent, cfg)
    run.checkpoint, run.step = path, step
    return run


def _open(directory: Path, cfg: DictConfig, fresh: bool = False) -> Run:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write runs under {directory}: {error}; set paths.runs") from error
    lock = (directory / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        if cfg.run.dir or str(cfg.resume) not in ("auto", "never"):
            raise UserError(f"another process is training in {directory}") from None
        raise
    run = Run(directory, directory.name, record=read_record(directory), _lock=lock)
    if not fresh:
        run.checkpoint, run.step = newest_checkpoint(directory)
    if run.checkpoint is None:
        run.record = {"id": run.id, "started": time.strftime("%Y-%m-%dT%H:%M:%S"), "resumes": 0}
    else:
        run.record["resumes"] = run.record.get("resumes", 0) + 1
    run.save(status="running", command=sys.argv, **environment())
    return run


def newest_checkpoint(directory: Path) -> tuple[Path | None, int]:
    """Return the newest readable checkpoint and its step; a damaged one is set aside, loudly."""
    found: list[tuple[int, Path]] = []
    for name in (LAST, BEST):
        path = directory / name
        if not path.is_file():
            continue
        step = _step_of(path)
        if step is None:
            path.replace(path.with_suffix(".damaged"))
            print(
                f"warning: {path} is damaged and was set aside as {path.stem}.damaged", flush=True
            )
        else:
            found.append((step, path))
    if not found:
        return None, 0
    step, path = max(found, key=lambda pair: pair[0])
    return path, step


def _step_of(path: Path) -> int | None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(state["global_step"])
    except Exception:  # torch raises many types on damaged files; all mean the same here
        return None
