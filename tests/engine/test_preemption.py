"""A training that a signal asks to stop: when it does, what it keeps, and how it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from midframe.engine import stopping
from midframe.engine.module import VFIModule
from midframe.launch.tasks import train_main

TINY = [
    *("experiment=smoke", "model=ifrnet_s", "loss=charbonnier", "logger=csv", "data.crop=32"),
    *("data.layout.size=48", "data.global_batch=2", "data.val.limit=2", "trainer=cpu"),
    *("trainer.threads=1", "trainer.log_every_n_steps=1", "trainer.max_steps=8"),
    *("trainer.val_check_interval=4", "trainer.checkpoint_every=100"),
]


def train(folder: Path, *words: str) -> int:
    return train_main([*TINY, f"paths.runs={folder}", *words])


def saved(folder: Path) -> dict[str, Any]:
    (run,) = folder.iterdir()
    content: dict[str, Any] = torch.load(run / "last.ckpt", weights_only=True)
    return content


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], None]:
    """Send a signal within a training or validation step of an optimizer step, once."""

    def arrange(hook: str, step: int, number: int) -> None:
        original = getattr(VFIModule, hook)
        left = [number]

        def sending(self: VFIModule, *args: Any) -> Any:
            if self.global_step == step and left:
                os.kill(os.getpid(), left.pop())
            return original(self, *args)

        monkeypatch.setattr(VFIModule, hook, sending)

    return arrange


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_the_step_at_hand_is_finished_and_the_run_goes_on_as_if_nothing_had_been(
    number: int, at: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at("training_step", 2, number)
    assert train(tmp_path / "a") == stopping.STOPPED
    assert saved(tmp_path / "a")["global_step"] == 3
    said = capfd.readouterr().out
    assert f"stopped by {signal.Signals(number).name} after step 3" in said
    assert train(tmp_path / "a") == 0 and train(tmp_path / "b") == 0
    one, other = saved(tmp_path / "a"), saved(tmp_path / "b")
    assert one["global_step"] == other["global_step"] == 8
    for name, value in other["state_dict"].items():
        assert torch.equal(one["state_dict"][name], value)
    curves = [next((tmp_path / x).glob("*/metrics.csv")).read_text() for x in "ab"]
    assert len(curves[0].splitlines()) == len(curves[1].splitlines()), "no row lost or repeated"


@pytest.mark.slow
def test_a_short_validation_is_finished_before_it_stops(
    at: Callable[..., None], tmp_path: Path
) -> None:
    at("validation_step", 4, signal.SIGUSR1)
    assert train(tmp_path) == stopping.STOPPED
    state = saved(tmp_path)
    assert state["global_step"] == 4
    assert list(next(iter(tmp_path.iterdir())).glob("best.ckpt")), "its result is not lost"


@pytest.mark.slow
def test_a_long_validation_is_given_up(at: Callable[..., None], tmp_path: Path) -> None:
    at("validation_step", 4, signal.SIGUSR1)
    words = ["callbacks.preemption.patience=0", "trainer.checkpoint_every=2"]
    assert train(tmp_path, *words) == stopping.STOPPED
    assert saved(tmp_path)["global_step"] == 2, "the validation of step 4 will be done again"


def test_a_run_that_is_done_ends_as_usual(at: Callable[..., None], tmp_path: Path) -> None:
    at("training_step", 7, signal.SIGTERM)
    assert train(tmp_path) == 0
    assert saved(tmp_path)["global_step"] == 8


def test_before_it_trains_it_stops_at_once_and_leaves_nothing(
    at: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def index(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        raise AssertionError("it goes on")

    monkeypatch.setattr("midframe.launch.tasks.build_data", index)
    assert train(tmp_path) == stopping.STOPPED
    assert not list(tmp_path.iterdir())


def test_handlers_are_those_of_before_afterwards(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    assert train(tmp_path, "trainer.max_steps=1") == 0
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before


def test_a_signal_that_comes_early_is_held_until_it_can_be_heeded() -> None:
    script = """
        import os, signal
        from midframe.engine import stopping
        stopping.hold()
        os.kill(os.getpid(), signal.SIGUSR1)
        try:
            with stopping.heeded():
                print("goes on")
        except stopping.Stopped as stop:
            print(stop.name, stop.step)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "SIGUSR1 None\n"


def test_a_forked_process_leaves_it_to_its_parent() -> None:
    with stopping.heeded():
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGUSR1)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
