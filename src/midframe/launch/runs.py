"""Run directories: the same command finds its unfinished run and goes on there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from midframe.errors import UserError
from midframe.files import write_text
from midframe.launch.commands import typed
from midframe.launch.environment import environment
from midframe.launch.sources import changes, sources
from midframe.models.weights import BEST, LAST

# What does not change what is learnt is left out of a run's identity.
_VOLATILE = ("resume", "paths", "hydra", "logger", "callbacks", "run", "expected")
_VOLATILE_IN = {
    "model": ("info",),
    "data": ("workers",),
    "trainer": ("log_every_n_steps", "checkpoint_every", "threads", "profiler"),
}
# What every run directory holds from its start on.
_RECORDS = {".lock", "run.json", "config.yaml"}
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
        made: whether this process made the directory.
    """

    dir: Path
    id: str
    checkpoint: Path | None = None
    step: int = 0
    record: dict[str, Any] = field(default_factory=dict)
    made: bool = False
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
        write_text(self.dir / "run.json", json.dumps(self.record, indent=1, default=str) + "\n")

    def close(self, status: str, steps: int | None = None) -> None:
        """Record how it ended and release the directory.

        With 0 steps done, a directory that this process made and that holds nothing but records is
        removed.
        """
        if steps == 0 and self.made and self.is_main and self._is_empty():
            shutil.rmtree(self.dir)
        else:
            self.save(status=status, ended=time.strftime("%Y-%m-%dT%H:%M:%S"))
        self.release()

    def _is_empty(self) -> bool:
        return {path.name for path in self.dir.iterdir()} <= _RECORDS

    def release(self) -> None:
        """Let other processes use the directory."""
        if self._lock is not None:
            self._lock.close()


def identity(cfg: DictConfig) -> str:
    """Eight hex digits that follow from everything that changes what is learnt.

    Devices and precision take part: the numbers differ with them, if only by rounding.
    """
    tree = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(tree, dict)
    kept = {k: v for k, v in tree.items() if k not in _VOLATILE}
    for group, names in _VOLATILE_IN.items():
        kept[group] = {k: v for k, v in (kept.get(group) or {}).items() if k not in names}
    model = kept["model"]  # parts without weights are as if nobody had named them
    parts = {k: v for k, v in (model.pop("parts", None) or {}).items() if v is not None}
    kept["model"] = {**model, "parts": parts} if parts else model
    kept["callbacks"] = {k: v for k, v in (tree.get("callbacks") or {}).items() if k == "ema"}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def own_overrides() -> list[str]:
    """The overrides of this run's command line, or of its job of a sweep; none without Hydra."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def open_run(cfg: DictConfig) -> Run:
    """Find or make the run directory of a config, by ``cfg.resume``.

    auto continues this config's unfinished run if there is one and starts a new one otherwise;
    never starts a new one; a run directory or a checkpoint continues that, with this config.
    """
    shared = os.environ.get(SHARED)
    if os.environ.get("LOCAL_RANK", "0") != "0" or os.environ.get("SLURM_PROCID", "0") != "0":
        if not shared:
            raise UserError(
                "this rank was not started by midframe and knows no run; start one process, it "
                "starts the others (trainer=ddp trainer.devices=N)"
            )
        directory, checkpoint, step = json.loads(shared)
        return Run(
            Path(directory), Path(directory).name, Path(checkpoint) if checkpoint else None, step
        )
    run = _find(cfg)
    if run.checkpoint is None:
        os.environ[SHARED] = json.dumps([str(run.dir), None, 0])
    else:
        _compare(run, cfg)
        os.environ[SHARED] = json.dumps([str(run.dir), str(run.checkpoint), run.step])
    _begin(run, cfg)
    return run


def _find(cfg: DictConfig) -> Run:
    resume = str(cfg.resume)
    if resume not in ("auto", "never"):
        return _reopen(Path(resume))
    if cfg.run.dir:
        run = _locked(Path(cfg.run.dir))
        if run is None:
            raise UserError(f"another process is training in {cfg.run.dir}")
        if resume == "never":
            _set_aside(run)
        return run
    base = Path(cfg.paths.runs) / f"{cfg.name}-{identity(cfg)}"
    for number in range(1, 10_000):
        directory = base if number == 1 else base.with_name(f"{base.name}-{number}")
        if directory.exists() and resume == "never":
            continue
        run = _locked(directory)
        if run is None:  # somebody is at work there: the next number is ours
            continue
        if run.record.get("status") != "finished":
            return run
        run.release()
    raise UserError(f"no free run directory beside {base}; remove old runs")


def read_record(directory: Path) -> dict[str, Any]:
    """Return run.json of a directory, or an empty record."""
    try:
        return json.loads((directory / "run.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _reopen(path: Path) -> Run:
    if path.is_file():
        step = _step_of(path)
        if step is None:
            raise UserError(f"resume={path} is not a checkpoint of midframe, or it is damaged")
    elif not path.is_dir():
        raise UserError(f"resume={path}: no such run directory or checkpoint")
    run = _locked(path if path.is_dir() else path.parent)
    if run is None:
        raise UserError(f"another process is training in {path}")
    if path.is_file():
        run.checkpoint, run.step = path, step or 0
    return run


def _locked(directory: Path) -> Run | None:
    """Take a run directory for this process; None where another one has it."""
    made = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write runs under {directory}: {error}; set paths.runs") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    checkpoint, step = newest_checkpoint(directory)
    return Run(directory, directory.name, checkpoint, step, read_record(directory), made, lock)


def _set_aside(run: Run) -> None:
    """Keep the checkpoints of an earlier run in the same directory under other names."""
    for path in run.dir.glob("*.ckpt"):
        path.replace(path.with_suffix(".earlier"))
    run.checkpoint, run.step = None, 0


def _compare(run: Run, cfg: DictConfig) -> None:
    """Refuse to continue what this config cannot continue."""
    before, asked = run.record.get("continues") or {}, _continues(cfg)
    differing = [k for k in asked if k in before and before[k] != asked[k]]
    if differing:
        run.release()
        was, now = ({k: x[k] for k in differing} for x in (before, asked))
        raise UserError(
            f"{run.dir} was trained with another model, optimizer or averaging ({was}) than this "
            f"command asks for ({now}); use the same, or start anew with resume=never"
        )
    # One that was killed at its last step may lack its last validation and summary.
    last, finished = cfg.trainer.max_steps, run.record.get("status") == "finished"
    if run.step > last or (run.step == last and finished):
        run.release()
        raise UserError(
            f"{run.dir} is at step {run.step} of {last}{' and finished' * finished}; give a "
            "higher trainer.max_steps to go on, or start anew with resume=never"
        )


def _continues(cfg: DictConfig) -> dict[str, Any]:
    """What must be the same for a checkpoint to be of use."""
    net = OmegaConf.to_container(cfg.model.net, resolve=True) if cfg.get("model") else {}
    assert isinstance(net, dict)
    return {
        "net": {k: v for k, v in net.items() if k != "init"},
        "ema": bool((cfg.get("callbacks") or {}).get("ema")),
        "optimizer": OmegaConf.select(cfg, "optimizer.build._target_"),
    }


def _begin(run: Run, cfg: DictConfig) -> None:
    if run.checkpoint is None:
        run.record = {"id": run.id, "started": time.strftime("%Y-%m-%dT%H:%M:%S"), "resumes": 0}
    else:
        run.record["resumes"] = run.record.get("resumes", 0) + 1
    now = {**environment(), **sources(cfg)}
    if run.checkpoint is not None and (words := "; ".join(changes(run.record, now))):
        print(f"note: {run.dir} goes on with other code than before step {run.step}: {words}")
        run.record.setdefault("code_changes", []).append(f"step {run.step}: {words}")
    command = [*typed("train"), *own_overrides()]
    run.save(status="running", command=command, continues=_continues(cfg), **now)


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
    """The step of a checkpoint, or None where it is damaged."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:  # not damage: it may be fine for somebody with the rights to read it
        raise UserError(f"cannot read the checkpoint {path}: {error}") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(state["global_step"])
    except Exception:  # torch raises many types on damaged files; all mean the same here
        return None
