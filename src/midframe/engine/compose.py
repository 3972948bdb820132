"""Configs by name: what Hydra has to know before it composes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hydra
import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from midframe.errors import UserError
from midframe.paths import config_dir, config_files, projects

USUAL_LOSS = "charbonnier"  # of a model whose yaml names none


def context_of(target: str) -> int:
    """Return how many frames a model class reads on each side, for ``data.context``."""
    return int(get_class(target).context)


def learns_of(target: str, frames: Any = "frames", flow: Any = "flow") -> Any:
    """Return one value for a model class that learns from frames, the other where from flow."""
    return flow if get_class(target).learns == "flow" else frames


class ProjectSearchPath(SearchPathPlugin):
    """Lets the conf/ of `midframe.paths.projects` take part, behind the package's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders."""
        for folder in projects():
            search_path.append("midframe-project", f"file://{folder / 'conf'}")


def register() -> None:
    """Prepare Hydra; calling it twice is fine.

    Makes ``${context_of:...}`` and ``${learns_of:...}`` available, looks for choices in projects of
    one's own as well, and gives every model without a file in conf/loss the loss that its yaml
    names (``loss: ifrnet``; else `USUAL_LOSS`), so that ``loss: ${model}`` finds one.
    """
    OmegaConf.register_new_resolver("context_of", context_of, replace=True)
    OmegaConf.register_new_resolver("learns_of", learns_of, replace=True)
    Plugins.instance().register(ProjectSearchPath)
    losses = config_files("loss")
    for name, loss in losses_of_models().items():
        if name not in losses:
            node = {"defaults": [loss, "_self_"]}
            ConfigStore.instance().store(group="loss", name=name, node=node, provider="midframe")


def losses_of_models() -> dict[str, str]:
    """Return by model which choice of conf/loss it is trained with.

    Raises:
        UserError: for a model's file that is no YAML, or a loss that is not there.
    """
    losses, found = config_files("loss"), {}
    for name, path in config_files("model").items():
        try:
            node = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise UserError(f"{path} is no YAML: {error}") from error
        default = name if name in losses else USUAL_LOSS
        found[name] = node.get("loss", default) if isinstance(node, dict) else default
        if found[name] not in losses:
            raise UserError(
                f"{path} names loss: {found[name]}, which is not in conf/loss; there are "
                f"{', '.join(losses)}"
            )
    return found


def compose(overrides: Sequence[str] = (), config: str = "train") -> DictConfig:
    """Return the config that a command line gives, for programs and notebooks.

    Args:
        overrides: as on the command line: ``["model=upr", "data.crop=96"]``.
        config: a primary config: "train", "evaluate", "pack" or "labels".
    """
    register()
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra.compose(config, list(overrides))
