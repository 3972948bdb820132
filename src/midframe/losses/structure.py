"""Losses that compare local structure: census, feature geometry, Laplacian pyramid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from midframe.errors import UserError
from midframe.losses.base import Term, frames, precise
from midframe.types import Batch, Prediction

if TYPE_CHECKING:
    from midframe.models.base import Interpolator

Grey = Literal["mean", "luma", "luma_bgr"]

# Weights of R, G, B. "luma_bgr" is what UPR-Net computes: the weights of R, G, B laid on B, G, R.
GREY: dict[str, tuple[float, float, float]] = {
    "mean": (1 / 3, 1 / 3, 1 / 3),
    "luma": (0.2989, 0.5870, 0.1140),
    "luma_bgr": (0.1140, 0.5870, 0.2989),
}


def soft_census(first: Tensor, second: Tensor, patch: int, border: int) -> Tensor:
    """Distance of two soft census transforms, which brightness changes barely touch.

    Each pixel's patch minus the pixel, x / sqrt(0.81 + x^2), makes the transform; its distance is
    d^2 / (0.1 + d^2), averaged over patch, channels and *all* pixels: the border counts as zero.

    Args:
        first: (N, C, H, W); channels are treated one by one.
        second: the same shape.
        patch: side of the patch, odd; beyond the picture are zeros.
        border: pixels on each side that count as zero.

    Source: Meister et al., "UnFlow", AAAI 2018, eq. 5, as used by IFRNet and UPR-Net.
    """
    first, second = precise(first, second)
    height, width = first.shape[-2:]
    if min(height, width) <= 2 * border:
        return 0.0 * (first.sum() + second.sum())
    total: Tensor = _CensusSum.apply(first, second, patch, border)
    return total / (first.numel() * patch * patch)


class _CensusSum(torch.autograd.Function):
    """The sum of `soft_census` over patches and pixels, with the gradient in closed form.

    Autograd would keep a dozen maps for each of the patch's pixels; this makes the gradient on the
    way and keeps one. A pixel and its neighbour see the same difference with opposite signs, so
    half of the patch is enough.
    """

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, patch: int, border: int) -> Tensor:
        reach = patch // 2
        # Only pixels inside the border count, so only what their patches reach is padded.
        margin = reach - border
        wide1, wide2 = (F.pad(x, [margin] * 4) for x in (first, second))
        inner_h, inner_w = (n - 2 * border for n in first.shape[-2:])
        total = first.new_zeros(())
        wants = ctx.needs_input_grad[:2]
        grads = [torch.zeros_like(x) if want else None for x, want in zip((wide1, wide2), wants)]
        for dy in range(reach + 1):
            for dx in range(-reach if dy else 1, reach + 1):
                # Pairs (p, p + d) of which at least one pixel is inside, counted once for each.
                here = _box(reach - dy, reach - max(dx, 0), inner_h + dy, inner_w + abs(dx))
                there = _box(reach, reach + min(dx, 0), inner_h + dy, inner_w + abs(dx))
                count = first.new_zeros(inner_h + dy, inner_w + abs(dx))
                count[_box(dy, max(dx, 0), inner_h, inner_w)] += 1
                count[_box(0, max(-dx, 0), inner_h, inner_w)] += 1
                d1, d2 = wide1[there] - wide1[here], wide2[there] - wide2[here]
                scale1, scale2 = ((d * d).add_(0.81).rsqrt_() for d in (d1, d2))
                d = d1.mul_(scale1).sub_(d2.mul_(scale2))
                square = d * d
                under = square + 0.1
                total += square.div_(under).mul_(count).sum()
                if not any(wants):
                    continue
                slope = d.mul_(0.2 * 0.81).mul_(count).div_(under.square_())
                for grad, scale, sign in zip(grads, (scale1, scale2), (1, -1)):
                    if grad is not None:
                        step = scale.pow_(3).mul_(slope)
                        grad[there].add_(step, alpha=sign)
                        grad[here].sub_(step, alpha=sign)
        inside = _box(margin, margin, *first.shape[-2:])
        ctx.save_for_backward(*(g if g is None else g[inside] for g in grads))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(g if g is None else g * grad for g in ctx.saved_tensors), None, None


def _box(top: int, left: int, height: int, width: int) -> tuple[Any, ...]:
    return (..., slice(top, top + height), slice(left, left + width))


class Census(Term):
    """Soft census distance of the grey frames.

    IFRNet: patch 7, border 3, grey "mean". UPR-Net: patch 7, border 1, grey "luma_bgr".

    Args:
        patch: side of the patch.
        border: pixels on each side that count as zero.
        grey: "mean" of the channels, "luma" (BT.601), or "luma_bgr" (the same weights on
            swapped channels).
    """

    needs = frozenset({"target"})
    weights: Tensor

    def __init__(self, patch: int = 7, border: int = 3, grey: Grey = "mean") -> None:
        super().__init__()
        if patch % 2 == 0 or not 0 <= border <= patch // 2:
            raise UserError(
                f"census needs an odd patch and a border of at most half of it, "
                f"got patch={patch}, border={border}"
            )
        if grey not in GREY:
            raise UserError(f"census has grey {', '.join(GREY)}, not {grey!r}")
        self.patch, self.border = patch, border
        weights = torch.tensor(GREY[grey]).view(1, 3, 1, 1)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return `soft_census` of the grey frames."""
        first, second = ((x * self.weights).sum(1, keepdim=True) for x in frames(pred, batch))
        return soft_census(first, second, self.patch, self.border)


def geometry(first: Tensor, second: Tensor) -> Tensor:
    """3x3 soft census distance of features (N, C, h, w), channel by channel.

    Source: IFRNet, "feature space geometry consistency", eq. 10.
    """
    return soft_census(first, second, patch=3, border=1)


class Geometry(Term):
    """Decoder features keep the local geometry of the true frame's features, summed over levels.

    The true frame's features get gradient too, as published: the encoder learns from both sides.
    """

    needs = frozenset({"target", "pred.features"})

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the sum over levels of `geometry`."""
        assert batch.target is not None
        true = model.target_features(batch.inputs, batch.target)
        if len(true) != len(pred.features):
            raise ValueError(f"{len(pred.features)} feature levels against {len(true)} true ones")
        return torch.stack([geometry(x, y) for x, y in zip(pred.features, true)]).sum()


class LaplacianPyramid(Term):
    """L1 distance of Laplacian pyramids, coarse levels weighted more.

    The defaults are ST-MFNet's form, a sum that grows with batch and size. UPR-Net's and
    SoftSplat-Full's form is ``reduction="mean", down="pick", residue=False, growth=1``; that of the
    single author's SoftSplat ``levels=6, reduction="mean", kernel="gaussians", band="blur"``.

    Args:
        levels: pictures compared.
        reduction: "sum" over all pixels of a level, or their "mean".
        down: halve by 2x2 "average", or "pick" every second pixel, after the blur.
        residue: the last level is the low-pass rest; else all levels are bands.
        growth: level i has weight growth^i.
        kernel: "binomial" blurs by the 5x5 binomial, the picture mirrored at its border;
            "gaussians" by the *sum* of a Gaussian of x and one of y, its edge repeated.
        band: a picture less the next level enlarged, "expand", or less itself blurred, "blur".

    Source: Bojanowski et al., "Optimizing the Latent Space of Generative Networks", ICML 2018.
    """

    needs = frozenset({"target"})
    kernel: Tensor

    def __init__(
        self,
        levels: int = 5,
        reduction: Literal["sum", "mean"] = "sum",
        down: Literal["average", "pick"] = "average",
        residue: bool = True,
        growth: float = 2.0,
        kernel: Literal["binomial", "gaussians"] = "binomial",
        band: Literal["expand", "blur"] = "expand",
    ) -> None:
        super().__init__()
        if levels < 1 or reduction not in ("sum", "mean") or down not in ("average", "pick"):
            raise UserError(
                f"the Laplacian loss has levels >= 1, reduction sum or mean, down average or pick; "
                f"got levels={levels}, reduction={reduction!r}, down={down!r}"
            )
        if kernel not in ("binomial", "gaussians") or band not in ("expand", "blur"):
            raise UserError(
                f"the Laplacian loss has kernel binomial or gaussians and band expand or blur; "
                f"got kernel={kernel!r}, band={band!r}"
            )
        self.bands = levels - 1 if residue else levels
        self.residue, self.reduction, self.down, self.growth = residue, reduction, down, growth
        self.border = "reflect" if kernel == "binomial" else "replicate"
        self.band = band
        self.register_buffer("kernel", _blur_kernel(kernel), persistent=False)

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the weighted sum over levels; sides must be multiples of 2^bands."""
        first, second = frames(pred, batch)
        # The pyramid is linear: that of the difference is the difference of the two.
        with torch.autocast(first.device.type, enabled=False):
            levels = self.pyramid(first - second)
        norms = [getattr(level.abs(), self.reduction)() for level in levels]
        return torch.stack([self.growth**i * norm for i, norm in enumerate(norms)]).sum()

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Return the bands of ``x`` (N, C, H, W), finest first, and the rest if it is compared."""
        unit = 2**self.bands
        least = max(2 * unit, 1) if self.bands and self.border == "reflect" else unit
        if x.shape[-2] % unit or x.shape[-1] % unit or min(x.shape[-2:]) < least:
            raise UserError(
                f"the Laplacian loss takes sides that are multiples of {unit} and at least {least},"
                f" got {tuple(x.shape[-2:])}; change the crop or the loss term's levels"
            )
        levels = []
        for _ in range(self.bands):
            blurred = self._blur(x)
            low = F.avg_pool2d(blurred, 2) if self.down == "average" else blurred[..., ::2, ::2]
            if self.band == "expand":
                spread = x.new_zeros(x.shape)
                spread[..., ::2, ::2] = low
                blurred = 4 * self._blur(spread)
            levels.append(x - blurred)
            x = low
        return [*levels, x] if self.residue else levels

    def _blur(self, x: Tensor) -> Tensor:
        """Blur each channel."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, -1, 5)
        x = F.pad(x, (2, 2, 2, 2), mode=self.border)
        if kernel.shape[2] == 1:  # separable
            x = F.conv2d(x, kernel.mT, groups=channels)
        return F.conv2d(x, kernel, groups=channels)


def _blur_kernel(name: str) -> Tensor:
    """Return a row (1, 5) of a separable kernel, or a whole one (5, 5)."""
    if name == "binomial":
        return torch.tensor([[1.0, 4.0, 6.0, 4.0, 1.0]]) / 16
    row = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / 4)
    kernel = row + row[:, None]
    return kernel / kernel.sum()
