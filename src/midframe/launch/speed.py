"""`midframe speed`: what models cost by size and way, on screen, as JSON and as a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.launch import entry

if TYPE_CHECKING:
    from midframe.launch.progress import Progress
    from midframe.speed.cost_probe import Work
    from midframe.speed.ways import Way

CONFIG = "speed"
WIDTH = 140
BUSY = 0.5  # of processes on average, in the last minute
CALLS = {"cpu": (3, 20), "cuda": (20, 100)}  # warm-up and timed ones, where nothing is said
MODEL = "model="


def main(argv: Sequence[str] | None = None) -> int:
    """Measure from a command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if any(word.startswith("-") for word in words):  # Hydra's, such as --cfg job
        return entry.run(CONFIG, lambda cfg: run([cfg]), words)
    return entry.guarded(lambda: run(composed(words)))


def composed(words: Sequence[str]) -> list[DictConfig]:
    """Return the config of each model that the words choose: of weights of a run, its own.

    Raises:
        UserError: for weights of several models, or what is wrong with the words.
    """
    if any("weights=" in word for word in words):
        from midframe.launch.inference import with_model_of_run

        words = with_model_of_run(words)
    at = next((i for i, word in enumerate(words) if word.startswith(f"{MODEL}[")), None)
    if at is None:
        return [compose(words, CONFIG)]
    names = [name.strip(" '\"") for name in words[at].removeprefix(MODEL).strip("[]").split(",")]
    names = list(dict.fromkeys(filter(None, names)))
    if not names:
        raise UserError(f"{words[at]}: name at least one model, such as {MODEL}upr")
    several = [[*words[:at], f"{MODEL}{name}", *words[at + 1 :]] for name in names]
    cfgs = [compose(each, CONFIG) for each in several]
    if len(cfgs) > 1 and cfgs[0].weights is not None:
        raise UserError(f"weights={cfgs[0].weights} are of one model, not of {', '.join(names)}")
    return cfgs


@dataclass(frozen=True)
class Job:
    """A model's measurement: its record, filled later, and what to run for it."""

    record: dict[str, Any]
    work: Work
    ways: list[Way]
    file: Path | None

    @property
    def calls(self) -> int:
        """How many there will be."""
        each = self.work.warmup + self.work.rounds
        return each * len(self.ways) * len(self.record["sizes"])


def run(cfgs: Sequence[DictConfig]) -> None:
    """Measure one model after the other, show and keep what was found.

    Raises:
        UserError: for what the user can mend, before anything is measured.
        SystemExit: 1 if something failed otherwise than for want of memory.
    """
    from midframe.launch.output import put_table, read
    from midframe.launch.progress import Progress
    from midframe.speed import costs
    from midframe.speed.marked import placed

    jobs = [_job(cfg, len(cfgs) > 1) for cfg in cfgs]
    table = None if cfgs[0].table is None else Path(cfgs[0].table)
    if table is not None and table.exists():  # tells of missing markers before the work
        placed(read(table), *costs.MARKERS, "", str(table), costs.HEADING)
    load = jobs[0].record["load_before"]
    if load > BUSY:
        _say(f"{load:.1f} processes are running already: they weigh on the times")
    with Progress(CONFIG, sum(job.calls for job in jobs), unit="calls") as progress:
        for job in jobs:
            _measure(job, progress)
    records = [job.record for job in jobs]
    for job in jobs:
        _show(job)
    if table is not None:
        put_table(table, costs.MARKERS, costs.markdown(records), costs.HEADING)
    if failures := [line for record in records for line in costs.failed(record)]:
        _say(*failures)
        raise SystemExit(1)


def _measure(job: Job, progress: Progress) -> None:
    """Fill a job's record and keep it after each row; when interrupted, show what there is."""
    from midframe.speed import costs

    def done(size: dict[str, Any], way: str) -> None:
        _keep(job)
        words = dict(zip(costs.HEADS, costs.cells(size, way)))
        told = f"{words['p50 ms']} ms, {words['peak MB']} MB"
        error = size["ways"][way].get("error")
        _say(f"{job.record['model']} {size['size']} {way}: {error or told}")

    try:
        costs.measure(job.record, job.work, job.ways, tell=progress.advance, done=done)
    except KeyboardInterrupt:
        _show(job)
        kept = job.file is not None and job.file.exists()
        raise KeyboardInterrupt(f"{job.file} has what was measured" if kept else "") from None


def _job(cfg: DictConfig, several: bool) -> Job:
    """Return what a config asks for; `UserError` where it cannot be done."""
    from midframe.launch.environment import environment
    from midframe.launch.inference import resolve_device
    from midframe.models import zoo
    from midframe.models.weights import chosen_weights
    from midframe.speed import costs
    from midframe.speed.cost_probe import FRAMES, Work

    settings = _settings(cfg)
    device = resolve_device(settings.device)
    config: Any = OmegaConf.to_container(cfg.model, resolve=True)
    path = chosen_weights(cfg.weights, config)
    config = {**config, "weights": None if path is None else str(path)}
    if path is not None:
        zoo.build(config)  # tells here what is wrong with them
    if cfg.frames not in FRAMES:
        raise UserError(f"frames={cfg.frames} is not known; use {' or '.join(FRAMES)}")
    warmup, rounds = (
        usual if given is None else given
        for given, usual in zip((cfg.warmup, cfg.rounds), CALLS[device.type])
    )
    work = Work(
        config=config,
        size=settings.sizes[0],
        device=str(device),
        threads=cfg.threads,
        warmup=warmup,
        rounds=rounds,
        times=settings.times,
        batch=cfg.batch,
        frames=cfg.frames,
        hints=OmegaConf.to_container(cfg.hints, resolve=True),  # type: ignore[arg-type]
        cudnn_benchmark=bool(cfg.cudnn_benchmark),
    )
    record, ways = costs.start(work, settings.sizes, settings.ways)
    record |= {"preset": None, "notes": [], "published": []}
    record |= _of_preset(cfg)
    record["load_before"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
    record["environment"] = environment(device.type)
    return Job(record, work, ways, _file(cfg.save, cfg.model.name if several else None))


@dataclass(frozen=True)
class _Settings:
    sizes: list[tuple[int, int]]
    ways: list[Way]
    times: tuple[float, ...]
    device: str


def _settings(cfg: DictConfig) -> _Settings:
    """Return what has a form of its own, and hold numbers against what they can be."""
    from midframe.launch import arguments
    from midframe.speed.ways import named

    for key, least in (("threads", 1), ("warmup", 0), ("rounds", 1), ("batch", 1)):
        value = cfg[key]
        if value is None and key != "batch":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{key}={value} must be a whole number from {least} on")
    ways = [named(text) for text in _listed(cfg.ways)]
    if cfg.compile:
        ways += [way._replace(compiled=True) for way in ways]
    times = _listed(cfg.times)
    if not times or not all(isinstance(t, (int, float)) and 0 <= t <= 1 for t in times):
        raise UserError(f"times={times} must be numbers from 0 to 1, such as times=[0.25,0.5]")
    sizes = [arguments.size(str(text), "size=") for text in _listed(cfg.size)]
    for name, given in (("size", sizes), ("ways", ways)):
        if not given:
            raise UserError(f"{name}=[]: name at least one")
    return _Settings(
        list(dict.fromkeys(sizes)), list(dict.fromkeys(ways)), tuple(map(float, times)), cfg.device
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if OmegaConf.is_list(value) else [value]


def _of_preset(cfg: DictConfig) -> dict[str, Any]:
    """Return what a preset says about the figures, and where the command line departs from it."""
    if cfg.preset is None:
        return {}
    preset: Any = OmegaConf.to_container(cfg.preset, resolve=True)
    model = cfg.model.name
    return {
        "preset": preset["name"],
        "notes": [f"as {preset['source']}", *preset.get("notes", ()), *_departures(cfg)],
        "published": [one for one in preset.get("published", ()) if one["model"] == model],
    }


def _departures(cfg: DictConfig) -> Iterator[str]:
    from midframe.choices import read_file
    from midframe.paths import config_files

    name = cfg.preset.name
    if cfg.model.name not in cfg.preset.models:
        yield f"preset {name} is of {', '.join(cfg.preset.models)}, not of {cfg.model.name}"
    for key, value in read_file(config_files("preset")[name]).items():
        asked = cfg.get(key)
        given = OmegaConf.to_container(asked) if OmegaConf.is_config(asked) else asked
        if key != "preset" and (_listed_plain(given) != _listed_plain(value)):
            yield f"preset {name} has {key}={_word(value)}, this is {key}={_word(given)}"


def _listed_plain(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _word(value: Any) -> str:
    return ",".join(map(str, _listed_plain(value)))


def _file(save: str | None, model: str | None) -> Path | None:
    if save is None:
        return None
    path = Path(save).expanduser()
    return path if model is None else path.with_name(f"{path.stem}-{model}{path.suffix}")


def _keep(job: Job) -> None:
    """Write the record as it is, without a word."""
    import json

    from midframe.files import write_bytes

    if job.file is None:
        return
    try:
        write_bytes(job.file, f"{json.dumps(job.record, indent=1, ensure_ascii=False)}\n".encode())
    except OSError as error:
        raise UserError(f"cannot write {job.file}: {error.strerror}") from error


def _show(job: Job) -> None:
    """Print the table of a model with what has to be said beside it."""
    from rich.console import Console
    from rich.table import Table

    from midframe.speed import costs

    table = Table(box=None)
    for head in costs.HEADS:
        table.add_column(head, justify="left" if head in ("size", "way") else "right")
    for size in job.record["sizes"]:
        for way in size["ways"]:
            table.add_row(*costs.cells(size, way))
    console = Console(width=WIDTH, highlight=False)
    where = job.record["environment"]["gpu"] or f"CPU, {costs.threads(job.record)}"
    title = f"{job.record['model']}: {costs.summary(job.record)}; {where}"
    console.print(f"\n{title}", markup=False, soft_wrap=True)
    console.print(table)
    for remark in costs.remarks(job.record):
        console.print(f"- {remark}", markup=False)
    if job.file is not None and job.file.exists():
        _say(f"wrote {job.file}")


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)
