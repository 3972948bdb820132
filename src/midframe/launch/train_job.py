"""Train from a composed config in a file: ``python -m midframe.launch.train_job FILE.yaml``.

No command line is read again, so the file alone says what is trained. ``hydra.overrides.task`` of
the file, if it is there, is what the run records as its command. If a job.json lies beside, as in a
sweep, it is kept up to date. Several devices: start it by ``python -m torch.distributed.run
--standalone --nproc-per-node N -m midframe.launch.train_job FILE.yaml``, or by srun.

Exit codes: 0 finished, 1 failed, 2 a user's mistake, 75 stopped by a signal with a checkpoint to go
on from, 130 interrupted.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from midframe.engine.compose import register
from midframe.errors import UserError
from midframe.launch import entry, locks
from midframe.launch.guard import INTERRUPTED
from midframe.launch.processes import place
from midframe.launch.run_records import RunRecord
from midframe.launch.sweep_jobs import FAILED, FINISHED, RUNNING, STOPPED, Job, run_of_log
from midframe.launch.sweeps import objective_of, sweep_of

FAILURE, TO_BE_CONTINUED = 1, 75
# What the launching process alone can tell is put in its place before a config is written.
_OF_THE_LAUNCH = ("${now:", "${hydra:")


def dump(cfg: DictConfig, overrides: Sequence[str]) -> str:
    """Return a composed config as the text of a job's file.

    References within stay as they are: the run's identity is made of them, so that a job and the
    same single command are the same run.
    """
    tree = _settled(OmegaConf.to_container(cfg, resolve=False), cfg, "")
    tree["hydra"] = {"overrides": {"task": list(overrides)}}
    note = f"# What `python -m midframe.launch.{Path(__file__).stem}` trains: a composed config\n"
    return note + OmegaConf.to_yaml(OmegaConf.create(tree))


def load(file: Path) -> DictConfig:
    """Read a job's file, and let everything else know its overrides as if Hydra had run.

    Raises:
        UserError: if it cannot be read.
    """
    register()
    setup_globals()
    try:
        cfg = OmegaConf.load(file)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read the config {file}: {reason}") from error
    if not isinstance(cfg, DictConfig) or "trainer" not in cfg or "model" not in cfg:
        raise UserError(f"{file} is not the config of a training run")
    overrides = OmegaConf.select(cfg, "hydra.overrides.task") or []
    cfg.pop("hydra", None)
    announce([str(word) for word in overrides])
    OmegaConf.set_struct(cfg, True)
    return cfg


def announce(overrides: Sequence[str]) -> None:
    """Make `HydraConfig` tell of a single run with these overrides."""
    node = OmegaConf.structured(HydraConf)
    with open_dict(node):
        node.overrides.task = list(overrides)
        node.mode = RunMode.RUN
        node.job.name = "train"
        node.runtime.cwd = node.runtime.output_dir = str(Path.cwd())
    HydraConfig.instance().set_config(OmegaConf.create({"hydra": node}))


def run(file: Path, train: Callable[[DictConfig], Any] | None = None) -> int:
    """Train what a file says and keep its job.json, if it has one, up to date.

    Args:
        file: a composed config.
        train: what to do; None is `midframe.launch.tasks.train`. An integer that it returns is the
            exit code.

    Returns:
        The exit code. Exceptions that are no mistake of a user propagate.
    """
    if train is None:
        from midframe.launch import tasks

        task: Callable[[DictConfig], Any] = tasks.train
    else:
        task = train
    job, lock = None, None
    if is_first() and (file.parent / "job.json").is_file():
        lock = _taken(file.parent)
        job = Job.read(file.parent)
    if job and job.state != RUNNING:  # started by hand, from the file alone
        job.begin("by hand")
    ended: dict[str, Any] = {}
    before = HydraConfig.instance().cfg

    def work() -> None:
        cfg = load(file)
        known = _begun(file.parent)
        try:
            _check_ranks(cfg, file)
            if known is not None:  # whatever ``resume`` says of the first try
                cfg.run.dir, cfg.resume = str(known), "auto"
                if _status(known) == "finished":  # and killed before that was noted
                    return
            code = task(cfg)
            if isinstance(code, int) and code:
                raise SystemExit(code)
        except BaseException as error:
            ended["error"] = _line(error)
            raise
        finally:
            ended["run"] = OmegaConf.select(cfg, "run.dir")

    try:
        code = entry.guarded(work)
        if job:
            code = _settle(job, code, ended)
    except Exception as error:
        if job:
            job.end(FAILED, run=ended.get("run"), error=_line(error))
        raise
    finally:
        HydraConfig.instance().cfg = before
        if lock is not None:
            lock.close()
    return code


def is_first() -> bool:
    """Whether this is the one process of a job that writes: rank 0."""
    here = place()
    return (here is None or here.rank == 0) and os.environ.get("LOCAL_RANK", "0") == "0"


def _taken(folder: Path) -> IO[str] | None:
    """Take a job's folder for this process; None where it was given to it.

    Raises:
        UserError: if another one is at work there.
    """
    if locks.HANDED_ON in os.environ:
        return None
    lock = locks.take(folder)
    if lock is None:
        raise UserError(f"another process is at work on {folder}")
    return lock


def _begun(folder: Path) -> Path | None:
    """Return the run that earlier tries of a job have begun; None where there is none to go on."""
    if not (folder / "job.json").is_file():
        return None
    job = Job.read(folder)
    run = job.run or run_of_log(job.log)  # the latter of one that was killed
    return Path(run) if run and Path(run).is_dir() else None


def _status(run: Path) -> Any:
    try:
        return RunRecord.read(run).record.get("status")
    except UserError:  # one that can no longer be read starts again
        return None


def _settle(job: Job, code: int, ended: dict[str, Any]) -> int:
    """Note how it ended; a metric that is no number is a failure too."""
    run, error = ended.get("run"), ended.get("error")
    if code in (TO_BE_CONTINUED, INTERRUPTED):
        job.end(STOPPED, run=run, error=error)
    elif code:
        job.end(FAILED, run=run, error=error)
    elif problem := conclude(job, Path(str(run)), objective_of(sweep_of(job))):
        print(f"error: {problem}", file=sys.stderr)
        return FAILURE
    return code


def conclude(job: Job, run: Path, objective: Mapping[str, Any]) -> str | None:
    """Judge a job that has trained to its end by its run's metrics.

    Returns:
        What is wrong, where there is no number to compare it by: then it has failed.
    """
    name, value = RunRecord.read(run).value(**objective)
    problem = None
    if value is not None and not math.isfinite(value):
        problem = f"{name} is {value}"
    elif value is None and objective.get("metric"):
        problem = f"its metrics.csv has no {name}"
    state = FAILED if problem else FINISHED
    job.end(state, run=str(run), metric=name, value=None if problem else value, error=problem)
    return problem


def _check_ranks(cfg: DictConfig, file: Path) -> None:
    """Other ranks are started from outside, since nothing here has a command line to repeat."""
    from midframe.launch.check import devices_of

    count = devices_of(cfg)
    if count > 1 and place() is None:
        raise UserError(
            f"trainer.devices={count} takes {count} processes; start them with python -m "
            f"torch.distributed.run --standalone --nproc-per-node {count} -m "
            f"midframe.launch.{Path(__file__).stem} {file}"
        )


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {text}".rstrip("; ")
    if isinstance(error, SystemExit) and error.code == TO_BE_CONTINUED:
        return "stopped by a signal; goes on from its checkpoint"
    return f"{type(error).__name__}: {text}".rstrip(": ")[:500]


def _settled(node: Any, cfg: DictConfig, where: str) -> Any:
    """Replace references that only the launching process can follow."""
    if isinstance(node, dict):
        within = {k: f"{where}.{k}" if where else str(k) for k in node}
        return {
            k: v if within[k] == "hydra" else _settled(v, cfg, within[k]) for k, v in node.items()
        }
    if isinstance(node, list):
        return [_settled(v, cfg, f"{where}[{i}]") for i, v in enumerate(node)]
    if isinstance(node, str) and any(mark in node for mark in _OF_THE_LAUNCH):
        return OmegaConf.select(cfg, where)
    return node


def main(argv: Sequence[str] | None = None) -> int:
    """Train the file that a command line names; returns the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if len(words) != 1 or words[0].startswith("-"):
        print(__doc__)
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    return entry.guarded(lambda: sys.exit(run(Path(words[0]))))


if __name__ == "__main__":
    sys.exit(main())
