"""The `midframe` command itself: its version, the ranks of a run, commands that need a folder."""

from __future__ import annotations

from importlib import metadata

import pytest

import midframe
from midframe import cli


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_the_packages(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([option]) == 0
    assert capsys.readouterr().out == f"midframe {metadata.version('midframe')}\n"
    assert metadata.version("midframe") == midframe.__version__


def test_a_rank_that_is_given_overrides_alone_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    command = cli.COMMANDS["train"]._replace(run=lambda args: given.append(args) or 0)
    monkeypatch.setitem(cli.COMMANDS, "train", command)
    assert cli.main(["model=ifrnet_s"]) == 2 and not given
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert cli.main(["model=ifrnet_s", "seed=1"]) == 0
    assert given == [["model=ifrnet_s", "seed=1"]]


def test_labels_without_a_folder_say_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["labels", "data=vimeo", "data.root=/no/such/folder", "teacher=dis"]) == 2
    said = capsys.readouterr().err
    assert "/no/such/folder" in said and "Traceback" not in said
