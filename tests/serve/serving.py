"""A server of the page for tests, with a stand-in for the command line, and clips to send."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from midframe.serve.app import build
from midframe.serve.jobs import Desk
from midframe.serve.records import Choice, Limits

TOKEN = "t0ken-of-the-tests"
CHOICES = {
    "dis": Choice("DIS optical flow", "on the processor", ["--model", "dis"]),
    "net": Choice("net", "weights run", ["--weights", "/runs/net", "--device", "cpu"]),
}
HEAD = b"\x00\x00\x00\x18ftypisom"  # how an MP4 begins
PATIENCE = 20.0


def clip(**behave: Any) -> bytes:
    """Return what looks like a clip, and how the stand-in behaves on it."""
    return HEAD + bytes(300) + b"\nbehave:" + json.dumps(behave).encode()


class Client:
    """A browser's side of the page.

    Args:
        http: of aiohttp.
        desk: behind the server.
        log: of the stand-in.
    """

    def __init__(self, http: TestClient, desk: Desk, log: Path) -> None:
        self.http, self.desk, self.log = http, desk, log
        self.host = f"127.0.0.1:{http.server.port}"

    async def ask(self, method: str, path: str, **options: Any) -> ClientResponse:
        """Send a request as the page does; options replace its parts."""
        headers = {"Host": self.host, "Origin": f"http://{self.host}"}
        headers |= options.pop("headers", {})
        token = options.pop("token", TOKEN)
        sent = {key: value for key, value in headers.items() if value is not None}
        address = f"/{token}/{path}" if token else f"/{path}"
        return await self.http.request(method, address, headers=sent, **options)

    async def upload(self, name: str = "my clip.mp4", **behave: Any) -> dict[str, Any]:
        """Send a clip and return what is told of it."""
        answer = await self.ask("POST", "api/clips", params={"name": name}, data=clip(**behave))
        assert answer.status == 201, await answer.text()
        return await answer.json()

    async def start(self, sent: dict[str, Any], **asked: Any) -> dict[str, Any]:
        """Start a job on a clip and return what is told of it."""
        body = {"clip": sent["id"], "model": "dis", "factor": 2, "slow": False, **asked}
        answer = await self.ask("POST", "api/jobs", json=body)
        assert answer.status == 201, await answer.text()
        return await answer.json()

    async def until(self, job: dict[str, Any], *states: str) -> dict[str, Any]:
        """Return what is told of a job once it is in one of these states."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            told = await (await self.ask("GET", f"api/jobs/{job['id']}")).json()
            if told.get("state") in states:
                return told
            await asyncio.sleep(0.02)
        raise AssertionError(f"the job is still {told}")

    def runs(self) -> list[dict[str, Any]]:
        """Return what the stand-in was started with."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def left(self) -> list[str]:
        """Return all files and folders of the server."""
        folder = self.desk.folder
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def desk_in(tmp_path: Path, **limits: Any) -> Desk:
    """Return a desk with the stand-in for the command line, whose log is ``tmp_path / "log"``."""
    folder = tmp_path / "served"
    folder.mkdir()
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("fake_interpolate.py"))]
    return Desk(folder, [*command, str(tmp_path / "log")], CHOICES, Limits(**limits))


def served(tmp_path: Path, scenario: Callable[[Client], Awaitable[None]], **limits: Any) -> None:
    """Run a scenario against a server on a port of this machine."""

    async def main() -> None:
        desk, log = desk_in(tmp_path, **limits), tmp_path / "log"
        async with TestClient(TestServer(build(desk, TOKEN), host="127.0.0.1")) as http:
            await asyncio.wait_for(scenario(Client(http, desk, log)), 3 * PATIENCE)

    asyncio.run(main())


async def gone(process: int) -> None:
    """Wait until a process has ended."""
    end = time.monotonic() + PATIENCE
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < end, f"process {process} goes on"
        await asyncio.sleep(0.02)
