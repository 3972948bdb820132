"""A full disk ends a training in one line, with its last good checkpoint as it was."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import train

from midframe import files
from midframe.engine import checkpoint_files
from midframe.engine.checkpoint_files import is_whole

pytestmark = pytest.mark.slow

WORDS = ["trainer=cpu", "trainer.max_steps=6", "logger=[csv]"]  # each validation is the best yet


def only(runs: Path) -> Path:
    (run,) = (path for path in runs.iterdir() if path.is_dir())
    return run


def full(name: str, write: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that writes, but not this file once there is a checkpoint."""

    def limited(path: Path, data: bytes | memoryview) -> None:
        path = Path(path)
        if path.name.startswith(name) and (path.parent / "last.ckpt").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, data)

    return limited


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt", "metrics.csv", "run.json"])
def test_it_ends_in_one_line_and_the_same_command_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    with monkeypatch.context() as patch:
        for module, function in ((checkpoint_files, "write_through"), (files, "write_bytes")):
            patch.setattr(module, function, full(name, getattr(module, function)))
        assert train(tmp_path, *WORDS) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and "make room" in said and name in said
    run = only(tmp_path)
    last = run / "last.ckpt"
    assert is_whole(last) and not list(run.glob("*.part"))
    reached = torch.load(last, weights_only=True)["global_step"]
    assert reached == (6 if name == "run.json" else 2)
    assert train(tmp_path, *WORDS) == 0
    newest = 4 if name == "last.ckpt" else reached  # best.ckpt had been written at that step
    assert f"resumed at step {newest}" in capsys.readouterr().out
    assert torch.load(last, weights_only=True)["global_step"] == 6
