"""What is wrong with the devices of a training on this machine; not asked before it trains here."""

from __future__ import annotations

import os

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from midframe.errors import UserError

_GPU = ("gpu", "cuda")


def check_devices(cfg: DictConfig) -> None:
    """Hold a config against the GPUs that there are.

    Raises:
        UserError: if it asks for GPUs that there are not.
    """
    asked, there = cfg.trainer.accelerator, _gpus()
    if asked in _GPU and not there:
        raise UserError(
            f"trainer.accelerator={asked}: there is no GPU here that PyTorch can use (`midframe "
            "doctor` says why); give trainer=cpu, or trainer=ddp_cpu for several processes"
        )
    on_gpus = asked in _GPU or (asked == "auto" and there > 0)
    devices = cfg.trainer.devices
    if OmegaConf.is_list(devices):
        missing = sorted({int(x) for x in devices if not 0 <= int(x) < there}) if on_gpus else []
        if missing:
            raise UserError(
                f"trainer.devices={list(devices)}: there is no GPU {missing[0]} here; they are "
                f"numbered 0 to {there - 1}"
            )
    elif on_gpus and isinstance(devices, int) and devices > there:
        mend = f"give trainer.devices={there}, the global batch stays the same"
        if "SLURM_PROCID" in os.environ:  # where srun gives each task a GPU, it hides the others
            mend = f"ask Slurm for --gpus-per-node={devices} and no --gpus-per-task, or {mend}"
        raise UserError(f"trainer.devices={devices}: there are {there} GPUs here; {mend}")


def norm_note(model: nn.Module, world: int, synchronised: bool) -> str | None:
    """Say that several devices normalise their own samples each, where they do.

    Args:
        model: that is trained.
        world: number of devices.
        synchronised: ``trainer.sync_batchnorm``.
    """
    count = sum(isinstance(layer, _BatchNorm) and layer.training for layer in model.modules())
    if world == 1 or synchronised or not count:
        return None
    return (
        f"note: {count} BatchNorm layers take means over the samples of one device each, so the "
        f"curve differs from that of one device; trainer.sync_batchnorm=true takes all {world}"
    )


def _gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
