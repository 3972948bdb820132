"""What the texts say of the tree is so: links, folders, commands, choices and licences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from midframe import cli
from midframe.launch.options import rewritten
from midframe.paths import config_dir
from midframe.speed.model_table import MARKERS, licence

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "midframe"
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "conf" / "README.md"])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# what a licence can be; whoever brings another adds it here
LICENCE = re.compile(
    r"\bMIT\b|GPL-3\.0|CC BY-[A-Z-]+ \d\.\d|Apache-2\.0|non-commercial use only|none stated"
)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """Return a text without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def linked(path: Path) -> Iterator[Path]:
    """Yield the files and folders that a text links to."""
    for target in LINK.findall(prose(path.read_text(encoding="utf-8"))):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            yield (path.parent / target.partition("#")[0]).resolve()


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of every row of the tables in a text, the heads included."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_what_is_there(path: Path) -> None:
    assert [str(found) for found in linked(path) if not found.exists()] == []


def test_every_text_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path.suffix == ".md" and path not in reached:
            reached.add(path)
            waiting += linked(path)
    assert set(TEXTS) - reached == set()


def test_contributing_names_every_folder_of_tests_with_its_time() -> None:
    table = {names(row[0])[0]: row for row in rows(read("CONTRIBUTING.md")) if names(row[0])}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert set(table) == {f"tests/{name}" for name in folders} | {"tests/*.py"}
    assert all(len(row) == 3 and re.search(r"\d (s|min)", row[2]) for row in table.values())


def test_design_names_every_folder_and_module_at_the_top_of_the_package() -> None:
    block = read("docs/design.md").partition("    src/midframe/\n")[2].partition("    tests/")[0]
    said = set()
    for line in block.splitlines():
        if re.match(r" {6}\w", line):  # the names stand before two spaces
            said |= set(re.split(r"\s{2,}", line.strip())[0].split())
    there = {f"{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")}
    there |= {path.name for path in SOURCE.glob("*.py")} - {"__init__.py"}
    assert said == there


def test_readme_shows_every_command() -> None:
    readme = read("README.md")
    for name in cli.COMMANDS:
        shown = rf"^ {{4}}(midframe {name}|python {name}\.py)\b"
        assert re.search(shown, readme, re.MULTILINE), name


def test_table_of_choices_is_as_midframe_options_writes_it() -> None:
    text = read("conf/README.md")
    assert rewritten(text) == text, "midframe options --readme conf/README.md"


def models() -> dict[str, dict]:
    """Return the ``info`` of the package's models, those of projects left out."""
    found = {}
    for path in sorted((config_dir() / "model").glob("*.yaml")):
        found[path.stem] = yaml.safe_load(path.read_text(encoding="utf-8"))["info"]
    return found


def test_table_of_models_has_each_with_its_licence() -> None:
    table = read("README.md").partition(MARKERS[0])[2].partition(MARKERS[1])[0]
    said = {names(row[0])[0]: row[8] for row in rows(table) if names(row[0])}
    known = {name: licence(info) for name, info in models().items()}
    assert said == known, "midframe models --measure --readme README.md"


LICENCES = [row for row in rows(read("docs/licences.md")) if not row[0].startswith(("-", "publ"))]


def test_licences_name_every_model_once() -> None:
    named = sorted(name for row in LICENCES for name in names(row[1]))
    assert named == sorted(models())


@pytest.mark.parametrize("name", models())
def test_licences_are_those_of_the_models_files(name: str) -> None:
    info = models()[name]
    (row,) = (row for row in LICENCES if name in names(row[1]))
    published, _, code, weights = row
    if "://" in info["code"]:
        assert f"]({info['code']})" in published
        own = info["licence"].partition(";")[0]  # what follows is about the implementation here
    else:
        own = info["code"] if "(" in info["code"] else info["licence"]
    assert set(LICENCE.findall(own)) == set(LICENCE.findall(code)) != set()
    assert set(LICENCE.findall(info["official_weights"])) <= set(LICENCE.findall(weights))
    if info["official_weights"].startswith(("needs none", "none known")):
        assert weights == info["official_weights"]


def test_the_licence_file_is_the_one_that_the_package_names() -> None:
    text = read("LICENSE")
    assert text.startswith("MIT License\n\nCopyright (c) ")
    for part in ("Permission is hereby granted", "shall be included in all", 'PROVIDED "AS IS"'):
        assert part in text
    assert 'license = "MIT"' in read("pyproject.toml")
