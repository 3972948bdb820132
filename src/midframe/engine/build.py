"""From config nodes to objects: trainer, callbacks, loggers and the training module."""

from __future__ import annotations

import inspect
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.callbacks import Checkpoint
from omegaconf import DictConfig, OmegaConf

from midframe.data.module import Data
from midframe.engine.checkpoint_files import CheckpointFiles
from midframe.engine.enrich import Enricher, Enrichers, MotionOfFrames
from midframe.engine.loggers import MetricsCsv
from midframe.engine.module import VFIModule
from midframe.engine.sync_norm import SyncNorms
from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.models.inference import has_bf16_units
from midframe.models.motion import FIELD, motion_of
from midframe.models.weights import chosen_weights

# Keys of conf/trainer that are ours; all others go to lightning.Trainer as they are.
_OWN = ("precision", "threads", "checkpoint_every")
# What the loop rests on, so that no config can say otherwise.
_FIXED: dict[str, Any] = {
    "max_epochs": -1,
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
    "enable_model_summary": False,
}
# What follows from conf/callbacks and conf/logger.
_FOLLOWING = ("enable_checkpointing", "enable_progress_bar", "callbacks", "logger")


def build_data(cfg: DictConfig, *, needs_labels: bool = True) -> Data:
    """Build the data set and index it, so that what lacks shows now; see `Data.needs_labels`."""
    data: Data = instantiate(cfg.data, needs_labels=needs_labels)
    try:
        for split in (data.split, data.val.split):
            data.clips(split)
    except UserError as error:
        context = cfg.get("teacher", {}).get("context", 1)
        if context <= zoo.check_config(plain(cfg.model)).context:
            raise
        raise UserError(f"{error} (teacher={cfg.teacher.name} reads {2 * context})") from error
    return data


def build_module(cfg: DictConfig) -> VFIModule:
    """Build model, loss, optimizer and enrichers, and load initial weights."""
    model = zoo.build({**plain(cfg.model), "weights": chosen_weights(cfg.weights, cfg.model)})
    model.train()
    return VFIModule(
        model=model,
        loss=instantiate(cfg.loss),
        # plain lists and numbers: what an optimizer keeps goes into checkpoints
        optimizer=instantiate(cfg.optimizer.build, _convert_="all"),
        schedule=instantiate(cfg.optimizer.schedule) if cfg.optimizer.get("schedule") else None,
        enrichers=Enrichers(build_enrichers(cfg, model), model.context),
        channels_last=cfg.channels_last,
        compiled=cfg.compile,
        seed=cfg.seed,
    )


def build_enrichers(cfg: DictConfig, model: Interpolator) -> list[Enricher]:
    """Build what completes a batch: motion where the model needs it, then the teachers' part."""
    motion = [MotionOfFrames(motion_of(plain(cfg.model)))] if FIELD in model.needs else []
    return [*motion, *(instantiate(node) for node in cfg.teacher.enrich)]


def trainer_options() -> set[str]:
    """Return the keys that conf/trainer may have."""
    theirs = set(inspect.signature(L.Trainer).parameters) - {*_FIXED, *_FOLLOWING}
    return theirs | set(_OWN)


def build_trainer(
    cfg: DictConfig, step: int = 0, environment: ClusterEnvironment | None = None
) -> L.Trainer:
    """Build Lightning's trainer with the callbacks and loggers of the config.

    Args:
        cfg: of a training.
        step: the step that it goes on from.
        environment: which process of several this is; None where Lightning finds out.
    """
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    options = {k: v for k, v in plain(cfg.trainer).items() if k not in _OWN}
    options["val_check_interval"] *= options["accumulate_grad_batches"]  # Lightning counts batches
    plugins: list[Any] = [CheckpointFiles(), *([environment] if environment else [])]
    if options.get("sync_batchnorm") and not _on_gpus(options["accelerator"]):
        plugins.append(SyncNorms())  # PyTorch's own is for GPUs
        options["sync_batchnorm"] = False
    options.setdefault("plugins", plugins)
    if isinstance(options["profiler"], dict):
        options["profiler"] = instantiate(cfg.trainer.profiler)
    callbacks = [instantiate(node) for node in (cfg.callbacks or {}).values() if node]
    loggers = [instantiate(node) for node in (cfg.logger or {}).values() if node]
    for logger in loggers:
        if isinstance(logger, MetricsCsv) and step:
            logger.continue_from(step)
    torch.set_float32_matmul_precision("high")  # TF32 for what stays in float32 on a GPU
    return L.Trainer(
        **options,
        precision=resolve_precision(cfg.trainer.precision, cfg.trainer.accelerator),
        **_FIXED,
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in callbacks),
        enable_progress_bar=any(isinstance(c, L.pytorch.callbacks.ProgressBar) for c in callbacks),
        callbacks=callbacks,
        logger=loggers or False,
    )


def _on_gpus(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def resolve_precision(precision: str, accelerator: str) -> str:
    """Turn "auto" and "fast" into what Lightning takes.

    Both mean bf16-mixed on a GPU that has it. On a CPU "auto" is 32-true, so that numbers do not
    depend on the processor; "fast" is bf16-mixed where the processor multiplies bfloat16 itself.
    """
    if precision not in ("auto", "fast"):
        return str(precision)
    if _on_gpus(accelerator):
        # earlier ones than Ampere emulate it, slower than float32
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if native else "32-true"
    return "bf16-mixed" if precision == "fast" and has_bf16_units() else "32-true"


def plain(node: Any) -> dict[str, Any]:
    """A config node as a plain, resolved dict."""
    result = OmegaConf.to_container(node, resolve=True)
    assert isinstance(result, dict)
    return {str(k): v for k, v in result.items()}
