"""Modules without values: shapes and attributes alone, on PyTorch's device "meta"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DRAWN_BY = ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_")
# torch.nn.init hands its own functions to a mode, and what a model calls itself is a tensor's
DRAWS = frozenset(
    getattr(owner, name)
    for owner in (torch.nn.init, torch.Tensor)
    for name in DRAWN_BY
    if hasattr(owner, name)
)


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of weights, which "meta" does for its shapes, and slowly."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in DRAWS:
            tensor = args[0] if args else (kwargs or {})["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """Build what is built within on the device "meta", and draw nothing for it.

    Building all models of conf/model takes half the time.
    """
    with torch.device("meta"), _Undrawn():
        yield
