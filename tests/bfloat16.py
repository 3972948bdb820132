"""Bfloat16 at the pace of float32, for processors without units for it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from midframe.models.inference import has_bf16_units

aten = torch.ops.aten
SUMS = {
    *(aten.convolution, aten.convolution_backward),
    *(aten.mm, aten.addmm, aten.bmm, aten.baddbmm),
}


def bfloat16_units() -> AbstractContextManager[object]:
    """Let bfloat16 be as fast as on a processor with units for it, and give the same.

    Such units multiply bfloat16, add up in float32 and round the sum. Elsewhere PyTorch's own
    convolutions take some twenty times as long as in float32.
    """
    return nullcontext() if has_bf16_units() else SumsInFloat32()


class SumsInFloat32(TorchDispatchMode):
    """Convolutions and matrix products of bfloat16, and their gradients, by those of float32.

    All else, what tensors are and what may meet included, is PyTorch's.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = (args, kwargs or {})
        dtypes = {x.dtype for x in tree_leaves(given) if isinstance(x, torch.Tensor)}
        if func.overloadpacket in SUMS and dtypes == {torch.bfloat16}:
            args, kwargs = tree_map_only(torch.Tensor, torch.Tensor.float, given)
            return tree_map_only(torch.Tensor, torch.Tensor.bfloat16, func(*args, **kwargs))
        return func(*given[0], **given[1])
