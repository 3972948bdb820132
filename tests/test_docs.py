"""What docs/add-a-*.md show works: their files, in a project of one's own, under their commands."""

from __future__ import annotations

import os
import pydoc
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from midframe.data.io import write_image
from midframe.data.records import check_clips
from midframe.types import Inputs

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("add-a-*.md"))
FILE = re.compile(r"^```\w+\n# (?P<path>mine/\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^    (?P<command>(\w+=\S+ )?(midframe|python|pytest) .*)$", re.MULTILINE)
PROJECT = re.compile(r"^    export MIDFRAME_PROJECT=\$PWD/(?P<folder>\w+)", re.MULTILINE)
CODE = re.compile(r"^```python\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`(midframe(?:\.\w+)+)`")
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


def _modules(page: Path) -> list[ModuleType]:
    """Return what the Python of a page makes, each block as a module of its own."""
    made = []
    for number, found in enumerate(CODE.finditer(page.read_text())):
        module = ModuleType(f"{page.stem.replace('-', '_')}_{number}")
        exec(compile(found["text"], f"{page.name}, block {number}", "exec"), vars(module))
        made.append(module)
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_all_python_of_a_page_is_complete(page: Path) -> None:
    """With its imports: each block runs by itself, and nothing in it is undefined or unused."""
    pytest.importorskip("ruff")
    assert _modules(page)
    for found in CODE.finditer(page.read_text()):
        command = [sys.executable, "-m", "ruff", "check", "--select", "F", "-"]
        checked = subprocess.run(command, input=found["text"], text=True, capture_output=True)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    for name in NAMED.findall(page.read_text()):
        assert pydoc.locate(name) is not None, name


def test_the_layouts_of_the_page_index_what_they_say(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import csv_triplets
    finally:
        sys.path.pop(0)
    csv_layout, folders = _modules(ROOT / "docs" / "add-a-data-layout.md")
    root = csv_triplets.write_example(tmp_path / "triplets")
    found = csv_layout.triplets(root, "train")
    check_clips(found, 1, "triplets", every=True)
    wanted = csv_triplets.triplets(root, "train")
    assert [clip.frames for clip in found] == [clip.frames for clip in wanted]
    for video in ("a", "b"):
        for number in range(5):
            write_image(tmp_path / "videos" / video / f"{number}.png", np.zeros((8, 8, 3), "uint8"))
    for split, group in (("train", "a"), ("val", "b")):
        found = folders.videos(tmp_path / "videos", split)
        check_clips(found, 1, "videos", every=True)
        assert [(clip.group, len(clip.frames)) for clip in found] == [(group, 3), (group, 3)]


def test_the_model_of_the_page_does_not_narrow_float64() -> None:
    module, padded = _modules(ROOT / "docs" / "add-a-model.md")
    frames = torch.rand(1, 2, 3, 16, 16, dtype=torch.float64)
    x = Inputs(frames, torch.tensor([[0.25, 0.5]], dtype=torch.float64))
    out = module.Quarter(8).double()(x)
    assert out.frame.dtype == out.flow.dtype == torch.float64
    assert out.frame.shape == (1, 2, 3, 16, 16)
    pads = (
        padded.Pyramid().padding(),
        padded.Pyramid(5).padding(),
        padded.Pyramid().padding(levels=4),
    )
    assert [pad.multiple for pad in pads] == [8, 32, 16]


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
