"""Where configuration is: that of the package, and that of projects of one's own."""

from __future__ import annotations

import os
import sys
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


def projects() -> list[Path]:
    """Return the folders that MIDFRAME_PROJECT names: Python modules and a conf/ beside them.

    What their conf/ holds is chosen by name like what the package brings, and their modules can be
    imported: they join ``sys.path`` behind all others.

    Raises:
        UserError: for a folder without conf/.
    """
    folders = []
    for word in os.environ.get("MIDFRAME_PROJECT", "").split(os.pathsep):
        if not word:
            continue
        folder = Path(word).expanduser().resolve()
        if not (folder / "conf").is_dir():
            raise UserError(
                f"MIDFRAME_PROJECT names {folder}, which has no folder conf; give the folder that "
                "holds conf/model/NAME.yaml and the like"
            )
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        folders.append(folder)
    return folders


def config_dirs() -> list[Path]:
    """Return the folders of config groups: the package's, then those of `projects`."""
    return [config_dir(), *(folder / "conf" for folder in projects())]


def config_files(group: str) -> dict[str, Path]:
    """Return the choices of a config group by name, sorted.

    Raises:
        UserError: for two of one name, of which one would hide the other.
    """
    found: dict[str, Path] = {}
    for folder in config_dirs():
        for path in (folder / group).glob("[!_]*.yaml"):
            other = found.setdefault(path.stem, path)
            if other != path:
                raise UserError(f"{path} has the name of {other}; give it a name of its own")
    return dict(sorted(found.items()))
