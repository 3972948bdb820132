"""Training of flow networks end to end: from the command line to a network that estimates flow."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import fakes
import pytest
import torch

from midframe import create_flow
from midframe.launch.tasks import train_main

TINY = [
    "trainer.val_check_interval=10",
    "trainer.log_every_n_steps=1",
    "trainer.threads=1",
    "data.workers=0",
    "data.global_batch=1",
    "data.crop=64",
    "data.val.limit=1",
    "data.val.crop=64",
    "logger=csv",
]


def rows_of(runs: Path) -> tuple[Path, list[dict[str, str]]]:
    (run,) = runs.iterdir()
    with (run / "metrics.csv").open() as file:
        return run, list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["pwcnet", "liteflownet"])
def test_exact_flow_trains_a_network_that_serves_afterwards(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [f"model={model}", "data=synthetic", "trainer.max_steps=20", "optimizer.lr=3e-4"]
    assert train_main([*TINY, *overrides, f"paths.runs={tmp_path}"]) == 0
    run, rows = rows_of(tmp_path)
    errors = [float(row["val/epe"]) for row in rows if row["val/epe"]]
    still = {float(row["val/epe_still"]) for row in rows if row["val/epe"]}
    assert len(errors) == 2 and len(still) == 1 and still.pop() > 0
    assert [row["train/epe"] for row in rows if row["train/multiscale"]]
    assert "val/psnr" not in rows[0] and "train/psnr" not in rows[0]
    assert json.loads((run / "run.json").read_text())["status"] == "finished"

    best = torch.load(run / "best.ckpt", weights_only=True)
    assert best["global_step"] == 10 * (1 + errors.index(min(errors)))  # the lower, the better
    network = create_flow(model, weights=run)
    flow = network.estimate(*torch.rand(2, 1, 3, 50, 70))
    assert flow.shape == (1, 2, 50, 70) and bool(torch.isfinite(flow).all())


@pytest.mark.slow
def test_flyingchairs_trains_with_the_published_rate(tmp_path: Path) -> None:
    root = fakes.flyingchairs(tmp_path / "chairs", size=(64, 80))
    overrides = ["experiment=pwcnet_chairs", f"data.root={root}", "trainer.max_steps=2"]
    overrides += ["optimizer.milestones=[1]", "trainer.val_check_interval=2"]
    assert train_main([*TINY, *overrides, f"paths.runs={tmp_path / 'runs'}"]) == 0
    _, rows = rows_of(tmp_path / "runs")
    rates = [float(row["train/lr"]) for row in rows if row["train/lr"]]
    assert rates == pytest.approx([1e-4, 5e-5])
    assert any(row["val/epe"] for row in rows)


def test_interpolators_report_the_error_of_their_flow(tmp_path: Path) -> None:
    overrides = ["experiment=smoke", "trainer.max_steps=1", "trainer.val_check_interval=1"]
    overrides += ["data.layout.scenes=16"]
    assert train_main([*TINY, *overrides, f"paths.runs={tmp_path}"]) == 0
    _, rows = rows_of(tmp_path)
    (row,) = [row for row in rows if row["val/psnr"]]
    assert float(row["val/epe"]) > 0 and float(row["val/epe_still"]) > 0


def test_data_without_flow_is_told_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = fakes.vimeo_triplets(tmp_path / "vimeo")
    overrides = ["model=pwcnet", "data=vimeo", f"data.root={root}", "trainer.max_steps=1"]
    assert train_main([*TINY, *overrides, f"paths.runs={tmp_path / 'runs'}"]) == 2
    assert "pwcnet is a flow network" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
