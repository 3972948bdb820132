"""`midframe models`: the models there are, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from midframe.models import zoo


def show(args: Sequence[str]) -> None:
    """Print a table of all models."""
    table = Table("model", "parameters", "frames", "times", "licence", "paper", box=None)
    for name in zoo.list_models():
        info = zoo.describe(name)
        count = info.get("parameters")
        table.add_row(
            name,
            f"{count:,}" if count else "-",
            str(2 * int(info["context"])),
            str(info.get("times", "-")),
            str(info.get("licence", "-")),
            str(info.get("paper", "-")),
        )
    Console(width=140).print(table)
