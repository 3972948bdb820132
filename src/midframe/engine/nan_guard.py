"""Stop at the first non-finite loss, say where it came from, and keep the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from midframe.errors import UserError
from midframe.files import aside_of
from midframe.types import Batch


class NanGuard(Callback):
    """Watch the loss of every step; on NaN or infinity stop before the weights are touched.

    The message names the first module whose output is not finite (or the weight, or the loss
    term), and the batch is saved as plain tensors under ``nan_batch.pt``.
    """

    def __init__(self, directory: str) -> None:
        self.path = Path(directory) / "nan_batch.pt"
        self._batch: Batch | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._batch = batch

    def on_before_backward(self, trainer: L.Trainer, pl_module: Any, loss: Tensor) -> None:
        mine = bad = not math.isfinite(loss.item())
        if trainer.world_size > 1:  # all ranks must stop, or the others wait for this one for ever
            count = torch.tensor(float(mine), device=loss.device)
            bad = bool(trainer.strategy.reduce(count, reduce_op="sum"))
        if not bad or self._batch is None:
            return
        batch = pl_module.enrich(self._batch.float())
        # on all ranks: layers that normalise all samples together wait for one another
        where = find_non_finite(pl_module, batch)
        if not mine:
            raise UserError(f"the loss is not finite on another rank, step {trainer.global_step}")
        save_batch(batch, self.path)
        raise UserError(
            f"the loss is {loss.item()} at step {trainer.global_step}: {where}; the batch "
            f"({', '.join(batch.ids[:4])}) is saved in {self.path}; a lower optimizer.lr, "
            f"trainer.gradient_clip_val=1 or trainer.precision=32-true often helps; the last good "
            f"checkpoint is kept"
        )


def find_non_finite(module: Any, batch: Batch) -> str:
    """Run the step once more and name the first non-finite thing on its way."""
    first, terms = _run_watched(module, batch)
    for name, value in _tensors(batch):
        # labels may be unknown in places, which they say by not being finite
        if name != "flow" and not bool(torch.isfinite(value).all()):
            return f"the batch's {name} is not finite"
    for name, weight in module.model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            return f"the weight {name} is not finite"
    if first:
        return first
    bad = [name for name, value in terms.items() if not bool(torch.isfinite(value).all())]
    return f"the model's output is finite, the loss term {', '.join(bad) or 'total'} is not"


def _run_watched(module: Any, batch: Batch) -> tuple[str | None, Mapping[str, Tensor]]:
    """Run model and loss; return what first gave a value that is not finite, and the terms."""
    first: list[str] = []

    def watch(name: str) -> Any:
        def hook(layer: nn.Module, args: Any, output: Any) -> None:
            leaves = pytree.tree_leaves(output)
            bad = any(isinstance(x, Tensor) and not bool(torch.isfinite(x).all()) for x in leaves)
            if bad and not first:
                first.append(f"the first non-finite output is that of {name or 'the model'}")

        return hook

    handles = [m.register_forward_hook(watch(n)) for n, m in module.model.named_modules()]
    try:
        with torch.no_grad(), module.trainer.precision_plugin.forward_context():
            pred = module.model(batch.inputs, **module.model.fixed_hints)
            out = module.loss(pred, batch, module.model, module.global_step)
    finally:
        for handle in handles:
            handle.remove()
    return (first[0] if first else None), out.terms


def save_batch(batch: Batch, path: Path) -> None:
    """Save the tensors of a batch as a plain dict that ``weights_only`` loading accepts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    torch.save({**{n: v.detach().cpu() for n, v in _tensors(batch)}, "ids": list(batch.ids)}, aside)
    aside.replace(path)


def _tensors(batch: Batch) -> list[tuple[str, Tensor]]:
    """Every tensor of a batch under its name: "frames", "flow", "teacher.features[0]" ..."""
    leaves, _ = pytree.tree_flatten_with_path(batch)
    named = ((pytree.keystr(path).lstrip(".").removeprefix("inputs."), x) for path, x in leaves)
    return [(name, value) for name, value in named if isinstance(value, Tensor)]
