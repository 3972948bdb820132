"""Connections to the page: how many there may be, and how long one may be good for nothing.

aiohttp waits for the head of a request as long as somebody takes, whoever that is: enough of such
connections, and nobody else gets one. Here a connection lives while the page uses it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from midframe.serve.records import Limits

_WAITING = 128  # connections that the system holds until they are taken


class Door:
    """Makes protocols for connections, and ends those that are in the way.

    Args:
        make: a protocol of HTTP for one connection.
        most: connections at once. One more ends another: that which waits longest for a request,
            first of those that the page never used; where all are in use, itself.
        patience: seconds until a connection ends that nothing is done for: it sends nothing, half
            a head, or requests that are refused.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], most: int, patience: float) -> None:
        self._make, self._most, self.patience = make, most, patience
        self._open: set[Connection] = set()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return Connection(self, self._make())

    def enter(self, connection: Connection) -> None:
        """Count a connection, and end one if they are too many."""
        self._open.add(connection)
        if len(self._open) > self._most:
            idle = [one for one in self._open if one is not connection and not one.at_work]
            over = min(idle, key=lambda one: (one.used, one.since), default=connection)
            over.end()

    def leave(self, connection: Connection) -> None:
        """No longer count a connection."""
        self._open.discard(connection)


class Connection(asyncio.Protocol):
    """A connection, of which aiohttp's protocol does the work.

    Args:
        door: that it came in by.
        inner: what speaks HTTP.

    Attributes:
        at_work: how many requests of the page are being answered.
        used: whether there ever was one.
        since: when it began to wait for one, on the clock of the loop.
    """

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door, self._inner = door, inner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.at_work, self.used, self.since = 0, False, self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)
        self._wait()
        self._door.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        self._stop_waiting()
        self._transport = None
        self._door.leave(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on what was sent; no byte moves the deadline, only a whole request does."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on that no more is sent."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand on that the other side is slow."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that it reads again."""
        self._inner.resume_writing()

    def work(self, answering: asyncio.Task[object]) -> None:
        """Have no deadline while a request is answered, which may be a film that is paused."""
        self.at_work, self.used = self.at_work + 1, True
        self._stop_waiting()
        answering.add_done_callback(lambda task: self._rest())

    def end(self) -> None:
        """Close now, whatever is still to be sent."""
        self._door.leave(self)
        if self._transport is not None:
            self._transport.abort()

    def _rest(self) -> None:
        self.at_work -= 1
        if not self.at_work and self._transport is not None:
            self._wait()

    def _wait(self) -> None:
        self.since = self._loop.time()
        self._deadline = self._loop.call_later(self._door.patience, self._give_up)

    def _give_up(self) -> None:
        if self.used and self._transport is not None:
            self._transport.close()  # a browser may not have read the end of an answer
        else:
            self.end()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def is_of_use(request: web.Request) -> None:
    """Say that a request is the page's own; call it in the task that also sends the answer."""
    connection = None if request.transport is None else request.transport.get_protocol()
    task = asyncio.current_task()
    if isinstance(connection, Connection) and task is not None:
        connection.work(task)


@asynccontextmanager
async def answered(
    app: web.Application, listening: socket.socket, limits: Limits, parting: float
) -> AsyncIterator[None]:
    """Answer what comes to a socket, which is closed afterwards.

    Args:
        app: that answers.
        listening: the socket.
        limits: of connections.
        parting: seconds for what is being sent at the end.
    """
    logger = logging.getLogger("midframe.serve")
    logger.addFilter(_tells_something)
    runner = web.AppRunner(app, access_log=None, logger=logger, shutdown_timeout=parting)
    await runner.setup()
    try:
        assert runner.server is not None  # since it is set up
        door = Door(runner.server, limits.connections, limits.patience)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(door, sock=listening, backlog=_WAITING)
        try:
            yield
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _tells_something(record: logging.LogRecord) -> bool:
    """Pass over requests that are no HTTP: whoever sends them is answered, the terminal is not."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
