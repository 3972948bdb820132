"""Losses that compare features of an image classifier: structure rather than pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.errors import UserError
from midframe.losses.base import Locate, Term, frames
from midframe.losses.vgg import HALVINGS, Held, find_vgg19, load_vgg19
from midframe.types import Batch, Prediction

if TYPE_CHECKING:
    from midframe.models.base import Interpolator


class VGGFeatures(Term):
    """Distance of VGG-19's features relu4_4, for fine-tuning: SoftSplat's L_F.

    Frames may exceed [0, 1]; they are not clamped. The gradient goes to the prediction alone. Under
    autocast the network runs in the narrow dtype, the distance is taken in float32.

    Args:
        weights: path of torchvision's checkpoint of VGG-19; this and the next three are those of
            `load_vgg19`.
        url: where it is downloaded from.
        sha256: its digest, or the first digits.
        cache: folder in which a download is kept.
        norm: "l1", mean absolute difference, or "l2", mean squared difference.

    Raises:
        UserError: where there are no weights, or they are not the expected ones.

    Source: Niklaus and Liu, CVPR 2018, section 3.4, and CVPR 2020.
    """

    needs = frozenset({"target"})

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        url: str | None = None,
        sha256: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        norm: Literal["l1", "l2"] = "l2",
    ) -> None:
        super().__init__()
        if norm not in ("l1", "l2"):
            raise UserError(f"the VGG loss has norm l1 or l2, not {norm!r}")
        self.norm: Callable[[Tensor, Tensor], Tensor] = F.l1_loss if norm == "l1" else F.mse_loss
        self.vgg = Held(load_vgg19(weights, url, sha256, cache))

    @classmethod
    def check_files(cls, options: Mapping[str, Any], locate: Locate) -> None:
        """Raise `UserError` where there are no weights and no way to them."""
        find_vgg19(**{key: options.get(key) for key in ("weights", "url", "sha256", "cache")})

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the mean over all features; sides must be at least 8."""
        frame, target = frames(pred, batch)
        if min(frame.shape[-2:]) < 2**HALVINGS:
            raise UserError(
                f"the VGG loss takes frames of at least {2**HALVINGS} pixels a side, "
                f"got {tuple(frame.shape[-2:])}; use a larger crop"
            )
        with torch.no_grad():
            wanted = self.vgg(target).float()
        return self.norm(self.vgg(frame).float(), wanted)
