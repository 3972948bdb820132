"""What docs/add-a-*.md show works: their files, in a project of one's own, under their commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("add-a-*.md"))
FILE = re.compile(r"^```\w+\n# (?P<path>mine/\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^    (?P<command>(\w+=\S+ )?(midframe|python|pytest) .*)$", re.MULTILINE)
PROJECT = re.compile(r"^    export MIDFRAME_PROJECT=\$PWD/(?P<folder>\w+)", re.MULTILINE)
SHORT = "trainer.max_steps=1 data.crop=64 data.global_batch=1 data.val.limit=1 data.workers=0"


def _write(page: Path, folder: Path) -> None:
    for found in FILE.finditer(page.read_text()):
        path = folder / found["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["text"])


def _run(command: str, folder: Path, environment: dict[str, str]) -> str | None:
    """Run one line of a page; returns what it printed if it failed."""
    words = shlex.split(command, comments=True)
    variables = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    if words[0] == "pytest":
        words.insert(0, "python")
        words.insert(1, "-m")
    if words[0] == "midframe":
        words[:1] = ["python", "-m", "midframe.cli"]
    trains = "train" in words or "train.py" in words
    words = [str(ROOT / word) if word in ("train.py", "evaluate.py") else word for word in words]
    found = subprocess.run(
        [sys.executable, *words[1:], *(SHORT.split() if trains else [])],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT if "pytest" in words else folder,
        env={**environment, **variables},
    )
    return None if found.returncode == 0 else f"{command}\n{found.stdout}\n{found.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_works_as_it_is_written(page: Path, tmp_path: Path) -> None:
    _write(page, tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = page.read_text()
    project = PROJECT.search(text)
    assert project
    environment = {**os.environ, "MIDFRAME_PROJECT": str(tmp_path / project["folder"])}
    environment |= {"MIDFRAME_RUNS": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
    commands = [found["command"] for found in COMMAND.finditer(text)]
    assert len(commands) > 2
    for command in commands:
        assert not (said := _run(command, tmp_path, environment)), said
