"""What a training run says at its start and at its end."""

from __future__ import annotations

import shlex
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from midframe.data.module import Data
from midframe.engine.checkpoint import BEST, LAST
from midframe.engine.module import VFIModule
from midframe.launch.runs import Run


def print_start(cfg: DictConfig, run: Run, data: Data, module: VFIModule, trainer: Any) -> None:
    """Say what is trained on what, with what, and where it goes."""
    if not trainer.is_global_zero:
        return
    count = sum(p.numel() for p in module.model.parameters())
    device = f"{trainer.accelerator.__class__.__name__.removesuffix('Accelerator')}"
    print(f"model   {cfg.model.name}, {count:,} parameters")
    print(f"data    {data.describe()}")
    print(
        f"recipe  {cfg.trainer.max_steps} steps of {cfg.data.global_batch} samples, "
        f"lr {cfg.optimizer.lr:g}, seed {cfg.seed}"
    )
    print(f"device  {device} x {trainer.world_size}, precision {trainer.precision}")
    print(f"run     {run.dir}" + (f", resumed at step {run.step}" if run.checkpoint else ""))


def print_end(cfg: DictConfig, run: Run, data: Data, trainer: L.Trainer) -> None:
    """Say how good it is beside the floor, what a longer run brings, and what to try next."""
    if not trainer.is_global_zero:
        return
    metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
    if metrics:
        run.save(metrics=metrics)
    run.save(steps=trainer.global_step, skipped=data.skipped)
    weights = run.dir / (BEST if (run.dir / BEST).is_file() else LAST)
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
    expected = dict(cfg.get("expected") or {})
    if note := expected.pop("note", None):
        print(note)
    if source := expected.pop("source", None):
        numbers = ", ".join(f"{name} {value}" for name, value in expected.items())
        print(f"Published for the whole recipe: {numbers} ({source}).")
    for profile in run.dir.glob("*profile*.txt"):
        print(f"\n{profile}:\n{profile.read_text()}")
    print("\nWhat to try next:")
    for command, why in next_commands(cfg, str(weights)):
        print(f"  {command}\n      {why}")


def _longer(cfg: DictConfig) -> tuple[str, str]:
    """This run's own command, for ten times the steps."""
    own = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    replaced = ("trainer.max_steps=", "resume=")
    kept = [o for o in own if not o.startswith(replaced)]
    steps = f"trainer.max_steps={cfg.trainer.max_steps * 10}"
    why = "the same recipe, ten times as long"
    if cfg.data.name == "sample":  # two short clips: more of them is what is lacking
        kept = [o for o in kept if not o.startswith("data=")]
        kept += ["data=clips", "data.root=MY_VIDEOS"]
        why += ", on a folder of your own videos"
    return shlex.join(["python", "train.py", *kept, steps]), why


def next_commands(cfg: DictConfig, weights: str) -> list[tuple[str, str]]:
    """Commands that make sense after this run, with the reason."""
    name, path = cfg.model.name, shlex.quote(weights)
    return [
        (
            f"midframe interpolate A.png B.png --out between --model {name} --weights {path}",
            "put a frame between two of your own (--factor 8 for seven)",
        ),
        (
            f"python evaluate.py model={name} weights={path} benchmark=middlebury "
            "benchmark.root=DIR",
            "measure it on a published benchmark",
        ),
        _longer(cfg),
        (f"tensorboard --logdir {cfg.paths.runs}", "look at curves and pictures"),
    ]
