"""Critics: networks that a loss brings, which learn beside the model, one step before each of its.

Lightning's automatic optimization takes one optimizer, its manual one leaves everything else to the
module: accumulation, clipping, loss scaling, schedule, the count of steps. So the model stays with
the former, and only what is extra is done by hand, in `Critics.step`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from midframe.errors import UserError
from midframe.losses.adversarial import CriticTerm, critics_of
from midframe.types import Batch, Prediction


class Critics:
    """All critics of a loss with their optimizers; in most runs there are none.

    Not a module, and copied by reference: neither weight averaging nor a wrapper for several
    devices takes hold of a critic. It computes in float32 and follows the frames to their device;
    its rate is the optimizer's own, without the schedule, as published.

    Args:
        loss: any loss.
        optimizer: ``optimizer(parameters)``, the same as the model's.
    """

    def __init__(self, loss: nn.Module, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
        self._loss = loss
        self._parts: dict[str, tuple[CriticTerm, torch.optim.Optimizer]] = {
            name: (term, optimizer(list(term.critic.parameters())))
            for name, term in critics_of(loss)
        }
        self._device: torch.device | None = None

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __deepcopy__(self, memo: dict[int, Any]) -> Critics:
        return self

    def step(self, pred: Prediction, batch: Batch, step: int) -> dict[str, Tensor]:
        """Let every critic whose term counts at this step learn from a prediction.

        Args:
            pred: of the batch; no gradient reaches it.
            batch: with targets.
            step: of the model.

        Returns:
            The critics' losses by name, detached: "adversarial_critic".
        """
        if not self._parts:
            return {}
        if pred.frame.device != self._device:
            self._start(pred.frame.device)
        losses = {}
        for name, term in critics_of(self._loss, step):
            optimizer = self._parts[name][1]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(pred.frame.device.type, enabled=False):
                loss = term.critic_loss(pred, batch)
                loss.backward()
            _average_gradients(term.critic)
            optimizer.step()
            losses[f"{name}_critic"] = loss.detach()
        return losses

    def _start(self, device: torch.device) -> None:
        """Move everything to the device; all ranks begin with the first one's weights."""
        for term, optimizer in self._parts.values():
            term.critic.to(device).train()
            optimizer.load_state_dict(optimizer.state_dict())  # moves what it keeps
            if _is_distributed():
                for value in term.critic.state_dict().values():
                    dist.broadcast(value, 0)
        self._device = device

    def state_dict(self) -> dict[str, Any]:
        """Return weights and optimizer of each critic."""
        return {
            name: {"weights": term.critic.state_dict(), "optimizer": optimizer.state_dict()}
            for name, (term, optimizer) in self._parts.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; a critic that it lacks starts anew.

        The optimizer keeps its moments; rate and decay are those of this config.

        Raises:
            UserError: for a critic of another size.
        """
        for name, (term, optimizer) in self._parts.items():
            if name not in state:
                continue
            try:
                term.critic.load_state_dict(state[name]["weights"])
            except RuntimeError as error:
                raise UserError(
                    f"the checkpoint's critic of the loss term {name} has another size; give the "
                    "data.crop of the run that wrote it, or start anew with resume=never"
                ) from error
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({**state[name]["optimizer"], "param_groups": groups})


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _average_gradients(network: nn.Module) -> None:
    """Give all ranks the mean of their gradients, as one message."""
    if not _is_distributed():
        return
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for grad, part in zip(grads, flat.split([grad.numel() for grad in grads])):
        grad.copy_(part.view_as(grad))
