"""Other models on the same images, in the same table: what a number has to be held against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from midframe.errors import UserError

if TYPE_CHECKING:
    import torch

    from midframe.benchmark.protocol import Protocol
    from midframe.benchmark.runner import Outcome
    from midframe.models.base import Interpolator

Named = dict[str, "Interpolator"]


def load(names: Sequence[str], device: torch.device) -> Named:
    """Build models by name, or of runs; only those of runs may have something to learn.

    Args:
        names: of conf/model, or run directories.
        device: where to put them.

    Raises:
        UserError: for what is neither, or a network without a run.
    """
    from midframe.launch.inference import load_model, model_of_run
    from midframe.models import zoo

    found: Named = {}
    for name in names:
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
        found[title] = load_model(config, weights, device, option="beside=")
    return found


def _learns(name: str) -> bool:
    from midframe.models import zoo

    return bool(zoo.check_config(zoo.config_of(name)).trainable)


def measure(
    models: Named, protocol: Protocol, root: Path | None, limit: int | None
) -> dict[str, Outcome]:
    """Return what comes out of each model by a protocol.

    Args:
        models: see `load`.
        protocol: as the model at hand is measured.
        root: folder of the data.
        limit: only the first so many images of every subset.

    Raises:
        UserError: if one cannot take part.
    """
    from midframe.benchmark import runner

    found = {}
    for name, model in models.items():
        predictor = runner.Predictor(model, protocol)
        found[name] = runner.run(predictor, protocol, root, device=predictor.device, limit=limit)
    return found
