"""`midframe options`: every choice of every config group, in the words of its file."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from midframe.errors import UserError
from midframe.files import write_bytes
from midframe.paths import config_dir, config_dirs, config_files

_ROW = re.compile(r"^\| `(?P<group>\w+)` \|[^|]*\|(?P<rest>.*)$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe options`."""
    parser.add_argument("group", nargs="?", help="only this group, such as experiment")
    parser.add_argument(
        "--readme", type=Path, metavar="FILE", help="rewrite the choices in the table of a text"
    )


def run(args: argparse.Namespace) -> int:
    """Print the choices; `UserError` for a group that is not there."""
    if args.readme is not None:
        text = args.readme.read_text(encoding="utf-8")
        write_bytes(args.readme, rewritten(text).encode())
        print(f"wrote {args.readme}")
        return 0
    known = groups()
    if args.group is not None and args.group not in known:
        raise UserError(f"there is no group {args.group}; there are {', '.join(known)}")
    for group in known if args.group is None else [args.group]:
        found = choices(group)
        width = max(map(len, found), default=0)
        print(group)
        for name, meaning in found.items():
            print(f"  {name:<{width}}  {meaning}")
    return 0


def groups() -> list[str]:
    """Return the names of all groups that have a choice, sorted."""
    names = {path.parent.name for folder in config_dirs() for path in folder.glob("*/*.yaml")}
    return sorted(name for name in names if config_files(name))


def choices(group: str) -> dict[str, str]:
    """Return the choices of a group by name, with the comment that their files begin with."""
    return {name: meaning(path) for name, path in config_files(group).items()}


def meaning(path: Path) -> str:
    """Return the first comment of a yaml file, without the line that names its package."""
    return next((line for line in _comments(path) if not line.startswith("@package")), "")


def _comments(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        yield line.lstrip("# ").rstrip()


def rewritten(text: str) -> str:
    """Return a text with the choices of the package in the rows ``| `group` | choices | ... |``."""
    lines = []
    for line in text.splitlines():
        row = _ROW.match(line)
        if row and (config_dir() / row["group"]).is_dir():
            own = [n for n, p in config_files(row["group"]).items() if config_dir() in p.parents]
            line = f"| `{row['group']}` | {' '.join(f'`{n}`' for n in own)} |{row['rest']}"
        lines.append(line)
    return "\n".join(lines) + "\n"
