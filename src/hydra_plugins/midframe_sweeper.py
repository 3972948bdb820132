"""Hydra's sweeper ``midframe``: every combination of the listed values, as one batch of jobs."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser

OPTIONS: dict[str, Any] = {
    "_target_": "hydra_plugins.midframe_sweeper.MidframeSweeper",
    "params": None,  # more overrides by key, each with its values: {optimizer.lr: "1e-4,3e-4"}
    "skip": False,  # leave out combinations that cannot work; else none starts if one cannot
}
ConfigStore.instance().store(
    group="hydra/sweeper", name="midframe", node=OPTIONS, provider="midframe"
)


class MidframeSweeper(BasicSweeper):
    """Hydra's own sweeper, which here leaves folders and the look at configs to the launcher."""

    def __init__(self, params: dict[str, str] | None = None, skip: bool = False) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.skip = skip

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs; ends the process with code 1 if any failed."""
        assert self.launcher is not None and self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (batch,) = self.split_arguments(overrides, None)
        self.launcher.skip = self.skip  # type: ignore[attr-defined]  # of both launchers
        results = self.launcher.launch(batch, initial_job_idx=0)
        return [result.return_value for result in results]
