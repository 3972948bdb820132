"""The tasks behind train.py and `midframe check`."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Sequence

import lightning as L
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.strategies.launchers import subprocess_script as _subprocess
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf, open_dict

from midframe.data.module import Data
from midframe.engine import early_stopping, stopping, wandb_logger
from midframe.engine.build import build_data, build_module, build_trainer, plain
from midframe.engine.feed import Feed
from midframe.engine.module import VFIModule
from midframe.errors import UserError
from midframe.files import write_bytes
from midframe.launch import entry, slurm
from midframe.launch.check import check, check_labels, reads_labels
from midframe.launch.check_devices import check_devices
from midframe.launch.check_teaching import check_times
from midframe.launch.children import end_children
from midframe.launch.commands import advised
from midframe.launch.disk import room_for
from midframe.launch.processes import place
from midframe.launch.ranks import Alone, together
from midframe.launch.run_checkpoints import newest_checkpoint
from midframe.launch.runs import Run, open_run, own_overrides
from midframe.launch.summary import print_end, print_start
from midframe.models.parts import digests
from midframe.models.weights import chosen_weights


def train_main(argv: Sequence[str] | None = None) -> int:
    """Train from a command line; returns the exit code."""
    return entry.run("train", train, entry.with_recipe(argv))


def train(cfg: DictConfig) -> None:
    """One training run, from a composed config to the summary at the end.

    Raises:
        SystemExit: with `stopping.STOPPED` if a signal ended it; a job of Slurm is then requeued,
            and the same command goes on.
    """
    quiet()
    check_sweep()
    try:
        with stopping.heeded(), together(cfg) as ranks, room_for(cfg):
            _train(cfg, ranks)
    except stopping.Stopped as stop:
        raise SystemExit(_after(stop, cfg)) from None


def check_sweep() -> None:
    """Refuse a search without -m, which would train a single run.

    Raises:
        UserError: with what to type.
    """
    if not HydraConfig.initialized():
        return
    choice = HydraConfig.get().runtime.choices.get("sweep")  # a job of a sweep has none
    if choice != "grid" and f"sweep={choice}" in (words := own_overrides()):
        raise UserError(
            f"sweep={choice} takes -m: {advised('train', '-m', *words)}; without it leave sweep="
            "... out"
        )


def _train(cfg: DictConfig, ranks: Alone) -> None:
    check(cfg)
    check_devices(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build_data(cfg, needs_labels=reads_labels(cfg))
    check_labels(cfg, data)
    check_times(cfg, data)
    count_steps(cfg, data)
    module = build_module(cfg)
    run = open_run(cfg, ranks)
    status, trainer = "failed", None
    try:
        with open_dict(cfg):
            cfg.run = {"dir": str(run.dir), "id": run.id, "step": run.step or None}
        if run.is_main:
            text = OmegaConf.to_yaml(cfg, resolve=True)
            write_bytes(run.dir / "config.yaml", text.encode())
        if run.is_main and run.checkpoint is None:  # of a resumed one the record has it
            run.save(**digests(chosen_weights(cfg.weights, cfg.model), plain(cfg.model)))
        run.save(data=data.fingerprint(), model=cfg.model.name, made_of=data.made_of())
        trainer = make_trainer(cfg, run.step, ranks)
        run.save(world=trainer.world_size)
        print_start(cfg, run, data, module, trainer)
        feed = Feed(data, trainer)
        fit(trainer, module, feed, run)
        if module.validated_at != trainer.global_step and trainer.enable_validation:
            trainer.validate(module, datamodule=feed, verbose=False)
        done = trainer.global_step >= cfg.trainer.max_steps or early_stopping.has_ended(trainer)
        status = "finished" if done else "stopped"
        stopping.defer()  # what is left is quick
        print_end(cfg, run, data, trainer)
    except stopping.Stopped:
        status = "preempted"
        raise
    except KeyboardInterrupt:
        status = "interrupted"
        kept = newest_checkpoint(run.dir)[1]
        raise KeyboardInterrupt(
            f"the same command continues at step {kept}" if kept else "no step was saved yet"
        ) from None
    finally:
        wandb_logger.finish(failed=status != "finished")
        run.close(status, trainer.global_step if trainer else 0)


def _after(stop: stopping.Stopped, cfg: DictConfig) -> int:
    """Say how a training was stopped, requeue its job, and return the exit code."""
    if os.environ.get("LOCAL_RANK", "0") != "0" and place() is None:
        return 0  # of a process that Lightning started; it would take another code for a crash
    if int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0:
        at = "before its first step" if stop.step is None else f"after step {stop.step}"
        print(f"stopped by {stop.name} {at}; the same command goes on there", flush=True)
        node = (cfg.get("callbacks") or {}).get("preemption") or {}
        if node.get("requeue", True) and (said := slurm.requeue(stop)):
            print(said, flush=True)
    return stopping.STOPPED


def make_trainer(cfg: DictConfig, step: int, ranks: Alone | None = None) -> L.Trainer:
    """`build_trainer`, where what Lightning refuses is the user's to mend."""
    try:
        return build_trainer(cfg, step, (ranks or Alone()).environment())
    except (ValueError, TypeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"trainer: {reason}; conf/trainer has the known keys") from error


def count_steps(cfg: DictConfig, data: Data) -> None:
    """Turn ``epochs`` into steps where no steps are given, and end with a validation.

    Without an interval of its own there is a validation after each epoch of the data set.
    """
    per_epoch = max(len(data.train_set) // cfg.data.global_batch, 1)
    if cfg.trainer.max_steps is None:
        cfg.trainer.max_steps = int(cfg.epochs * per_epoch)
    every = cfg.trainer.val_check_interval or per_epoch
    cfg.trainer.val_check_interval = min(every, cfg.trainer.max_steps)


def fit(trainer: L.Trainer, module: VFIModule, feed: Feed, run: Run) -> None:
    """Train, from the run's checkpoint if it has one."""
    checkpoint = str(run.checkpoint) if run.checkpoint else None
    try:
        trainer.fit(module, datamodule=feed, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        if not trainer.interrupted:
            raise
        # Lightning turns ctrl-C into an exit and ignores the next one
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None
    except BaseException:
        end_children(trainer)
        raise


def quiet() -> None:
    """Silence what says nothing to a user of midframe; warnings of substance stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # why all processes of a training end: one of them has died
    logging.getLogger(_subprocess.__name__).setLevel(logging.INFO)
    for text in (
        ".*srun.*",
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*isinstance\\(treespec.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*dirpath.*has changed.*",
        ".*GPU available but not used.*",
        ".*smaller than the logging interval.*",
        ".*lr_scheduler.step.*before.*optimizer.step.*",
        ".*recommended to use.*sync_dist=True.*",  # ranks gather validation rows themselves
    ):
        warnings.filterwarnings("ignore", message=text)
