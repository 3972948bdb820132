"""Code of one's own that takes part in a run: which, in which state, and whether it has changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from midframe.files import sha256_of
from midframe.launch.environment import revision
from midframe.paths import projects

# The record tells what these packages are by their versions, and midframe by its revision.
_KNOWN = {"midframe", "torch", "lightning"}


def sources(cfg: DictConfig) -> dict[str, Any]:
    """Return the code that is not midframe's, for the record.

    Args:
        cfg: of a run whose classes and functions are imported.

    Returns:
        projects: the folders that MIDFRAME_PROJECT names, with their git revision (None without);
        modules: the SHA-256 of the files of every module that a ``_target_`` names, and of those
        that came from a project with it, by their dotted names.
    """
    folders = projects()
    found = dict(_targets(OmegaConf.to_container(cfg, resolve=False)))
    # by their first names before their files: to resolve those of thousands of modules takes long
    first = {entry.stem for folder in folders for entry in folder.iterdir()} - _KNOWN
    for name, module in list(sys.modules.items()):
        if _first_name(module) in first and _is_in(module, folders):
            found[name] = module
    files = {name: _file(module) for name, module in sorted(found.items())}
    return {
        "projects": {str(folder): revision(folder) for folder in folders},
        "modules": {name: sha256_of(path) for name, path in files.items() if path is not None},
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which code differs between two records of a run, in words; what both tell of counts.

    Args:
        before: a record with `sources` and `environment.environment` in it, or an older one.
        now: the other.
    """
    was, is_now = (_midframe(record) for record in (before, now))
    words = [f"midframe is {is_now}, was {was}"] if was and is_now and was != is_now else []
    old, new = (record.get("modules") or {} for record in (before, now))
    changed = [name for name in new if name in old and old[name] != new[name]]
    return words + [
        f"{name} has changed ({_file(sys.modules.get(name)) or '?'})" for name in changed
    ]


def _midframe(record: Mapping[str, Any]) -> str | None:
    """Return the revision of midframe, of an installed one its version."""
    return record.get("revision") or (record.get("versions") or {}).get("midframe")


def _targets(node: Any) -> Iterator[tuple[str, ModuleType]]:
    """Yield the modules of others that the ``_target_`` of a config are in, by name."""
    if isinstance(node, list):
        for part in node:
            yield from _targets(part)
    if isinstance(node, dict):
        names = str(node.get("_target_", "")).split(".")
        parts = (".".join(names[:count]) for count in range(len(names), 0, -1))
        module = next((name for name in parts if name in sys.modules), None)
        if module is not None and names[0] not in _KNOWN:
            yield module, sys.modules[module]
        for part in node.values():
            yield from _targets(part)


def _first_name(module: ModuleType) -> str:
    """Return the name of the package or file that a module is of; "" for one without a name."""
    name = getattr(module, "__name__", None)
    return name.split(".")[0] if isinstance(name, str) else ""


def _is_in(module: ModuleType, folders: list[Path]) -> bool:
    """Whether a module was imported from one of the folders, and not from an environment inside."""
    file = _file(module)
    if file is None:
        return False
    at = Path(*module.__name__.split("."))
    places = (at.with_suffix(".py"), at / "__init__.py")
    return any(file == folder / place for folder in folders for place in places)


def _file(module: ModuleType | None) -> Path | None:
    """Return the file of a module; None for one without, such as a compiled-in one."""
    file = getattr(module, "__file__", None)
    path = Path(file).resolve() if isinstance(file, str) else None
    return path if path is not None and path.is_file() else None
