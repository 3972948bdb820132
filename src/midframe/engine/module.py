"""The only LightningModule: enrich the batch, run the model, compute the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from midframe.engine.adversarial import Critics
from midframe.engine.chance import draw_by
from midframe.engine.enrich import Enrichers
from midframe.engine.validation import Validation, mean_epe
from midframe.metrics import psnr
from midframe.models.base import Interpolator
from midframe.types import Batch, Prediction


class VFIModule(L.LightningModule):
    """Trains any `Interpolator` with any loss.

    Args:
        model: the network.
        loss: ``loss(pred, batch, model, step) -> LossOutput``.
        optimizer: ``optimizer(parameters) -> torch.optim.Optimizer``.
        schedule: factor on the learning rate by step, or None; see `midframe.engine.schedule`.
        enrichers: steps that complete the batch, such as a teacher.
        channels_last: memory layout of the weights, which the features follow.
        compiled: run the model through torch.compile.
        seed: what global generators draw follows from it, the step and the rank; None leaves them.
    """

    def __init__(
        self,
        model: Interpolator,
        loss: nn.Module,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[[int], float] | None = None,
        enrichers: Enrichers | None = None,
        channels_last: bool = False,
        compiled: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.critics = Critics(loss, optimizer)
        self.enrich = enrichers or Enrichers(context=model.context)
        self.validation = Validation()
        self.validated_at = -1  # the step of the last validation
        self._first: int | None = None  # step that this process took first
        self._optimizer = optimizer
        self._schedule = schedule
        self._seed = seed
        self._step, self._parts = -1, 0  # the step at hand, and how many parts of it have begun
        self._sums: dict[str, Tensor] = {}  # of what is logged, over the parts of a step
        for name, weight in model.named_parameters():
            if name in model.idle:  # never gets a gradient, for which several devices would wait
                weight.requires_grad_(False)
            if channels_last and weight.ndim == 4:  # 3D convolutions are faster as they are
                weight.data = weight.data.to(memory_format=torch.channels_last)
        if compiled:
            self.model.compile()

    def on_train_batch_start(self, *args: Any) -> None:
        """Begin a step, or a further part of one where gradients are accumulated."""
        self._parts = self._parts + 1 if self.global_step == self._step else 1
        self._step = self.global_step
        if self._seed is not None:
            draw_by(self._seed, self._step, self._parts, self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The whole training logic."""
        batch = self.enrich(batch.float())  # uint8 until here: a quarter of the bytes travel
        pred = self.model(batch.inputs, **self.model.fixed_hints)
        learnt = self.critics.step(pred, batch, self.global_step)  # adversarial losses only
        out = self.loss(pred, batch, self.model, self.global_step)
        if self._is_looked_at():
            self._log_step(pred, batch, out.total, {**out.terms, **learnt})
        return {"loss": out.total, "pred": pred.map(Tensor.detach), "batch": batch}

    def _is_looked_at(self) -> bool:
        """Whether this step's values reach a logger, or are the first that a person sees.

        To measure and log every step takes a twentieth of a small one. Lightning's own count of
        steps, by which it writes, may slip on a resume, so its steps and ours are both looked at.
        """
        if self._trainer is None:  # a step that somebody takes without one
            return True
        if self._first is None:
            self._first = self.global_step
        done, every = self.global_step + 1, max(self.trainer.log_every_n_steps, 1)
        due = done in (self._first + 1, self.trainer.max_steps) or done % every == 0
        connector = getattr(self.trainer, "_logger_connector", None)
        return due or bool(getattr(connector, "should_update_logs", True))

    def _log_step(
        self, pred: Prediction, batch: Batch, total: Tensor, parts: Mapping[str, Tensor]
    ) -> None:
        """Log loss, terms and error: means over all samples of a step, whoever computes them."""
        values = {"loss": total.detach(), **parts}
        with torch.no_grad():
            if self.model.learns == "flow":
                error = mean_epe(pred, batch)
            elif batch.target is not None:
                error = psnr(pred.frame.flatten(0, 1).float(), batch.target.flatten(0, 1)).mean()
            else:
                error = None
        name = "epe" if self.model.learns == "flow" else "psnr"
        if error is not None:
            values[name] = error
        size = len(batch)
        self._log_row(self.global_step)
        for key, value in self._means(values).items():
            self.log(f"train/{key}", value, prog_bar=key in ("loss", name), batch_size=size)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/lr", rate, batch_size=size)

    def _means(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return means over the parts of a step so far and, where they are logged, over ranks."""
        before = self._sums if self._parts > 1 else {}
        self._sums = {key: before.get(key, 0) + value.float() for key, value in values.items()}
        means = {key: value / max(self._parts, 1) for key, value in self._sums.items()}
        done, every = self.global_step + 1, max(self.trainer.log_every_n_steps, 1)
        if self.trainer.world_size > 1 and (done % every == 0 or done >= self.trainer.max_steps):
            both = torch.stack(list(means.values()))
            reduced = self.trainer.strategy.reduce(both, reduce_op="mean")
            means = dict(zip(means, reduced.unbind()))
        return means

    def _log_row(self, number: int) -> None:
        """Say which row of the loggers this is: Lightning's own count may slip on a resume."""
        self.log("step", float(number), batch_size=1)

    def on_train_batch_end(self, *args: Any) -> None:
        """End with a validation inside of the fit, where ``best.ckpt`` sees it."""
        if self.global_step >= self.trainer.max_steps:
            self.trainer.should_stop = True

    def on_validation_epoch_start(self) -> None:
        """Forget the rows of the previous validation."""
        self.validation.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Measure the prediction and the frame average on the same samples."""
        batch = self.enrich.validation(batch.float())
        pred = self.model.interpolate(batch.inputs)
        self.validation.add(pred, batch)
        return {"pred": pred, "batch": batch}

    def on_validation_epoch_end(self) -> None:
        """Log means over images, once each, whatever rank saw them."""
        self.validated_at = self.global_step
        self._log_row(max(self.global_step - 1, 0))
        means = self.validation.means()
        for name, value in means.items():
            shown = name in ("psnr", "epe")
            self.log(f"val/{name}", value, prog_bar=shown, rank_zero_only=False)
        if self.trainer.state.fn == "fit" and hasattr(self._schedule, "observe"):
            self._schedule.observe(means)
            _set_rate(self.lr_schedulers(), self.global_step)  # before checkpoints are written

    def configure_optimizers(self) -> Any:
        """One optimizer over the trainable weights, its rate set by step."""
        optimizer, schedule = self._optimization()
        if schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _optimization(self) -> tuple[torch.optim.Optimizer, LambdaLR | None]:
        optimizer = self._optimizer([p for p in self.model.parameters() if p.requires_grad])
        if self._schedule is None:
            return optimizer, None
        factor = self._schedule
        # A plain function is not part of the scheduler's state, so a resumed run follows the
        # schedule of its config: more steps stretch it.
        return optimizer, LambdaLR(optimizer, lambda step: factor(step))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of: critics, and a schedule that has a memory."""
        if self.critics:
            checkpoint["critics"] = self.critics.state_dict()
        if hasattr(self._schedule, "state_dict"):
            checkpoint["schedule"] = self._schedule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the moments of the optimizer; rate, decay and schedule are those of this config."""
        self.critics.load_state_dict(checkpoint.get("critics", {}))
        if hasattr(self._schedule, "load_state_dict") and "schedule" in checkpoint:
            self._schedule.load_state_dict(checkpoint["schedule"])
        step = checkpoint["global_step"]
        optimizer, schedule = self._optimization()
        if schedule is not None:
            rates = _set_rate(schedule, step)
            moved = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
            checkpoint["lr_schedulers"] = [{**schedule.state_dict(), **moved}]
        for state in checkpoint["optimizer_states"]:
            state["param_groups"] = optimizer.state_dict()["param_groups"]


def _set_rate(schedule: LambdaLR, step: int) -> list[float]:
    """Give the optimizer of a schedule its rates at a step, and return them."""
    rates = [base * fn(step) for base, fn in zip(schedule.base_lrs, schedule.lr_lambdas)]
    for group, rate in zip(schedule.optimizer.param_groups, rates):
        group["lr"] = rate
    schedule._last_lr = rates
    return rates
