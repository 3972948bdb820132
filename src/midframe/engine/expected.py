"""The curve that a recipe is expected to follow, compared as a training goes."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isnan
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from midframe.errors import UserError

METRIC = "val/psnr"
TOLERANCE = 0.3  # dB


class ExpectedCurve(Callback):
    """Warn at a validation that lies further below the expected curve than the tolerance.

    Between two points of the curve the expectation is on the line between them; before the first
    and after the last there is none.

    Args:
        curve: PSNR in dB by step, as measured with the recipe; None or empty compares nothing.
        tolerance: dB below the curve that are not worth a word; None for `TOLERANCE`.

    Raises:
        UserError: if a step or a value of the curve is none.
    """

    def __init__(
        self, curve: Mapping[Any, Any] | None = None, tolerance: float | None = None
    ) -> None:
        self.curve = curve_of(curve)
        self.tolerance = TOLERANCE if tolerance is None else float(tolerance)
        self.measured: dict[int, float] = {}  # PSNR by step, where something was expected

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        step, value = trainer.global_step, trainer.callback_metrics.get(METRIC)
        wanted = expected_at(self.curve, step)
        new = step not in self.measured
        if trainer.sanity_checking or value is None or wanted is None:
            return
        self.measured[step] = float(value)
        behind = wanted - float(value)
        if new and not behind <= self.tolerance and trainer.is_global_zero:
            bar = trainer.progress_bar_callback
            (bar.print if bar else print)(
                f"warning: step {step}: {float(value):.2f} dB PSNR, the recipe's curve has "
                f"{wanted:.2f} dB here: {behind:.2f} dB behind (expected.tolerance "
                f"{self.tolerance:g}); what this command changes of the recipe may be why"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"measured": dict(self.measured)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.measured = {int(k): float(v) for k, v in state_dict["measured"].items()}


def curve_of(given: Mapping[Any, Any] | None) -> dict[int, float]:
    """Return a curve from a config, in the order of its steps."""
    try:
        return dict(sorted((int(k), float(v)) for k, v in (given or {}).items()))
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"expected.curve={given}: give PSNR in dB by step, such as {{100: 28.5, 200: 29.1}}"
        ) from error


def expected_at(curve: Mapping[int, float], step: int) -> float | None:
    """Return what a curve has at a step, on the line between its neighbours; None outside."""
    before = max((s for s in curve if s <= step), default=None)
    after = min((s for s in curve if s >= step), default=None)
    if before is None or after is None:
        return None
    part = (step - before) / (after - before) if after > before else 0.0
    return curve[before] + part * (curve[after] - curve[before])


def comparison(callback: ExpectedCurve) -> list[str]:
    """Return what was expected and measured, in lines: the last check and the furthest behind."""
    if not callback.measured:
        return []
    behind = {
        step: (expected_at(callback.curve, step) or 0.0) - value
        for step, value in sorted(callback.measured.items())
    }
    last = max(behind)
    lines = [_line("Expected", last, callback)]
    worst = max(behind, key=lambda step: inf if isnan(behind[step]) else behind[step])
    if not behind[worst] <= callback.tolerance and worst != last:
        lines.append(_line("Furthest behind", worst, callback))
    return lines


def _line(word: str, step: int, callback: ExpectedCurve) -> str:
    wanted, value = expected_at(callback.curve, step) or 0.0, callback.measured[step]
    return (
        f"{word} at step {step}: the recipe's curve has {wanted:.2f} dB PSNR, measured are "
        f"{value:.2f} dB ({value - wanted:+.2f} dB)."
    )
