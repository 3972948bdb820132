"""A project of one's own: its models and recipes are chosen by name like those of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from midframe import cli, create_model, list_models
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


def test_its_class_is_found_where_only_a_config_names_it(project: Path):
    command = "from midframe.nodes import find_target as f; f('brighter_of_a_test.Brighter', 'net')"
    subprocess.run([sys.executable, "-c", command], check=True, cwd=project.parent)


def test_the_command_line_knows_it(project: Path, capsys: pytest.CaptureFixture[str]):
    words = ["train", "--cfg", "job", "model=brighter", "loss=charbonnier", "data=synthetic"]
    assert cli.main(words) == 0
    assert "_target_: brighter_of_a_test.Brighter" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["average", "brighter"])
def test_several_projects_and_no_name_twice(project: Path, tmp_path_factory, monkeypatch, name):
    other = tmp_path_factory.mktemp("other")
    (other / "conf" / "model").mkdir(parents=True)
    monkeypatch.setenv("MIDFRAME_PROJECT", f"{project}{os.pathsep}{other}")
    assert config_files("model")["brighter"].parent.parent.parent == project
    (other / "conf" / "model" / f"{name}.yaml").write_text(f"# hides one\nname: {name}\n")
    with pytest.raises(UserError, match=f"{name}.yaml has the name of .*{name}.yaml"):
        config_files("model")


def test_a_folder_without_conf_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    with pytest.raises(UserError, match="no folder conf"):
        projects()
