"""Reading and writing recordings in a process of their own, which may end as it likes.

The process is started when it is first needed and serves many files.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from midframe.events import wire
from midframe.events.libraries import Frame

SECONDS = 30.0  # without anything new from a file; a packet takes milliseconds

# The interpreter's own search path begins with the working folder, where a file may have the name
# of a library; so the path of this process replaces it.
_START = (
    "import sys, socket; sys.path[:] = sys.argv[2:]; from midframe.events.child import serve; "
    "serve(socket.socket(fileno=int(sys.argv[1])))"
)
_QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Ended(Exception):
    """Reading or writing did not come to its end; the text says how it ended."""


class Process:
    """A process that reads and writes recordings; use it as a context manager, in one thread.

    Args:
        seconds: for which a file may give nothing before its reading is stopped.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if it was started."""
        process, self._process = self._process, None
        if process is not None:
            self._control.close()
            process.kill()
            process.wait()

    def read(self, request: dict[str, Any]) -> Iterator[np.ndarray | Frame]:
        """Yield events and frames as the library gives them.

        Args:
            request: ``reader``, ``path``, ``bytes`` (of the file) and ``streams``.

        Raises:
            Ended: if the library raised an error, crashed, hung or took too much memory.
        """
        yield from self._ask({**request, "do": "read"}, ())

    def write(self, request: dict[str, Any], packets: Iterable[np.ndarray | Frame]) -> None:
        """Write packets to a new file.

        Args:
            request: ``path`` and ``size``, (height, width).
            packets: as `midframe.events.libraries.write` takes them.

        Raises:
            Ended: as `read`.
        """
        request = {**request, "do": "write", "reader": "dv_processing", "bytes": 1 << 34}
        for _ in self._ask(request, packets):
            pass

    def _ask(
        self, request: dict[str, Any], packets: Iterable[np.ndarray | Frame]
    ) -> Iterator[np.ndarray | Frame]:
        self._start()
        ours, theirs = socket.socketpair()
        done = False
        try:
            with ours, theirs:
                library = request["reader"][-1].encode()
                socket.send_fds(self._control, [library], [theirs.fileno()])
                theirs.close()
                with suppress(BrokenPipeError, ConnectionResetError):  # the answer says why
                    wire.send_request(ours, {**request, "seconds": self.seconds})
                    for packet in packets:
                        wire.send_packet(ours, packet)
                    if request["do"] == "write":
                        wire.send(ours, wire.DONE)
                yield from self._answers(ours)
            self._status()
            done = True
        except Ended:
            done = self._process is not None
            raise
        except OSError as error:
            raise Ended(f"its process is gone ({error})") from error
        finally:
            if not done:
                self.close()  # whoever asked went away, or the answer makes no sense

    def _answers(self, channel: socket.socket) -> Iterator[np.ndarray | Frame]:
        """Yield what comes, until all is done."""
        try:
            while True:
                kind, content = wire.receive(channel)
                if kind == wire.DONE:
                    return
                if kind == wire.FAILED:
                    text = content.decode(errors="replace")
                    self._status()
                    raise Ended(text)
                yield wire.packet_of(kind, content)
        except wire.Broken:
            channel.close()  # a process that still runs ends when it writes
            raise Ended(_how(self._status(), self.seconds)) from None

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(number), *sys.path],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_QUIET},
            )

    def _status(self) -> int:
        """Return how the process of one file ended, as `os.waitpid` says it."""
        content = b""
        while len(content) < 4:
            got = self._control.recv(4 - len(content))
            if not got:
                self.close()
                raise Ended("the process that reads recordings could not be started")
            content += got
        return int.from_bytes(content, "little")


def _how(status: int, seconds: float) -> str:
    """Say how a process ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGALRM:
            return f"the library gave nothing for {seconds:g} s"
        return f"the library crashed ({signal.Signals(number).name})"
    return "the library gave what it should not"
