"""BatchNorm over the samples of all processes on a CPU, for which PyTorch has none."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


class SyncNorm(_BatchNorm):
    """BatchNorm whose mean and variance are those of all processes' samples together.

    They are taken in float32 at least, as those of BatchNorm are.

    Each process must hold as many samples as the others. Gradients go through both means, so that
    the mean of all processes' gradients is that of one process with all samples.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, ...) normalised; as `nn.BatchNorm2d` in evaluation or alone."""
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            out: Tensor = super().forward(x)
            return out
        given, x = x.dtype, x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = all_reduce(x.sum(axes)) / count
        away = x - mean.view(shape)
        variance = all_reduce(away.square().sum(axes)) / count
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * count / max(count - 1, 1))
        out = away * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(given)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of axes."""


class SyncNorms(LayerSync):
    """Lightning's hook: every BatchNorm of a model becomes a `SyncNorm`, weights and names kept."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the layers in place."""
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, _BatchNorm) and not isinstance(child, SyncNorm):
                    setattr(module, name, _synchronised(child))
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Leave them: alone and in evaluation they are what they were."""
        return model


def _synchronised(norm: _BatchNorm) -> SyncNorm:
    options: dict[str, Any] = {"eps": norm.eps, "momentum": norm.momentum, "affine": norm.affine}
    layer = SyncNorm(norm.num_features, **options, track_running_stats=norm.track_running_stats)
    layer._parameters, layer._buffers = norm._parameters, norm._buffers  # the same tensors
    return layer.train(norm.training)
