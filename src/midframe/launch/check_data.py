"""Whether a model and a data set fit each other, before any file is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from midframe.choices import read_file
from midframe.data.layouts.folders import refused_context
from midframe.data.remote import is_remote
from midframe.data.shards import is_packed
from midframe.errors import UserError
from midframe.launch.commands import advised
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.nodes import find_target
from midframe.paths import config_files


def model_and_data(cfg: DictConfig, model: Interpolator) -> Iterator[str]:
    """Yield what does not fit of a model and the data of a run."""
    if not model.trainable:
        yield (
            f"model={cfg.model.name} has nothing to train; use `{advised('evaluate')}` or "
            "`midframe interpolate`"
        )
    if cfg.data.context < model.context:
        yield (
            f"model={cfg.model.name} reads {2 * model.context} frames but data.context="
            f"{cfg.data.context} gives {2 * cfg.data.context}; drop the data.context override"
        )
    if model.times == "half" and cfg.data.get("times") == "any":
        yield f"model={cfg.model.name} knows only t = 0.5; use data.times=fixed"
    if cfg.data.val.get("context") is not None and cfg.data.val.context < model.context:
        yield (
            f"model={cfg.model.name} reads {2 * model.context} frames but data.val.context="
            f"{cfg.data.val.context} gives {2 * cfg.data.val.context}; drop that override"
        )
    yield from _clips_of_data(cfg, model)
    # motion is no matter of data: it is estimated from the frames
    lacking = model.needs - {"motion"} - set(cfg.data.layout.get("gives") or ())
    if lacking:
        yield (
            f"model={cfg.model.name} needs {', '.join(sorted(lacking))}, which data="
            f"{cfg.data.name} does not give; choose {' or '.join(_data_with_events())}, whose "
            "option data.layout.gives names what is read"
        )
    yield from _what_is_learnt(cfg, model)


def _clips_of_data(cfg: DictConfig, model: Interpolator) -> Iterator[str]:
    """Yield why the data has no clips of so many frames, where its layout says so beforehand."""
    root = cfg.data.get("root")
    if root is not None and (is_remote(root) or is_packed(Path(root).expanduser())):
        return  # the pack has what it was made with
    layout = find_target(cfg.data.layout.get("_target_"), "data.layout")
    refused = refused_context(layout, cfg.data.context)
    taught = cfg.teacher.get("context", 1)
    if refused and taught > model.context:
        refused += f" (teacher={cfg.teacher.name} reads {2 * taught})"
    if refused:
        yield refused


def _data_with_events() -> list[str]:
    """Return the choices of data whose file names events among what they give."""
    return [f"data={name}" for name in _data_whose_layout("gives")]


def _what_is_learnt(cfg: DictConfig, model: Interpolator) -> Iterator[str]:
    """A flow network learns from flow at the frames' own times, all others from frames between."""
    offered = cfg.data.layout.get("learns", "frames")
    if model.learns == "flow" and offered != "flow":
        choices = " or ".join(f"data={name}" for name in _data_whose_layout("learns"))
        yield (
            f"model={cfg.model.name} is a flow network and learns from flow between its two "
            f"frames, which data={cfg.data.name} does not give; use {choices}"
        )
    elif model.learns == "flow" and cfg.data.get("times") == "any":
        yield f"model={cfg.model.name} learns from the frames' own times; use data.times=fixed"
    elif model.learns != "flow" and offered == "flow":
        choices = " or ".join(f"model={name}" for name in zoo.list_flow_networks())
        yield (
            f"data={cfg.data.name} gives flow between two frames, but model={cfg.model.name} "
            f"learns from frames between; use it with {choices}, or other data"
        )


def _data_whose_layout(option: str) -> Iterator[str]:
    """Choices of conf/data whose layout has an option: ``learns`` flow, or ``gives`` events."""
    for name, path in config_files("data").items():
        with suppress(UserError):  # a broken file is told to who chooses it
            if option in (read_file(path).get("layout") or ()):
                yield name
