"""The record knows the code of a project, and a resume tells where it has changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from test_runs import config, save

from midframe.launch import runs
from midframe.launch.environment import revision
from midframe.launch.facts import run_key
from midframe.launch.runs import Run, open_run
from midframe.launch.sources import changes, sources

NET = "net_of_sources_test"
HELPER = "helper_of_sources_test"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose model imports another module; a third lies there unused."""
    folder = tmp_path / "mine"
    (folder / "conf").mkdir(parents=True)
    (folder / f"{NET}.py").write_text(f"import {HELPER}\n\nclass Net: ...\n")
    (folder / f"{HELPER}.py").write_text("FACTOR = 1\n")
    (folder / "unused_of_sources_test.py").touch()
    monkeypatch.setenv("MIDFRAME_PROJECT", str(folder))
    monkeypatch.setenv("MIDFRAME_RUN", "")
    monkeypatch.syspath_prepend(str(folder))
    for name in (NET, HELPER):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import_module(NET)
    yield folder
    for name in (NET, HELPER):
        sys.modules.pop(name, None)


def of_net(runs_folder: Path) -> DictConfig:
    return config(runs_folder, model={"net": {"_target_": f"{NET}.Net", "size": "S"}})


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_modules_of_targets_and_what_they_take_from_the_project_are_recorded(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sources(OmegaConf.create({}))
    assert found["projects"] == {str(project): None}
    assert found["modules"] == {n: sha256(project / f"{n}.py") for n in (HELPER, NET)}
    elsewhere = {"a": [{"_target_": "json.decoder.JSONDecoder"}, {"_target_": "torch.optim.Adam"}]}
    monkeypatch.delenv("MIDFRAME_PROJECT")
    found = sources(OmegaConf.create({**elsewhere, "net": {"_target_": f"{NET}.Net"}}))
    assert found["projects"] == {} and set(found["modules"]) == {NET, "json.decoder"}


def test_packages_of_an_environment_inside_a_project_are_not_the_projects(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = project / ".venv" / "lib"
    inside.mkdir(parents=True)
    (inside / "package_of_sources_test.py").touch()
    monkeypatch.syspath_prepend(str(inside))
    import_module("package_of_sources_test")
    assert set(sources(OmegaConf.create({}))["modules"]) == {HELPER, NET}


def test_the_revision_is_that_of_the_folder_and_tells_of_changes(
    project: Path, tmp_path: Path
) -> None:
    git(project, "init", "-q")
    git(project, "add", f"{NET}.py")
    git(project, "commit", "-qm", "a")
    commit = git(project, "rev-parse", "--short=12", "HEAD")
    assert sources(OmegaConf.create({}))["projects"] == {str(project): commit}
    (project / f"{NET}.py").write_text("class Net: ...\n")
    assert revision(project) == f"{commit}+changes"
    (project / ".venv").mkdir()
    (project / ".venv" / "package.py").touch()
    assert revision(project / ".venv") is None, "it is installed there, and not of this repository"
    assert revision(tmp_path) is None


def interrupted(cfg: DictConfig) -> Run:
    run = open_run(cfg)
    save(run.dir / "last.ckpt", 40)
    run.close("interrupted")
    return run


def test_a_resume_with_other_code_says_so_and_goes_on(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = interrupted(of_net(tmp_path))
    record = json.loads((run.dir / "run.json").read_text())
    assert record["projects"] == {str(project): None} and set(record["modules"]) == {HELPER, NET}
    interrupted(of_net(tmp_path))
    assert capsys.readouterr().out == "", "nothing has changed"

    changed = project / f"{HELPER}.py"
    changed.write_text("FACTOR = 2\n")
    again = open_run(of_net(tmp_path))
    (line,) = capsys.readouterr().out.splitlines()
    assert (again.dir, again.step) == (run.dir, 40)
    words = f"{HELPER} has changed ({changed})"
    assert line == f"note: {run.dir} goes on with other code than before step 40: {words}"
    record = json.loads((run.dir / "run.json").read_text())
    assert record["code_changes"] == [f"step 40: {words}"]
    assert record["modules"][HELPER] == sha256(changed)


def test_a_resume_with_another_midframe_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDFRAME_RUN", "")
    own = runs.environment()
    monkeypatch.setattr(runs, "environment", lambda: {**own, "revision": "one"})
    interrupted(config(tmp_path))
    monkeypatch.setattr(runs, "environment", lambda: {**own, "revision": "two"})
    open_run(config(tmp_path)).release()
    assert "before step 40: midframe is two, was one\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ({}, {"revision": "b", "modules": {"m": "1"}}, []),  # a record of an older midframe
        ({"modules": {"m": "1"}}, {"modules": {"n": "2"}}, []),
        (
            {"versions": {"midframe": "1"}},
            {"versions": {"midframe": "2"}},
            ["midframe is 2, was 1"],
        ),
        ({"modules": {"m": "1"}}, {"modules": {"m": "2"}}, ["m has changed (?)"]),
    ],
)
def test_what_both_records_tell_is_compared(
    before: dict[str, Any], now: dict[str, Any], words: list[str]
) -> None:
    assert changes(before, now) == words


def test_an_evaluation_goes_on_with_the_same_code_only_wherever_it_lies() -> None:
    facts = {"modules": {"m": "1"}, "projects": {"/a": "c"}, "root": None}
    protocol: Any = SimpleNamespace(digest=lambda: "d", extra={})
    assert run_key(facts, protocol) == run_key({**facts, "projects": {"/b": None}}, protocol)
    assert run_key(facts, protocol) != run_key({**facts, "modules": {"m": "2"}}, protocol)
