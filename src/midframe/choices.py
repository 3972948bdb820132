"""Files of config groups: read, and held against what every file of its group has to say."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from midframe.errors import UserError, known_names


def read_file(path: Path) -> dict[str, Any]:
    """Return the content of a config file; `UserError` where it is no YAML, or no mapping."""
    try:
        content = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split()).replace('in "<unicode string>", ', "")
        raise UserError(f"{path} is no yaml: {said}") from error
    if not isinstance(content, (dict, type(None))):
        raise UserError(f"{path} must hold `key: value` lines, not {content!r}")
    return dict(content or {})


@lru_cache(maxsize=512)
def _parsed(text: str) -> Any:
    # Every composition reads the files of all models, and parsing is what takes time.
    return yaml.safe_load(text)


def read_choice(group: str, path: Path) -> dict[str, Any]:
    """Return the content of a choice's file, which names itself and has what its group needs.

    Args:
        group: "model", "data" or "benchmark"; files of other groups are only read.
        path: of the file.

    Raises:
        UserError: naming the file, what is wrong with it, and what to write instead.
    """
    content = read_file(path)
    if group in _RULES:
        _RULES[group](path, content)
    return content


def _model(path: Path, content: Mapping[str, Any]) -> None:
    net = content.get("net")
    if not isinstance(net, dict) or "_target_" not in net:
        raise UserError(f"{path} has no net._target_: the class to build")
    known = ("name", "net", "loss", "weights", "parts", "hints", "motion", "info", "defaults")
    for key in content:
        if key not in known:
            raise UserError(f"{path}: a model's file has no {key}; {known_names(key, known)}")
    _named(path, content)


def _data(path: Path, content: Mapping[str, Any]) -> None:
    defaults = content.get("defaults")
    defaults = defaults if isinstance(defaults, list) else []
    # what stands behind _self_ would win over what the file says
    first = defaults[: defaults.index("_self_")] if "_self_" in defaults else defaults
    if not any(isinstance(entry, str) for entry in first):
        raise UserError(
            f"{path} must begin with `defaults: [_base, _self_]`, which brings what every data "
            "set has"
        )
    _named(path, content)


def _benchmark(path: Path, content: Mapping[str, Any]) -> None:
    package = f"# @package benchmark.suites.{path.stem}"
    lines = path.read_text(encoding="utf-8").splitlines()
    if package not in (line.strip() for line in lines):
        raise UserError(
            f"the first line of {path} must be `{package}`; copied files keep the name of another"
        )
    protocol = content.get("protocol")
    if isinstance(protocol, dict) and protocol.get("name", path.stem) != path.stem:
        raise UserError(
            f"{path}: its protocol says name: {protocol['name']}; write {path.stem} or leave it out"
        )


def _named(path: Path, content: Mapping[str, Any]) -> None:
    name = content.get("name")
    if name != path.stem:
        instead = "" if name is None else f", not `name: {name}`"
        raise UserError(f"{path} must say `name: {path.stem}`, as the file is called{instead}")


_RULES: dict[str, Callable[[Path, Mapping[str, Any]], None]] = {
    "model": _model,
    "data": _data,
    "benchmark": _benchmark,
}
