"""A project of one's own: its models and recipes are chosen by name like those of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from midframe import create_model, list_models
from midframe.errors import UserError
from midframe.paths import config_files, projects

MODEL = """
import torch
from midframe import Inputs, Prediction
from midframe.models.base import Interpolator

class Brighter(Interpolator):
    trainable = False
    def __init__(self, by: float = 0.0) -> None:
        super().__init__()
        self.by = by
    def forward(self, x: Inputs, **hints: object) -> Prediction:
        first, _ = x.pair
        return Prediction((first[:, None] + self.by).expand(-1, x.t.shape[1], -1, -1, -1))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "brighter_of_a_test.py").write_text(MODEL)
    (tmp_path / "conf" / "model" / "brighter.yaml").write_text(
        "# brighter\\nname: brighter\\nnet: {_target_: brighter_of_a_test.Brighter, by: 0.25}\\n"
        "weights: null\\nhints: {}\\ninfo: {}\\n".replace("\\n", "\n")
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    return tmp_path


def test_its_model_is_built_by_name(project: Path):
    assert "brighter" in list_models() and "ifrnet" in list_models()
    assert create_model("brighter").by == 0.25
    assert create_model("brighter", by=0.5).by == 0.5


def test_the_command_line_knows_it(project: Path):
    command = "-m midframe.cli train --cfg job model=brighter loss=charbonnier data=synthetic"
    found = subprocess.run(
        [sys.executable, *command.split()],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        cwd=project,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "_target_: brighter_of_a_test.Brighter" in found.stdout


def test_several_projects_and_the_package_comes_first(project: Path, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    (other / "conf" / "model").mkdir(parents=True)
    (other / "conf" / "model" / "average.yaml").write_text("# not reached\nname: average\n")
    (other / "conf" / "model" / "brighter.yaml").write_text("# not reached\nname: brighter\n")
    monkeypatch.setenv("MIDFRAME_PROJECT", f"{project}{os.pathsep}{other}")
    found = config_files("model")
    assert found["brighter"].parent.parent.parent == project
    assert not found["average"].is_relative_to(other)


def test_a_folder_without_conf_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    with pytest.raises(UserError, match="no folder conf"):
        projects()
