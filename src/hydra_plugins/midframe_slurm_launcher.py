"""Hydra's launcher ``midframe_slurm``: every job of a multirun is one of Slurm; launcher=slurm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

OPTIONS: dict[str, Any] = {
    "_target_": "hydra_plugins.midframe_slurm_launcher.MidframeSlurmLauncher"
}
ConfigStore.instance().store(
    group="hydra/launcher", name="midframe_slurm", node=OPTIONS, provider="midframe"
)


class MidframeSlurmLauncher(Launcher):
    """Submits jobs and waits for them; see `midframe.launch.slurm_jobs`.

    Attributes:
        sweep: an open `midframe.launch.sweeps.Sweep` that the jobs belong to, where a sweeper has
            one; else the launcher opens that of its jobs.
        skip: whether jobs that cannot work are left out, where others can.
    """

    skip = False

    def __init__(self) -> None:
        self.cluster: Any = None
        self.sweep: Any = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives."""
        from midframe.launch.slurm_jobs import Cluster

        self.cluster = Cluster(hydra_context, task_function, config)

    @property
    def at_once(self) -> int:
        """How many trials a search proposes at a time."""
        return int(self.cluster.options.at_once or 1)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit a batch of jobs; all count as done where nobody waits for them."""
        from midframe.errors import UserError
        from midframe.launch.multirun import launch

        waits = self.cluster.options.wait
        if self.sweep is not None and not waits:
            raise UserError("a search needs results to go on: launcher.wait=false is for lists")
        ended = launch(self.cluster, job_overrides, initial_job_idx, self.sweep, self.skip)
        for one in ended if not waits else []:
            one.status = JobStatus.COMPLETED
        return ended
