"""Where the files that ship with the package are."""

from __future__ import annotations

from pathlib import Path

from midframe.errors import UserError


def config_dir() -> Path:
    """Return the folder of config groups: of the installed package, else of the checkout.

    Raises:
        UserError: if neither is there, as in a broken installation.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "model").is_dir():
            return folder
    raise UserError(f"no conf/ folder beside {package}; reinstall midframe")
