"""The density of a model: what counts, and what the callback logs, draws and writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from midframe.data.io import ImageFile
from midframe.engine.build import build_module
from midframe.engine.compose import compose
from midframe.engine.sparsity import FILE, bars, density, layers_of
from midframe.launch.tasks import train_main


def net() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.ConvTranspose2d(4, 2, 2)
    )
    nn.init.ones_(model[0].weight), nn.init.ones_(model[3].weight)  # type: ignore[arg-type]
    return model


def test_weights_count_and_biases_do_not() -> None:
    model = net()
    total = 108 + 4 + 1 + 32
    with torch.no_grad():
        for module in model:
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()  # type: ignore[union-attr, operator]
        assert density(layers_of(model)) == 1.0
        model[0].weight[1] = 0  # type: ignore[index]
        model[1].weight[2] = 0  # type: ignore[index]
        model[3].weight[:, 1] = 0  # type: ignore[index]
    assert density(layers_of(model)) == pytest.approx((total - 27 - 1 - 16) / total)
    by_name = {layer.name: layer for layer in layers_of(model)}
    assert list(by_name) == ["0.weight", "1.weight", "2.weight", "3.weight"]
    assert by_name["0.weight"].channels == (1, 0, 1, 1)
    assert by_name["1.weight"].channels == () and by_name["1.weight"].density == 0.75
    assert by_name["3.weight"].channels == (1, 0)  # of a transposed one, the second axis


def test_small_weights_count_as_zero_where_asked() -> None:
    model = nn.Linear(4, 1)
    with torch.no_grad():
        model.weight[:] = torch.tensor([[0.0, 0.1, -0.1, 0.5]])
    assert density(layers_of(model)) == 0.75
    assert density(layers_of(model, threshold=0.1)) == 0.25


def test_a_bar_is_as_long_as_its_density() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4))
    with torch.no_grad():
        model[1].weight[:, 0] = 0  # type: ignore[index]
    picture = bars(layers_of(model), "title")
    assert picture.dtype == np.uint8
    blue = (picture == (90, 170, 240)).all(-1).sum(1)
    assert sorted({int(n) for n in blue}) == [0, 80, 160]


def test_many_layers_stand_in_columns() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(130)])
    height, width, _ = bars(layers_of(model), "many").shape
    assert height < 1000 and width > 1500


def _columns(run: Path) -> list[str]:
    with (run / "metrics.csv").open() as file:
        return next(csv.reader(file))


@pytest.mark.slow
def test_a_run_logs_draws_and_writes_it(tmp_path: Path, capsys: Any) -> None:
    words = ["experiment=smoke", "callbacks=[default,sparsity]", "logger=[csv,tensorboard]"]
    words += ["trainer=cpu"]
    words += ["trainer.max_steps=4", "trainer.val_check_interval=2", "data.crop=32"]
    words += ["data.val.limit=1", "data.global_batch=1", f"paths.runs={tmp_path}"]
    words += ["trainer.threads=1", "optimizer=obproxsg", "optimizer.prox=0.5"]
    words += ["optimizer.eps=0.01"]
    assert train_main(words) == 0
    (run,) = tmp_path.iterdir()
    with (run / "metrics.csv").open() as file:
        rows = {int(row["step"]): row["val/density"] for row in csv.DictReader(file)}
    written = json.loads((run / FILE).read_text())
    assert written["step"] == 4 and float(rows[3]) == pytest.approx(written["density"], abs=1e-6)
    assert 0 < written["density"] < float(rows[1]) <= 1

    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    weights = {k.removeprefix("model."): v for k, v in state.items() if "weight" in k}
    assert {row["name"] for row in written["layers"]} == set(weights)
    for row in written["layers"]:
        assert row["nonzeros"] == int((weights[row["name"]] != 0).sum())
    picture = ImageFile(str(run / "pictures" / "sparsity_0000004.png")).read()
    assert picture.shape[0] > 300
    curves = EventAccumulator(str(run / "tensorboard")).Reload()
    for row in written["layers"]:
        last = curves.Scalars(f"density/{row['name']}")[-1]
        assert (last.step, last.value) == (4, pytest.approx(row["density"], abs=1e-6))
    assert not any(name.startswith("density/") for name in _columns(run))  # too many for a table
    assert not list(run.glob("*.part"))


def test_the_optimizer_of_a_config_has_its_phases() -> None:
    words = ["experiment=smoke", "optimizer=obproxsg", "trainer.max_steps=40", "loss=l1"]
    optimizer, schedule = build_module(compose([*words, "trainer=cpu"]))._optimization()
    (group,) = optimizer.param_groups
    assert (group["lr"], group["lambda_"], group["eps"]) == (1e-3, 1e-4, 1e-4)
    assert group["epoch_size"] * group["prox_epochs"] == 4
    assert schedule is None or schedule.get_last_lr() == [1e-3]
