"""A command that is advised exists where the person stands; one that was typed is kept so."""

from __future__ import annotations

from pathlib import Path

import pytest

from midframe.launch import commands
from midframe.launch.commands import advised, typed


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the two programs, which is not the current folder."""
    folder = tmp_path / "checkout"
    (folder / "conf").mkdir(parents=True)
    for name in ("train.py", "evaluate.py"):
        (folder / name).touch()
    monkeypatch.setattr(commands, "config_dir", lambda: folder / "conf")
    monkeypatch.chdir(tmp_path)
    return folder


def test_advice_is_a_file_only_where_it_lies(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout.parent / "train.py").touch()  # somebody's own
    assert advised("train", "data=a") == "midframe train data=a"
    monkeypatch.chdir(checkout)
    assert advised("train", "data=a") == "python train.py data=a"
    assert advised("evaluate") == "python evaluate.py"
    assert advised("check", "data=a") == "midframe check data=a"
    (checkout / "train.py").unlink()  # as beside the conf/ of a wheel
    assert advised("train") == "midframe train"


def test_words_are_quoted_for_a_shell() -> None:
    assert advised("labels", "data.root=my videos").endswith("'data.root=my videos'")


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("train.py", ["python", "train.py"]),
        ("../main/train.py", ["python", "../main/train.py"]),
        ("/opt/venv/bin/midframe", ["midframe", "train"]),
        ("/opt/venv/lib/midframe/cli.py", ["python", "-m", "midframe.cli", "train"]),
        ("/opt/venv/bin/pytest", ["midframe", "train"]),
        ("", ["midframe", "train"]),
    ],
)
def test_a_command_is_kept_as_it_was_typed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, program: str, command: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", [program])
    assert typed("train") == command
