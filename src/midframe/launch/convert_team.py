"""Several processes for one conversion, on a GPU each: they take parts from one folder in turn."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from midframe.cores import usable_cores
from midframe.errors import UserError
from midframe.launch import tied

ARGUMENTS = "arguments.json"
_PATHS = ("engine", "input", "second", "out")
_PAUSE = 0.1  # seconds between two looks at the others


class Helpers:
    """The processes beside this one.

    Args:
        children: that were started.
    """

    def __init__(self, children: Sequence[subprocess.Popen[bytes]]) -> None:
        self.children = children

    def check(self) -> bool:
        """Return whether all have ended.

        Raises:
            UserError: if one has failed; it has said why.
        """
        codes = [child.poll() for child in self.children]
        for number, code in enumerate(codes, 1):
            if code:
                raise UserError(
                    f"process {number} has ended with code {code}, see above; the same command "
                    "goes on where it stopped"
                )
        return all(code == 0 for code in codes)

    def wait(self, each: Callable[[], object]) -> None:
        """Wait for all to end, with a call of ``each`` now and then; see `check`."""
        while not self.check():
            each()
            time.sleep(_PAUSE)
        each()


@contextmanager
def helped(count: int, folder: Path, args: argparse.Namespace) -> Iterator[Helpers]:
    """Start processes that make parts as well; they end with this one, however it ends.

    Args:
        count: of all processes, this one included.
        folder: where the parts are, which this process has locked.
        args: the options of the command.
    """
    if count == 1:
        yield Helpers([])
        return
    import torch

    (folder / ARGUMENTS).write_text(json.dumps(vars(args), default=str), encoding="utf-8")
    env, threads = dict(os.environ), torch.get_num_threads()
    if "OMP_NUM_THREADS" not in env:
        share = max(1, usable_cores() // count)
        env["OMP_NUM_THREADS"] = str(share)
        torch.set_num_threads(share)
    children: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(1, count):
            command = [sys.executable, "-m", __name__, str(folder), str(rank)]
            children.append(
                subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            )
        yield Helpers(children)
    finally:
        for child in children:
            tied.end(child)
        torch.set_num_threads(threads)


def main(argv: Sequence[str]) -> int:
    """Make parts in the folder of another process: its arguments, the number of this one."""
    tied.end_with_pipe()
    from midframe.launch import entry, interpolate_video

    folder, rank = Path(argv[0]), int(argv[1])

    def task() -> int:
        content = json.loads((folder / ARGUMENTS).read_text(encoding="utf-8"))
        for name in _PATHS:
            content[name] = content[name] and Path(content[name])
        return interpolate_video.help_out(argparse.Namespace(**content), rank)

    return entry.guarded(task)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
