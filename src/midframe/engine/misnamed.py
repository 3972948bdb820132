"""Names on a command line that Hydra does not find: what there is instead, nearest first."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from midframe.data.records import LAYOUT_ARGUMENTS
from midframe.engine.build import trainer_options
from midframe.errors import UserError, did_you_mean, known_names
from midframe.nodes import find_target, hints_of, options_of
from midframe.paths import config_dirs, config_files

# Nodes that are called later, with these parameters by position.
HANDED_ON = {"data.layout": LAYOUT_ARGUMENTS, "optimizer.build": ("params",)}
# Nodes whose keys are names that people give.
_OPEN = ("loss.terms", "model.parts", "callbacks", "logger")
# What files of conf/model may leave out.
_OF_MODELS = ("hints", "info", "loss", "parts", "weights")
# Groups that know every model by its name, and what they then take.
_BY_MODEL = {"loss": "the loss of that model", "teacher": "the frames of that model"}


def explained(error: Exception) -> str | None:
    """Return what is wrong with a name in a command line, and what to write instead.

    Args:
        error: of Hydra, as it came from composing a config.

    Returns:
        None where the error is of another kind.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _choice(error)
    if not isinstance(error, ConfigCompositionException):
        return None
    cause = error.__cause__
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)):
        node, word = cause.parent_node, str(error).strip().rpartition("use +")[2]
        return _option(node, str(cause.key), word) if isinstance(node, DictConfig) else None
    group = re.match(r"Could not override '([\w/]+)'\. No match in the defaults", str(error))
    return f"this command has no {group[1]}; leave out {group[1]}=..." if group else None


def _choice(error: MissingConfigException) -> str:
    """Tell of a file that a group does not have."""
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    within = [path.stem for folder in config_dirs() for path in (folder / group).glob("*.yaml")]
    files = list(config_files(group)) if within else [str(x) for x in error.options or ()]
    if name.startswith("_"):  # which files build upon, and nobody chooses
        files = sorted(set(within))
    models = [x for x in config_files("model") if x not in files] if group in _BY_MODEL else []
    more = f"; or any model by its name, for {_BY_MODEL[group]}" if models else ""
    file = re.match(r"In '([^']+)/([^/']+)'", str(error))  # of a group: not the primary config
    path = config_files(file[1]).get(file[2]) if file else None
    where = f"{path}: " if path else ""
    of_model = config_files("model").get(file[2]) if file and file[1] == "loss" else None
    if of_model and not path:  # whose file names its loss: see `compose.register`
        return f"{of_model} names loss: {name}, not in conf/loss; {known_names(name, files)}"
    return f"{where}there is no {group}={name}; {known_names(name, files, models)}{more}"


def _option(node: DictConfig, key: str, word: str) -> str:
    """Tell of an option that a node does not have, or has only by its class.

    Args:
        node: where it should be.
        key: its name there.
        word: of the command line.
    """
    where = str(node._get_full_key(None) or "")
    own = [str(name) for name in node if not is_hydras(str(name)) and (where or name != "hydra")]
    if (target := node.get("_target_")) is not None:
        try:
            find_target(target, where)
        except UserError as error:  # nobody knows which options it takes
            return str(error)
    owner, takes = _of_class(node, where)
    takes = [name for name in takes if name not in own]
    if key in takes:
        return f"{where}.{key} is not in the config, but {owner} takes it: write +{word}"
    what = f"{where} has no option {key}" if where else f"there is no option {key}"
    groups = [] if where else [path.name for folder in config_dirs() for path in folder.iterdir()]
    others = _elsewhere(node._get_root(), key) if own and where not in _OPEN else []
    if others and not (where and did_you_mean(key, [*own, *takes])):
        return f"{what}; did you mean {' or '.join(others)}?"
    parts = [f"{what}; {known_names(key, own, [*takes, *groups])}"]
    if where == "trainer":  # many, which few have a use for
        takes = [name for name in takes if did_you_mean(key, [name])]
    if takes:
        them = "it" if len(takes) == 1 else "these"
        parts.append(f"with + before ({owner} takes {them}): +{where}.{', '.join(takes)}")
    if where in _OPEN:
        parts.append(f"a new one is given with + before: +{word}")
    return "; ".join(parts)


def _of_class(node: DictConfig, where: str) -> tuple[str, list[str]]:
    """Return who gets the options of a node, and which it takes."""
    if where == "model":
        return "a model", list(_OF_MODELS)
    if where == "trainer":
        return "lightning.Trainer", sorted(trainer_options())
    hints = where == "model.hints"
    with suppress(UserError, AttributeError):
        target = node._get_parent().net._target_ if hints else node._target_
        found: Any = find_target(target, where)
        takes = hints_of(found) if hints else options_of(found, HANDED_ON.get(where, ()))
        return found.__name__, takes
    return "", []


def _elsewhere(root: Any, key: str) -> list[str]:
    """Return the full names of the options of this name that are the least deep in a config."""
    tree: Any = OmegaConf.to_container(root, resolve=False)
    level = [("", {name: part for name, part in tree.items() if name != "hydra"})]
    while level:
        if found := [f"{before}{key}" for before, tree in level if key in tree]:
            return found
        level = [
            (f"{before}{name}.", part)
            for before, tree in level
            for name, part in tree.items()
            if isinstance(part, dict)
        ]
    return []


def is_hydras(key: str) -> bool:
    """Whether a key of a node with a ``_target_`` is for Hydra, and no option."""
    return key in ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
