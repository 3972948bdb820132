"""What a validation prints: only what was measured."""

from __future__ import annotations

from midframe.engine.progress import validation_line

FRAMES = {f"val/{n}{x}": 1.0 for n in ("psnr", "ssim", "ie") for x in ("", "_average")}
FLOW = {"val/epe": 1.25, "val/epe_still": 3.0, "val/fl_all": 0.125}


def test_flow_networks_report_flow_and_interpolators_what_they_have() -> None:
    flow = "EPE 1.250 px (no motion 3.000), 12.5% off by over 3 px"
    assert validation_line(7, FLOW, 0.5) == f"step      7 |   0.5 min | {flow}"
    assert "EPE" not in validation_line(7, FRAMES, 0.5) and "PSNR" in validation_line(7, FRAMES, 1)
    both = validation_line(7, {**FRAMES, **FLOW}, 0.5)
    assert both.endswith(flow) and "PSNR 1.00 (average 1.00, +0.00) dB" in both
