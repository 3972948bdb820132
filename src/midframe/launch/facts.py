"""All that a benchmark's number depends on besides the protocol, for the record and the run key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import get_class

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from midframe.benchmark.protocol import Metric, Protocol

# Parts of the facts that move no number, or that the key holds in another form.
_VOLATILE = ("weights", "root", "projects")  # of a project the modules count


def of_model(config: Mapping[str, Any], given: str | None, title: str = "") -> dict[str, Any]:
    """Return what is known of a model before it is built.

    Args:
        config: content of conf/model.
        given: its weights, as a command was told.
        title: what to call it; "" for its name.
    """
    from midframe.models.parts import digests
    from midframe.models.weights import weights_to_use

    weights = weights_to_use(given, config)
    # asked of the class: a yaml without `info` may still name a model with something to train
    cls: Any = get_class(config["net"]["_target_"])
    untrained = "untrained" if cls.trainable else None
    name = title or config["name"]
    return {
        "model": name + (" (untrained)" if untrained and not weights else ""),
        "weights": str(weights) if weights else untrained,
        **digests(weights, dict(config)),
        "model_config": {k: config.get(k) for k in ("name", "net", "hints")}
        | {k: config[k] for k in ("motion",) if k in config},
    }


def of_device(device: torch.device) -> dict[str, Any]:
    """Return on what a model computes."""
    from midframe.ops.backend import current

    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "op_backend": current(device),
    }


def of_place(cfg: DictConfig) -> dict[str, Any]:
    """Return with what and where it is measured, the same for all models of a command."""
    from midframe.launch.environment import environment
    from midframe.launch.sources import sources

    return {**environment(), **sources(cfg)}


def of_metrics(columns: Mapping[str, Metric]) -> dict[str, Any]:
    """Return the digests of the weights that metrics read, by column; empty where none does."""
    import midframe.metrics

    digests = getattr(midframe.metrics, "digests", None)
    found = {name: digests(metric) for name, metric in columns.items()} if digests else {}
    found = {name: one for name, one in found.items() if one}
    return {"metric_weights": found} if found else {}


def run_key(facts: Mapping[str, Any], protocol: Protocol) -> str:
    """Return the run key: rows of an interrupted run are reused only under the same one."""
    from midframe.launch.environment import PLACE

    content: dict[str, Any] = {k: v for k, v in facts.items() if k not in (*_VOLATILE, *PLACE)}
    if content.get("device") != "cpu":
        content.pop("threads", None)  # which move a number by a hair where a CPU computes it
    if facts.get("root"):
        content["root"] = str(Path(facts["root"]).resolve())
    if protocol.extra:
        content["extra"] = protocol.describe()["extra"]
    text = json.dumps([content, protocol.digest()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
