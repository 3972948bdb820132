"""What a training run says at its start and at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from midframe.data.module import Data
from midframe.engine.build import plain
from midframe.engine.expected import ExpectedCurve, comparison
from midframe.engine.module import VFIModule
from midframe.launch.check_devices import norm_note
from midframe.launch.check_parts import remarks
from midframe.launch.commands import advised
from midframe.launch.runs import Run, own_overrides
from midframe.models import zoo
from midframe.models.weights import BEST, LAST


def print_start(cfg: DictConfig, run: Run, data: Data, module: VFIModule, trainer: Any) -> None:
    """Say what is trained on what, with what, and where it goes."""
    if not trainer.is_global_zero:
        return
    count = sum(p.numel() for p in module.model.parameters())
    device = f"{trainer.accelerator.__class__.__name__.removesuffix('Accelerator')}"
    print(f"model   {cfg.model.name}, {count:,} parameters")
    for line in [] if run.checkpoint else remarks(cfg, module.model):
        print(line)
    print(f"data    {data.describe()}")
    if shared := data.shared_group():
        print(f"warning: {shared}")
    print(
        f"recipe  {cfg.trainer.max_steps} steps of {cfg.data.global_batch} samples, "
        f"lr {cfg.optimizer.lr:g}, seed {cfg.seed}"
    )
    print(f"device  {device} x {trainer.world_size}, precision {trainer.precision}")
    together = bool(cfg.trainer.get("sync_batchnorm"))
    if note := norm_note(module.model, trainer.world_size, together):
        print(note)
    print(f"run     {run.dir}" + (f", resumed at step {run.step}" if run.checkpoint else ""))


def print_end(cfg: DictConfig, run: Run, data: Data, trainer: L.Trainer) -> None:
    """Say how good it is beside the floor, what a longer run brings, and what to try next."""
    if not trainer.is_global_zero:
        return
    metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
    if metrics:
        run.save(metrics=metrics)
    run.save(steps=trainer.global_step, skipped=data.skipped)
    print()
    if data.skipped:
        lost = "samples could not be read and were left out or replaced (data.on_error=skip)."
        print(f"{data.skipped} {lost}")
    if "val/psnr" in metrics:
        gain = metrics["val/psnr"] - metrics["val/psnr_average"]
        print(
            f"After {trainer.global_step} steps: {metrics['val/psnr']:.2f} dB PSNR on held-out "
            f"samples; the plain average of the two frames has "
            f"{metrics['val/psnr_average']:.2f} dB ({gain:+.2f} dB)."
        )
    elif "val/epe" in metrics:
        print(
            f"After {trainer.global_step} steps: the flow of held-out samples is off by "
            f"{metrics['val/epe']:.2f} px (EPE); without any motion it would be by "
            f"{metrics['val/epe_still']:.2f} px."
        )
    if line := _better(trainer, metrics):
        print(line)
    for line in [*_compared(trainer), *_facts(cfg)]:
        print(line)
    for profile in run.dir.glob("*profile*.txt"):
        print(f"\n{profile}:\n{profile.read_text()}")
    print("\nWhat to try next:")
    weights = next((run.dir / x for x in (BEST, LAST) if (run.dir / x).is_file()), None)
    for command, why in next_commands(cfg, weights):
        print(f"  {command}\n      {why}")


def _better(trainer: L.Trainer, metrics: dict[str, float]) -> str | None:
    """Say where best.ckpt holds better weights than the last, which the numbers are of."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            name, best = str(callback.monitor), float(callback.best_model_score)
            if name in metrics and best != metrics[name]:
                return f"{BEST} is of an earlier step, with {name} {best:.4g}."
    return None


def _compared(trainer: L.Trainer) -> list[str]:
    """Say what the recipe's curve expects and what was measured."""
    found = (x for x in getattr(trainer, "callbacks", []) if isinstance(x, ExpectedCurve))
    return [line for callback in found for line in comparison(callback)]


def _facts(cfg: DictConfig) -> list[str]:
    """What the recipe's yaml expects: its note, and numbers with their source."""
    expected = dict(cfg.get("expected") or {})
    for name in ("curve", "tolerance"):  # which are compared, see `comparison`
        expected.pop(name, None)
    note, source = expected.pop("note", None), str(expected.pop("source", None) or "none")
    numbers = {k: v for k, v in expected.items() if isinstance(v, (int, float))}
    lines = [str(note)] if note else []
    if numbers and not source.startswith("none"):
        listed = ", ".join(f"{name} {value}" for name, value in numbers.items())
        lines.append(f"Published for the whole recipe: {listed} ({source}).")
    return lines


def _longer(cfg: DictConfig) -> tuple[str, str]:
    """This run's own command, for ten times the steps."""
    replaced = ("trainer.max_steps=", "resume=")
    kept = [o for o in own_overrides() if not o.startswith(replaced)]
    steps = f"trainer.max_steps={cfg.trainer.max_steps * 10}"
    why = "the same recipe, ten times as long"
    if cfg.data.name == "sample":  # two short clips: more of them is what is lacking
        kept = [o for o in kept if not o.startswith("data=")]
        kept += ["data=clips", "data.root=MY_VIDEOS"]
        why += ", on a folder of your own videos"
    return advised("train", *kept, steps), why


def next_commands(cfg: DictConfig, weights: Path | None) -> list[tuple[str, str]]:
    """Commands that make sense after this run, with the reason; without weights only to train."""
    trained = [] if weights is None else _with_weights(cfg, str(weights))
    board = (f"tensorboard --logdir {cfg.paths.runs}", "look at curves and pictures")
    return [*trained, _longer(cfg), board]


def _with_weights(cfg: DictConfig, path: str) -> list[tuple[str, str]]:
    """Return what to do with weights of a run, which know their model."""
    model = zoo.check_config(plain(cfg.model))
    if "events" in model.needs:
        frames, what = ["RECORDING.aedat4", "--times", "3"], "three frames in every gap"
        suite, why = ["benchmark=events_synthetic"], "measure it, and others beside"
    elif model.context == 2:
        frames, what = ["IN_640x360.yuv", "OUT.yuv"], "put frames between those of a raw video"
        suite = ["benchmark=ucf101_quintuplet", "benchmark.root=DIR"]
        why = "measure it on a published benchmark"
    else:
        frames = ["A.png", "B.png", "--out", "between"]
        what = "put a frame between two of your own (--factor 8 for seven)"
        suite = ["benchmark=middlebury", "benchmark.root=DIR"]
        why = "measure it on a published benchmark"
    return [
        (advised("interpolate", *frames, "--weights", path), what),
        (advised("evaluate", f"weights={path}", *suite), why),
    ]
