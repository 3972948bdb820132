"""A phase-1 run killed in either phase of OBProx-SG ends as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from test_resume import STEPS, assert_same, finish, rows_of, start, state_of, wait_for_step

pytestmark = pytest.mark.slow

TURN = 24  # the first orthant step
RECIPE = [
    *("optimizer=obproxsg", f"optimizer.prox={TURN / STEPS}", "optimizer.lambda_=0.01"),
    *("optimizer.eps=1e-3", "callbacks=[default,sparsity]"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("whole")
    finish(start(runs, *RECIPE))
    return runs


@pytest.mark.parametrize("killed_from", [8, TURN + 4], ids=["prox", "orthant"])
def test_killed_run_ends_bit_identical(whole: Path, tmp_path: Path, killed_from: int) -> None:
    victim = start(tmp_path, *RECIPE)
    wait_for_step(tmp_path, killed_from)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    reached = int(str(state_of(tmp_path)["global_step"]))
    assert (killed_from < TURN) == (reached < TURN) and reached < STEPS, "killed too late"

    assert f"resumed at step {reached}" in finish(start(tmp_path, *RECIPE))
    first, second = state_of(whole), state_of(tmp_path)
    for key in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(first[key], second[key], key)
    assert second["optimizer_states"][0]["state"]["steps"] == {"count": STEPS}  # type: ignore[index]
    zeros = sum(int((p == 0).sum()) for p in second["state_dict"].values())  # type: ignore[attr-defined]
    assert zeros > 10_000, "the second phase did not come"
    assert rows_of(tmp_path) == rows_of(whole)
    (density,) = {
        row["val/density"] for step, row in rows_of(tmp_path).items() if step == STEPS - 1
    }
    assert 0 < float(density) < 1
