"""Videos are read frame by frame, in true colours, and what is broken is named."""

from __future__ import annotations

import av
import numpy as np
import pytest
from footage import pan, write_video

from midframe.errors import UserError
from midframe.video.media import probe, read_video, reduce_to, upright


def test_frames_come_back_exactly_and_in_order(tmp_path):
    frames = pan(0, range(0, 50, 5))
    path = write_video(tmp_path / "a.mkv", frames)
    read = list(read_video(path))
    assert np.array_equal([f.image for f in read], frames)
    np.testing.assert_allclose([f.time for f in read], np.arange(10) / 25, atol=1e-3)


def test_probe_says_size_rate_and_length(tmp_path):
    path = write_video(tmp_path / "a.mp4", pan(0, range(0, 50, 5)), "libx264")
    info = probe(path)
    assert (info.height, info.width, info.frames, info.fps) == (48, 96, 10, 25.0)
    assert info.seconds == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("height", "matrix", "full"),
    [(64, 1, False), (64, 5, False), (64, 1, True), (64, 2, False), (720, 2, False)],
)
def test_colours_follow_matrix_and_range_of_the_file(tmp_path, height, matrix, full):
    """Against the definition: BT.601 and BT.709, narrow and full range, and files without tags."""
    luma, blue, red = 81, 90, 200
    path = tmp_path / "c.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = height, 32, "yuv444p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame(32, height, "yuv444p")
        for plane, value in zip(frame.planes, (luma, blue, red)):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.colorspace, frame.color_range = 0, matrix, 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    hd = matrix == 1 or (matrix == 2 and height >= 720)
    kr, kb = (0.2126, 0.0722) if hd else (0.299, 0.114)
    y = luma / 255 if full else (luma - 16) / 219
    u, v = ((c - 128) / (255 if full else 224) for c in (blue, red))
    r, b = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    truth = 255 * np.clip([r, (y - kr * r - kb * b) / (1 - kr - kb), b], 0, 1)
    found = next(read_video(path)).image[height // 2, 16]
    np.testing.assert_allclose(found, truth, atol=1.5)


def test_large_frames_are_reduced_to_even_sizes(tmp_path):
    path = write_video(tmp_path / "a.mkv", pan(0, range(3), height=60, width=98))
    assert [f.image.shape for f in read_video(path, max_side=50)] == [(30, 50, 3)] * 3
    assert next(read_video(path, max_side=98)).image.shape == (60, 98, 3)
    grey = np.full((40, 80, 3), 77, np.uint8)
    assert np.array_equal(reduce_to(grey, 40), np.full((20, 40, 3), 77, np.uint8))


def test_rotation_turns_a_picture_upright():
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    # held upright, a phone stores the top of the scene at the left: -90 turns it clockwise
    assert np.array_equal(upright(stored, -90)[0], stored[::-1, 0])
    assert np.array_equal(upright(stored, 180), stored[::-1, ::-1])
    assert upright(stored, 0) is stored


@pytest.mark.parametrize("content", [b"", b"this is no video" * 99, None])
def test_what_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "odd.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (probe, lambda p: list(read_video(p))):
        with pytest.raises(UserError, match="odd.mp4"):
            read(path)


def test_a_video_that_is_cut_short_is_named(tmp_path):
    frames = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8) for i in range(20)]
    data = write_video(tmp_path / "a.mkv", frames).read_bytes()
    whole = write_video(tmp_path / "a.avi", frames).read_bytes()
    (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "head.mkv").write_bytes(data[:200])
    for name in ("half.avi", "head.mkv"):
        with pytest.raises(UserError, match=name):
            list(read_video(tmp_path / name))


def test_sound_only_is_named(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(UserError, match="sound.wav: has sound and no video"):
        probe(path)
