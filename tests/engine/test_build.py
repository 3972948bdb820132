"""From config to objects: every switch of the config does what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from midframe.engine import build
from midframe.engine.build import build_module, build_trainer, resolve_precision
from midframe.engine.compose import compose
from midframe.types import Batch, Inputs

BARE = ["experiment=smoke", "callbacks=none", "logger=none", "trainer=cpu", "loss=l1"]


def config(*overrides: str) -> DictConfig:
    return compose([*BARE, *overrides])


def batch() -> Batch:
    torch.manual_seed(3)
    return Batch(
        Inputs(torch.rand(1, 2, 3, 32, 32), torch.full((1, 1), 0.5)),
        target=torch.rand(1, 1, 3, 32, 32),
        ids=("a",),
    )


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize("gpu", ["none", "old", "new"])
def test_precision_follows_the_hardware(
    gpu: str, units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu != "none")
    supported = {"new": True, "old": False}
    monkeypatch.setattr(
        "torch.cuda.is_bf16_supported",
        lambda including_emulation=True: supported.get(gpu, False) or including_emulation,
    )
    monkeypatch.setattr(build, "has_bf16_units", lambda: units)
    bf16, full = "bf16-mixed", "32-true"
    of_gpu = {"none": None, "old": full, "new": bf16}[gpu]
    for accelerator in ("auto", "gpu", "cuda"):
        assert resolve_precision("auto", accelerator) == (of_gpu or full)
        assert resolve_precision("fast", accelerator) == (of_gpu or (bf16 if units else full))
    assert resolve_precision("auto", "cpu") == full  # numbers do not depend on the processor
    assert resolve_precision("fast", "cpu") == (bf16 if units else full)
    assert resolve_precision("16-mixed", "auto") == "16-mixed"


def test_the_trainer_has_the_resolved_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "has_bf16_units", lambda: True)
    assert build_trainer(config("trainer.precision=fast")).precision == "bf16-mixed"
    assert build_trainer(config("trainer.precision=auto")).precision == "32-true"


def test_intervals_count_steps_whatever_the_accumulation() -> None:
    trainer = build_trainer(
        config("trainer.val_check_interval=5", "trainer.accumulate_grad_batches=4")
    )
    assert trainer.val_check_interval == 20 and trainer.accumulate_grad_batches == 4


@pytest.mark.parametrize("last", [True, False])
def test_channels_last_is_the_layout_of_the_weights_and_no_other_result(last: bool) -> None:
    module = build_module(config(f"channels_last={str(last).lower()}"))
    layouts = {
        weight.is_contiguous(memory_format=torch.channels_last)
        for weight in module.model.parameters()
        if weight.dim() == 4 and weight.shape[1] > 1 and weight.shape[-1] > 1
    }
    assert layouts == {last}
    plain = build_module(config("channels_last=false"))
    plain.load_state_dict(module.state_dict())
    frames = [m.model.interpolate(batch().inputs).frame for m in (module, plain)]
    assert torch.allclose(*frames, atol=1e-5)


@pytest.mark.parametrize("on", [True, False])
def test_compile_sends_the_model_through_the_compiler(
    on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def compiler(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
        def compiled(*args: Any, **kwargs: Any) -> Any:
            calls.append("compiled")
            return fn(*args, **kwargs)

        return compiled

    monkeypatch.setattr(torch, "compile", compiler)
    module = build_module(config(f"compile={str(on).lower()}"))
    module._log_step = lambda *args: None  # type: ignore[method-assign]
    module.training_step(batch(), 0)
    assert calls == ["compiled"] * on


def test_hints_of_the_model_reach_training_and_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build_module(config("+model.hints.scale_factor=0.5"))
    seen: list[dict[str, Any]] = []
    whole = type(module.model).forward

    def forward(self: nn.Module, x: Inputs, **hints: Any) -> Any:
        seen.append(hints)
        return whole(self, x, **hints)

    monkeypatch.setattr(type(module.model), "forward", forward)
    module._log_step = lambda *args: None  # type: ignore[method-assign]
    module.training_step(batch(), 0)
    module.validation_step(batch(), 0)
    assert seen == [{"scale_factor": 0.5}] * 2
