"""The task of training: how long, how it ends, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf

from midframe.errors import UserError
from midframe.launch import tasks
from midframe.launch.tasks import count_steps, fit, make_trainer, train_main


@pytest.mark.parametrize(
    ("epochs", "steps"), [(3, 30), (0.5, 5), (1, 10)], ids=["three", "half", "one"]
)
def test_epochs_become_steps_of_whole_batches(epochs: float, steps: int) -> None:
    cfg = OmegaConf.create(
        {
            "epochs": epochs,
            "trainer": {"max_steps": None, "val_check_interval": 7},
            "data": {"global_batch": 4},
        }
    )
    data: Any = SimpleNamespace(train_set=range(43))  # ten batches, three samples are left over
    count_steps(cfg, data)
    assert cfg.trainer.max_steps == steps
    assert cfg.trainer.val_check_interval == min(7, steps)


def test_steps_win_over_epochs_and_a_tiny_set_is_one_batch() -> None:
    tree = {"epochs": 5, "data": {"global_batch": 8}}
    given = OmegaConf.create({**tree, "trainer": {"max_steps": 9, "val_check_interval": 20}})
    data: Any = SimpleNamespace(train_set=range(3))
    count_steps(given, data)
    assert (given.trainer.max_steps, given.trainer.val_check_interval) == (9, 9)
    tiny = OmegaConf.create({**tree, "trainer": {"max_steps": None, "val_check_interval": 2}})
    count_steps(tiny, data)
    assert tiny.trainer.max_steps == 5


@pytest.mark.parametrize("error", [ValueError, TypeError, MisconfigurationException])
def test_what_lightning_refuses_is_the_users_to_mend(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise error("no\n  strategy 'nope'")

    monkeypatch.setattr(tasks, "build_trainer", refuse)
    with pytest.raises(UserError, match="^trainer: no strategy 'nope'; conf/trainer"):
        make_trainer(OmegaConf.create(), 0)


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise AttributeError("x")

    monkeypatch.setattr(tasks, "build_trainer", broken)
    with pytest.raises(AttributeError):
        make_trainer(OmegaConf.create(), 0)


def test_ctrl_c_is_told_from_another_exit() -> None:
    def trainer(interrupted: bool) -> Any:
        def leave(*args: Any, **kwargs: Any) -> None:
            raise SystemExit(1)

        return SimpleNamespace(fit=leave, interrupted=interrupted)

    run: Any = SimpleNamespace(checkpoint=None)
    with pytest.raises(KeyboardInterrupt):
        fit(trainer(interrupted=True), None, None, run)  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        fit(trainer(interrupted=False), None, None, run)  # type: ignore[arg-type]


TINY = ["experiment=smoke", "logger=none", "data.crop=32", "data.global_batch=2"]


@pytest.mark.parametrize(
    ("failure", "code"),
    [(UserError("no"), 2), (KeyboardInterrupt(), 130)],
    ids=["mistake", "ctrl-c"],
)
def test_without_a_step_nothing_is_left_behind(
    failure: BaseException,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*args: Any) -> None:
        (run,) = tmp_path.iterdir()
        assert json.loads((run / "run.json").read_text())["status"] == "running"
        assert (run / "config.yaml").is_file()
        raise failure

    monkeypatch.setattr(tasks, "fit", fail)
    assert train_main([*TINY, f"paths.runs={tmp_path}"]) == code
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in capsys.readouterr().err
