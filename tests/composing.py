"""What Hydra makes of a choice of groups is made once for all tests of a process."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

from midframe.engine import compose

_compose = ConfigLoaderImpl._compose_config_from_defaults_list


_load = FileConfigSource.load_config
_add = compose._add_choice


@lru_cache(maxsize=4096)
def _read(path: Path, number: int, size: int, changed: int) -> bytes:
    return path.read_bytes()


def _content(path: Path) -> bytes:
    state = path.stat()
    return _read(path, state.st_ino, state.st_size, state.st_mtime_ns)


def _files(repo: IConfigRepository) -> Hashable:
    """What a composition may read: contents of files by their place in each folder, and nodes."""
    folders = []
    for source in repo.get_sources():
        found = []
        for path in sorted(Path(source.path).rglob("*")) if source.scheme() == "file" else []:
            if path.is_file():
                found.append((str(path.relative_to(source.path)), _content(path)))
        folders.append((source.provider, tuple(found)))
    stored: dict[str, Any] = ConfigStore.instance().repo
    added = [(group, *node) for group, node in stored.items() if isinstance(node, dict)]
    return tuple(folders), tuple(added)


class _Once:
    """Stands in for the steps of a composition that depend on the choices of groups alone."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[str, str], dict[str, Any]] = {}  # that need no file, by their place
        self.files: dict[Hashable, bytes] = {}
        self.lists: dict[Hashable, DefaultsList] = {}
        self.configs: dict[int, bytes] = {}  # by the list that they follow from

    def add(self, group: str, name: str, node: dict[str, Any]) -> None:
        """`engine.compose._add_choice`, which every composition calls with the same nodes."""
        if self.nodes.get((group, name)) != node:
            _add(group, name, node)
            self.nodes[group, name] = node

    def load(self, source: FileConfigSource, config_path: str) -> ConfigResult:
        """What a file says."""
        path = Path(source.path, source._normalize_file_name(config_path))
        if not path.is_file():
            return _load(source, config_path)  # which says so
        key = source.path, source.provider, config_path, _content(path)
        if key not in self.files:
            self.files[key] = pickle.dumps(_load(source, config_path))
        result: ConfigResult = pickle.loads(self.files[key])
        return result

    def defaults(
        self, repo: IConfigRepository, config_name: str | None, overrides_list: list[Override],
        prepend_hydra: bool, skip_missing: bool,
    ) -> DefaultsList:  # fmt: skip
        """`create_defaults_list`, which leaves options for later."""
        given = [word for word in overrides_list if not word.is_sweep_override()]
        choices, options = [], []
        for word in given:
            chosen = not isinstance(word.value(), dict) and repo.group_exists(word.key_or_group)
            (choices if chosen else options).append(word)
        words = tuple(word.input_line for word in choices)
        key = _files(repo), config_name, words, prepend_hydra, skip_missing
        if key not in self.lists:
            self.lists[key] = create_defaults_list(
                repo, config_name, choices, prepend_hydra, skip_missing
            )
        return dataclasses.replace(self.lists[key], config_overrides=options)

    def compose(
        self, loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        """What is merged from the files of the list, before options."""
        if id(defaults) not in self.configs:
            self.configs[id(defaults)] = pickle.dumps(_compose(loader, defaults, repo))
        config: DictConfig = pickle.loads(self.configs[id(defaults)])
        return config


_ONCE = _Once()


@contextmanager
def composed_once() -> Iterator[None]:
    """Let Hydra read and merge its files once for all commands with the same choices of groups.

    Of the time of a composition a quarter is left. Options (``data.crop=32``) are applied by Hydra
    as always; other files, as in a project that a test writes, are another composition.
    """
    with pytest.MonkeyPatch.context() as patch:
        # a repository is copied for each composition, and this one of the process with it
        patch.setattr(ConfigStore, "__deepcopy__", lambda store, _: store, raising=False)
        patch.setattr(compose, "_add_choice", _ONCE.add)
        patch.setattr(FileConfigSource, "load_config", lambda *given: _ONCE.load(*given))
        patch.setattr(config_loader_impl, "create_defaults_list", _ONCE.defaults)
        patch.setattr(
            ConfigLoaderImpl,
            "_compose_config_from_defaults_list",
            lambda *given, **more: _ONCE.compose(*given, **more),
        )
        yield
