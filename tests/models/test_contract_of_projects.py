"""The contract suite and a project with a model that cannot be built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "test_contract.py"
AVERAGE = "midframe.models.average.Average"


@pytest.mark.slow
def test_a_model_that_cannot_be_built_fails_alone(tmp_path: Path) -> None:
    folder = tmp_path / "conf" / "model"
    folder.mkdir(parents=True)
    for name, target in (("mine", AVERAGE), ("lost_mine", "no_such_module.Net")):
        (folder / f"{name}.yaml").write_text(f"# Mine\nname: {name}\nnet: {{_target_: {target}}}\n")
    (folder / "torn_mine.yaml").write_text("name: {")
    words = ["-q", "-p", "no:cacheprovider", "-k", "mine and inputs_are_not_changed"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", str(SUITE), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MIDFRAME_PROJECT": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert "1 passed" in found.stdout and "2 errors" in found.stdout, found.stdout
    assert "model lost_mine: net._target_ no_such_module.Net not found" in found.stdout
    assert "torn_mine.yaml is no yaml" in found.stdout
