"""The server: who is let in, and what is refused."""

from __future__ import annotations

import asyncio

import pytest
from serving import HEAD, TOKEN, clip, served

from midframe.serve.app import PAGE


def test_the_page_is_whole_and_lets_nothing_else_in(tmp_path):
    async def scenario(client):
        for name in PAGE:
            answer = await client.ask("GET", name, headers={"Origin": None})
            assert answer.status == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert "http" not in policy and "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "Server" not in answer.headers
            text = await answer.text()
            assert "http://" not in text and "https://" not in text  # nothing is fetched elsewhere
            assert "style=" not in text and "onclick" not in text
        told = await (await client.ask("GET", "api/choices")).json()
        assert [one["key"] for one in told["models"]] == ["dis", "net"]
        assert told["factors"] == [2, 4, 8] and told["limits"]["bytes"] == 500_000_000

    served(tmp_path, scenario)


def test_the_address_without_its_last_letter_leads_to_the_page(tmp_path):
    async def scenario(client):
        for method in ("GET", "HEAD"):
            address = f"/{TOKEN}"
            headers = {"Host": client.host}
            answer = await client.http.request(method, address, headers=headers)
            assert answer.status == 200 and answer.url.path == f"/{TOKEN}/"
            assert answer.headers["Content-Type"].startswith("text/html")
            (led,) = answer.history
            assert led.headers["Location"] == f"/{TOKEN}/"  # on whichever host and port it was
            assert led.headers["Referrer-Policy"] == "no-referrer"

    served(tmp_path, scenario)


def test_without_the_token_nothing_is_told_or_done(tmp_path):
    async def scenario(client):
        for token in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é"):
            for path in ("", "page.js", "api/choices"):
                answer = await client.ask("GET", path, token=token)
                assert answer.status == 404
                assert TOKEN not in await answer.text()
            sent = await client.ask("POST", "api/clips", token=token, data=clip())
            assert sent.status == 404
        assert client.left() == [] and not client.log.exists()

    served(tmp_path, scenario)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", "user@localhost", "::1", ""],
)
def test_another_host_name_is_refused(tmp_path, host):
    """A name of somebody else that leads to this machine makes a browser take us for his."""

    async def scenario(client):
        headers = {"Host": host, "Origin": f"http://{host}"}
        for method, path in (("GET", ""), ("GET", "api/choices"), ("POST", "api/clips")):
            answer = await client.ask(method, path, headers=headers)
            assert answer.status in (400, 403)
        assert client.left() == []

    served(tmp_path, scenario)


def test_the_page_may_be_reached_over_a_forwarded_port(tmp_path):
    async def scenario(client):
        headers = {"Host": "localhost:9000", "Origin": "http://localhost:9000"}
        assert (await client.ask("GET", "", headers=headers)).status == 200
        answer = await client.ask("POST", "api/clips", headers=headers, data=clip())
        assert answer.status == 201

    served(tmp_path, scenario)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://localhost"},
        {"Origin": None},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_another_site_sends_changes_nothing(tmp_path, headers):
    async def scenario(client):
        sent = await client.upload()
        job = await client.start(sent)
        await client.until(job, "done")
        before = client.left()
        for method, path in (
            ("POST", "api/clips"),
            ("POST", "api/jobs"),
            ("DELETE", f"api/jobs/{job['id']}"),
        ):
            answer = await client.ask(method, path, headers=headers, data=clip())
            assert answer.status == 403
        assert client.left() == before
        if headers.get("Origin") or "Sec-Fetch-Site" in headers:  # nor does it read anything
            assert (await client.ask("GET", f"api/jobs/{job['id']}", headers=headers)).status == 403

    served(tmp_path, scenario)


def test_addresses_lead_to_nothing_but_clips(tmp_path):
    async def scenario(client):
        (tmp_path / "secret").write_text("secret")
        sent = await client.upload("../../../secret")
        assert sent["name"] == "secret"
        tries = ["../secret", "..%2fsecret", "%2e%2e/secret", "api/clips/..%2f..%2fsecret/file"]
        tries += ["api/clips//file", "api/clips", "api/jobs", "api/", "page", "index.html", "log"]
        tries += [
            f"api/clips/{sent['id']}",
            f"api/clips/{sent['id']}/",
            "api/clips/0000000000000000/file",
        ]
        for path in [*tries, f"{sent['id']}/clip.mp4"]:
            reader, writer = await asyncio.open_connection("127.0.0.1", client.http.server.port)
            writer.write(f"GET /{TOKEN}/{path} HTTP/1.0\r\nHost: {client.host}\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            assert answer.split()[1] in (b"404", b"405", b"400"), path
            assert b"root:" not in answer and b"secret\r" not in answer
        for line in ("OPTIONS *", "GET http://evil.example/", f"TRACE /{TOKEN}/", "GET /%ff%00"):
            reader, writer = await asyncio.open_connection("127.0.0.1", client.http.server.port)
            writer.write(f"{line} HTTP/1.0\r\nHost: {client.host}\r\n\r\n".encode())
            assert (await reader.read()).split()[1][:1] == b"4", line
            writer.close()
        assert client.left() == [sent["id"], f"{sent['id']}/clip.mp4"]

    served(tmp_path, scenario)


def test_a_clip_that_is_too_large_is_refused_before_it_is_sent(tmp_path):
    async def scenario(client):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.http.server.port)
        head = f"POST /{TOKEN}/api/clips HTTP/1.1\r\nHost: {client.host}\r\n"
        head += f"Origin: http://{client.host}\r\nContent-Length: 1001\r\n\r\n"
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
        assert b" 413 " in answer
        writer.close()

        async def endless():
            yield HEAD
            while True:
                yield bytes(100)

        answer = await client.ask("POST", "api/clips", data=endless())
        assert answer.status == 413 and "limit of this page" in (await answer.json())["error"]
        assert client.left() == []

    served(tmp_path, scenario, bytes=1000)


def test_an_upload_that_is_cut_off_leaves_nothing(tmp_path, caplog):
    async def scenario(client):
        _, writer = await asyncio.open_connection("127.0.0.1", client.http.server.port)
        head = f"POST /{TOKEN}/api/clips HTTP/1.1\r\nHost: {client.host}\r\n"
        head += f"Origin: http://{client.host}\r\nContent-Length: 100000\r\n\r\n"
        writer.write(head.encode() + HEAD + bytes(5000))
        await writer.drain()
        while not client.left():
            await asyncio.sleep(0.01)
        writer.close()
        while client.left():
            await asyncio.sleep(0.01)

    served(tmp_path, scenario)
    assert caplog.records == []  # nothing for the terminal: whoever sent it has left


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"#EXTM3U\nfile:///etc/passwd", 415, "not a video"),
        (clip(unreadable="ends in the middle"), 422, "film.mp4: ends in the middle."),
        (clip(seconds=601), 413, "10.0 minutes"),
        (clip(frames=1), 422, "fewer than two frames"),
    ],
)
def test_what_cannot_be_worked_on_is_told_in_a_sentence_and_removed(
    tmp_path, content, status, said
):
    async def scenario(client):
        answer = await client.ask("POST", "api/clips", params={"name": "film.mp4"}, data=content)
        told = (await answer.json())["error"]
        assert answer.status == status and said in told and str(tmp_path) not in told
        assert client.left() == []

    served(tmp_path, scenario)


def test_what_nobody_foresaw_is_told_in_a_sentence_too(tmp_path, monkeypatch, capsys):
    async def scenario(client):
        sent = await client.upload()

        def breaks(*args):
            raise RuntimeError("something odd")

        monkeypatch.setattr(client.desk, "start", breaks)
        body = {"clip": sent["id"], "model": "dis", "factor": 2}
        answer = await client.ask("POST", "api/jobs", json=body)
        told = (await answer.json())["error"]
        assert answer.status == 500 and "failed unexpectedly" in told and "odd" not in told
        assert (await client.ask("GET", "api/choices")).status == 200

    served(tmp_path, scenario)
    assert "RuntimeError: something odd" in capsys.readouterr().err


def test_a_broken_request_is_refused(tmp_path, capsys):
    async def scenario(client):
        for text in (16_000 * "[", 2_000 * '{"clip":', "9" * 5_000, '"\\ud800"'):
            answer = await client.ask("POST", "api/jobs", data=text)
            assert answer.status == 400
            assert (await answer.json())["error"] == "The request is no JSON object."
        reader, writer = await asyncio.open_connection("127.0.0.1", client.http.server.port)
        head = f"POST /{TOKEN}/api/clips HTTP/1.1\r\nHost: {client.host}\r\n"
        head += f"Origin: http://{client.host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"5\r\nhello\r\nnonsense\r\n")
        assert b" 400 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
        writer.close()
        while client.left():
            await asyncio.sleep(0.01)

    served(tmp_path, scenario)
