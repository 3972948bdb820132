"""A search as one command: from Hydra's sweeper to trials that ran and were told to the study."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from midframe.errors import UserError
from midframe.launch import tasks
from midframe.launch.commands import advised
from midframe.launch.multirun import own_command, told_how_to_go_on
from midframe.launch.run_records import goal_of
from midframe.launch.search import (
    Range,
    Settings,
    Study,
    corners,
    range_of,
    read_space,
    sampler,
    sampler_of,
    trials,
)
from midframe.launch.sweep_compose import compose_jobs
from midframe.launch.sweep_jobs import FAILED, STOPPED
from midframe.launch.sweeps import Sweep, folder_of

DIRECTIONS = {"max": "maximize", "min": "minimize"}


class SearchRun:
    """The trials of one command.

    Args:
        context: of Hydra's sweeper.
        task: what the command does with each job.
        config: of the multirun.
        launcher: runs trials. One that has ``sweep`` is given the search's, and keeps its jobs
            there.
        options: see `hydra_plugins.midframe_optuna`.
    """

    def __init__(
        self,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        launcher: Any,
        options: Mapping[str, Any],
    ) -> None:
        self.context, self.task, self.config = context, task, config
        self.launcher, self.options = launcher, options

    def run(self, arguments: Sequence[str]) -> float | None:
        """Run trials until as many as wanted have ended.

        Raises:
            UserError: if anything about the search is wrong.
            SystemExit: with code 1, if no trial brought a number.
        """
        fixed, asked = self._split(arguments)
        settings = self._settings(asked)
        sampler(settings, 0)  # whose options are right
        compose_jobs(self.context, self.config, [[*fixed, *x] for x in corners(settings.space)])
        if inspect.unwrap(self.task) is not tasks.train:
            print(f"ok: {len(settings.space)} settings to search, at all their ends")
            return None
        runs, command = Path(str(self.config.paths.runs)), own_command()
        base = folder_of(runs, self._name(), [fixed], settings.identity)
        objective = {
            "metric": settings.metric,
            "goal": "max" if settings.direction == "maximize" else "min",
            "take": settings.take,
        }
        fresh = "resume=never" in fixed
        about = {"command": command, "sweeper": "optuna", "objective": objective, "shared": fixed}
        with Sweep.open(base, fresh=fresh, **about) as sweep, told_how_to_go_on(command):
            study = Study(sweep.folder, settings)
            before = f", {study.ended} of them before" if study.ended else ""
            print(f"search  {sweep.folder}, {settings.n_trials} trials{before}")
            self.launcher.sweep = sweep
            for batch in trials(study, settings.batch):
                self._try(study, sweep, batch, fixed)
            return self._end(study, sweep, fixed, command)

    def _try(
        self,
        study: Study,
        sweep: Sweep,
        batch: Sequence[tuple[int, list[str]]],
        fixed: Sequence[str],
    ) -> None:
        """Run a batch of trials and tell the study how they ended."""
        good: list[tuple[int, list[str]]] = []
        for number, words in batch:
            try:  # together they may not fit, although each value alone does
                compose_jobs(self.context, self.config, [[*fixed, *words]])
                good.append((number, [*fixed, *words]))
            except UserError as error:
                print(f"trial {number} cannot work: {' '.join(words)}  {error}")
                study.fail(number)
        if not good:
            return
        results = self.launcher.launch([words for _, words in good], initial_job_idx=good[0][0])
        for (number, words), result in zip(good, results):
            job = next((x for x in sweep.jobs if sorted(x.overrides) == sorted(words)), None)
            if job is not None and job.state == STOPPED:
                continue  # somebody stopped it, and it goes on another time
            done = result.status == JobStatus.COMPLETED
            study.tell(number, result.return_value if done else None)

    def _end(self, study: Study, sweep: Sweep, fixed: Sequence[str], command: str) -> float | None:
        failed = [job for job in sweep.jobs if job.state == FAILED]
        print(f"{study.ended} trials ended, {len(failed)} of them failed   {sweep.folder}")
        for job in failed:
            print(f"job {job.number} failed: {job.error}   {job.log}")
        if study.open:
            print(f"{len(study.open)} were stopped; go on:  {command}")
        best = study.best()
        if best is None:
            raise SystemExit(1)
        number, value, words = best
        print(f"best: trial {number}, {study.settings.metric} {value:.4f}, by {' '.join(words)}")
        kept = [x for x in fixed if not x.lstrip("+~").startswith(("sweep=", "launcher", "hydra"))]
        print(f"  {advised('train', *kept, *words)}")
        return value

    def _split(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, Range]]:
        """Split a command line into what all trials share and what is searched."""
        parser = OverridesParser.create(config_loader=self.context.config_loader)
        fixed, asked = [], {}
        for override in parser.parse_overrides(list(arguments)):
            if override.is_sweep_override():
                asked[override.get_key_element()] = range_of(override)
            else:
                fixed.append(str(override.input_line))
        return fixed, asked

    def _settings(self, asked: dict[str, Range]) -> Settings:
        said = OmegaConf.to_container(OmegaConf.create(dict(self.options)), resolve=True)
        assert isinstance(said, dict)
        space = {**read_space(said.get("space")), **asked}
        if not space:
            raise UserError(
                "nothing to search: give hydra.sweeper.space, or 'optimizer.lr=tag(log,"
                "interval(1e-5,1e-2))' on the command line"
            )
        metric = str(said["metric"])
        direction = said["direction"] or DIRECTIONS[goal_of(metric)]
        if direction not in DIRECTIONS.values():
            raise UserError(f"hydra.sweeper.direction={direction}: maximize, minimize or null")
        if said["take"] not in ("best", "last"):
            raise UserError(f"hydra.sweeper.take={said['take']}: best or last")
        for name in ("n_trials", "batch"):
            given = 1 if name == "batch" and said[name] is None else said[name]
            if type(given) is not int or given < 1:
                raise UserError(f"hydra.sweeper.{name}={given} must be a whole number above 0")
        return Settings(
            space=space,
            n_trials=said["n_trials"],
            metric=metric,
            direction=str(direction),
            take=str(said["take"]),
            batch=int(said["batch"] or getattr(self.launcher, "at_once", 1)),
            **sampler_of(said["sampler"] or {}),
        )

    def _name(self) -> str:
        return str(self.config.hydra.runtime.choices.get("sweep") or "search")
