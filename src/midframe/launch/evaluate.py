"""`evaluate.py` and `midframe evaluate`: one model on one or more benchmarks."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from midframe.errors import UserError
from midframe.launch import beside, entry, facts, guard, processes

if TYPE_CHECKING:
    from midframe.benchmark.protocol import Metric, Protocol
    from midframe.benchmark.team import Team
    from midframe.launch.job import Job


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate from a command line; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    return guard.guarded(lambda: _main(words))


def _main(words: Sequence[str]) -> int:
    """Evaluate the model that the words choose; of weights of a run, which it trained."""
    if any("weights=" in word for word in words):
        from midframe.launch.inference import with_model_of_run

        words = with_model_of_run(words)
    return entry.run("evaluate", evaluate, words)


def evaluate(cfg: DictConfig) -> None:
    """Measure the model on every selected benchmark, print and write the results."""
    # Imported here: composing a command line, or saying what is wrong with it, needs none of them.
    from midframe.benchmark.batches import batching

    for key, least in (("limit", 1), ("threads", 1), ("block", 1), ("overlap", 0)):
        if not (cfg[key] is None or (isinstance(cfg[key], int) and cfg[key] >= least)):
            raise UserError(f"{key}={cfg[key]} must be a whole number from {least} on, or null")
    batching(cfg.batch, "cpu")  # what is wrong with it shows before anything takes time
    _check_out(cfg)
    parts, roots = suites(cfg)
    with processes.together(cfg.devices, cfg.device, _own_words()) as team:
        threads = processes.share_cores(cfg.threads, team)
        jobs = _jobs(cfg, parts, roots, team, threads)
        single = len(jobs) == 1
        folders = {name: _folder(cfg, name, job.key, single) for name, job in jobs.items()}
        _prepare(jobs, folders, team, several=not single and not cfg.benchmark.get("root"))
        for name, job in jobs.items():
            try:
                job.run(folders[name], team)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("the same command goes on where it stopped") from None


def _check_out(cfg: DictConfig) -> None:
    """Raise `UserError` where all jobs of a multirun would write into one folder."""
    given = [word for word in sys.argv[1:] if word.partition("=")[0] == "out"]
    if cfg.out and _in_multirun() and given and not set(",($*") & set(given[-1]):
        raise UserError(
            f"out={cfg.out} is one folder, and every job of a multirun would write into it; give "
            "paths.results=DIR, in which each has a folder of its own"
        )


def _in_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _own_words() -> list[str]:
    """Return the words by which another process evaluates the same."""
    # of a multirun those of this job alone
    return list(HydraConfig.get().overrides.task) if _in_multirun() else sys.argv[1:]


def _prepare(jobs: dict[str, Job], folders: dict[str, Path], team: Team, several: bool) -> None:
    """Raise `UserError` for all that is missing of any benchmark, before one is measured.

    Args:
        jobs: by the names of the benchmarks.
        folders: of their results.
        team: of this process.
        several: each benchmark has a folder of data of its own.
    """
    problems = []
    for name, job in jobs.items():
        try:
            job.prepare(folders[name], team)
        except UserError as error:
            own = f"benchmark.suites.{name}.root=DIR or paths.data=DIR"
            said = str(error)
            problems.append(said.replace("benchmark.root=DIR", own) if several else said)
    if problems:
        raise UserError("; ".join(problems))


def _jobs(
    cfg: DictConfig,
    parts: dict[str, Protocol],
    roots: dict[str, Path | None],
    team: Team,
    threads: int,
) -> dict[str, Job]:
    """Load the models, and say by which protocol they are measured."""
    from midframe.launch.inference import in_blocks, load_model, resolve_device
    from midframe.launch.job import How, Job
    from midframe.models.tiles import Tiled

    here = processes.place()
    local = here.local_rank if here else 0
    device = resolve_device(cfg.device, rank=local if team.size > 1 else None)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.manual_seed(0)  # untrained weights are the same in every run
    model = load_model(_plain(cfg.model), cfg.weights, device, precision=cfg.precision)
    model = in_blocks(model, cfg.block, cfg.overlap, cfg.blend)
    about = {
        **facts.of_model(_plain(cfg.model), cfg.weights),
        "parameters": beside.parameters(model),
        "precision": cfg.precision,
        **({"blocks": model.settings} if isinstance(model, Tiled) else {}),
    }
    own = beside.Entry(model, about, cfg.model.name)
    asked = {
        name: [x for x in (p.beside if cfg.beside is None else cfg.beside) if x != cfg.model.name]
        for name, p in parts.items()
    }
    others = beside.load([x for names in asked.values() for x in names], device)
    shared = {**facts.of_place(cfg), "threads": threads}
    chosen = cfg.threads is not None or "OMP_NUM_THREADS" in os.environ
    if device.type == "cpu" and team.size > 1 and team.rank == 0 and not chosen:
        print(
            f"each of {team.size} processes computes with {threads} threads; give threads={threads}"
            " to have the same digits with any number of processes",
            file=sys.stderr,
        )
    how = How(cfg.batch, cfg.save_images, cfg.limit)
    return {
        name: Job(
            protocol,
            roots[name],
            [own, *(others[x] for x in asked[name])],
            {**shared, **facts.of_metrics(protocol.columns)},
            how,
        )
        for name, protocol in parts.items()
    }


def gather_facts(cfg: DictConfig, device: torch.device) -> dict[str, Any]:
    """Return all that a number depends on besides the protocol, for the record."""
    about = facts.of_model(_plain(cfg.model), cfg.weights)
    place = {**facts.of_device(device), **facts.of_place(cfg)}
    return {**about, "precision": cfg.precision, **place}


def suites(cfg: DictConfig) -> tuple[dict[str, Protocol], dict[str, Path | None]]:
    """Return the protocols and the folders of their data by the names of the benchmarks.

    Args:
        cfg: as `evaluate` takes it; of a folder that is None its layout needs no files.

    Raises:
        UserError: if none is chosen, or naming what is wrong with one.
    """
    from midframe.benchmark import protocol_file as protocols
    from midframe.benchmark import runner

    node = _plain(cfg.benchmark)
    nodes = node.get("suites") or {}
    if not nodes:
        raise UserError("no benchmark is selected; use benchmark=middlebury, for example")
    parts, roots = {}, {}
    for name, suite in nodes.items():
        suite = suite if isinstance(suite, dict) else {}
        extra = sorted(set(suite) - {"root", "protocol"})
        if extra or not suite.get("protocol"):
            what = f"has no key {extra[0]}" if extra else "has no protocol"
            raise UserError(f"benchmark {name} {what}; its file holds root: and protocol: {{...}}")
        protocol = protocols.from_config(suite["protocol"], name)
        parts[name] = _with_extra(protocol, protocols.metrics_from_config(cfg.metrics, "metrics"))
        parts[name].find_layout()  # what is wrong with it shows before the weights are read
        parts[name].try_metrics()
        root = node.get("root") or suite.get("root")
        roots[name] = Path(root).expanduser() if root else None
        runner.check_folder(roots[name])
    return parts, roots


def _with_extra(protocol: Protocol, extra: dict[str, Metric]) -> Protocol:
    """Add columns that the command asks for, but for those that the protocol has already."""
    if protocol.submission:
        return protocol
    extra = {name: metric for name, metric in extra.items() if name not in protocol.metrics}
    return dataclasses.replace(protocol, extra=extra)


def _folder(cfg: DictConfig, name: str, key: str, single: bool) -> Path:
    if cfg.out:
        return Path(str(cfg.out)) if single else Path(str(cfg.out)) / name
    return Path(cfg.paths.results) / f"{cfg.model.name}-{name}-{key[:8]}"


def _plain(node: Any) -> dict[str, Any]:
    result = OmegaConf.to_container(node, resolve=True)
    assert isinstance(result, dict)
    return {str(k): v for k, v in result.items()}
