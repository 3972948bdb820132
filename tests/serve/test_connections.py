"""Connections that are good for nothing: they end, and keep nobody else out."""

from __future__ import annotations

import asyncio
import socket

import pytest
from serving import HEAD, PATIENCE, TOKEN, clip, desk_in

from midframe.serve.app import build
from midframe.serve.connections import answered

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "


class Caller:
    """Whoever connects to a server.

    Args:
        address: of it.
    """

    def __init__(self, address):
        self.address = address

    async def call(self, sent=b""):
        """Connect, send this, and return the stream of answers and that to send more."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(sent)
        return reader, writer

    def request(self, path="", method="GET", length=None, token=TOKEN):
        """Return the head of a request, as the page sends it."""
        host = f"{self.address[0]}:{self.address[1]}"
        lines = [f"{method} /{token}/{path} HTTP/1.1", f"Host: {host}", f"Origin: http://{host}"]
        lines += [] if length is None else [f"Content-Length: {length}"]
        return "\r\n".join([*lines, "", ""]).encode()


async def status(reader):
    """Return the status of the next answer, whose head is read."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    return int(head.split()[1])


async def ended(reader):
    """Wait until the server ends a connection; return what it still sent."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionError:
        return b""


def listened(tmp_path, scenario, **limits):
    """Run a scenario against a server behind its door."""

    async def main():
        desk = desk_in(tmp_path, **limits)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = listening.getsockname()
            async with answered(build(desk, TOKEN), listening, desk.limits, 1):
                await asyncio.wait_for(scenario(Caller(address)), 3 * PATIENCE)

    asyncio.run(main())


@pytest.mark.parametrize("sent", [b"", b"G", HALF])
def test_who_does_not_say_what_he_wants_is_not_waited_for(tmp_path, sent):
    async def scenario(caller):
        reader, writer = await caller.call(sent)
        assert await ended(reader) == b""
        writer.close()

    listened(tmp_path, scenario, patience=0.05)


@pytest.mark.parametrize("drop", [b"a", b"a: b\r\n"])
def test_a_request_in_drops_is_not_waited_for(tmp_path, drop):
    async def scenario(caller):
        reader, writer = await caller.call(HALF)
        over = asyncio.ensure_future(ended(reader))
        while not over.done():
            writer.write(drop)
            await asyncio.sleep(0.01)
        assert b"200" not in over.result()
        writer.close()

    listened(tmp_path, scenario, patience=0.1)


@pytest.mark.parametrize("token", [TOKEN, "none"])
def test_after_an_answer_the_next_request_is_not_waited_for_long(tmp_path, token):
    async def scenario(caller):
        reader, writer = await caller.call(caller.request("api/choices", token=token))
        assert await status(reader) == (200 if token == TOKEN else 404)
        await ended(reader)
        writer.close()

    listened(tmp_path, scenario, patience=0.5)


def test_requests_without_the_token_do_not_keep_a_connection(tmp_path):
    async def scenario(caller):
        reader, writer = await caller.call(caller.request(token="none"))
        assert await status(reader) == 404
        over = asyncio.ensure_future(ended(reader))
        while not over.done():
            writer.write(caller.request(token="none"))
            await asyncio.sleep(0.01)
        assert b" 200 " not in await over
        writer.close()

    listened(tmp_path, scenario, patience=0.5)


def test_an_answer_may_take_longer_than_a_request(tmp_path):
    """The look at a clip, and a film that a browser has paused."""

    async def scenario(caller):
        content = clip(look_pause=1).ljust(40_000_000, b" ")
        upload = caller.request("api/clips?name=a.mp4", "POST", len(content))
        reader, writer = await caller.call(upload + content)
        idle, other = await caller.call()
        assert await ended(idle) == b""  # so the time of such a one is over
        assert await status(reader) == 201
        other.close()
        told = await reader.readuntil(b"}")
        ident = told.partition(b'"id": "')[2][:16].decode()
        writer.write(caller.request(f"api/clips/{ident}/file"))
        assert await status(reader) == 200
        idle, other = await caller.call()
        assert await ended(idle) == b""
        assert await asyncio.wait_for(reader.readexactly(len(content)), PATIENCE) == content
        for one in (writer, other):
            one.close()

    listened(tmp_path, scenario, patience=0.3)


def test_many_connections_keep_nobody_out(tmp_path):
    async def scenario(caller):
        page, first = await caller.call(caller.request("api/choices"))
        assert await status(page) == 200
        others = [await caller.call(HALF) for _ in range(20)]
        first.write(caller.request("api/choices"))  # the page's own stays
        reader, writer = await caller.call(caller.request("api/choices"))
        assert await status(reader) == 200
        for other, _ in others[:18]:  # those who waited longest
            assert await ended(other) == b""
        assert not any(other.at_eof() for other, _ in others[-2:])
        await page.readuntil(b"}}")
        assert await status(page) == 200
        for one in (first, writer, *(writer for _, writer in others)):
            one.close()

    listened(tmp_path, scenario, connections=4, patience=PATIENCE)


def test_where_all_are_in_use_one_more_is_refused(tmp_path):
    async def scenario(caller):
        content = clip()
        head = caller.request("api/clips?name=a.mp4", "POST", len(content))
        uploads = [await caller.call(head + HEAD) for _ in range(3)]
        while len(list((tmp_path / "served").iterdir())) < 3:
            await asyncio.sleep(0.01)
        reader, writer = await caller.call(caller.request("api/choices"))
        assert await ended(reader) == b""
        writer.close()
        for reader, writer in uploads:
            writer.write(content[len(HEAD) :])
            assert await status(reader) == 201
            writer.close()

    listened(tmp_path, scenario, connections=3)


def test_a_request_whose_body_does_not_come_is_given_up(tmp_path):
    async def scenario(caller):
        reader, writer = await caller.call(caller.request("api/jobs", "POST", 100) + b"{")
        assert await status(reader) == 408
        writer.close()

    listened(tmp_path, scenario, patience=0.5)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /" + 10_000 * b"a" + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_not_told_in_the_terminal(tmp_path, sent, caplog, capfd):
    async def scenario(caller):
        reader, writer = await caller.call(sent)
        assert await status(reader) == 400
        await ended(reader)
        writer.close()

    listened(tmp_path, scenario)
    assert caplog.records == [] and capfd.readouterr() == ("", "")
