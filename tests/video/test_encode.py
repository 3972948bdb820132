"""Videos that are written can be read again as what they were."""

from __future__ import annotations

import errno
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from midframe.errors import UserError
from midframe.video.encode import VideoWriter
from midframe.video.media import probe, read_video


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    rows, columns = np.mgrid[:height, :width]
    red, green = rows * 255 // height, columns * 255 // width
    return [
        np.stack([red, green, np.full_like(red, 40 + 30 * i)], -1).astype(np.uint8)
        for i in range(count)
    ]


def test_frames_colours_and_rate_come_back(tmp_path):
    path, sent = tmp_path / "a.mp4", pictures(6, 64, 96)
    with VideoWriter(path, Fraction(30000, 1001)) as writer:
        for picture in sent:
            writer.write(picture)
    assert probe(path).fps == pytest.approx(30000 / 1001, abs=1e-6)
    read = [frame.image for frame in read_video(path)]
    assert len(read) == len(sent)
    for got, wanted in zip(read, sent):
        assert np.abs(got.astype(int) - wanted).mean() < 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4"]


def test_odd_sizes_get_a_repeated_line(tmp_path):
    with VideoWriter(tmp_path / "odd.mp4", Fraction(10)) as writer:
        writer.write(pictures(1, 33, 47)[0])
    (frame,) = read_video(tmp_path / "odd.mp4")
    assert frame.image.shape == (34, 48, 3)


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(path, Fraction(10)) as writer:
        writer.write(pictures(1, 32, 32)[0])
        raise RuntimeError("stop")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


class Full:
    """A container on a disk that is full: what is said to fail does, all else is done."""

    def __init__(self, container: Any, fails: str, after: int = 0) -> None:
        self._container, self._fails, self._left = container, fails, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._container, name)
        if name != self._fails:
            return real

        def call(*given: Any) -> None:
            real(*given)
            self._left -= 1
            if self._left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")

        return call


@pytest.mark.parametrize(("fails", "after"), [("mux", 0), ("mux", 3), ("close", 0)])
def test_a_full_disk_leaves_what_was_there(tmp_path, fails, after):
    """While frames are written, at the last ones that the encoder holds, and at the end."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    writer = VideoWriter(path, Fraction(10))
    with pytest.raises(UserError, match=r"cannot write .*a\.mp4: No space left"), writer:
        writer._container = Full(writer._container, fails, after)
        for picture in pictures(3, 32, 32):
            writer.write(picture)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_an_error_on_its_way_is_the_one_that_is_told(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", Fraction(10))
    with pytest.raises(RuntimeError, match="stop"), writer:
        writer.write(pictures(1, 32, 32)[0])
        writer._container = Full(writer._container, "close")
        raise RuntimeError("stop")
    assert not list(tmp_path.iterdir())
