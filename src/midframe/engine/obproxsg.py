"""OBProx-SG: training by stochastic gradients that leaves most weights exactly zero.

Chen, Ding, Ji, Wang, Wang, Tu, Liang, "Orthant Based Proximal Stochastic Gradient Method for
l1-Regularized Optimization", ECML 2020, arXiv 2004.03639: minimises f(x) + lambda * |x|_1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from midframe.errors import UserError

_COUNT = "steps"  # an entry of the state that no parameter owns: torch.optim keeps it as it is


class OBProxSG(Optimizer):
    """First proximal steps, which find weights that may be zero, then steps within an orthant.

    With x the weights, g their gradient, and ``a = lr * lambda_``:

    - proximal step: ``y = x - lr * g``; ``x = sign(y) * max(|y| - a, 0)``.
    - orthant step: with ``z = sign(x)``, ``y = x - lr * (g + lambda_ * z)``, and zero where z is:
      what is zero stays it. Then all y with ``y * z <= eps`` become zero: those that left the
      orthant or are small.

    A step is proximal while ``(step // epoch_size) % (prox_epochs + orthant_epochs) <
    prox_epochs``, where steps count from 0 over the whole life of the optimizer. The count is in
    ``state_dict``, apart from the parameters' groups, so that a resumed run is in the phase that
    an unbroken one would be in, also where groups are taken from a changed config.

    Weights without a gradient are left alone. All others are treated alike: biases and
    normalisation too, as published.

    Args:
        params: parameters or groups of them, which may have options of their own.
        lr: the rate. There is no momentum and no scaling by moments, so it takes more than Adam's.
        lambda_: weight of the L1 norm.
        eps: weights that end an orthant step at or below this become zero.
        epoch_size: optimizer steps of an epoch.
        prox_epochs: epochs of proximal steps (N_P); math.inf never ends them.
        orthant_epochs: epochs of orthant steps (N_O) before proximal ones come again; math.inf
            never returns to them.

    Raises:
        UserError: for values out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        lambda_: float = 1e-4,
        eps: float = 1e-4,
        *,
        epoch_size: int = 1,
        prox_epochs: float = math.inf,
        orthant_epochs: float = math.inf,
    ) -> None:
        for name, value in (("lr", lr), ("lambda_", lambda_), ("eps", eps)):
            if not 0 <= value < math.inf:
                raise UserError(f"OBProxSG: {name}={value} must be a number from 0 on")
        phases = (prox_epochs, orthant_epochs)
        if epoch_size < 1 or min(phases) < 0 or max(phases) == 0:
            raise UserError(
                f"OBProxSG: epoch_size={epoch_size} must be 1 or more; prox_epochs={prox_epochs} "
                f"and orthant_epochs={orthant_epochs} must not be negative, nor both 0"
            )
        defaults = {"lr": lr, "lambda_": lambda_, "eps": eps, "epoch_size": epoch_size}
        defaults |= {"prox_epochs": prox_epochs, "orthant_epochs": orthant_epochs}
        super().__init__(params, defaults)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        state: dict[Any, Any] = self.state
        return int(state[_COUNT]["count"]) if _COUNT in state else 0

    @property
    def phase(self) -> str:
        """What the next step is, of the first group: "prox" or "orthant"."""
        return _phase(self.param_groups[0], self.steps)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; returns what ``closure``, which computes the gradients anew, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = _prox if _phase(group, self.steps) == "prox" else _orthant
            for weights, grads in _alike(group["params"]):
                update(weights, grads, group["lr"], group["lambda_"], group["eps"])
        state: dict[Any, Any] = self.state
        state[_COUNT] = {"count": self.steps + 1}
        return loss


def over_run(
    params: Iterable[Any],
    lr: float = 1e-3,
    lambda_: float = 1e-4,
    eps: float = 1e-4,
    *,
    steps: int | None,
    prox: float = 0.1,
    prox_epochs: float | None = None,
    epochs: float | None = None,
) -> OBProxSG:
    """Return an optimizer whose first phase is a share of a run, and whose second is the rest.

    Args:
        params: see `OBProxSG`, as all that is not named here.
        lr: see there.
        lambda_: see there.
        eps: see there.
        steps: of the run; None where they are not known yet.
        prox: share of the steps that are proximal; published: int(epochs / 10) epochs.
        prox_epochs: the same as a number of the run's epochs, in place of ``prox``.
        epochs: that the run stands for.

    Raises:
        UserError: for values out of range.
    """
    if prox_epochs is not None:
        if not epochs or not 0 <= prox_epochs <= epochs:
            raise UserError(
                f"optimizer.prox_epochs={prox_epochs} is a number of the run's epochs, which are "
                f"epochs={epochs}; give both, or optimizer.prox as a share"
            )
        prox = prox_epochs / epochs
    if not 0 <= prox <= 1:
        raise UserError(f"optimizer.prox={prox} is a share of the run: a number from 0 to 1")
    # a product such as 0.1 * 30 lies above or below the whole number it stands for
    first = math.inf if steps is None else math.floor(prox * steps + 1e-9)
    return OBProxSG(params, lr, lambda_, eps, prox_epochs=first)


def _phase(group: Mapping[str, Any], steps: int) -> str:
    turn = group["prox_epochs"] + group["orthant_epochs"]
    epoch = (steps // group["epoch_size"]) % turn  # x % inf is x
    return "prox" if epoch < group["prox_epochs"] else "orthant"


def _alike(params: Iterable[Tensor]) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """Yield weights that have a gradient, and these, by device and dtype: in few large calls."""
    found: dict[Any, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    for weight in params:
        if weight.grad is None:
            continue
        if weight.grad.is_sparse:
            raise RuntimeError("OBProxSG takes no sparse gradients")
        weights, grads = found[weight.device, weight.dtype]
        weights.append(weight)
        grads.append(weight.grad)
    return found.values()


def _prox(
    weights: list[Tensor], grads: list[Tensor], lr: float, lambda_: float, eps: float
) -> None:
    tried = torch._foreach_sub(weights, torch._foreach_mul(grads, lr))
    signs = torch._foreach_sign(tried)
    torch._foreach_abs_(tried)
    torch._foreach_sub_(tried, lr * lambda_)
    torch._foreach_clamp_min_(tried, 0.0)
    torch._foreach_mul_(tried, signs)
    # by the difference, as published, which decides the last bit
    torch._foreach_sub_(tried, weights)
    torch._foreach_add_(weights, tried)


def _orthant(
    weights: list[Tensor], grads: list[Tensor], lr: float, lambda_: float, eps: float
) -> None:
    signs = torch._foreach_sign(weights)
    slopes = torch._foreach_add(grads, torch._foreach_mul(signs, lambda_))
    torch._foreach_mul_(slopes, lr)
    torch._foreach_sub_(weights, slopes)
    # keep is 1 where y * z > eps, else 0: so too where z is 0, and zeros stay zero
    keep = torch._foreach_mul(weights, signs)
    torch._foreach_sub_(keep, eps)
    torch._foreach_sign_(keep)
    torch._foreach_clamp_min_(keep, 0.0)
    torch._foreach_mul_(weights, keep)
    torch._foreach_add_(weights, 0.0)  # -0 becomes 0
