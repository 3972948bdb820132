"""Commands as they are written where the person stands: for advice, and for the record."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from midframe.paths import config_dir

# Tasks that have a file of their own in a checkout.
_FILES = {"train": "train.py", "evaluate": "evaluate.py"}


def advised(task: str, *words: str) -> str:
    """Return a command line that works in the current folder.

    Args:
        task: a subcommand of ``midframe``; in a checkout, ``train`` is ``python train.py``.
        words: what follows it, unquoted.
    """
    return shlex.join([*_usual(task), *words])


def typed(task: str) -> list[str]:
    """Return what this process was started with to do a task, without the words behind it.

    In a notebook or a test, where no command line was typed, it is what `advised` names.
    """
    program = Path(sys.argv[0])
    if program.name == _FILES.get(task):
        return ["python", sys.argv[0]]
    if program.stem == "midframe":
        return ["midframe", task]
    if program.parts[-2:] == ("midframe", "cli.py"):
        return ["python", "-m", "midframe.cli", task]
    return _usual(task)


def _usual(task: str) -> list[str]:
    checkout, file = config_dir().parent, _FILES.get(task)
    if file is not None and Path.cwd() == checkout and (checkout / file).is_file():
        return ["python", file]
    return ["midframe", task]
