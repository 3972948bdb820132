"""`midframe bench train`: every model gets what it learns from, and the sums are right."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from midframe import cli, list_models
from midframe.engine import speed, speed_turns
from midframe.engine.speed_turns import Step, Turns, Within
from midframe.launch.check import find_problems
from midframe.models import zoo
from midframe.types import known_flow

_CLASSES = {zoo.check_config(zoo.config_of(name)): name for name in list_models()}
_TRAINED = sorted(name for network, name in _CLASSES.items() if network.trainable)


@pytest.mark.parametrize(
    ("model", "size"), [("pwcnet", 64), pytest.param("event", 16, marks=pytest.mark.slow)]
)
def test_models_that_learn_from_labels_or_events_are_timed(model, size, capsys):
    given = ["--model", model, "--batch", "1", "--size", str(size), "--steps", "1"]
    assert cli.main(["bench", "train", *given]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == model
    assert found["processor"]["platform_s"] > 0 and found["processor"]["bare_s"] > 0


@pytest.mark.parametrize("model", _TRAINED)  # one of each class: sizes need the same
def test_every_model_that_learns_is_measured_on_data_that_fits_it(model, tmp_path):
    assert list(find_problems(speed.bench_config(model, 1, 128, 2, str(tmp_path)))) == []


@pytest.mark.parametrize(
    ("model", "frames", "fields"),
    [
        ("liteflownet", 2, {"flow"}),
        ("stmfnet_mini", 4, {"flow"}),
        ("event_refine", 2, {"events", "events_ends"}),
    ],
)
def test_a_batch_holds_what_the_model_needs(model, frames, fields, tmp_path):
    cfg = speed.bench_config(model, 2, 32, 2, str(tmp_path))
    (batch,) = speed.step_batches(cfg, 1)
    assert batch.inputs.frames.shape == (2, frames, 3, 32, 32)
    assert batch.target.shape[0] == 2 and batch.target.shape[2:] == (3, 32, 32)
    held = {"flow": batch.flow, "events": batch.inputs.events}
    held["events_ends"] = batch.inputs.events_ends
    assert {name for name, value in held.items() if value is not None} == fields
    assert all(value.any() for name, value in held.items() if name in fields)
    if "flow" in fields:
        assert known_flow(batch.flow).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "average"], "average has nothing to train"),
        (["--model", "nothing"], "there is no model 'nothing'"),
        (["--model", "pwcnet", "--size", "100"], "--size 100 is no multiple of 64"),
        (["--steps", "0"], "--steps 0: each is at least 1"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(words, message, capsys):
    assert cli.main(["bench", "train", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_ratios_are_to_the_mean_of_the_bare_steps_around():
    bare = [Step(70, 70, 7), Step(9, 9, 1), Step(1, 2, 0.5), Step(3, 2, 0.5), Step(1, 4, 0.5)]
    ours = [
        Step(80, 80, 8),
        Step(50, 50, 9),
        Step(5.5, 6.05, 0.75),
        Step(2, 2.2, 1),
        Step(2, 3.6, 1.25),
    ]
    found = speed._measured(ours, bare, every=3)
    # by the clock: 5.5 to (9 + 1) / 2, 2 to (1 + 3) / 2, 2 to (3 + 1) / 2: 10, 0 and 0 percent
    assert found["clock"]["overhead_percent"] == 0
    # a median scatters by the square root of pi / 2 more than a mean, here of three
    error = (math.pi / 2) ** 0.5 * math.sqrt(100 / 3) / math.sqrt(3)
    assert found["clock"]["noise_percent"] == pytest.approx(error, abs=0.01)
    # of the processor: 6.05 to 5.5, 2.2 to 2, 3.6 to 3: 10, 10 and 20 percent
    assert found["processor"]["overhead_percent"] == 10
    assert (found["processor"]["platform_s"], found["processor"]["bare_s"]) == (3.6, 2)
    # outside of the model 0.5 more in the fourth step, 0.25 and 0.75 in the third and last, which
    # log: nothing further on average
    assert found["outside_model"] == {"ms": 500, "logging_ms": 0, "percent": 25}
    ours[-1] = Step(2, 3.6, 1.75)
    found = speed._measured(ours, bare, every=4)
    # the fourth and last log: 0.5 and 1.25 beside 0.25, so 0.625 further at every fourth
    assert found["outside_model"]["ms"] == 250 and found["outside_model"]["logging_ms"] == 625
    assert found["outside_model"]["percent"] == pytest.approx(
        100 * (0.25 + 0.625 / 4) / 2, abs=0.01
    )


class _Takes(nn.Module):
    def __init__(self, takes, seconds) -> None:
        super().__init__()
        self.weight, self.take = nn.Parameter(torch.ones(1)), lambda: takes(seconds)

    def forward(self, x):
        self.take()
        return x * self.weight


class _Slow(torch.optim.SGD):
    def __init__(self, parameters, takes) -> None:
        super().__init__(parameters, lr=0.1)
        self.takes = takes

    def step(self, closure):
        loss = super().step(closure)
        self.takes(2)
        return loss


class _Parts(L.LightningModule):
    """A training module whose parts take seconds of a clock of their own."""

    def __init__(self, takes) -> None:
        super().__init__()
        self.model, self.loss = _Takes(takes, 10), _Takes(takes, 3)
        self.enrich = lambda batch: takes(20) or batch
        self.takes = takes

    def training_step(self, batch, batch_idx):
        batch = self.enrich(batch)
        self.takes(4)  # such as logging
        return self.loss(self.model(batch)).sum()

    def on_before_backward(self, loss):
        self.takes(1)

    def backward(self, loss):
        self.takes(30)
        loss.backward()

    def configure_optimizers(self):
        return _Slow(self.parameters(), self.takes)


def test_what_a_step_spends_outside_of_the_model_is_told_from_the_rest(monkeypatch):
    clock = SimpleNamespace(now=0.0)

    def takes(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(speed_turns, "process_time", lambda: clock.now)
    within = Within()

    def bare(batch) -> None:
        takes(5)
        with within:
            takes(60)

    turns = Turns(bare, within)
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = L.Trainer(accelerator="cpu", max_steps=3, callbacks=[turns], **off)
    trainer.fit(_Parts(takes), DataLoader(torch.ones(3, 1)))
    for ours, one in zip(turns.ours, turns.bare, strict=True):
        assert ours.processor == (20 + 10 + 3 + 30 + 2) + (4 + 1)
        assert ours.outside == 4 + 1
        assert (one.processor, one.outside) == (65, 5)
    assert len(turns.ours) == 3
