"""Run directories: the same command finds its unfinished run and goes on there."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from midframe.engine.checkpoint_files import is_whole, step_of
from midframe.errors import UserError
from midframe.files import remove_leftovers, write_text
from midframe.launch import locks, restarts
from midframe.launch.children import end_with_parent
from midframe.launch.commands import typed
from midframe.launch.disk import is_full
from midframe.launch.environment import environment
from midframe.launch.processes import place
from midframe.launch.ranks import Alone
from midframe.launch.record import RECORDS, ended, started
from midframe.launch.run_checkpoints import newest_checkpoint, set_all_aside, set_later_aside
from midframe.launch.sources import changes, sources

# What does not change what is learnt is left out of a run's identity.
_VOLATILE = ("resume", "paths", "hydra", "logger", "callbacks", "run", "expected", "launcher")
_VOLATILE_IN = {
    "model": ("info",),
    "data": ("workers", "cache"),
    "trainer": ("log_every_n_steps", "checkpoint_every", "threads", "profiler"),
}
# Of the callbacks, those that change what is learnt.
_LEARNT = ("ema", "early_stopping")
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
            try:
                self.save(**ended(self.record, status, steps))
            except OSError as error:  # of a disk on which there is no room, which ended the run
                if not is_full(error):
                    raise
                print(f"note: no room for how it ended in {self.dir / 'run.json'}", flush=True)
        self.release()

    def _is_empty(self) -> bool:
        return {path.name for path in self.dir.iterdir()} <= RECORDS

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
    if not kept["trainer"].get("sync_batchnorm"):  # as if there were no such option
        kept["trainer"].pop("sync_batchnorm", None)
    kept["callbacks"] = {k: v for k, v in (tree.get("callbacks") or {}).items() if k in _LEARNT}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def own_overrides() -> list[str]:
    """The overrides of this run's command line, or of its job of a sweep; none without Hydra."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def open_run(cfg: DictConfig, ranks: Alone | None = None) -> Run:
    """Find or make the run directory of a config, by ``cfg.resume``.

    auto continues this config's unfinished run if there is one and starts a new one otherwise;
    never starts a new one; a run directory or a checkpoint continues that, with this config.

    Args:
        cfg: of a training.
        ranks: the processes that train together, where others than this one started them.
    """
    ranks = ranks or Alone()
    opened: list[Run] = []

    def find() -> list[Any]:
        run = _find(cfg)
        if run.checkpoint is not None:
            _compare(run, cfg)
            set_later_aside(run.dir, run.checkpoint, run.step)
        _begin(run, cfg)
        opened.append(run)
        return [str(run.dir), str(run.checkpoint) if run.checkpoint else None, run.step]

    if _is_child():
        shared = os.environ.get(SHARED)
        if not shared:
            raise UserError(
                "this process has a LOCAL_RANK but belongs to no run; start one process, which "
                "starts the others (trainer=ddp trainer.devices=N), or all by torchrun or srun"
            )
        *word, parent = json.loads(shared)
        end_with_parent(parent)
    else:
        word = ranks.share(find)
        os.environ[SHARED] = json.dumps([*word, os.getpid()])
    directory, checkpoint, step = word
    known = Run(Path(directory), Path(directory).name, checkpoint and Path(checkpoint), step)
    return opened[0] if opened else known


def _is_child() -> bool:
    """Whether the main process of a run on this machine started this one, as Lightning does."""
    return os.environ.get("LOCAL_RANK", "0") != "0" and place() is None


def _find(cfg: DictConfig) -> Run:
    resume, again = str(cfg.resume), restarts.restarted()
    if resume not in ("auto", "never"):
        return _reopen(Path(resume), again)
    if cfg.run.dir:
        run = _locked(Path(cfg.run.dir), again)
        if run is None:
            raise UserError(f"another process is training in {cfg.run.dir}")
        if resume == "never" and not _is_of(run.record, again):
            set_all_aside(run.dir)
            run.checkpoint, run.step = None, 0
        return run
    base = Path(cfg.paths.runs) / f"{cfg.name}-{identity(cfg)}"
    if again is not None and (begun := _begun_by(again, base)):
        return _reopen(begun, again)
    for number in range(1, 10_000):
        directory = base if number == 1 else base.with_name(f"{base.name}-{number}")
        if directory.exists() and resume == "never":
            continue
        run = _locked(directory)
        if run is None:  # somebody is at work there: the next number is ours
            print(f"note: another process is training in {directory}; this is a run beside it")
            continue
        if run.record.get("status") != "finished":
            return run
        run.release()
    raise UserError(f"no free run directory beside {base}; remove old runs")


def _begun_by(launch: str, base: Path) -> Path | None:
    """Return the newest run of a config that a former start of this launch began or went on with.

    Raises:
        UserError: if it is finished.
    """
    found = {1: base} if base.is_dir() else {}
    for path in base.parent.glob(f"{glob.escape(base.name)}-*"):
        if (number := path.name.removeprefix(f"{base.name}-")).isdecimal():
            found[int(number)] = path
    for _, path in sorted(found.items(), reverse=True):
        if _is_of(record := read_record(path), launch):
            if record.get("status") == "finished":
                raise UserError(f"{path} is finished, and {launch} was only started again")
            return path
    return None


def _is_of(record: dict[str, Any], launch: str | None) -> bool:
    """Whether a run was last started by this launch, which is another start of it."""
    return launch is not None and record.get("launch") == launch


def read_record(directory: Path) -> dict[str, Any]:
    """Return run.json of a directory, or an empty record."""
    try:
        return json.loads((directory / "run.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _reopen(path: Path, again: str | None) -> Run:
    """Open what ``resume`` names; a launch that was started again goes on where it got to."""
    if path.is_file():
        step = step_of(path)
        if step is None or not is_whole(path):
            raise UserError(f"resume={path} is not a checkpoint of midframe, or it is damaged")
    elif not path.is_dir():
        raise UserError(f"resume={path}: no such run directory or checkpoint")
    run = _locked(path if path.is_dir() else path.parent, again)
    if run is None:
        raise UserError(f"another process is training in {path}")
    if path.is_file() and not (_is_of(run.record, again) and run.step >= (step or 0)):
        run.checkpoint, run.step = path, step or 0
    return run


def _locked(directory: Path, again: str | None = None) -> Run | None:
    """Take a run directory for this process; None where another one has it.

    What a former start of this launch still seems to have is waited for: a file system elsewhere
    takes its time to notice that a machine has died.
    """
    made = not directory.exists()
    try:
        lock = locks.take(directory)
        if lock is None and _is_of(read_record(directory), again):
            print(f"note: waiting for the former start of {again} to let go of {directory}")
            lock = locks.take(directory, locks.LEASE)
    except OSError as error:
        raise UserError(f"cannot write runs under {directory}: {error}; set paths.runs") from error
    if lock is None:
        return None
    remove_leftovers(directory)  # of a process that was killed while it wrote
    checkpoint, step = newest_checkpoint(directory)
    return Run(directory, directory.name, checkpoint, step, read_record(directory), made, lock)


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
    now |= started(run.dir, run.record, run.step if run.checkpoint else 0, cfg)
    now["launch"] = restarts.launch()
    run.save(status="running", command=command, continues=_continues(cfg), **now)
