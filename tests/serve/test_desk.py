"""The desk and its processes where something is full, broken or late; no process is started."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from fractions import Fraction

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from serving import CHOICES, HEAD

from midframe.serve import app, child, uploads
from midframe.serve.jobs import Desk
from midframe.serve.records import Clip, Limits
from midframe.serve.uploads import MP4, Refused, kind_of, receive

PLAN = {"event": "plan", "frames_in": 9, "width": 64, "height": 48, "seconds": 1, "depth": 8}


async def film():
    yield HEAD + bytes(5000)


@pytest.fixture
def ways(monkeypatch):
    """How what looks at a clip, and what makes something of it, end: an error, or when."""
    found = {"look": None, "make": None}

    async def run(command, folder, told, seconds):
        for event in ({"event": "greeting"}, PLAN):
            told(event)
        end = found["look" if "--dry-run" in command else "make"]
        if isinstance(end, Exception):
            raise end
        if end is not None:
            await end.wait()

    monkeypatch.setattr("midframe.serve.jobs.run", run)
    return found


def test_a_clip_makes_room_for_the_next_unless_it_is_worked_on(tmp_path, ways):
    async def scenario():
        desk = Desk(tmp_path, [], CHOICES, Limits(clips=1))
        first = await desk.take("a.mp4", film(), None)
        await desk.start(first, "dis", 2, False, False).task
        second = await desk.take("b.mp4", film(), None)
        assert list(desk.clips.values()) == [second] and desk.jobs == {}
        assert [path.name for path in tmp_path.iterdir()] == [second.id]
        ways["make"] = asyncio.Event()
        job = desk.start(second, "dis", 2, False, False)
        with pytest.raises(Refused, match="Too many clips are being worked on") as caught:
            await desk.take("c.mp4", film(), None)
        assert caught.value.status == 429 and list(desk.clips.values()) == [second]
        ways["make"].set()
        await job.task
        assert job.state == "done" and (await desk.take("d.mp4", film(), None)).name == "d.mp4"

    asyncio.run(scenario())


def test_a_clip_that_cannot_be_read_in_time_is_refused_and_removed(tmp_path, ways):
    ways["look"] = asyncio.TimeoutError()
    desk = Desk(tmp_path, [], CHOICES, Limits())
    with pytest.raises(Refused, match=r"^slow\.mp4 could not be read within a minute") as caught:
        asyncio.run(desk.take("slow.mp4", film(), None))
    assert caught.value.status == 422 and not list(tmp_path.iterdir())


def test_without_a_place_for_its_folder_a_clip_is_refused(tmp_path):
    desk = Desk(tmp_path / "gone", [], CHOICES, Limits())
    with pytest.raises(Refused, match="could not be stored: No such file") as caught:
        asyncio.run(desk.take("a.mp4", film(), None))
    assert caught.value.status == 507 and desk.clips == {}


def test_a_job_whose_process_cannot_start_has_failed_and_says_why(tmp_path, ways):
    async def scenario():
        desk = Desk(tmp_path, [], CHOICES, Limits())
        clip = await desk.take("a.mp4", film(), None)
        ways["make"] = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        job = desk.start(clip, "dis", 2, False, False)
        await job.task
        assert job.state == "failed"
        assert job.error == "The process could not be started: Cannot allocate memory."

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        ({"fps_in": "30000/1001", "seconds": 1}, Fraction(30000, 1001)),
        ({"fps_in": None, "seconds": 4}, Fraction(9, 4)),
        ({"fps_in": None, "seconds": 0}, Fraction(25)),
    ],
)
def test_clips_of_uneven_times_have_the_rate_of_their_mean(tmp_path, said, rate):
    clip = Clip("0", "a.mp4", tmp_path, MP4, {**PLAN, **said})
    assert clip.rate == rate
    assert clip.told()["even"] == (said["fps_in"] is not None)


class Process:
    """Stands in for a process that has ended: what it wrote, and with which code."""

    def __init__(self, code, out=b"", err=b""):
        self.returncode, self.pid = code, 0
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        for stream, data in ((self.stdout, out), (self.stderr, err)):
            stream.feed_data(data)
            stream.feed_eof()

    async def wait(self):
        return self.returncode


def told_by(monkeypatch, tmp_path, *process):
    found = []

    async def start(*command, **options):
        return Process(*process)

    monkeypatch.setattr("asyncio.create_subprocess_exec", start)
    asyncio.run(child.run(["program"], tmp_path, found.append, 10))
    return found


def test_of_what_a_process_writes_only_json_objects_are_heard(monkeypatch, tmp_path):
    out = b'5\n"event"\n[{"event": 1}]\nnonsense\n{"event": "note"}\nnull\n'
    assert told_by(monkeypatch, tmp_path, 0, out) == [{"event": "note"}]


@pytest.mark.parametrize(
    ("code", "err", "said"),
    [
        (2, b"error: old\nerror: no room\nnot that\n", "no room"),
        (-signal.SIGKILL, b"", "killed by the system, probably because the memory is full"),
        (1, b"Traceback\n", "failed unexpectedly"),
    ],
)
def test_why_a_process_ended_is_said_for_people(monkeypatch, tmp_path, code, err, said):
    with pytest.raises(child.Failed, match=said) as caught:
        told_by(monkeypatch, tmp_path, code, b"", err)
    assert "error:" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"GIF87a\x40\x00\x30\x00", ".gif"),
        (b"GIF89a\x40\x00\x30\x00", ".gif"),
        (b"YUV4MPEG2 W64 H48 F25:1\nFRAME\n", ".y4m"),
        (b"OggS\x00\x02" + bytes(20), ".ogv"),
        (b"GIF88a", None),
        (b"YUV4MPEG\n", None),
    ],
)
def test_kinds_that_no_encoder_here_writes_are_known_too(head, suffix):
    found = kind_of(head + bytes(1000))
    assert (found and found.suffix) == suffix


def test_an_upload_that_stops_half_way_is_given_up(tmp_path, monkeypatch):
    async def stops():
        yield HEAD
        await asyncio.Event().wait()

    monkeypatch.setattr(uploads, "_PATIENCE", 0.02)
    with pytest.raises(Refused, match="stopped; send the clip again") as caught:
        asyncio.run(receive(stops(), None, tmp_path, 10_000))
    assert caught.value.status == 408


def test_an_upload_of_single_bytes_is_given_up_and_one_that_goes_on_is_not(tmp_path, monkeypatch):
    async def drips():
        while True:
            yield b"RIFF1234AVI "[:1]
            await asyncio.sleep(0.002)

    async def flows():
        yield HEAD
        for _ in range(10):
            await asyncio.sleep(0.03)
            yield bytes(1 << 15)

    monkeypatch.setattr(uploads, "_PATIENCE", 0.15)
    with pytest.raises(Refused, match="stopped; send the clip again") as caught:
        asyncio.run(receive(drips(), None, tmp_path, 3_000))
    assert caught.value.status == 408
    (tmp_path / "clip").unlink()
    path, _ = asyncio.run(receive(flows(), None, tmp_path, 1_000_000))
    assert path.stat().st_size == len(HEAD) + 10 * (1 << 15)


@pytest.mark.parametrize("error", [web.RequestPayloadError(), ConnectionResetError()])
def test_a_request_that_breaks_off_is_refused_in_a_sentence(error):
    async def breaks(request):
        raise error

    request = make_mocked_request("GET", "/token/", headers={"Host": "127.0.0.1:8420"})
    answer = asyncio.run(app._guard("token")(request, breaks))
    assert answer.status == 400 and json.loads(answer.text) == {"error": "The request is broken."}
