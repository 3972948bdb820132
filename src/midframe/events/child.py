"""The process in which native libraries read and write recordings, since files may crash them.

It forks for each file, so that one that ends in a crash, without end or without memory takes
nothing along: the libraries are loaded once, and every file meets a process that is as new.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np

from midframe.events import libraries, wire

MEMORY = 2 << 30  # bytes of addresses for one file, besides its own size
LIBRARIES = {reader[-1].encode(): reader for reader in libraries.READERS}  # g, t, v


def serve(control: socket.socket) -> None:
    """Fork for each request, tell how that process ended, until the other side is gone.

    A request is a byte that says the library, with a socket over which the rest goes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    while True:
        library, handles, *_ = socket.recv_fds(control, 1, 1)
        if not library or not handles:
            return
        with socket.socket(fileno=handles[0]) as channel:
            with contextlib.suppress(ImportError):  # which whoever needs it will tell
                libraries.load(LIBRARIES[library])
            process = os.fork()
            if process == 0:
                control.close()
                _answer(channel)
                os._exit(0)
        control.sendall(os.waitpid(process, 0)[1].to_bytes(4, "little"))


def _answer(channel: socket.socket) -> None:
    """Do what one request asks for, and say how it went."""
    try:
        request = json.loads(wire.receive(channel)[1])
        _limit(request["bytes"])
        with _Patience(request["seconds"]) as patience:
            if request["do"] == "write":
                given = patience.over(wire.packets_of(channel))
                height, width = request["size"]
                libraries.write(request["path"], height, width, given)
            else:
                streams = [s and libraries.Wanted(*s) for s in request["streams"]]
                for packet in libraries.packets(request["reader"], request["path"], *streams):
                    with patience.paused():
                        wire.send_packet(channel, packet)
        wire.send(channel, wire.DONE)
    except (BrokenPipeError, ConnectionResetError, wire.Broken):
        return
    except BaseException as error:  # a panic of Rust is no Exception
        with contextlib.suppress(OSError):
            wire.send(channel, wire.FAILED, _text(error).encode())


def _text(error: BaseException) -> str:
    """Return a line that says what was wrong; dv-processing begins with a place in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if ".hpp(" not in line), "").rpartition("> >: ")[2]
    return f"{type(error).__name__}: {said}"[:300].rstrip(": ")


def _limit(size: int) -> None:
    """Bound what one file may take: memory, and no core on the disk."""
    for kind, most in ((resource.RLIMIT_AS, MEMORY + size), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


class _Patience:
    """Ends this process where nothing happens for so long, even within a library.

    The signal's own action does it, which waits for no interpreter.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> _Patience:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Wait without limit: for the other side, which may take its time."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        yield
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def over(self, items: Iterator[Any]) -> Iterator[np.ndarray | libraries.Frame]:
        """Yield items, for which it waits without limit."""
        while True:
            with self.paused():
                item = next(items, None)
            if item is None:
                return
            yield item
