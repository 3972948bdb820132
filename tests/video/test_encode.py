"""Videos that are written can be read again as what they were."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

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
