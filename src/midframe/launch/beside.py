"""Other models on the same images, in the same table: what a number has to be held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midframe.errors import UserError

if TYPE_CHECKING:
    import torch

    from midframe.models.base import Interpolator


@dataclass(frozen=True)
class Entry:
    """A model that is measured.

    Attributes:
        model: on its device.
        facts: what its numbers depend on.
        title: what tables call it.
    """

    model: Interpolator
    facts: dict[str, Any] = field(default_factory=dict)
    title: str = ""


def load(names: Sequence[str], device: torch.device) -> dict[str, Entry]:
    """Build models by name, or of runs; only those of runs may have something to learn.

    Args:
        names: of conf/model, or run directories.
        device: where to put them.

    Returns:
        By the names as given; their titles differ from one another.

    Raises:
        UserError: for what is neither, or a network without a run.
    """
    from midframe.launch import facts
    from midframe.launch.inference import load_model, model_of_run
    from midframe.models import zoo

    found: dict[str, Entry] = {}
    for name in dict.fromkeys(names):
        if name in zoo.list_models():
            config, weights, title = zoo.config_of(name), None, name
            if zoo.check_config(config).trainable:
                raise UserError(f"beside={name} has to be trained: give a run directory of it")
        else:
            run = model_of_run(name)
            if run is None:
                known = ", ".join(n for n in zoo.list_models() if not _learns(n))
                raise UserError(f"beside={name} is no run directory, and no model of {known}")
            config, weights, title = run, name, f"{run['name']} of {Path(name).name}"
            if title in (one.title for one in found.values()):
                title = f"{run['name']} of {name}"
        model = load_model(config, weights, device, option="beside=")
        about = facts.of_model(config, weights, title)
        about = {**about, "parameters": parameters(model), "precision": "fp32"}
        found[name] = Entry(model, about, title)
    return found


def parameters(model: Interpolator) -> int:
    """Return how many numbers a model has learnt."""
    return sum(one.numel() for one in model.parameters())


def _learns(name: str) -> bool:
    from midframe.models import zoo

    return bool(zoo.check_config(zoo.config_of(name)).trainable)
