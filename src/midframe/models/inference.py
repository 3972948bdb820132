"""Preparing a trained model for fast inference."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import nn

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.blocks import RowPReLU

Precision = Literal["fp32", "bf16"]


def for_inference(model: Interpolator, precision: Precision = "bf16") -> Interpolator:
    """Return a copy of ``model`` in eval mode that is faster and cannot be trained.

    Weights are laid out channels_last. With "bf16" they are cast to bfloat16 once, where autocast
    casts them at every call; frames, flows and warps stay in float32. The copy takes the same
    float32 inputs; its state dict has the same keys.

    Raises:
        UserError: for an unknown precision, or a model that cannot run in it.
    """
    if precision not in ("fp32", "bf16"):
        raise UserError(f"precision is fp32 or bf16, not {precision!r}")
    has_weights = any(True for _ in model.parameters())
    if precision == "bf16" and has_weights and not model.casts:
        raise UserError(
            f"{type(model).__name__} has no bf16 inference; use precision fp32, or set "
            "casts = True in the class once its forward takes float32 frames with bfloat16 weights"
        )
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    for parameter in fast.parameters():
        if parameter.ndim == 4:  # 3D convolutions are faster as they are
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    if precision == "bf16":
        fast = fast.to(torch.bfloat16)
        for layer in fast.modules():
            if type(layer) is nn.PReLU:
                layer.__class__ = RowPReLU
    return fast


def has_bf16_units() -> bool | None:
    """Whether the processor multiplies bfloat16 itself, as far as PyTorch tells; None: unknown."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    known = [check for name in names if (check := getattr(torch.cpu, name, None)) is not None]
    return any(check() for check in known) if known else None
