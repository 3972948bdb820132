"""GIF: another program's decoder reads back what was written, close to the original."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from midframe.video.gif import Palette, encode_gif, write_gif

image = pytest.importorskip("PIL.Image")


def _decode(data):
    movie = image.open(io.BytesIO(data))
    frames = []
    for i in range(movie.n_frames):
        movie.seek(i)
        frames.append(np.array(movie.convert("RGB")))
    return frames, movie.info


def test_few_colours_come_back_exactly():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 64, (30, 3)) * 4
    frames = [colours[rng.integers(0, 30, (37, 53))].astype(np.uint8) for _ in range(3)]
    decoded, info = _decode(encode_gif(frames, fps=20))
    assert len(decoded) == 3 and info["duration"] == 50 and info["loop"] == 0
    for original, back in zip(frames, decoded):
        assert np.array_equal(original, back)


def test_noise_fills_the_code_table_and_still_decodes():
    """12-bit codes run out and start again: every pixel must be near its palette colour."""
    noise = np.random.default_rng(1).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    (back,), _ = _decode(encode_gif([noise]))
    assert np.abs(back.astype(int) - noise).mean() < 20


@pytest.mark.parametrize("length", [1, 2, 3, 254, 255, 256, 257, 4094, 4095, 4096, 4097, 9001])
def test_every_length_of_code_stream_ends_well(length):
    row = np.random.default_rng(length).integers(0, 8, length) * 32
    frame = np.repeat(row[None, :, None], 3, 2).astype(np.uint8)
    (back,), _ = _decode(encode_gif([frame]))
    assert np.array_equal(back, frame)


def test_photograph_keeps_its_colours(shared_data):
    folder = shared_data("middlebury_other") / "Beanbags"
    frames = [cv2.imread(str(folder / n))[..., ::-1] for n in ("frame10.png", "frame11.png")]
    decoded, _ = _decode(encode_gif(frames))
    for original, back in zip(frames, decoded):
        original = np.ascontiguousarray(original)
        assert cv2.PSNR(original, back) > 34
        smooth = [cv2.GaussianBlur(x, (0, 0), 1.5) for x in (original, back)]
        assert cv2.PSNR(*smooth) > 42  # the dither averages out


def test_still_parts_stay_still():
    still = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    moved = still.copy()
    moved[:8] = 255 - moved[:8]
    (first, second), _ = _decode(encode_gif([still, moved]))
    assert np.array_equal(first[8:], second[8:])


def test_a_frame_that_is_shown_longer_than_there_is_room_for():
    frame = np.zeros((4, 4, 3), np.uint8)
    for delay, held in ((65535, 65535), (65536, 65535), (10**9, 65535), (3, 3)):
        control = Palette([frame]).frame(frame, delay)[:8]
        assert int.from_bytes(control[4:6], "little") == held


def test_file_is_written_whole_and_wrong_frames_are_refused(tmp_path):
    write_gif(tmp_path / "a.gif", [np.zeros((4, 4, 3), np.uint8)])
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]
    with pytest.raises(ValueError, match="one size"):
        encode_gif([np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)])
    with pytest.raises(ValueError, match="one size"):
        encode_gif([])
