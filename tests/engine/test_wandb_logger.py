"""What wandb is told, read back from its own file; and that it never asks and never fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import wandb
from wandb_file import config, history, kinds, only_file

from midframe.engine import wandb_logger
from midframe.engine.loggers import log_image
from midframe.engine.wandb_logger import Wandb, finish, wandb_id
from midframe.errors import UserError

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without keys, and none in the environment."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "NETRC", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(sys, "stdin", None)  # nobody is there to be asked
    wandb.teardown()
    yield home
    wandb.teardown()


def run_directory(folder: Path, name: str, unique: str) -> Path:
    """A directory as a training leaves it before its loggers are made."""
    directory = folder / name
    directory.mkdir()
    (directory / "config.yaml").write_text("model: {name: ifrnet_s}\nseed: 7\n")
    record = {"id": name, "wandb": unique, "revision": "abc", "data": "f00d", "secret": "x"}
    (directory / "run.json").write_text(json.dumps(record))
    (directory / "diff.patch").write_text("# changed\n")
    return directory


def end_service() -> None:
    """Wait until wandb has written its files as a whole.

    `wandb.finish` only asks its service to close the run's file, and returns before that is done:
    the last 32 KiB may be missing yet. The service's end is waited for, as at a program's end.
    """
    wandb.teardown()


def log_once(directory: Path, step: int, failed: bool = False, **options: object) -> Path:
    logger = Wandb(str(directory), directory.name, **options)  # type: ignore[arg-type]
    logger.log_metrics({"train/loss": step / 2, "epoch": 0}, step)
    finish(failed)
    return only_file(directory)


def test_curves_pictures_config_code_and_id_are_in_the_file(tmp_path: Path) -> None:
    directory = run_directory(tmp_path, "a-b", "a-b-1234")
    logger = Wandb(str(directory), "a-b", options={"tags": ["x"], "group": "g"})
    for step in range(3):
        logger.log_metrics({"train/loss": step / 2, "epoch": 0}, step)
    log_image(logger, "validation", np.full((8, 8, 3), 7, np.uint8), 2)
    finish()
    end_service()
    path = only_file(directory)
    assert path.parent.name.startswith("offline-run-")
    rows = history(path)
    assert [row["train/loss"] for row in rows[:3]] == [0.0, 0.5, 1.0]
    assert [row["trainer/global_step"] for row in rows] == [0, 1, 2, 2]
    assert "epoch" not in rows[0]
    (run,) = kinds(path, "run")
    assert (run.run_id, run.display_name, run.project) == ("a-b-1234", "a-b", "midframe")
    assert (list(run.tags), run.run_group) == (["x"], "g")
    told = config(path)
    assert told["model"] == {"name": "ifrnet_s"} and told["seed"] == 7
    assert told["record"] == {"id": "a-b", "revision": "abc", "data": "f00d"}
    assert (rows[3]["validation._type"], rows[3]["validation.width"]) == ("images/separated", 8)
    assert list(path.parent.glob("files/media/images/validation*.png"))
    assert (path.parent / "files/diff.patch").read_text() == "# changed\n"
    assert kinds(path, "exit")[0].exit_code == 0


def test_a_resume_is_the_same_run_and_the_next_training_another(tmp_path: Path) -> None:
    one = run_directory(tmp_path, "one", "one-11")
    other = run_directory(tmp_path, "other", "other-22")
    first = log_once(one, 4)
    path = log_once(other, 6, failed=True)  # in the same process, as jobs of a sweep may be
    end_service()
    assert kinds(first, "run")[0].run_id == "one-11"
    assert kinds(path, "run")[0].run_id == "other-22"
    assert [row["train/loss"] for row in history(path)] == [3.0]
    assert kinds(path, "exit")[0].exit_code == 1
    first.rename(tmp_path / "before.wandb")
    again = log_once(one, 8)
    end_service()
    assert kinds(again, "run")[0].run_id == "one-11"
    assert [row["train/loss"] for row in history(again)] == [4.0]


def test_an_unfinished_run_of_the_same_process_is_ended_by_the_next(tmp_path: Path) -> None:
    one = run_directory(tmp_path, "one", "one-11")
    logger = Wandb(str(one), "one")
    logger.log_metrics({"x": 1.0}, 1)
    path = log_once(run_directory(tmp_path, "two", "two-22"), 2)
    end_service()
    assert kinds(path, "run")[0].run_id == "two-22"
    assert "x" not in history(path)[0]


def test_a_server_that_cannot_be_reached_leaves_an_offline_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    directory = run_directory(tmp_path, "a", "a-1")
    logger = Wandb(str(directory), "a", timeout=1)
    assert logger.mode == "online"
    logger.log_metrics({"x": 2.5}, 1)
    finish()
    end_service()
    assert "keeps this run offline" in capfd.readouterr().err
    (path,) = directory.glob("wandb/offline-run-*/*.wandb")
    assert history(path)[0]["x"] == 2.5


@pytest.mark.parametrize(
    ("environment", "mode", "chosen"),
    [
        ({}, "auto", "offline"),
        ({"WANDB_API_KEY": KEY}, "auto", "online"),
        ({"WANDB_API_KEY": KEY}, "offline", "offline"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "disabled"}, "auto", "disabled"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "dryrun"}, "auto", "offline"),
        ({"WANDB_MODE": "online"}, "auto", "offline"),
    ],
)
def test_with_a_key_it_is_online_and_without_one_offline(
    environment: dict[str, str],
    mode: str,
    chosen: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Wandb(str(tmp_path), "a", mode=mode).mode == chosen


def test_a_key_may_stand_in_netrc(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    wandb.teardown()
    assert not wandb_logger.has_key()
    netrc = home / ".netrc"
    netrc.write_text(f"machine wandb.example.org\n  login user\n  password {KEY}\n")
    netrc.chmod(0o600)
    assert wandb_logger.has_key()
    netrc.write_text("machine another.example.org login user password x\n")
    assert not wandb_logger.has_key()
    netrc.write_text("not a netrc {{{")
    assert not wandb_logger.has_key()


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mode=online: there is no key.*wandb login"):
        Wandb(str(tmp_path), "a", mode="online")
    with pytest.raises(UserError, match="mode=on: give one of auto, online"):
        Wandb(str(tmp_path), "a", mode="on")


def test_ids_are_such_as_wandb_takes() -> None:
    assert wandb_id("my run/of:today") == "my-run-of-today"
    assert len(wandb_id("x" * 200)) == 64 and wandb_id("///") == "run"


def test_without_wandb_there_is_nothing_to_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wandb")
    finish()
    assert "wandb" not in sys.modules, "it takes a second to import"
