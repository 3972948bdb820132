"""Configs by name: what Hydra has to know before it composes one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import hydra
import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict

from midframe.choices import read_choice, read_file
from midframe.errors import UserError
from midframe.paths import config_dir, config_dirs, config_files, projects

USUAL_LOSS = "charbonnier"  # of a model whose yaml names none
FRAMES = "model"  # the choice of conf/teacher that is any model by name


def context_of(target: str, *, _root_: DictConfig) -> int:
    """Return how many frames on each side are read, for ``data.context``.

    The more of what the model's class reads and what the teacher reads, if the config has one that
    reads frames (``teacher.context``): each takes its own from the same sample.
    """
    teacher = _root_.get("teacher") or {}
    return max(int(get_class(target).context), int(teacher.get("context") or 1))


def context_of_teacher(name: str | None, weights: str | None) -> int:
    """Return how many frames on each side a `FrameTeacher` reads; 1 of one that cannot be built."""
    from midframe.engine.teachers import teacher_config
    from midframe.models.zoo import check_config

    try:
        return check_config(teacher_config(name, weights)).context
    except UserError:  # which `check` tells
        return 1


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
    names (``loss: ifrnet``; else `USUAL_LOSS`), so that ``loss: ${model}`` finds one. Every model
    without a file in conf/teacher is a teacher of frames: ``teacher=ifrnet_l``. What is wrong with
    a model's file is told to who chooses it, since others need not care.
    """
    OmegaConf.register_new_resolver("context_of", context_of, replace=True)
    OmegaConf.register_new_resolver("context_of_teacher", context_of_teacher, replace=True)
    OmegaConf.register_new_resolver("learns_of", learns_of, replace=True)
    Plugins.instance().register(ProjectSearchPath)
    losses, teachers = config_files("loss"), config_files("teacher")
    for name, loss in losses_of_models().items():
        if name not in losses:
            _add_choice("loss", name, {"defaults": [loss, "_self_"]})
    for name in config_files("model"):
        if name not in teachers:
            _add_choice("teacher", name, {"defaults": [FRAMES, "_self_"], "name": name})


def _add_choice(group: str, name: str, node: dict[str, Any]) -> None:
    ConfigStore.instance().store(group=group, name=name, node=node, provider="midframe")


def losses_of_models() -> dict[str, str]:
    """Return by model which choice of conf/loss its file names, whether there is one or not.

    Models whose file is no YAML are left out.
    """
    losses, found = config_files("loss"), {}
    for name, path in config_files("model").items():
        default = name if name in losses else USUAL_LOSS
        with suppress(UserError):
            found[name] = str(read_file(path).get("loss") or default)
    return found


def compose(overrides: Sequence[str] = (), config: str = "train") -> DictConfig:
    """Return the config that a command line gives, for programs and notebooks.

    Args:
        overrides: as on the command line: ``["model=upr", "data.crop=96"]``.
        config: a primary config: "train", "evaluate", "pack" or "labels".

    Raises:
        UserError: as `check_choices`, and for a choice or an option that there is not.
    """
    register()
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = hydra.compose(config, list(overrides), return_hydra_config=True)
    except HydraException as error:
        from midframe.engine import misnamed  # which imports much, and is seldom needed

        check_choices({}, overrides)  # what a file lacks is behind options that there are not
        if line := misnamed.explained(error):
            raise UserError(line) from error
        raise
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise unreadable(error) from error
    check_choices(cfg.hydra.runtime.choices, overrides)
    with open_dict(cfg):
        del cfg.hydra
    return cfg


def unreadable(error: yaml.YAMLError | UnicodeDecodeError) -> UserError:
    """Return in one line which config file Hydra could not read, and why."""
    where = getattr(error, "problem_mark", None)
    for folder in config_dirs():
        for path in sorted(folder.glob("*/*.yaml")):
            if where is None or str(path) == where.name:
                try:
                    read_file(path)
                except UserError as said:
                    return said
    return UserError(f"configuration: {' '.join(str(error).split())}")


def check_choices(choices: Mapping[str, Any], overrides: Iterable[str]) -> None:
    """Hold the files that a command line chose against the rules of their groups.

    Without this, what a file lacks shows where something else refers to it, in Hydra's words.

    Args:
        choices: by group what was chosen, as ``hydra.runtime.choices`` tells.
        overrides: of the command line, as lists of choices are not told by the former.

    Raises:
        UserError: see `midframe.choices.read_choice`.
    """
    for group, name in _chosen(choices, overrides):
        path = config_files(group).get(name)
        if path is not None:  # it may be of a search path of Hydra's own
            read_choice(group, path)


def _chosen(choices: Mapping[str, Any], overrides: Iterable[str]) -> Iterator[tuple[str, str]]:
    for group in ("model", "data"):
        yield group, str(choices.get(group))
    for word in overrides:
        group, _, value = word.partition("=")
        if group in ("model", "data"):
            yield group, value
        elif group == "benchmark":
            names = yaml.safe_load(value)
            for name in names if isinstance(names, list) else [names]:
                yield group, str(name)
