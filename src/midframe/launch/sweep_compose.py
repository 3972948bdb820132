"""All jobs of a multirun composed and checked, before any of them starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from midframe.engine.compose import check_choices, unreadable
from midframe.errors import UserError
from midframe.launch.check import devices_of, find_problems
from midframe.launch.entry import told
from midframe.launch.sweeps import differing
from midframe.launch.train_job import dump


@dataclass
class Composed:
    """A job of a multirun.

    Attributes:
        overrides: of its command line.
        cfg: its config, without ``hydra``.
        text: the same as the file that `midframe.launch.train_job` takes.
    """

    overrides: list[str]
    cfg: DictConfig
    text: str

    @property
    def processes(self) -> int:
        """How many processes train it on one machine."""
        return devices_of(self.cfg)


def compose_jobs(
    context: HydraContext,
    config: DictConfig,
    commands: Sequence[Sequence[str]],
    first: int = 0,
    skip: bool | None = None,
) -> list[Composed]:
    """Compose and check the jobs of a multirun.

    Args:
        context: of the launcher.
        config: of the multirun itself.
        commands: overrides of every job.
        first: number of the first one, for messages.
        skip: leave out jobs that cannot work, and say so, where others can; None where a person
            cannot choose that.

    Raises:
        UserError: with every problem of every job.
    """
    setup_globals()
    before = HydraConfig.instance().cfg
    composed: dict[int, Composed] = {}
    problems: dict[str, list[int]] = {}
    try:
        for number, words in enumerate(commands, first):
            found: list[str] = []
            try:
                composed[number] = _compose(context, config, list(words), number)
                found = list(dict.fromkeys(find_problems(composed[number].cfg)))
            except UserError as error:
                found = [str(error)]
            for problem in found:
                problems.setdefault(problem, []).append(number)
    finally:
        HydraConfig.instance().cfg = before
    bad = {number for numbers in problems.values() for number in numbers}
    others = 0 < len(bad) < len(commands)
    if skip and others:
        print(_listed(problems, commands, first, "cannot work and are left out"))
        problems = {}
    good = {number: job for number, job in composed.items() if number not in bad}
    if not problems:
        for problem, places in _together(list(good.values())).items():
            problems[problem] = [list(good)[place] for place in places]
    if problems:
        offer = "\n  hydra.sweeper.skip=true leaves them out" * (others and skip is False)
        raise UserError(_listed(problems, commands, first) + offer)
    return list(good.values())


def _compose(context: HydraContext, config: DictConfig, words: list[str], number: int) -> Composed:
    try:
        cfg = context.config_loader.load_sweep_config(config, words)
        with open_dict(cfg):
            cfg.hydra.mode = RunMode.RUN  # each job is a run of its own
            cfg.hydra.job.id = str(number)
            cfg.hydra.job.num = number
            cfg.hydra.runtime.merge_with(
                {k: config.hydra.runtime[k] for k in ("cwd", "version", "version_base")}
            )
        HydraConfig.instance().set_config(cfg)
        check_choices(cfg.hydra.runtime.choices, words)
        text = dump(cfg, words)
        with open_dict(cfg):
            del cfg["hydra"]
    except (HydraException, OmegaConfBaseException) as error:
        check_choices({}, words)  # what a file lacks is behind much that Hydra says
        raise told(error) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise unreadable(error) from error
    return Composed(words, cfg, text)


def _together(jobs: Sequence[Composed]) -> dict[str, list[int]]:
    """Return what works for each job alone, but not for several."""
    problems: dict[str, list[int]] = {}
    if len(jobs) < 2:
        return problems
    folders: dict[Any, list[int]] = {}
    for number, job in enumerate(jobs):
        if job.cfg.resume not in ("auto", "never"):
            problem = (
                f"resume={job.cfg.resume} would let all jobs go on from there, in one folder; "
                "give weights= to start from its weights"
            )
            problems.setdefault(problem, []).append(number)
        folders.setdefault(job.cfg.run.dir, []).append(number)
    for folder, numbers in folders.items():
        if folder is not None and len(numbers) > 1:
            problems[f"run.dir={folder} is one folder for several jobs; leave it out"] = numbers
    return problems


def _listed(
    problems: dict[str, list[int]],
    commands: Sequence[Sequence[str]],
    first: int,
    so: str = "cannot work, so none was started",
) -> str:
    """Say which jobs have which problems."""
    total = len(commands)
    if total == 1:
        return "; ".join(problems)
    bad = {number for numbers in problems.values() for number in numbers}
    lines = [f"{len(bad)} of {total} jobs {so}"]
    told_apart = differing(commands)
    for problem, numbers in problems.items():
        if len(numbers) == total:
            lines.append(f"  all jobs: {problem}")
        else:
            names = [f"{n} ({' '.join(told_apart[n - first])})" for n in numbers]
            lines.append(f"  job {', '.join(names)}: {problem}")
    return "\n".join(lines)
