"""`midframe serve` from its first line to its last, and what keeps it from starting."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
import socket
import sys

import pytest
from aiohttp import ClientSession

from midframe.errors import UserError
from midframe.launch import locks, serve
from midframe.serve.records import Choice


def options(*words):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def signals():
    """Leave the handlers of this process as they were."""
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(kind) for kind in kinds]
    yield
    for kind, handler in zip(kinds, before):
        signal.signal(kind, handler)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_address_that_is_printed_is_the_page_and_a_signal_ends_it(
    tmp_path, monkeypatch, capsys, signals, kind
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(
        serve, "choices", lambda weights, device: {"dis": Choice("DIS", device, [])}
    )
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    real, seen = asyncio.Event.wait, {}

    async def waits(event):
        """Look at the page while the server waits for its end, and send that."""
        if "address" not in seen:
            seen["address"] = capsys.readouterr().out.splitlines()[0]
            seen["folders"] = list(tmp_path.iterdir())
            async with ClientSession() as http:
                for path in ("", "api/choices"):
                    async with http.get(seen["address"] + path) as answer:
                        seen[path] = answer.status, await answer.text()
            os.kill(os.getpid(), kind)
        return await real(event)

    monkeypatch.setattr(asyncio.Event, "wait", waits)
    assert serve.run(options("--port", "0", "--limit", "0.5", "--minutes", "2")) == 0
    assert seen["address"].startswith("http://127.0.0.1:")
    status, page = seen[""]
    assert status == 200 and "<html" in page
    status, told = seen["api/choices"]
    assert status == 200 and '"bytes": 500000' in told and '"job": 120.0' in told
    assert len(seen["folders"]) == 1 and not list(tmp_path.iterdir())
    assert capsys.readouterr().out == "ending\n"


def test_a_signal_that_is_ignored_stays_ignored(tmp_path, monkeypatch, signals):
    """As nohup has it: the end of a terminal is not the server's."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    real, sent = asyncio.Event.wait, []

    async def waits(event):
        if not sent:
            sent.append(signal.getsignal(signal.SIGHUP))
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)
            assert not event.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
        return await real(event)

    monkeypatch.setattr(asyncio.Event, "wait", waits)
    monkeypatch.setattr(serve, "choices", lambda weights, device: {})
    assert serve.run(options("--port", "0")) == 0
    assert sent == [signal.SIG_IGN]


def test_without_its_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(UserError, match="needs aiohttp: pip install aiohttp"):
        serve.run(options())


def test_a_machine_without_a_loopback_is_no_mistake_of_the_user(monkeypatch):
    def bind(*_):
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(socket.socket, "bind", bind)
    for port in (None, 8420):
        with pytest.raises(OSError, match="Cannot assign requested"), serve._listening(port):
            pass


def test_a_folder_that_another_server_looks_at_just_then_is_as_good(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(locks, "take", lambda folder: None)
    with serve._folder() as folder:
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())
