"""Frames that a decoder mended: told to people, as they pass for good ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from midframe.video.clip import Clip
from midframe.video.frame import Frame

_SAID_ONE_BY_ONE = 3


class Watched:
    """A clip whose damaged frames are told, each once; read like `midframe.video.clip.Clip`.

    Args:
        clip: to read.
        say: takes a line for people.
    """

    def __init__(self, clip: Clip, say: Callable[[str], None]) -> None:
        self._clip, self._say = clip, say
        self._damaged: set[int] = set()
        self._lock = threading.Lock()  # parts may be read by several threads

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Frame]:
        """Yield frames from number ``first`` on, before ``last``; one in memory at a time."""
        for number, frame in enumerate(self._clip.read(first, last), first):
            if frame.damaged:
                self._found(number)
            yield frame

    def _found(self, number: int) -> None:
        with self._lock:
            if number in self._damaged:
                return
            self._damaged.add(number)
            count = len(self._damaged)
        if count <= _SAID_ONE_BY_ONE:
            seconds = float(self._clip.times[number] - self._clip.times[0])
            self._say(
                f"{self._clip.path}: frame {number} ({seconds:.2f} s) is damaged; it is used as "
                "the decoder mended it"
            )

    def rest(self) -> str:
        """Return words for the damaged frames that were not told one by one, "" for none."""
        more = len(self._damaged) - _SAID_ONE_BY_ONE
        return f"{self._clip.path}: {more} more frames are damaged" if more > 0 else ""
