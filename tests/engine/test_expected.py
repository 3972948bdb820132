"""A run that falls behind the curve of its recipe is told so, once a check, with both numbers."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from midframe.engine.compose import compose
from midframe.engine.expected import ExpectedCurve, comparison, curve_of, expected_at
from midframe.errors import UserError

CURVE = {100: 28.0, 200: 30.0, 400: 31.0}


def check(callback: ExpectedCurve, step: int, psnr: float | None, **values: Any) -> None:
    metrics = {} if psnr is None else {"val/psnr": torch.tensor(psnr)}
    usual = {"sanity_checking": False, "is_global_zero": True, "progress_bar_callback": None}
    trainer: Any = SimpleNamespace(
        **{**usual, "global_step": step, "callback_metrics": metrics, **values}
    )
    callback.on_validation_end(trainer, None)


def test_falling_behind_is_told_with_step_expected_and_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    callback = ExpectedCurve(CURVE, tolerance=0.3)
    check(callback, 100, 27.75)  # within the tolerance
    assert capsys.readouterr().out == ""
    check(callback, 200, 29.5)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: step 200: 29.50 dB PSNR, the recipe's curve has 30.00 dB here")
    assert "0.50 dB behind" in line
    check(callback, 200, 29.5)  # validated once more at the end
    assert capsys.readouterr().out == ""
    check(callback, 300, 40.0)
    check(callback, 400, math.nan)
    assert "step 400: nan dB" in capsys.readouterr().out


def test_what_cannot_be_compared_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    callback = ExpectedCurve(CURVE)
    check(callback, 50, 1.0)
    check(callback, 401, 1.0)
    check(callback, 200, None)  # a flow network has no PSNR
    check(callback, 200, 1.0, sanity_checking=True)
    check(ExpectedCurve(), 100, 1.0)
    assert capsys.readouterr().out == "" and not callback.measured
    check(callback, 200, 1.0, is_global_zero=False)
    assert capsys.readouterr().out == "" and callback.measured == {200: 1.0}
    lines: list[str] = []
    check(callback, 300, 1.0, progress_bar_callback=SimpleNamespace(print=lines.append))
    assert len(lines) == 1


@given(st.integers(0, 500))
def test_between_points_the_expectation_is_on_the_line(step: int) -> None:
    found = expected_at(CURVE, step)
    if step < 100 or step > 400:
        assert found is None
    else:
        wanted = 28 + (step - 100) / 50 if step <= 200 else 30 + (step - 200) / 200
        assert found == pytest.approx(wanted)


def test_a_resumed_run_knows_what_was_compared_before(capsys: pytest.CaptureFixture[str]) -> None:
    before = ExpectedCurve(CURVE)
    check(before, 200, 29.0)
    after = ExpectedCurve(CURVE)
    after.load_state_dict(before.state_dict())
    capsys.readouterr()
    check(after, 200, 29.0)
    assert capsys.readouterr().out == ""
    check(after, 400, 31.25)
    first, second = comparison(after)
    assert "step 400: the recipe's curve has 31.00 dB PSNR, measured are 31.25 dB (+0.25" in first
    assert second.startswith("Furthest behind at step 200") and "(-1.00 dB)" in second
    assert comparison(ExpectedCurve(CURVE)) == []


@pytest.mark.parametrize("curve", [{"a": 1}, {1: "x"}, [1, 2], {1: None}])
def test_a_curve_that_is_none_is_one_line(curve: Any) -> None:
    with pytest.raises(UserError, match="expected.curve=.*give PSNR in dB by step"):
        ExpectedCurve(curve)


@pytest.mark.parametrize("name", ["quick", "first"])
def test_recipes_for_a_processor_have_curves_of_their_validations(name: str) -> None:
    cfg = compose([f"experiment={name}"])
    curve = curve_of(cfg.callbacks.expected.curve)
    assert max(curve) == cfg.trainer.max_steps
    assert all(step % cfg.trainer.val_check_interval == 0 for step in curve)
    assert compose(["model=ifrnet_s"]).callbacks.expected.curve is None
