"""Hydra's launcher ``midframe``: jobs of a multirun in processes of their own, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

OPTIONS: dict[str, Any] = {
    "_target_": "hydra_plugins.midframe_launcher.MidframeLauncher",
    "gpus": None,  # which to use, as CUDA_VISIBLE_DEVICES names them; null: those there are
    "at_once": None,  # most jobs at a time; null: as many as the GPUs have room for, one on a CPU
}
ConfigStore.instance().store(
    group="hydra/launcher", name="midframe", node=OPTIONS, provider="midframe"
)


class MidframeLauncher(Launcher):
    """Runs jobs side by side as GPUs allow; see `midframe.launch.multirun`.

    Attributes:
        sweep: an open `midframe.launch.sweeps.Sweep` that the jobs belong to, where a sweeper has
            one; else the launcher opens that of its jobs.
        skip: whether jobs that cannot work are left out, where others can.
    """

    skip = False

    def __init__(self, gpus: Any = None, at_once: int | None = None) -> None:
        self.options = {"gpus": gpus, "at_once": at_once}
        self.multirun: Any = None
        self.sweep: Any = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives."""
        from midframe.launch.multirun import Multirun

        self.multirun = Multirun(hydra_context, task_function, config, **self.options)

    @property
    def at_once(self) -> int:
        """How many jobs of one device run at a time."""
        return int(self.multirun.room.at_once)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a batch of jobs."""
        from midframe.launch.multirun import launch

        return launch(self.multirun, job_overrides, initial_job_idx, self.sweep, self.skip)
