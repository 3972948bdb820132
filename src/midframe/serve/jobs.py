"""What is made of clips: a queue of processes, and when everything is removed again."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from midframe.plain_text import plain
from midframe.serve.child import Failed, run, unexpected
from midframe.serve.records import PLAIN, Choice, Clip, Job, Limits
from midframe.serve.uploads import Kind, Refused, receive, shown_name, too_large, unstored

FACTORS = (2, 4, 8)
_LOOK = 60.0  # seconds until a file that nobody can read is given up
_LONGEST = 400  # characters of a sentence: what a file says may be in it
_NOTES = 50  # a file may have thousands of streams, each with a note


class Desk:
    """Takes clips and jobs, and does one after another.

    Args:
        folder: where everything is; nothing else is there.
        command: that interpolates, to which input, output and options are added.
        choices: models by their keys.
        limits: of the page.

    Attributes:
        clips: by id.
        jobs: by id.
    """

    def __init__(
        self, folder: Path, command: Sequence[str], choices: Mapping[str, Choice], limits: Limits
    ) -> None:
        self.folder, self.command, self.choices, self.limits = folder, command, choices, limits
        self.clips: dict[str, Clip] = {}
        self.jobs: dict[str, Job] = {}
        self._computing = asyncio.Semaphore(limits.at_once)
        self._looking = asyncio.Semaphore(limits.looks)
        self._receiving = 0

    async def take(self, name: str, chunks: AsyncIterator[bytes], said: int | None) -> Clip:
        """Receive a clip and find out what it is.

        Args:
            name: of the file, for people.
            chunks: of its content.
            said: how many bytes there will be, if that is known.

        Raises:
            Refused: for what is no clip that can be worked on, with a sentence why.
        """
        if said is not None and said > self.limits.bytes:
            raise too_large(self.limits.bytes)
        self._make_room()
        name, ident = shown_name(name), secrets.token_hex(8)
        folder = self.folder / ident
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise unstored(error) from error
        self._receiving += 1
        try:
            path, kind = await receive(chunks, said, folder, self.limits.bytes)
            self.clips[ident] = await self._look(ident, name, path, kind)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._receiving -= 1
        return self.clips[ident]

    def start(self, clip: Clip, model: str, factor: int, slow: bool, preview: bool) -> Job:
        """Let a job wait for its turn.

        Raises:
            Refused: for what there is not to choose, or if too many wait.
        """
        if model not in self.choices:
            raise Refused(422, "There is no such model.")
        if factor not in FACTORS:
            raise Refused(422, f"The factor is one of {', '.join(map(str, FACTORS))}.")
        if sum(job.state == "waiting" for job in self.jobs.values()) >= self.limits.waiting:
            raise Refused(429, "Too many clips are waiting; try again when one is done.")
        over = [job for job in self.jobs.values() if job.is_over]
        for old in over[: max(0, len(over) - self.limits.results + 1)]:
            self._sweep(self.jobs.pop(old.id))
        job = Job(secrets.token_hex(8), clip, self.choices[model], factor, slow, preview)
        self.jobs[job.id] = job
        clip.touched = time.monotonic()
        job.task = asyncio.ensure_future(self._do(job))
        return job

    def before(self, job: Job) -> int:
        """Return how many jobs come before one that waits."""
        earlier = takewhile(lambda other: other is not job, self.jobs.values())
        return sum(not other.is_over for other in earlier)

    async def drop(self, job: Job) -> None:
        """End a job, and delete what it has made."""
        assert job.task is not None  # since it was started
        job.task.cancel()
        await asyncio.wait([job.task])
        self.jobs.pop(job.id, None)
        self._sweep(job)

    async def remove_old(self) -> None:
        """Delete clips that nobody has asked for in a while, unless something is made of them."""
        now = time.monotonic()
        for clip in list(self.clips.values()):
            if now - clip.touched > self.limits.age and not self._busy(clip):
                await self._remove(clip)

    async def close(self) -> None:
        """End everything; the folder is left to who made it."""
        for job in list(self.jobs.values()):
            await self.drop(job)

    def _busy(self, clip: Clip) -> bool:
        return any(job.clip is clip and not job.is_over for job in self.jobs.values())

    def _make_room(self) -> None:
        """Have room for one more clip, by deleting the one that was longest not asked for."""
        if len(self.clips) + self._receiving < self.limits.clips:
            return
        idle = [clip for clip in self.clips.values() if not self._busy(clip)]
        if not idle:
            raise Refused(429, "Too many clips are being worked on; try again when one is done.")
        self._forget(min(idle, key=lambda clip: clip.touched))

    async def _remove(self, clip: Clip) -> None:
        for job in [job for job in self.jobs.values() if job.clip is clip]:
            await self.drop(job)
        self._forget(clip)

    def _forget(self, clip: Clip) -> None:
        """Delete a clip, of which nothing is being made."""
        for job in [job for job in self.jobs.values() if job.clip is clip]:
            del self.jobs[job.id]
        self.clips.pop(clip.id, None)
        shutil.rmtree(self.folder / clip.id, ignore_errors=True)

    async def _look(self, ident: str, name: str, path: Path, kind: Kind) -> Clip:
        """Have the command line say what a file is."""
        plan: dict[str, Any] = {}
        notes: list[str] = []

        def told(event: dict[str, Any]) -> None:
            if event.get("event") == "plan":
                plan.update(event)
            elif event.get("event") == "note":
                _add(notes, event, path.name, name)

        out, words = PLAIN
        looking = ["--dry-run", "--factor", "2", *words, "--progress", "json"]
        command = [*self.command, path.name, f"look{out.suffix}", *looking]
        try:
            async with self._looking:
                await run(command, path.parent, told, _LOOK)
        except asyncio.TimeoutError as error:
            raise Refused(422, f"{name} could not be read within a minute.") from error
        except Failed as error:
            raise Refused(422, _said(str(error), path.name, name)) from error
        if plan.get("frames_in", 0) < 2:
            raise Refused(422, "There are fewer than two frames in this clip.")
        seconds = float(plan.get("seconds") or 0)
        if seconds > self.limits.seconds:
            raise Refused(
                413,
                f"The clip lasts {seconds / 60:.1f} minutes; this page takes up to "
                f"{self.limits.seconds / 60:g}. `midframe interpolate` takes longer ones.",
            )
        return Clip(ident, name, path, kind, plan, notes)

    async def _do(self, job: Job) -> None:
        try:
            async with self._computing:
                job.state, begun = "running", time.monotonic()
                try:
                    await self._make(job, begun + self.limits.job)
                finally:
                    job.took = time.monotonic() - begun
            job.state = "done"
        except asyncio.CancelledError:
            job.state = "cancelled"
        except Failed as error:
            job.state, job.error = "failed", _said(str(error), job.clip.path.name, job.clip.name)
        except asyncio.TimeoutError:
            job.state, job.error = "failed", _too_long(self.limits.job)
        except OSError as error:
            job.state, job.error = "failed", f"The process could not be started: {error.strerror}."
        except Exception:  # a job that stays "running" would keep its clip, and its room, for ever
            job.state, job.error = "failed", unexpected(traceback.format_exc().splitlines())
        finally:
            job.clip.touched = time.monotonic()
            if job.state != "done":
                self._sweep(job)

    async def _make(self, job: Job, until: float) -> None:
        clip = job.clip
        _, form = clip.form

        def told(event: dict[str, Any]) -> None:
            if event.get("event") == "progress":
                job.said = event
            elif event.get("event") == "plan":
                job.plan = event
            elif event.get("event") == "note":
                _add(job.notes, event, clip.path.name, clip.name)

        async def make(out: Path, *words: str) -> None:
            command = [*self.command, clip.path.name, out.name, *words, *form]
            left = max(until - time.monotonic(), 0.01)
            await run([*command, "--progress", "json"], out.parent, told, left)

        if job.preview:
            job.step = "preview"
            await make(job.before[0], "--fps", str(clip.rate), "--model", "average")
            job.step, job.said, job.notes = "frames", {}, []
        kind = "--slow-motion" if job.slow else "--factor"
        await make(job.after, kind, str(job.factor), *job.choice.words)

    def _sweep(self, job: Job) -> None:
        """Delete what a job has written, whole or half."""
        with suppress(OSError):
            for path in job.clip.path.parent.iterdir():
                if job.id in path.name:
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)


def _add(notes: list[str], event: Mapping[str, Any], ours: str, theirs: str) -> None:
    """Add what a note says, unless there are too many for anybody to read."""
    if len(notes) < _NOTES:
        notes.append(_said(str(event.get("text")), ours, theirs))


def _said(text: str, ours: str, theirs: str) -> str:
    """Return what the command line says, with a clip's own name, as a sentence of some lines."""
    text = plain(text).replace(ours, theirs)
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    first = text[:1] if text.startswith(theirs) else text[:1].upper()
    return first + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")


def _too_long(seconds: float) -> str:
    return (
        f"This took longer than {seconds / 60:g} minutes, the limit of this page; "
        "`midframe serve --minutes` changes it."
    )
