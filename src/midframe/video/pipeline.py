"""From a clip to finished parts of the output: decoding, predicting and encoding at once.

A thread decodes, the calling thread predicts, others round and encode, with bounded belts between
them: what is in memory does not depend on the length of the clip. Every part of the output is made
from nothing but the clip and the part's place in it, so that it comes out the same whichever
process makes it, before or after an interruption.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from fractions import Fraction
from threading import Thread
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from midframe.errors import UserError
from midframe.video.belt import Belt, Stopped
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.inbetween import Gate, Maker, Picture, Shown, shown
from midframe.video.profile import Profile
from midframe.video.timing import Part, Schedule

_MEMORY = 256 * 2**20  # of pictures on a belt, in bytes, but for a few that are there at least
_FEWEST, _MOST = 3, 24
_CUT_OFF = 500  # frames that a clip may lack at its end and still be converted
_SKIPPED = 24  # frames that are rather decoded and dropped than sought past


class Reader(Protocol):
    """What gives the frames of a clip, such as `midframe.video.clip.Clip`."""

    def read(self, first: int, last: int | None = None) -> Iterator[Frame]:
        """Yield frames in order from number ``first``."""
        ...


class Writer(Protocol):
    """What takes the frames of a part."""

    def write(self, frame: Frame, pts: Fraction) -> None:
        """Append a frame that is shown at ``pts`` seconds."""
        ...


def room_for(form: Format) -> int:
    """Return how many pictures of a format a belt holds."""
    size = form.frame_bytes + 12 * form.width * form.height * (2 if form.alpha else 1)
    return max(_FEWEST, min(_MOST, _MEMORY // size))


def convert(
    clip: Reader,
    form: Format,
    schedule: Schedule,
    parts: Iterable[Part],
    maker: Maker,
    writer: Callable[[Part], AbstractContextManager[Writer]],
    *,
    gate: Gate | None = None,
    written: Callable[[], object] = lambda: None,
    finished: Callable[[Part], object] = lambda part: None,
    rounding: int = 1,
    profile: Profile | None = None,
) -> None:
    """Make parts of the output. Returns, or raises, when all threads have ended.

    Args:
        clip: gives the frames of the input.
        form: of these.
        schedule: of the whole output.
        parts: to make, in ascending order; the next is asked for, in another thread, while the one
            before is made.
        maker: the model.
        writer: opens what takes a part; its exit makes the part complete.
        gate: finds shots and repeats; None: all is one shot.
        written: called for every frame that was written, in another thread.
        finished: called for every part that is complete, in another thread.
        rounding: how many threads turn predictions into frames.
        profile: is told where the time goes, once all is done.

    Raises:
        UserError: by the clip, the model or the writer.
    """
    begun, profile = perf_counter(), profile or Profile()
    room = room_for(form) + maker.batch
    pictures: Belt[Part | Picture | None] = Belt(room)
    frames: Belt[Any] = Belt(room)  # a part, then (pts, future frame) as often as it has frames
    feed = Feed(clip, len(schedule.times), maker, gate)
    threads = (
        Thread(target=_decode, args=(feed, parts, pictures, profile), name="decode", daemon=True),
        Thread(
            target=_encode,
            args=(frames, writer, written, finished, profile),
            name="encode",
            daemon=True,
        ),
    )
    pool = ThreadPoolExecutor(rounding, "round")
    for thread in threads:
        thread.start()
    try:
        _predict(pictures, frames, schedule, maker, pool, profile)
        frames.close()
        threads[1].join()
        frames.put(None)  # raises what the other side ended by, if by an error
    except Stopped:
        pass  # as it does when all went well
    except BaseException as error:
        frames.close(Stopped() if isinstance(error, KeyboardInterrupt) else error)
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        pictures.abandon()
        frames.close(Stopped())
        for thread in threads:
            thread.join()
        pool.shutdown()
        profile.wall += perf_counter() - begun


def _predict(
    pictures: Belt[Part | Picture | None],
    frames: Belt[Any],
    schedule: Schedule,
    maker: Maker,
    pool: ThreadPoolExecutor,
    profile: Profile,
) -> None:
    begun, count = perf_counter(), 0
    for part in pictures:
        assert isinstance(part, Part)
        frames.put(part)
        here: Iterator[Any] = iter(pictures.__next__, None)
        for one in shown(here, schedule[part.start : part.end], schedule, maker):
            count += 1
            if one.rgb is None and maker.finish is None:
                frames.put((one.pts, one.near))
            else:
                frames.put((one.pts, pool.submit(_finish, maker, one, profile)))
        deque(here, maxlen=0)  # what was read ahead and not needed
    waited = pictures.waited_to_take + frames.waited_to_put
    profile.add("model", perf_counter() - begun - waited, waited, count)


def _finish(maker: Maker, one: Shown, profile: Profile) -> Frame:
    with profile.timing("round", 1):
        return maker.finished(one)


def _decode(
    feed: Feed, parts: Iterable[Part], pictures: Belt[Part | Picture | None], profile: Profile
) -> None:
    begun = perf_counter()
    try:
        for part in parts:
            pictures.put(part)
            for picture in feed.of(part):
                pictures.put(picture)
            pictures.put(None)
        pictures.close()
    except BaseException as error:  # goes on in the thread that takes
        pictures.close(error)
    finally:
        feed.close()
        waited = pictures.waited_to_put
        profile.add("decode", perf_counter() - begun - waited, waited, feed.decoded)


def _encode(
    frames: Belt[Any],
    writer: Callable[[Part], AbstractContextManager[Writer]],
    written: Callable[[], object],
    finished: Callable[[Part], object],
    profile: Profile,
) -> None:
    begun, count, rounding = perf_counter(), 0, 0.0
    try:
        for part in frames:
            with writer(part) as out:
                for _ in range(len(part)):
                    pts, frame = next(frames)
                    if isinstance(frame, Future):
                        asked = perf_counter()
                        frame = frame.result()
                        rounding += perf_counter() - asked
                    out.write(frame, pts)
                    count += 1
                    written()
            finished(part)
        waited = frames.waited_to_take + rounding
        profile.add("encode", perf_counter() - begun - waited, waited, count)
        frames.abandon()
    except BaseException as error:  # goes on in the thread that puts
        frames.abandon(error)


class Feed:
    """The pictures that parts need, decoded once where parts follow each other.

    Args:
        clip: gives frames from a number on.
        count: how many frames it has.
        maker: says what a part needs around it, and where the model is.
        gate: finds shots and repeats; None: all is one shot.
    """

    def __init__(self, clip: Reader, count: int, maker: Maker, gate: Gate | None) -> None:
        self._clip, self._count, self._maker, self._gate = clip, count, maker, gate
        self._behind = maker.behind + (gate.lead if gate else 0)
        self._ahead = maker.ahead + (gate.ahead if gate else 0)
        self._recent: deque[Picture] = deque(maxlen=self._behind + self._ahead + 2)
        self._stream: Any = None
        self._next = self.decoded = 0

    def of(self, part: Part) -> Iterator[Picture]:
        """Yield the pictures that a part is made from."""
        first = max(0, part.first - self._behind)
        pictures = self._there(first, min(self._count, part.stop + self._ahead))
        return pictures if self._gate is None else self._gate(pictures)

    def close(self) -> None:
        """End the decoding."""
        if self._stream is not None:
            getattr(self._stream, "close", lambda: None)()  # of a generator
            self._stream = None

    def _there(self, first: int, stop: int) -> Iterator[Picture]:
        """Yield pictures; where the clip is cut off before the first, the last that there is."""
        found = False
        for picture in self._read(first, stop):
            found = True
            yield picture
        if first and not found:
            yield from deque(self._read(max(0, first - _CUT_OFF), first), maxlen=1)

    def _read(self, first: int, stop: int) -> Iterator[Picture]:
        recent = [picture for picture in self._recent if first <= picture.number < stop]
        if self._stream is None or not 0 <= first - self._next + len(recent) <= _SKIPPED:
            self.close()
            self._recent.clear()
            recent = []
            self._stream, self._next = iter(self._clip.read(first)), first
        yield from recent
        while self._next < stop:
            frame = next(self._stream, None)
            if frame is None:  # cut off
                return
            self._next += 1
            self.decoded += 1
            if self._next > first:
                picture = self._picture(self._next - 1, frame)
                self._recent.append(picture)
                yield picture

    def _picture(self, number: int, frame: Frame) -> Picture:
        place, alpha = self._maker.place, frame.alpha()
        opacity = None if alpha is None else place(np.repeat(alpha, 3, 0))
        return Picture(number, frame, place(frame.rgb()), opacity)


class Cuts:
    """A gate that is told where shots begin.

    Args:
        numbers: of the first frames of shots.
    """

    lead = ahead = 0

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers = frozenset(numbers)

    def __call__(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield all pictures, those marked that begin a shot."""
        for picture in pictures:
            yield replace(picture, new_shot=picture.number in self.numbers)


def parse_cuts(text: str, schedule: Schedule, where: str) -> Cuts:
    """Return the cuts of a list: a frame's number, or a time in seconds such as 12.5, in each line.

    Numbers count from 0 and are those of the first frame of a shot; a time belongs to the first
    frame that is shown then or later. Blank lines and what follows "#" are left out.

    Args:
        text: of the list.
        schedule: knows the times of the input's frames.
        where: its name, for messages.

    Raises:
        UserError: for another line, or a frame that is not there.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip().rstrip("s").rstrip()
        if not word:
            continue
        try:
            time = None if word.isdecimal() else Fraction(word)
        except (ValueError, ZeroDivisionError) as error:
            raise UserError(
                f"{where}, line {number}: {line.strip()[:40]!r} is neither a frame's number nor "
                "seconds such as 12.5"
            ) from error
        frame = int(word) if time is None else _first_from(time, schedule)
        if not 0 <= frame < len(schedule.times) or (time is not None and time < 0):
            what = f"frame {frame}" if time is None else f"{line.strip()[:40]} (seconds)"
            end = float(schedule.time(Fraction(len(schedule.times))))
            raise UserError(
                f"{where}, line {number}: {what} is not in the video, which has "
                f"{len(schedule.times)} frames and ends at {end:.2f} s"
            )
        found.append(frame)
    return Cuts(found)


def _first_from(time: Fraction, schedule: Schedule) -> int:
    from bisect import bisect_left

    return bisect_left(schedule.times, time - Fraction(1, 2000))  # written to the millisecond
