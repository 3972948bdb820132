"""Hydra's sweeper ``midframe_optuna``: a search for the best settings; see conf/sweep."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

OPTIONS: dict[str, Any] = {
    "_target_": "hydra_plugins.midframe_optuna.MidframeOptuna",
    "space": {},  # by key: {float: [low, high]}, log, int, int_log, {choice: [...]}; step
    "n_trials": 20,
    "metric": "val/psnr",  # a column of metrics.csv
    "direction": None,  # maximize | minimize; null follows from the metric
    "take": "best",  # of a run's values; or last
    "sampler": {"name": "tpe", "seed": 0},  # or random; more is handed to Optuna's sampler
    "batch": None,  # trials proposed at once; null: as many as run at once
}
ConfigStore.instance().store(
    group="hydra/sweeper", name="midframe_optuna", node=OPTIONS, provider="midframe"
)


class MidframeOptuna(Sweeper):
    """Proposes trials and runs them by the launcher; see `midframe.launch.search_run`."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.search: Any = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives."""
        from hydra.core.plugins import Plugins

        from midframe.launch.search_run import SearchRun

        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.search = SearchRun(hydra_context, task_function, config, launcher, self.options)

    def sweep(self, arguments: list[str]) -> Any:
        """Run trials until there are enough; returns the best value."""
        return self.search.run(arguments)
