"""What becomes of clips and jobs: their results, their order, their end, and what is left."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from serving import clip, gone, served


def test_a_clip_becomes_a_video_that_can_be_watched_and_kept(tmp_path):
    async def scenario(client):
        sent = await client.upload("Ferien am See.mov")
        assert sent["name"] == "Ferien am See.mov" and sent["frames"] == 9 and sent["fps"] == 25
        told = await client.until(await client.start(sent, factor=4), "done")
        assert told["done"] == told["total"] == 2 and told["frames"] == 18 and told["fps"] == 50
        assert told["notes"] == ["Ferien am See.mov was only copied."]
        looked, made = (run["words"] for run in client.runs())
        assert looked[0] == made[0] == "clip.mp4" and "--dry-run" in looked
        assert made[2:6] == ["--factor", "4", "--model", "dis"]
        assert made[6:] == ["--codec", "h264", "--output-chroma", "420", "--progress", "json"]
        path = f"api/jobs/{told['id']}"
        for part in ("before", "after", "download"):
            answer = await client.ask("GET", f"{path}/{part}")
            assert answer.headers["Content-Type"] == "video/mp4"
            assert await answer.read() == clip()
        assert 'filename="Ferien am See-4x.mp4"' in answer.headers["Content-Disposition"]
        answer = await client.ask("GET", f"{path}/after", headers={"Range": "bytes=4-11"})
        assert answer.status == 206 and await answer.read() == b"ftypisom"
        assert answer.headers["Content-Range"] == f"bytes 4-11/{len(clip())}"
        assert (await client.ask("HEAD", f"{path}/after")).headers["Accept-Ranges"] == "bytes"
        answer = await client.ask("GET", f"api/clips/{sent['id']}/file")
        assert await answer.read() == clip()

    served(tmp_path, scenario)


def test_slow_motion_other_models_and_copies_for_browsers(tmp_path):
    async def scenario(client):
        sent = await client.upload(fps="30000/1001")
        asked = {"model": "net", "factor": 8, "slow": True, "preview": True}
        told = await client.until(await client.start(sent, **asked), "done")
        copied, made = (run["words"] for run in client.runs()[1:])
        assert copied[2:6] == ["--fps", "30000/1001", "--model", "average"]
        assert made[2:4] == ["--slow-motion", "8"]
        assert made[4:8] == ["--weights", "/runs/net", "--device", "cpu"]
        answer = await client.ask("GET", f"api/jobs/{told['id']}/download")
        assert "my clip-8x-slower.mp4" in answer.headers["Content-Disposition"]
        names = [name.rpartition("/")[2] for name in client.left()[1:]]
        assert names == [made[1], copied[1], "clip.mp4"]

    served(tmp_path, scenario)


def test_clips_of_more_than_8_bits_become_what_every_browser_plays(tmp_path):
    async def scenario(client):
        told = await client.until(await client.start(await client.upload(bits=10)), "done")
        words = client.runs()[1]["words"]
        assert words[1].endswith(".webm") and "vp9" in words
        answer = await client.ask("GET", f"api/jobs/{told['id']}/after")
        assert answer.headers["Content-Type"] == "video/webm"

    served(tmp_path, scenario)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"clip": "0000000000000000"}, 404),
        ({"clip": "../x"}, 404),
        ({"model": "--weights"}, 422),
        ({"factor": 3}, 422),
        ({"factor": "2"}, 422),
        ({"factor": True}, 422),
        ({"factor": None}, 422),
    ],
)
def test_what_there_is_not_to_choose_is_refused(tmp_path, asked, status):
    async def scenario(client):
        sent = await client.upload()
        body = {"clip": sent["id"], "model": "dis", "factor": 2, **asked}
        answer = await client.ask("POST", "api/jobs", json=body)
        assert answer.status == status and (await answer.json())["error"].endswith(".")
        assert len(client.runs()) == 1
        for body in ("[]", "nonsense", "{", 20_000 * " "):
            assert (await client.ask("POST", "api/jobs", data=body)).status in (400, 413)

    served(tmp_path, scenario)


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        ({"error": "no space left on the disk"}, "No space left on the disk."),
        ({"error": "clip.mp4: frame 3 is damaged"}, "my clip.mp4: frame 3 is damaged."),
        ({"crash": True}, "failed unexpectedly"),
    ],
)
def test_why_a_job_fails_is_told_in_a_sentence(tmp_path, capsys, behave, said):
    async def scenario(client):
        sent = await client.upload(**behave)
        told = await client.until(await client.start(sent), "failed")
        assert said in told["error"]
        assert len(client.left()) == 2  # the clip may be tried with other settings
        assert (await client.ask("GET", f"api/jobs/{told['id']}/after")).status == 409

    served(tmp_path, scenario)
    assert ("something broke" in capsys.readouterr().err) == ("crash" in behave)


@pytest.mark.parametrize("letters", [401, 100_000, 3_000_000])
def test_a_note_of_any_length_ends_no_job_and_fills_no_page(tmp_path, letters):
    """As of a stream whose language is a megabyte long; what comes behind it is heard."""

    async def scenario(client):
        sent = await client.upload(longest=letters)
        told = await client.until(await client.start(sent), "done")
        assert told["done"] == told["total"] == 2
        assert told["notes"][-1] == "my clip.mp4 was only copied."
        assert sum(map(len, sent["notes"] + told["notes"])) < 1000
        if letters < 1_000_000:
            assert told["notes"][0] == sent["notes"][0] == "N" + 398 * "n" + "…"
        else:  # a line of more than a megabyte is passed over whole
            assert len(told["notes"]) == 1 and sent["notes"] == []

    served(tmp_path, scenario)


def test_what_files_say_is_shown_without_tricks_and_not_too_often(tmp_path):
    async def scenario(client):
        sent = await client.upload(
            notes=["sound (\u202egpj\x1b[2J) is left out\n", *60 * ["again"]]
        )
        assert sent["notes"][:2] == ["Sound (\ufffdgpj\ufffd[2J) is left out.", "Again."]
        assert len(sent["notes"]) == 50

    served(tmp_path, scenario)


def test_a_job_that_breaks_in_a_way_that_nobody_foresaw_has_failed(tmp_path, monkeypatch, capsys):
    async def scenario(client):
        sent = await client.upload()

        async def breaks(*args):
            raise ValueError("something odd\x1b[2J")

        monkeypatch.setattr("midframe.serve.jobs.run", breaks)
        told = await client.until(await client.start(sent), "failed")
        assert "failed unexpectedly" in told["error"] and "odd" not in told["error"]
        for one in client.desk.clips.values():
            one.touched -= 3601
        await client.desk.remove_old()
        assert client.left() == []  # nothing holds the clip

    served(tmp_path, scenario)
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "ValueError: something odd\ufffd[2J" in shown


def test_only_so_many_new_clips_are_looked_at_at_once(tmp_path):
    async def scenario(client):
        await asyncio.gather(*(client.upload(look_pause=0.3) for _ in range(4)))
        assert [run["beside"] for run in client.runs()] == [0, 0, 0, 0]

    served(tmp_path, scenario, looks=1)


def test_cancelling_ends_the_process_and_removes_what_it_wrote(tmp_path):
    async def scenario(client):
        sent = await client.upload(steps=1000, pause=0.05)
        job = await client.start(sent)
        while (await client.until(job, "running"))["done"] < 2:
            await asyncio.sleep(0.02)
        process = client.runs()[1]["pid"]
        assert any(name.endswith(".midframe") for name in client.left())
        assert (await client.ask("DELETE", f"api/jobs/{job['id']}")).status == 204
        await gone(process)
        assert client.left() == [sent["id"], f"{sent['id']}/clip.mp4"]
        assert (await client.ask("GET", f"api/jobs/{job['id']}")).status == 404

    served(tmp_path, scenario)


def test_jobs_wait_for_each_other_and_not_too_many(tmp_path):
    async def scenario(client):
        sent = await client.upload(steps=1000, pause=0.05)
        first = await client.start(sent)
        await client.until(first, "running")
        second, third = await client.start(sent), await client.start(sent)
        assert [second["before"], third["before"]] == [1, 2]
        body = {"clip": sent["id"], "model": "dis", "factor": 2}
        answer = await client.ask("POST", "api/jobs", json=body)
        assert answer.status == 429 and "waiting" in (await answer.json())["error"]
        assert len(client.runs()) <= 2
        for job in (second, first):  # one that waits, and the one that runs
            await client.ask("DELETE", f"api/jobs/{job['id']}")
        told = await client.until(third, "running")
        assert told["before"] == 0

    served(tmp_path, scenario, waiting=2)


def test_a_job_that_takes_too_long_is_ended(tmp_path):
    async def scenario(client):
        job = await client.start(await client.upload(steps=1000, pause=0.05))
        told = await client.until(job, "failed")
        assert "longer than" in told["error"] and "--minutes" in told["error"]
        await gone(client.runs()[1]["pid"])

    served(tmp_path, scenario, job=0.6)


def test_old_clips_are_removed_but_not_under_work(tmp_path):
    async def scenario(client):
        busy, idle = await client.upload(steps=1000, pause=0.05), await client.upload()
        running = await client.start(busy)
        done = await client.until(await client.start(await client.upload()), "waiting", "running")
        await client.ask("DELETE", f"api/jobs/{done['id']}")
        for one in client.desk.clips.values():
            one.touched -= 3601
        await client.until(running, "running")
        client.desk.clips[busy["id"]].touched -= 3601
        await client.desk.remove_old()
        assert list(client.desk.clips) == [busy["id"]]
        assert {name.split("/")[0] for name in client.left()} == {busy["id"]}
        answer = await client.ask("GET", f"api/clips/{idle['id']}/file")
        assert answer.status == 404 and "removed" in (await answer.json())["error"]

    served(tmp_path, scenario)


def test_the_server_removes_old_clips_by_itself(tmp_path):
    async def scenario(client):
        await client.upload()
        end = time.monotonic() + 20
        while client.left() and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert client.left() == []

    served(tmp_path, scenario, age=0.2)


def test_only_so_many_clips_and_results_are_kept(tmp_path):
    async def scenario(client):
        first = await client.upload()
        second = await client.upload()
        jobs = [await client.until(await client.start(second), "done") for _ in range(3)]
        assert (await client.ask("GET", f"api/jobs/{jobs[0]['id']}")).status == 404
        assert sum("after-" in name for name in client.left()) == 2
        third = await client.upload()
        assert list(client.desk.clips) == [second["id"], third["id"]]
        assert not (client.desk.folder / first["id"]).exists()

    served(tmp_path, scenario, clips=2, results=2)


def test_processes_end_with_the_server(tmp_path):
    found = []

    async def scenario(client):
        await client.until(
            await client.start(await client.upload(steps=1000, pause=0.05)), "running"
        )
        while len(client.runs()) < 2:
            await asyncio.sleep(0.02)
        found.append(client.runs()[1]["pid"])
        os.kill(found[0], 0)

    served(tmp_path, scenario)
    asyncio.run(gone(found[0]))
    with pytest.raises(ProcessLookupError):
        os.kill(found[0], 0)
