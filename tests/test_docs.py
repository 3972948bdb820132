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
COMMAND = re.compile(r"^    (?P<command>(midframe|python) [^#\n]*)", re.MULTILINE)


def _commands(page: Path) -> list[list[str]]:
    return [shlex.split(found["command"]) for found in COMMAND.finditer(page.read_text())]


def _write(page: Path, folder: Path) -> None:
    for found in FILE.finditer(page.read_text()):
        path = folder / found["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["text"])


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    program, *rest = words
    if program == "midframe":
        rest = ["-m", "midframe.cli", *rest]
    elif rest[0] in ("train.py", "evaluate.py"):
        rest[0] = str(ROOT / rest[0])
    if "train.py" in rest[0]:
        rest += ["trainer.max_steps=1", "data.crop=64", "data.global_batch=1", "data.val.limit=1"]
        rest += ["trainer.threads=1", "data.workers=0"]
    own = folder / "mine"
    project = {"MIDFRAME_PROJECT": str(own)} if own.is_dir() else {}
    return subprocess.run(
        [sys.executable, *rest],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **project, "MIDFRAME_RUNS": str(folder / "runs")},
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_works_as_it_is_written(page: Path, tmp_path: Path) -> None:
    _write(page, tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands = _commands(page)
    assert commands
    for words in commands:
        found = _run(words, tmp_path)
        assert found.returncode == 0, f"{shlex.join(words)}\n{found.stdout}\n{found.stderr}"
