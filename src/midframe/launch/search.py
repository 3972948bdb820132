"""A search for the best settings by Optuna; its study lies in the sweep's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midframe.errors import UserError

if TYPE_CHECKING:
    import optuna
    from hydra.core.override_parser.types import Override

KINDS = ("float", "log", "int", "int_log", "choice")
SAMPLERS = ("tpe", "random")
JOURNAL = "study.journal"
STUDY = "midframe"


@dataclass(frozen=True)
class Range:
    """What is tried for one setting.

    Attributes:
        kind: one of `KINDS`: numbers, numbers by their logarithm, the same of integers, a list.
        values: lowest and highest, both included, or the list, as words of a command line.
        step: between neighbours, of "float" and "int".
    """

    kind: str
    values: tuple[Any, ...]
    step: float | int | None = None

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Ask a trial for a value."""
        if self.kind == "choice":
            return trial.suggest_categorical(name, self.values)
        low, high = self.values
        if self.kind.startswith("int"):
            return trial.suggest_int(
                name, low, high, step=int(self.step or 1), log=self.kind == "int_log"
            )
        return trial.suggest_float(name, low, high, step=self.step, log=self.kind == "log")

    @property
    def corners(self) -> tuple[Any, ...]:
        """What is checked beforehand: all of a list, else the ends."""
        return self.values


def read_space(space: Mapping[str, Any] | None) -> dict[str, Range]:
    """Return a search space that is written as data, such as ``{optimizer.lr: {log: [1e-5, 1]}}``.

    Raises:
        UserError: with what is wrong with it.
    """
    return {str(name): _range(str(name), said) for name, said in (space or {}).items()}


def _range(name: str, said: Any) -> Range:
    where = f"hydra.sweeper.space.{name}"
    kinds = [kind for kind in KINDS if isinstance(said, Mapping) and kind in said]
    if len(kinds) != 1 or set(said) - {*kinds, "step"}:
        raise UserError(f"{where} must hold one of {', '.join(KINDS)}, and step if need be: {said}")
    (kind,) = kinds
    values, step = said[kind], said.get("step")
    if not isinstance(values, list | tuple):
        raise UserError(f"{where}.{kind} must be a list: {values}")
    if kind == "choice":
        if not values:
            raise UserError(f"{where}.choice is empty")
        return Range(kind, tuple(word(value) for value in values))
    numbers = (int,) if kind.startswith("int") else (int, float)
    fits = len(values) == 2 and all(type(x) in numbers and math.isfinite(x) for x in values)
    if not fits or values[0] > values[1] or ("log" in kind and values[0] <= 0):
        above = ", above 0" if "log" in kind else ""
        raise UserError(f"{where}.{kind} must be [lowest, highest]{above}: {list(values)}")
    if step is not None and ("log" in kind or type(step) not in numbers or step <= 0):
        raise UserError(f"{where}.step must be above 0, and goes with float and int: {step}")
    return Range(kind, tuple(values), step)


def range_of(override: Override) -> Range:
    """Return what a word of the command line asks for: ``a,b``, ``interval(1,2)``, ``range(1,9)``.

    Raises:
        UserError: if it is none of these.
    """
    sweep: Any = override.value()
    if override.is_interval_sweep():
        whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
        log = "log" in sweep.tags
        kind = ("int_log" if log else "int") if whole else ("log" if log else "float")
        return _range(override.get_key_element(), {kind: [sweep.start, sweep.end]})
    if override.is_discrete_sweep():
        return Range("choice", tuple(override.sweep_string_iterator()))
    raise UserError(f"{override.input_line}: a search takes a,b or choice(), range() or interval()")


def word(value: Any) -> str:
    """Return a value as it is written in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(word, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{word(v)}" for k, v in value.items()) + "}"
    return str(value)  # of floats all digits: the study keeps what was trained


@dataclass(frozen=True)
class Settings:
    """Options of ``hydra.sweeper``.

    Attributes:
        space: what is tried, by key.
        n_trials: how many trials end, well or not, before the search does.
        metric: column of metrics.csv that is made best.
        direction: "maximize", "minimize".
        take: the "best" or "last" value of a run.
        sampler: name of `SAMPLERS`.
        seed: of the sampler.
        options: more arguments of Optuna's sampler.
        batch: how many trials are proposed at once.
    """

    space: dict[str, Range]
    n_trials: int
    metric: str = "val/psnr"
    direction: str = "maximize"
    take: str = "best"
    sampler: str = "tpe"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1

    @property
    def identity(self) -> str:
        """What makes a search another one; more trials do not."""
        space = {k: [v.kind, v.values, v.step] for k, v in self.space.items()}
        how = [self.metric, self.direction, self.take, self.sampler, self.seed, dict(self.options)]
        return json.dumps([space, how], sort_keys=True)


def sampler(settings: Settings, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of a trial: as random as its number, so that a search can go on.

    Raises:
        UserError: without Optuna, or for an option that its sampler does not take.
    """
    samplers, options = _optuna().samplers, dict(settings.options)
    make = samplers.TPESampler
    if settings.sampler == "random":
        make = samplers.RandomSampler
    elif settings.batch > 1:
        options.setdefault("constant_liar", True)  # trials that run count as bad ones
    try:
        return make(seed=settings.seed + number, **options)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"hydra.sweeper.sampler: Optuna's {make.__name__} refuses "
            f"{', '.join(map(str, options))}: {error}"
        ) from error


class Study:
    """The trials of a search.

    Args:
        folder: of the sweep, which this process holds.
        settings: of the search.

    Raises:
        UserError: without Optuna, or if the study cannot be read.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.optuna = _optuna()
        journal = folder / JOURNAL
        mend(journal)
        backend = self.optuna.storages.journal.JournalFileBackend(str(journal))
        try:
            self.study = self.optuna.create_study(
                storage=self.optuna.storages.JournalStorage(backend),
                study_name=STUDY,
                direction=settings.direction,
                load_if_exists=True,
                pruner=self.optuna.pruners.NopPruner(),
            )
        except (ValueError, KeyError, self.optuna.exceptions.OptunaError) as error:
            raise UserError(f"the study {journal} cannot be read: {error}") from error

    @property
    def open(self) -> dict[int, list[str]]:
        """Overrides of trials that were begun and did not end, by number."""
        running = (self.optuna.trial.TrialState.RUNNING,)
        found = self.study.get_trials(deepcopy=False, states=running)
        full = [t for t in found if set(t.params) == set(self.settings.space)]
        for trial in found:
            if trial not in full:  # its launcher was killed while it was proposed
                self.fail(trial.number)
        return {t.number: _words(t.params) for t in full}

    @property
    def ended(self) -> int:
        """How many trials have ended, well or not."""
        states = (self.optuna.trial.TrialState.COMPLETE, self.optuna.trial.TrialState.FAIL)
        return len(self.study.get_trials(deepcopy=False, states=states))

    def ask(self) -> tuple[int, list[str]]:
        """Propose a trial: its number and overrides."""
        self.study.sampler = sampler(self.settings, len(self.study.get_trials(deepcopy=False)))
        trial = self.study.ask()
        for name, values in self.settings.space.items():
            values.suggest(trial, name)
        return trial.number, _words(trial.params)

    def tell(self, number: int, value: float | None) -> None:
        """Note a trial's value; what is no number has failed."""
        if value is None or not math.isfinite(value):
            self.fail(number)
        else:
            self.study.tell(number, value)

    def fail(self, number: int) -> None:
        """Note that a trial failed."""
        self.study.tell(number, state=self.optuna.trial.TrialState.FAIL)

    def best(self) -> tuple[int, float, list[str]] | None:
        """Return number, value and overrides of the best trial."""
        done = (self.optuna.trial.TrialState.COMPLETE,)
        if not self.study.get_trials(deepcopy=False, states=done):
            return None
        best = self.study.best_trial
        return best.number, float(best.value or 0.0), _words(best.params)


def corners(space: Mapping[str, Range]) -> Iterator[list[str]]:
    """Yield overrides that together hold every choice and every end of the space."""
    first = {name: values.corners[0] for name, values in space.items()}
    yield _words(first)
    for name, values in space.items():
        for value in values.corners[1:]:
            yield _words({**first, name: value})


def mend(journal: Path) -> None:
    """Take away what a killed process leaves of a study: half a line, and a lock."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if not journal.is_file():
        return
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with journal.open("r+b") as file:
            file.truncate(whole)


def _words(params: Mapping[str, Any]) -> list[str]:
    return [f"{name}={word(value)}" for name, value in params.items()]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError('a search needs Optuna: pip install "midframe[sweep]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def sampler_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return from ``hydra.sweeper.sampler`` what `Settings` takes.

    Raises:
        UserError: if there is no such sampler.
    """
    options = dict(said)
    name, seed = str(options.pop("name", "tpe")), options.pop("seed", 0)
    if name not in SAMPLERS:
        raise UserError(f"hydra.sweeper.sampler.name={name}: there are {', '.join(SAMPLERS)}")
    if not isinstance(seed, int):
        raise UserError(f"hydra.sweeper.sampler.seed={seed} must be a whole number")
    return {"sampler": name, "seed": seed, "options": options}


def trials(study: Study, batch: int) -> Iterator[Sequence[tuple[int, list[str]]]]:
    """Yield batches of trials until as many as wanted have ended; begun ones go first.

    A trial that is still open when the next batch is asked for is left for another time.
    """
    begun = list(study.open.items())
    left = len(begun)
    for at in range(0, left, batch):
        yield begun[at : at + batch]
    while (room := study.settings.n_trials - study.ended - len(study.open)) > 0:
        yield [study.ask() for _ in range(min(batch, room))]
