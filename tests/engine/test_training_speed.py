"""`midframe bench train`: a step of either side is timed, and nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midframe import cli


def test_the_command_prints_what_either_side_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--model", "ifrnet_s", "--batch", "1", "--size", "32", "--steps", "2"]
    assert cli.main(["bench", "train", *given]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["batch"], found["size"], found["steps"]) == ("ifrnet_s", 1, 32, 2)
    for unit in ("clock", "processor"):
        times = found[unit]
        assert times["platform_s"] > 0 and times["bare_s"] > 0
        # medians of two steps: the ratio of the medians need not be the median of the ratios
        assert times["overhead_percent"] > -100
    assert not list(tmp_path.iterdir())  # measuring leaves nothing behind
