"""docs/add-a-benchmark.md: its files are those of examples/, and its commands do what it says."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from midframe import cli
from midframe.benchmark.protocol import Protocol

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "add-a-benchmark.md").read_text()
YAML, PYTHON, LINE = re.findall(r"^```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
EXPORT, WRITE, *COMMANDS = re.findall(
    r"^    ((?:export|PYTHONPATH|midframe|pytest).*)$", PAGE, re.MULTILINE
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of examples/ in a folder to work in."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path / "examples"))
    return tmp_path


def test_its_yaml_is_that_of_the_example():
    assert (ROOT / "examples" / "conf" / "benchmark" / "csv_triplets.yaml").read_text() == YAML


def test_its_table_names_every_other_key():
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    written = set(yaml.safe_load(YAML)["protocol"])
    fields = {field.name for field in dataclasses.fields(Protocol)} - {"layout_options", "extra"}
    assert named | written == fields
    assert named - written == {
        *(
            "name",
            "context",
            "times",
            "pad",
            "family",
            "hints",
            "reduction",
            "published",
            "beside",
            "submission",
            "note",
        )
    }


def _write_example(project: Path) -> None:
    assert WRITE.startswith("PYTHONPATH=examples python -c ")
    env = {**os.environ, "PYTHONPATH": "examples"}
    subprocess.run([sys.executable, "-c", shlex.split(WRITE)[-1]], env=env, check=True)


def test_its_commands_work(project: Path, capsys: pytest.CaptureFixture[str]):
    assert EXPORT.split()[:2] == ["export", "MIDFRAME_PROJECT=$PWD/examples"]
    _write_example(project)
    for command in COMMANDS:
        program, *words = shlex.split(command, comments=True)
        if program == "midframe":
            assert cli.main(words) == 0
        else:
            assert (ROOT / words[0]).is_file()
    shown = capsys.readouterr().out
    assert "csv_triplets" in shown and "incomplete" not in shown
    names = {path.name for path in (project / "result").iterdir()}
    assert names == {"images.csv", "summary.json", "summary.md"}


def test_its_metric_is_measured_by_its_dotted_name(project: Path):
    _write_example(project)
    (project / "examples" / "my_metrics.py").write_text(PYTHON)
    (project / "examples" / "conf" / "benchmark" / "csv_triplets.yaml").write_text(YAML + LINE)
    words = ["model=average", "benchmark=csv_triplets", "benchmark.root=triplets", "out=result"]
    try:
        assert cli.main(["evaluate", *words]) == 0
    finally:
        sys.modules.pop("my_metrics", None)
    for row in csv.DictReader((project / "result" / "images.csv").open()):
        assert 0 < float(row["beyond"]) < 100
