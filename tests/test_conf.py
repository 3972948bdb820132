"""The configuration tree: every file says what it is, the table names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from midframe.engine.compose import compose
from midframe.paths import config_dir, config_dirs, config_files

FILES = sorted(path for folder in config_dirs() for path in folder.rglob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_file_starts_with_a_comment_that_says_what_it_is(path: Path) -> None:
    lines = path.read_text().splitlines()
    first = lines[1] if lines[0].startswith("# @package") else lines[0]
    assert first.startswith("# ") and len(first) > 20


def test_table_has_every_group_and_names_only_what_is_there() -> None:
    rows = {}
    for line in (config_dir() / "README.md").read_text().splitlines():
        if line.startswith("| `"):
            group, choices = line.split("|")[1:3]
            rows[group.strip(" `")] = choices
    groups = {path.parent.name for path in config_dir().glob("*/*.yaml")}
    assert groups - {"local"} <= set(rows)
    for group in groups - {"local"}:
        named = set(re.findall(r"`(\w+)`", rows[group]))
        assert named <= set(config_files(group)), f"conf/README.md, {group}: not there"


@pytest.mark.parametrize("name", config_files("data"))
def test_data_sets_take_the_same_options(name: str) -> None:
    node = compose([f"data={name}", "seed=7"]).data
    if OmegaConf.is_missing(node, "root"):
        node.root = "somewhere"
    given = OmegaConf.to_container(node, resolve=True)
    options = "name root context global_batch crop augment times targets split workers seed"
    assert not {*options.split(), "on_error", "labels", "val"} - set(given)
    assert {"split", "batch", "crop", "limit"} <= set(given["val"])
    assert given["seed"] == 7 and given["context"] == 1
    assert given["layout"]["_partial_"] is True
