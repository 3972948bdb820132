"""Adversarial loss of ST-MFNet: a discriminator that sees a frame and how it changes in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.errors import UserError
from midframe.losses.base import Term, WeightedSum, frames, precise
from midframe.types import Batch, Prediction

if TYPE_CHECKING:
    from midframe.models.base import Interpolator

CHANNELS = (8, 8, 16, 16, 32, 32, 64, 64)  # of the eight blocks; every second one halves the size
FACTOR = 16


class SpatioTemporalDiscriminator(nn.Module):
    """Tells true frames from predicted ones, by the frame and by its change from and to neighbours.

    Two stacks of eight blocks (3x3 convolution, batch normalisation, LeakyReLU), one on the frame,
    one on [frame - before, frame - after]; their features, flattened, go through two linear layers.
    State dict keys are those of the published code.

    Args:
        size: (height, width) of the frames, multiples of 16.

    Source: Danier et al., "ST-MFNet", CVPR 2022 (STGAN in its code).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.s_features = _stack(3)
        self.t_features = _stack(6)
        cells = (size[0] // FACTOR) * (size[1] // FACTOR)
        self.classifier = nn.Sequential(
            nn.Linear(2 * CHANNELS[-1] * cells, 1024),
            nn.LeakyReLU(0.2),
            nn.Linear(1024, 1),
        )

    def forward(self, before: Tensor, frame: Tensor, after: Tensor) -> Tensor:
        """Return logits (N, 1), high for a true frame; frames are (N, 3, H, W)."""
        space = self.s_features(frame).flatten(1)
        time = self.t_features(torch.cat((frame - before, frame - after), 1)).flatten(1)
        out: Tensor = self.classifier(torch.cat((space, time), 1))
        return out


def _stack(inputs: int) -> nn.Sequential:
    blocks = []
    for number, (before, after) in enumerate(pairwise((inputs, *CHANNELS))):
        stride = 1 + number % 2
        blocks.append(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            )
        )
    return nn.Sequential(*blocks)


class _Held:
    """Keeps a network out of a module's parameters, and out of its copies."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held:
        return self


class CriticTerm(Term):
    """A term with a critic: a network of its own that learns beside the model.

    The critic is no submodule, so it belongs neither to the model's weights nor to what is averaged
    or wrapped for several devices. Who trains calls `critic_loss` and takes a step of the critic
    before computing the term, which holds the model against the critic as it then is.

    Args:
        critic: the network; it stays in train mode.
    """

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self._held = _Held(critic)

    @property
    def critic(self) -> nn.Module:
        """The network that learns beside the model."""
        return self._held.network

    def critic_loss(self, pred: Prediction, batch: Batch) -> Tensor:
        """Return what the critic has to minimise; no gradient reaches the prediction."""
        raise NotImplementedError(f"{type(self).__name__} does not define critic_loss")


class Adversarial(CriticTerm):
    """How surely the discriminator tells the predicted frames from true ones.

    Binary cross-entropy: the discriminator's is BCE(D(prediction), 0) + BCE(D(target), 1), the
    model's BCE(D(prediction), 1). Computed in float32 whatever the model trains in.

    Args:
        size: the frames' side or (height, width), as data.crop.

    Raises:
        UserError: for a size that is no multiple of 16, as well as for frames of another size.
    """

    needs = frozenset({"target"})

    def __init__(self, size: int | Sequence[int]) -> None:
        sides = [size] if isinstance(size, int) else list(size or ())
        height, width = sides * 2 if len(sides) == 1 else sides or (0, 0)
        if height < FACTOR or height % FACTOR or width < FACTOR or width % FACTOR:
            raise UserError(
                f"the adversarial loss takes frames whose sides are multiples of {FACTOR}, not "
                f"{size}; change data.crop"
            )
        super().__init__(SpatioTemporalDiscriminator((height, width)))
        self.size = (height, width)

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the model's part; no gradient reaches the discriminator."""
        frame, _ = frames(pred, batch)
        weights = list(self.critic.parameters())
        for weight in weights:
            weight.requires_grad_(False)
        try:
            logits = self._judge(frame, batch)
        finally:
            for weight in weights:
                weight.requires_grad_(True)
        return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))

    def critic_loss(self, pred: Prediction, batch: Batch) -> Tensor:
        """Return the discriminator's part; no gradient reaches the prediction."""
        frame, target = frames(pred, batch)
        false, true = self._judge(frame.detach(), batch), self._judge(target, batch)
        wrong = F.binary_cross_entropy_with_logits(false, torch.zeros_like(false))
        return wrong + F.binary_cross_entropy_with_logits(true, torch.ones_like(true))

    def _judge(self, frame: Tensor, batch: Batch) -> Tensor:
        """Return the logits of frames (B*T, 3, H, W) between the two middle inputs."""
        if tuple(frame.shape[-2:]) != self.size:
            raise UserError(
                f"the discriminator is made for frames of {self.size[0]}x{self.size[1]}, got "
                f"{frame.shape[-2]}x{frame.shape[-1]}; set loss.terms.NAME.term.size to data.crop"
            )
        times = batch.inputs.t.shape[1]
        before, after = (x.repeat_interleave(times, 0) for x in precise(*batch.inputs.pair))
        with torch.autocast(frame.device.type, enabled=False):
            logits: Tensor = self.critic(before, frame, after)
        return logits


def critics_of(loss: nn.Module, step: int | None = None) -> Iterator[tuple[str, CriticTerm]]:
    """Yield the terms with a critic of any loss, by their names in it.

    With a ``step``, those whose weight is 0 at this step are left out.
    """
    for path, part in loss.named_modules():
        if isinstance(part, CriticTerm):
            name = path.removeprefix("terms.") or "critic"
            weights = loss.weights if isinstance(loss, WeightedSum) else {}
            if step is None or name not in weights or weights[name](step) != 0:
                yield name, part
