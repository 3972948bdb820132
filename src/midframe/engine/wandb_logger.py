"""Weights & Biases: online with a key, offline without one; never a question, never an error."""

from __future__ import annotations

import json
import netrc
import os
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import yaml
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from midframe.errors import UserError

STEP = "trainer/global_step"
MODES = ("auto", "online", "offline", "disabled")
# Of run.json, what a page of the run should show beside the configuration.
_SHOWN = ("id", "command", "revision", "projects", "versions", "data", "seeds", "world", "hardware")


class Wandb(Logger):
    """Log to Weights & Biases under the id that ``run.json`` keeps, so a resume goes on there.

    The configuration is read from ``config.yaml`` and what else is recorded from ``run.json``, so
    a page of the run holds what the directory holds; ``diff.patch`` is sent along. Where the
    server cannot be reached in time, the run is kept offline, and a line says so.

    Args:
        directory: of the run; wandb keeps its files below it.
        run_id: what the run is called.
        project: wandb's project.
        mode: "online", "offline", "disabled", or "auto": online if there is a key, which is
            WANDB_API_KEY or an entry of netrc. WANDB_MODE takes the place of "auto".
        timeout: seconds to wait for the server, at the start and for what is left at the end.
        options: further arguments of ``wandb.init``, such as entity, group or tags.

    Raises:
        UserError: for an unknown mode, or online without a key.
    """

    def __init__(
        self,
        directory: str,
        run_id: str,
        project: str = "midframe",
        mode: str = "auto",
        timeout: float = 60,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise UserError(f"logger.wandb.mode={mode}: give one of {', '.join(MODES)}")
        self.directory = Path(directory)
        self.run_id = run_id
        self.project = project
        self.timeout = timeout
        self.options = dict(options or {})
        self.mode = _chosen_mode(mode)
        self._run: Any = None

    @property
    def name(self) -> str:
        return self.project

    @property
    def version(self) -> str:
        """The id of the run, the same after every resume and no other run's."""
        kept = _record(self.directory).get("wandb")
        return str(kept) if kept else wandb_id(self.run_id)

    @property
    def save_dir(self) -> str:
        return str(self.directory)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run as wandb knows it; of the first process alone."""
        if self._run is None:
            self._run = self._begin()
            self._run.define_metric(STEP)
            self._run.define_metric("*", step_metric=STEP)
            self._send_patches()
        return self._run

    def _send_patches(self) -> None:
        """Send how the code differed from its commit, at every start of the run."""
        for patch in sorted(self.directory.glob("diff*.patch")):
            copy = Path(self._run.dir) / patch.name  # a copy: wandb tells of links at length
            if self.mode != "disabled":
                shutil.copyfile(patch, copy)
                self._run.save(str(copy), self._run.dir, policy="now")

    def _begin(self) -> Any:
        import wandb

        if wandb.run is not None:  # of a run before this one in the same process
            wandb.finish()
        try:
            return self._init(self.mode)
        except wandb.errors.Error as error:
            if self.mode != "online":
                raise
            reason = " ".join(str(error).split())[:200]
            print(
                f"warning: wandb cannot be reached and keeps this run offline ({reason}); "
                "`wandb sync` sends it later",
                file=sys.stderr,
            )
            wandb.teardown()  # the attempt still holds the run's id
            self.mode = "offline"
            return self._init(self.mode)

    def _init(self, mode: str) -> Any:
        import wandb

        # a server may never answer; what goes to the disk is waited for
        online = mode == "online"
        waits = {"init_timeout": self.timeout, "finish_timeout": self.timeout} if online else {}
        known = getattr(wandb.Settings, "model_fields", {})
        waits = {name: seconds for name, seconds in waits.items() if name in known}
        settings = wandb.Settings(console="off", silent=True, **waits)
        return wandb.init(
            project=self.project,
            id=self.version,
            name=self.run_id,
            dir=str(self.directory),
            config=described(self.directory),
            resume="allow",
            mode=mode,  # type: ignore[arg-type]
            settings=settings,
            allow_val_change=True,
            **self.options,
        )

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        """The configuration is sent as a whole when the run begins; nothing to do."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {k: float(v) for k, v in metrics.items() if k != "epoch"}
        self.experiment.log({**values, STEP: step or 0})

    @rank_zero_only
    def log_image(self, name: str, images: list[np.ndarray], step: int | None = None) -> None:
        """Send (H, W, 3) uint8 pictures."""
        import wandb

        self.experiment.log({name: [wandb.Image(one) for one in images], STEP: step or 0})


def finish(failed: bool = False) -> None:
    """End wandb's run of this process, if it has one: what is not sent yet is sent now.

    Without it a process that trains several times would write them all into the first one's run.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None or getattr(wandb, "run", None) is None:
        return
    try:
        wandb.finish(exit_code=1 if failed else 0)
    except Exception as error:  # anything may be raised here, and a finished run stays finished
        print(f"warning: wandb did not end well ({error}); `wandb sync` helps", file=sys.stderr)


def wandb_id(name: str) -> str:
    """Return a name as an id of wandb's: at most 64 letters, digits, dots, dashes, underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-64:].strip("-.") or "run"


def described(directory: Path) -> dict[str, Any]:
    """Return the configuration of a run directory and, as ``record``, what else is known of it."""
    try:
        config = yaml.safe_load((directory / "config.yaml").read_text()) or {}
    except (OSError, yaml.YAMLError):
        config = {}
    record = _record(directory)
    return {**config, "record": {name: record[name] for name in _SHOWN if name in record}}


def has_key() -> bool:
    """Return whether wandb has a key here, without asking anybody for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import wandb

    host = urlsplit(str(wandb.setup().settings.base_url)).hostname or ""
    places = [Path(os.environ["NETRC"])] if "NETRC" in os.environ else []
    places += [Path.home() / name for name in (".netrc", "_netrc")]
    for place in places:
        try:
            if netrc.netrc(place).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _chosen_mode(mode: str) -> str:
    asked = os.environ.get("WANDB_MODE", "") if mode == "auto" else mode
    asked = {"dryrun": "offline", "run": "online"}.get(asked, asked)  # wandb's former names
    if asked in ("offline", "disabled"):
        return asked
    if has_key():
        return "online"
    if mode == "online":
        raise UserError(
            "logger.wandb.mode=online: there is no key; set WANDB_API_KEY or run `wandb login`, "
            "or leave the mode at auto, which logs offline without one"
        )
    return "offline"


def _record(directory: Path) -> dict[str, Any]:
    try:
        return json.loads((directory / "run.json").read_text())
    except (OSError, ValueError):
        return {}
