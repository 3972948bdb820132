"""`evaluate.py` and `midframe evaluate`: one model on one or more benchmarks."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from midframe.errors import UserError
from midframe.launch import beside, entry, guard

if TYPE_CHECKING:
    from midframe.benchmark.protocol import Protocol
    from midframe.benchmark.runner import Predictor


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
    from midframe.benchmark.runner import Predictor
    from midframe.launch.inference import in_blocks, load_model, resolve_device
    from midframe.models.tiles import Tiled

    for key, least in (("limit", 1), ("threads", 1), ("block", 1), ("overlap", 0)):
        if not (cfg[key] is None or (isinstance(cfg[key], int) and cfg[key] >= least)):
            raise UserError(f"{key}={cfg[key]} must be a whole number from {least} on, or null")
    parts, roots = suites(cfg)
    device = resolve_device(cfg.device)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    torch.manual_seed(0)  # untrained weights are the same in every run
    model = load_model(_plain(cfg.model), cfg.weights, device, precision=cfg.precision)
    model = in_blocks(model, cfg.block, cfg.overlap, cfg.blend)
    predictors = {name: Predictor(model, p) for name, p in parts.items()}
    facts = gather_facts(cfg, next(iter(predictors.values())).device)
    if isinstance(model, Tiled):
        facts["blocks"] = model.settings
    asked = {n: p.beside if cfg.beside is None else cfg.beside for n, p in parts.items()}
    own = cfg.model.name
    others = {n: beside.load([o for o in names if o != own], device) for n, names in asked.items()}
    for name, predictor in predictors.items():
        out = _folder(cfg, name, parts[name], facts, single=len(parts) == 1)
        _run_one(cfg, predictor, roots[name], out, facts, others[name])


def suites(cfg: DictConfig) -> tuple[dict[str, Protocol], dict[str, Path | None]]:
    """Return the protocols and the folders of their data by the names of the benchmarks.

    Args:
        cfg: as `evaluate` takes it; of a folder that is None its layout needs no files.

    Raises:
        UserError: if none is chosen, or naming what is wrong with one.
    """
    from midframe.benchmark import protocol as protocols
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
        parts[name] = protocols.from_config(suite["protocol"], name)
        parts[name].find_layout()  # what is wrong with it shows before the weights are read
        parts[name].try_metrics()
        root = node.get("root") or suite.get("root")
        roots[name] = Path(root).expanduser() if root else None
        runner.check_folder(roots[name])
    return parts, roots


def _run_one(
    cfg: DictConfig,
    predictor: Predictor,
    root: Path | None,
    out: Path,
    facts: dict[str, Any],
    others: beside.Named,
) -> None:
    from midframe.benchmark import report, runner
    from midframe.benchmark.journal import Journal

    protocol = predictor.protocol
    facts = {**facts, "root": str(root) if root else None}
    journal = Journal(out / "journal.jsonl", _key(facts, protocol.digest()))
    finished = False
    try:
        outcome = runner.run(
            predictor,
            protocol,
            root,
            device=predictor.device,
            journal=journal,
            images=out / "images" if cfg.save_images else None,
            limit=cfg.limit,
        )
        facts["calls"] = predictor.calls(outcome.sizes)
        if outcome.rows:
            outcome.beside = beside.measure(others, protocol, root, cfg.limit)
            report.write(out, outcome, facts)
            finished = True
    finally:
        journal.close(discard=finished)
    if not outcome.rows:
        raise UserError(f"benchmark {protocol.name}: nothing measured; {outcome.problems[0]}")
    report.show(outcome, facts)
    if outcome.reused:
        print(f"{outcome.reused} images were measured by an earlier, interrupted run")
    print(f"written to {out}")


def gather_facts(cfg: DictConfig, device: torch.device) -> dict[str, Any]:
    """Return all that a number depends on besides the protocol, for the record."""
    from midframe.launch.environment import environment
    from midframe.launch.sources import sources
    from midframe.models.parts import digests
    from midframe.models.weights import chosen_weights
    from midframe.ops.backend import current

    weights = chosen_weights(cfg.weights, cfg.model)
    config = _plain(cfg.model)
    # asked of the class: a yaml without `info` may still name a model with something to train
    cls: Any = get_class(config["net"]["_target_"])
    untrained = "untrained" if cls.trainable else None
    return {
        "model": cfg.model.name + (" (untrained)" if untrained and not weights else ""),
        "weights": str(weights) if weights else untrained,
        **digests(weights, config),
        "model_config": {k: config.get(k) for k in ("name", "net", "hints")}
        | {k: config[k] for k in ("motion",) if k in config},
        "precision": cfg.precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "op_backend": current(device),
        **environment(),
        **sources(cfg),
    }


def _folder(
    cfg: DictConfig, name: str, protocol: Protocol, facts: dict[str, Any], single: bool
) -> Path:
    if cfg.out:
        return Path(cfg.out) if single else Path(cfg.out) / name
    key = _key(facts, protocol.digest())
    return Path(cfg.paths.results) / f"{cfg.model.name}-{name}-{key[:8]}"


def _key(facts: dict[str, Any], digest: str) -> str:
    """Return the run key: rows of an interrupted run are reused only under the same one."""
    from midframe.launch.environment import PLACE

    volatile = ("weights", "root", "projects", *PLACE)  # of a project the modules count
    content = {k: v for k, v in facts.items() if k not in volatile}
    if facts.get("root"):
        content["root"] = str(Path(facts["root"]).resolve())
    text = json.dumps([content, digest], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(node: Any) -> dict[str, Any]:
    result = OmegaConf.to_container(node, resolve=True)
    assert isinstance(result, dict)
    return {str(k): v for k, v in result.items()}
