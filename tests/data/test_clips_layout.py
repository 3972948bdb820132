"""data=clips: folders of videos and of frames become moving clips of single shots."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from footage import pan, texture, write_video

from midframe.data.cutting import Cutting, Shot, cut_clips, hold_out
from midframe.data.io import write_image
from midframe.data.layouts.clips import clips
from midframe.errors import UserError
from midframe.files import aside_of
from midframe.video.media import read_video

STEADY = range(0, 48, 4)  # 12 frames that move by 4 pixels


def _video(path, seed, positions=STEADY):
    return write_video(path, pan(seed, positions))


def _brightening(count):
    """Nothing moves, but no two frames are the same."""
    return [
        np.minimum(texture(9, 48, 96).astype(int) + i, 255).astype(np.uint8) for i in range(count)
    ]


def _all(root, cache, **options):
    return [c for split in ("train", "val") for c in clips(root, split, cache=cache, **options)]


def test_clips_are_runs_of_moving_frames_of_one_shot(tmp_path):
    still = _brightening(5)
    frames = [*pan(0, STEADY), *pan(1, [0, 4, 8, 8, 12, 16]), *still, *pan(2, STEADY)]
    write_video(tmp_path / "in/a.mkv", frames)
    _video(tmp_path / "in/b.mkv", 5)
    # frame 15 repeats 14; the still shot 18..22 gives nothing
    expected = [list(range(i, i + 3)) for i in range(10)]
    expected += [[12, 13, 14], [13, 14, 16], [14, 16, 17]]
    expected += [list(range(i, i + 3)) for i in range(23, 33)]
    found = [c for c in _all(tmp_path / "in", tmp_path / "cache") if c.id.startswith("a.mkv")]
    pictures = [[c.frames[i].read() for i in range(3)] for c in found]
    assert np.array_equal(pictures, [[frames[i] for i in clip] for clip in expected])
    assert [c.id.rsplit("/", 1)[1] for c in found] == [f"{clip[0]:06d}" for clip in expected]


def test_random_access_equals_what_the_decoder_gives(tmp_path, shared_data):
    video = shared_data("video/car-turn.mp4")
    decoded = [f.image for f in read_video(video, max_side=160)]
    found = _all(video, tmp_path, max_side=160)
    assert len(found) > 50
    for clip in found[::-7]:
        first = int(clip.id.rsplit("/", 1)[1])
        for i, frame in enumerate(clip.frames):
            assert np.array_equal(frame.read(), decoded[first + i])


@pytest.mark.parametrize(
    ("context", "gap", "stride", "inputs", "targets", "reach"),
    [
        (1, 2, 1, (0, 2), (1,), 3),
        (1, 8, 1, (0, 8), (1, 2, 3, 4, 5, 6, 7), 9),
        (2, 2, 1, (0, 2, 4, 6), (3,), 7),
        (1, 2, 3, (0, 2), (1,), 7),
    ],
)
def test_context_gap_and_stride_shape_the_clips(
    tmp_path, context, gap, stride, inputs, targets, reach
):
    path = _video(tmp_path / "in/a.mkv", 0, range(0, 60, 3))
    decoded = [f.image for f in read_video(path)]
    _video(tmp_path / "in/b.mkv", 1, range(0, 60, 3))
    options = {"gap": gap, "stride": stride, "ends": "drop"}
    found = clips(tmp_path / "in", "train", context, cache=tmp_path / "cache", **options)
    found += clips(tmp_path / "in", "val", context, cache=tmp_path / "cache", **options)
    assert len(found) == 2 * (20 - reach + 1)
    middle = (context - 1) * gap * stride  # clips are named by the first frame of their gap
    one = next(c for c in found if c.id == f"a.mkv/00/{middle:06d}")
    assert (one.inputs, one.targets) == (inputs, targets)
    assert np.array_equal([f.read() for f in one.frames], decoded[:reach:stride])


def test_frame_folders_are_read_in_the_order_of_their_numbers(tmp_path):
    frames = pan(0, STEADY)
    for name in ("walk", "deep/run"):
        for i, frame in enumerate(frames):
            (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "in" / name / f"{i}.png", frame)  # 10.png after 9.png
    found = _all(tmp_path / "in", tmp_path / "cache")
    assert {c.group for c in found} == {"walk/00", "deep/run/00"}
    run = [c for c in found if c.group == "deep/run/00"]
    assert np.array_equal([c.frames[0].read() for c in run], frames[:10])


def test_videos_are_split_by_their_names_and_a_new_one_moves_no_other(tmp_path):
    for i in range(9):
        _video(tmp_path / f"in/v{i}.mkv", i, range(0, 16, 4))

    def sides():
        options = {"cache": tmp_path / "cache", "val_share": 0.3}
        return [{c.group for c in clips(tmp_path / "in", s, **options)} for s in ("train", "val")]

    train, val = sides()
    assert train and val and not train & val and len(train | val) == 9
    _video(tmp_path / "in/another.mkv", 20)
    train_after, val_after = sides()
    assert train <= train_after and val <= val_after


def test_a_single_video_is_split_without_sharing_frames(tmp_path):
    path = _video(tmp_path / "a.mkv", 0, range(0, 160, 4))
    train, val = (clips(path, s, cache=tmp_path / "c", val_share=0.25) for s in ("train", "val"))
    used, held = ({f for c in side for f in c.frames} for side in (train, val))
    assert not used & held
    assert len(val) == pytest.approx(0.25 * 38, abs=2)
    assert not {c.group for c in train} & {c.group for c in val}
    size = 48 * 96 * 3
    last, first = max(f.offset for f in used) // size, min(f.offset for f in held) // size
    assert first - last - 1 >= 40 // 8  # frames that neither side sees


@pytest.mark.parametrize("motion", [1.0, 1.5])
def test_a_calm_video_is_split_by_the_motion_that_was_asked_for(tmp_path, motion):
    path, cache = write_video(tmp_path / "a.mkv", _brightening(40)), tmp_path / "cache"
    with pytest.raises(UserError, match=r"set data\.layout\.motion"):
        clips(path, "train", cache=cache)
    train, val = (
        clips(path, split, cache=cache, motion=motion, val_share=0.2) for split in ("train", "val")
    )
    assert len(val) == pytest.approx(0.2 * 38, abs=2) and len(train) > 20


@pytest.mark.parametrize(
    ("gap", "stride", "share"), [(8, 1, 0.1), (4, 2, 0.1), (20, 1, 0.1), (24, 1, 0.5)]
)
def test_a_long_gap_leaves_both_sides_of_one_video_something(tmp_path, gap, stride, share):
    path = _video(tmp_path / "a.mkv", 0, range(0, 240, 4))  # 60 frames
    options = {"cache": tmp_path / "cache", "gap": gap, "stride": stride, "val_share": share}
    train, val = (clips(path, split, **options) for split in ("train", "val"))
    assert train and val
    assert not {f for c in train for f in c.frames} & {f for c in val for f in c.frames}


@pytest.mark.parametrize(("context", "gap"), [(1, 30), (2, 12)])
def test_one_video_too_short_for_both_sides_says_what_to_do(tmp_path, context, gap):
    path = _video(tmp_path / "a.mkv", 0, range(0, 240, 4))
    for split in ("train", "val"):
        with pytest.raises(UserError, match=r"too short.*second one.*layout\.gap=.*val_share=0\.1"):
            clips(path, split, context, cache=tmp_path / "cache", gap=gap, ends="drop")


def test_the_same_frames_are_held_out_for_every_model_and_gap(tmp_path):
    path = _video(tmp_path / "a.mkv", 0, range(0, 480, 4))  # 120 frames
    seen: tuple[set, set] = (set(), set())
    for context, gap in ((1, 2), (2, 2), (1, 4), (1, 8)):
        for side, split in zip(seen, ("train", "val")):
            options = {"cache": tmp_path / "cache", "gap": gap, "val_share": 0.25}
            side.update(f for c in clips(path, split, context, **options) for f in c.frames)
    assert all(seen) and not seen[0] & seen[1]


@pytest.mark.parametrize("share", [0.99, 1e-9])
def test_however_the_names_fall_neither_side_of_several_videos_is_empty(tmp_path, share):
    for name in ("a", "b"):
        _video(tmp_path / f"in/{name}.mkv", ord(name))
    options = {"cache": tmp_path / "cache", "val_share": share}
    sides = [{c.group for c in clips(tmp_path / "in", s, **options)} for s in ("train", "val")]
    assert [len(side) for side in sides] == [1, 1] and not sides[0] & sides[1]


def test_whole_shots_are_held_out_of_several():
    def shot(name, count):
        frames = tuple(f"{name}{i}" for i in range(count))
        return Shot(name, frames, tuple(range(count)), (0.0, *[10.0] * (count - 1)))

    shots = [shot("a", 42), shot("b", 22), shot("c", 12), shot("d", 32)]
    train, val = hold_out(shots, 0.2, Cutting())
    assert ([s.name for s in train], [s.name for s in val]) == (["a", "c", "d"], ["b"])
    assert sum(len(cut_clips(s, 1, Cutting())) for s in val) == 20


def test_the_second_time_nothing_is_decoded(tmp_path, monkeypatch):
    _video(tmp_path / "in/a.mkv", 0)
    _video(tmp_path / "in/b.mkv", 1)
    first = _all(tmp_path / "in", tmp_path / "cache")
    monkeypatch.setattr("midframe.data.shots.read_video", lambda *_, **__: pytest.fail("decodes"))
    assert _all(tmp_path / "in", tmp_path / "cache") == first


def test_a_changed_video_or_option_is_decoded_anew(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        _video(tmp_path / f"in/{name}.mkv", seed)
    cache = tmp_path / "cache"
    assert len(_all(tmp_path / "in", cache)) == 20
    _video(tmp_path / "in/a.mkv", 0, range(0, 80, 4))
    assert len(_all(tmp_path / "in", cache)) == 28
    assert {c.frames[0].size() for c in _all(tmp_path / "in", cache, max_side=48)} == {(24, 48)}


def test_a_stop_while_decoding_leaves_no_half_video(tmp_path, monkeypatch):
    for name, seed in (("a", 0), ("b", 1)):
        _video(tmp_path / f"in/{name}.mkv", seed)
    cache = tmp_path / "cache"

    def stops(path, **options):
        for number, frame in enumerate(read_video(path, **options)):
            if path.stem == "b" and number == 9:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr("midframe.data.shots.read_video", stops)
    with pytest.raises(KeyboardInterrupt):
        _all(tmp_path / "in", cache)
    assert [p.name[:5] for p in cache.iterdir()] == ["a.mkv"]  # the first is kept
    monkeypatch.undo()
    assert len(_all(tmp_path / "in", cache)) == 20


def test_what_killed_processes_left_is_deleted_when_cutting(tmp_path):
    path, cache = _video(tmp_path / "a.mkv", 0), tmp_path / "cache"
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead, live, elsewhere = (
        cache / f"b.mkv-0123.{owner}.part"
        for owner in (
            aside_of(Path("x")).name.split(".")[1].replace(str(os.getpid()), str(gone.pid)),
            aside_of(Path("x")).name.split(".")[1],
            f"another-host-{gone.pid}",
        )
    )
    for folder in (dead, live, elsewhere):
        folder.mkdir(parents=True)
        (folder / "shot-0000.bin").write_bytes(b"half")
    _all(path, cache)
    assert not dead.exists() and live.exists() and elsewhere.exists()


def test_a_picture_replaced_by_one_of_the_same_length_is_decoded_anew(tmp_path):
    folder, frames = tmp_path / "in/walk", pan(0, STEADY)
    for i, frame in enumerate(frames):
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{i:02}.bmp", frame)
    first = _all(tmp_path / "in", tmp_path / "cache")
    time = (folder / "00.bmp").stat().st_mtime_ns
    write_image(folder / "00.bmp", 255 - frames[0])
    os.utime(folder / "00.bmp", ns=(time, time + 1_000_000_000))
    second = _all(tmp_path / "in", tmp_path / "cache")
    assert {c.frames[0].path for c in first}.isdisjoint(c.frames[0].path for c in second)


def test_a_wrong_option_is_named_as_it_is_given(tmp_path):
    with pytest.raises(UserError, match=r"data\.layout\.gap=1, data\.layout\.stride=1"):
        clips(tmp_path, "train", cache=tmp_path, gap=1)
    with pytest.raises(UserError, match=r"data\.layout\.ends=cut: give replicate or drop"):
        clips(tmp_path, "train", cache=tmp_path, ends="cut")


def test_a_damaged_cache_is_named(tmp_path):
    path = _video(tmp_path / "a.mkv", 0)
    _all(path, tmp_path / "cache")
    shard = next((tmp_path / "cache").rglob("shot-*.bin"))
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(UserError, match="shot-0000.bin.*delete its folder"):
        _all(path, tmp_path / "cache")


@pytest.mark.parametrize("make", ["missing", "empty", "no video", "still"])
def test_nothing_to_read_is_said_with_what_to_do(tmp_path, make):
    root = tmp_path / "in"
    if make != "missing":
        root.mkdir()
    if make == "no video":
        (root / "readme.txt").write_text("hello")
        write_image(root / "cover.png", texture(0, 8, 8))
    if make == "still":
        write_video(root / "a.mkv", _brightening(9))
    message = {"missing": "no such file or folder", "still": "moving frames"}.get(make, "no video")
    with pytest.raises(UserError, match=message):
        clips(root, "train", cache=tmp_path / "cache")
    with pytest.raises(UserError, match=r"set data\.root to a folder like\n  clips/"):
        clips(None, "train", cache=tmp_path / "cache")


def test_an_unreadable_video_is_named_or_left_out_and_counted(tmp_path, caplog):
    _video(tmp_path / "in/a.mkv", 0)
    _video(tmp_path / "in/b.mkv", 1)
    (tmp_path / "in/odd.mp4").write_bytes(b"nonsense" * 50)
    with pytest.raises(UserError, match="odd.mp4"):
        _all(tmp_path / "in", tmp_path / "cache")
    found = _all(tmp_path / "in", tmp_path / "cache", on_error="skip")
    assert {c.group for c in found} == {"a.mkv/00", "b.mkv/00"}
    assert "1 of 3 videos" in caplog.text


def test_frames_that_differ_in_size_are_named(tmp_path):
    (tmp_path / "in/walk").mkdir(parents=True)
    for i, width in enumerate((20, 20, 24)):
        write_image(tmp_path / f"in/walk/{i}.png", texture(i, 16, width))
    with pytest.raises(UserError, match="walk: frame 2 is 24x16"):
        clips(tmp_path / "in", "train", cache=tmp_path / "cache")
