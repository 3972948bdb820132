"""Losses that compare pixels one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from midframe.errors import UserError
from midframe.losses.base import Term, frames
from midframe.types import Batch, Prediction

if TYPE_CHECKING:
    from midframe.models.base import Interpolator


def charbonnier(difference: Tensor, mask: Tensor | None = None, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(d^2 + epsilon^2), a smooth L1 norm.

    Args:
        difference: (N, C, H, W).
        mask: (N, 1, H, W) weight of each pixel, or None; the mean is then the weighted one.
        epsilon: below it the loss is quadratic.

    Source: Lai et al., "Deep Laplacian Pyramid Networks", CVPR 2017; IFRNet eq. 7.
    """
    value = (difference * difference + epsilon**2).sqrt()
    if mask is None:
        return value.mean()
    # As published: the 1e-9 keeps an empty mask finite.
    return (value * mask).mean() / (mask.mean() + 1e-9)


class _Pixel(Term):
    needs = frozenset({"target"})

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the mean over all pixels."""
        frame, target = frames(pred, batch)
        return self.measure(frame - target)

    def measure(self, difference: Tensor) -> Tensor:
        """Return the mean of a difference (B, T, 3, H, W) over all pixels."""
        raise NotImplementedError(f"{type(self).__name__} does not define measure")


class Charbonnier(_Pixel):
    """Mean of sqrt(d^2 + epsilon^2) over all pixels; see `charbonnier`."""

    def __init__(self, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.epsilon = epsilon

    def measure(self, difference: Tensor) -> Tensor:
        """Apply `charbonnier`."""
        return charbonnier(difference, epsilon=self.epsilon)


class L1(_Pixel):
    """Mean absolute difference."""

    def measure(self, difference: Tensor) -> Tensor:
        """Apply the norm."""
        return difference.abs().mean()


class L2(_Pixel):
    """Mean squared difference."""

    def measure(self, difference: Tensor) -> Tensor:
        """Apply the norm."""
        return (difference * difference).mean()


class LogL2(_Pixel):
    """Log of each frame's mean squared difference, 10 log10: PSNR in dB with the sign turned.

    A decibel counts the same in frames that are hard and in those that are nearly right, which the
    mean over all pixels forgets beside the hard ones.

    Args:
        epsilon: added to the mean; 1e-5 ends the gain at 50 dB, of frames that are right already.

    Raises:
        UserError: for an epsilon that leaves the log of nothing.

    Source: the PSNR loss of Chen et al., "HINet", CVPRW 2021.
    """

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        if not epsilon > 0:
            raise UserError(f"epsilon={epsilon} must be above 0: a frame may be without an error")
        self.epsilon = epsilon

    def measure(self, difference: Tensor) -> Tensor:
        """Apply the norm."""
        of_frames = (difference * difference).mean((-3, -2, -1))
        return 10 * (of_frames + self.epsilon).log10().mean()
