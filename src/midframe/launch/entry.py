"""From a command line to a task: compose with Hydra, run, and turn errors into one clear line."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from midframe.engine.compose import check_choices, register, unreadable
from midframe.errors import UserError
from midframe.launch import guard
from midframe.launch.guard import USER_ERROR
from midframe.paths import config_dir

# Without a choice of any of these, a command trains the recipe for a first run.
_CHOICES = {"model", "data", "loss", "optimizer", "teacher", "experiment"}
FIRST = "experiment=first"


class _Past(BaseException):
    """Carries an error past Hydra, which prints lines of its own around any `Exception`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def run(
    config_name: str, task: Callable[[DictConfig], None], argv: Sequence[str] | None = None
) -> int:
    """Compose ``conf/<config_name>.yaml`` with overrides and run ``task`` on it.

    Args:
        config_name: a primary config.
        task: called once per job with the composed config.
        argv: Hydra overrides and flags; None takes the command line's.

    Returns:
        The exit code: 0, 2 for what the user can mend (one line on stderr), 130 when interrupted.
        Any other exception is a defect and propagates.
    """
    # With this set, Hydra lets exceptions through instead of printing its own report.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    @functools.wraps(task)
    def job(cfg: DictConfig) -> None:
        try:
            check_choices(HydraConfig.get().runtime.choices, HydraConfig.get().overrides.task)
            task(cfg)
        except Exception as error:
            raise _Past(error) from error

    def composed() -> None:
        register()
        where = str(config_dir())
        try:
            hydra.main(version_base="1.3", config_path=where, config_name=config_name)(job)()
        except _Past as past:
            error = past.error
        except HydraException:
            check_choices({}, sys.argv[1:])  # what a file lacks is behind much that Hydra says
            raise
        except (yaml.YAMLError, UnicodeDecodeError) as unread:
            error = unreadable(unread)
        else:
            return
        raise error  # here, so that a traceback does not tell of `_Past`

    words = sys.argv
    try:
        sys.argv = words if argv is None else [words[0], *argv]  # Hydra reads nothing else
        return guarded(composed)
    finally:
        sys.argv = words


def with_recipe(argv: Sequence[str] | None) -> list[str]:
    """Add ``experiment=first`` to a command line without any of ``_CHOICES``.

    None stands for the process's own command line.
    """
    argv = sys.argv[1:] if argv is None else argv
    chosen = {word.lstrip("+~").split("=")[0] for word in argv if not word.startswith("-")}
    return list(argv) if chosen & _CHOICES else [*argv, FIRST]


def guarded(command: Callable[[], object]) -> int:
    """Run a command and turn what the user can mend into one line and exit code 2."""

    def task() -> int:
        try:
            command()
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else USER_ERROR
        except (HydraException, OmegaConfBaseException) as error:
            if isinstance(error.__cause__, UserError):  # which a constructor raised
                raise error.__cause__ from None
            raise told(error) from error
        except yaml.YAMLError as error:
            raise UserError(f"configuration: {' '.join(str(error).split())}") from error
        return 0

    return guard.guarded(task)


def told(error: HydraException | OmegaConfBaseException) -> UserError:
    """Return in one line what Hydra or OmegaConf found wrong."""
    if isinstance(error.__cause__, UserError):
        return error.__cause__
    from midframe.engine import misnamed  # which imports much, and is seldom needed

    return UserError(misnamed.explained(error) or f"configuration: {_first_lines(error)}")


def _first_lines(error: Exception) -> str:
    """The useful part of a Hydra message; of names that it does not find see `misnamed`."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    cause = error.__cause__
    if cause is not None and isinstance(error, HydraException):
        lines += [line.strip() for line in str(cause).splitlines() if line.strip()]
    kept = [x for x in dict.fromkeys(lines) if not x.startswith(("full_key", "object_type", "Set"))]
    return "; ".join(x.rstrip(".") for x in kept[:6])
