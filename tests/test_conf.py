"""The configuration tree: every file says what it is, and the table knows every file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from midframe.paths import config_dir

FILES = sorted(config_dir().rglob("*.yaml"))
DATA = [path for path in FILES if path.parent.name == "data"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(config_dir())))
def test_file_starts_with_a_comment_that_says_what_it_is(path: Path) -> None:
    lines = path.read_text().splitlines()
    first = lines[1] if lines[0].startswith("# @package") else lines[0]
    assert first.startswith("# ") and len(first) > 20


def test_table_names_every_group_and_choice() -> None:
    rows = {}
    for line in (config_dir() / "README.md").read_text().splitlines():
        if line.startswith("| `"):
            group, choices = line.split("|")[1:3]
            rows[group.strip(" `")] = choices
    for path in FILES:
        if path.parent == config_dir() or path.parent.name == "local":
            continue
        assert path.parent.name in rows, f"conf/README.md has no row for {path.parent.name}"
        assert f"`{path.stem}`" in rows[path.parent.name], f"{path.stem} is not in conf/README.md"


@pytest.mark.parametrize("path", DATA, ids=lambda p: p.stem)
def test_data_sets_take_the_same_options(path: Path) -> None:
    node = yaml.safe_load(path.read_text())
    options = "name root context global_batch crop augment times targets workers seed on_error val"
    assert not set(options.split()) - set(node)
    assert {"split", "batch", "crop", "limit"} <= set(node["val"])
