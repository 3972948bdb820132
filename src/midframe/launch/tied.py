"""Processes whose end is tied to the one that started them by a pipe, whatever the system.

The parent holds the other end of a child's standard input, which closes when it ends, also by a
kill. `children.end_with_parent` does without a pipe, on Linux.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading


def end_with_pipe() -> None:
    """End this process when its standard input closes; Ctrl-C is left to the one that started it.

    To be called before what takes long to import.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted as well

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def end(child: subprocess.Popen[bytes]) -> None:
    """End a process that was started with a pipe as its input: it has a second to do so itself."""
    if child.stdin is not None:
        child.stdin.close()  # for which it waits
    try:
        child.wait(1.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
