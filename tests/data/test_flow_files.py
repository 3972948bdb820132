"""Flow files: bytes written by hand are understood, what is written comes back, damage is named."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
import torch

from midframe.data.flow_files import (
    FloFile,
    HalfFlow,
    KittiFile,
    NoMotion,
    PfmFile,
    from_half,
    open_flow,
    to_half,
    write_flow,
)
from midframe.data.io import ImageFile
from midframe.data.records import Box
from midframe.data.shards import ShardFlow
from midframe.errors import UserError
from midframe.ops import backwarp

BOX = Box(3, 5, 20, 30)
FLOW = np.random.default_rng(0).normal(0, 20, (40, 60, 2)).astype(np.float32)
# 3 columns, 2 rows: u = 10 * row + column, v = -u
ROWS = [[(10.0 * r + c, -10.0 * r - c) for c in range(3)] for r in range(2)]


def test_flow_round_trip(tmp_path):
    flow = np.random.default_rng(0).normal(size=(40, 60, 2)).astype(np.float32)
    write_flow(tmp_path / "a.flo", flow)
    source = FloFile(str(tmp_path / "a.flo"))
    assert source.size() == (40, 60)
    np.testing.assert_array_equal(source.read(), flow)
    np.testing.assert_array_equal(source.read(BOX), flow[3:23, 5:35])
    assert cv2.readOpticalFlow(str(tmp_path / "a.flo")).tolist() == flow.tolist()


def test_real_flow(shared_data):
    path = str(shared_data("flow/rubberwhale_10_to_11.flo"))
    flow, raw = FloFile(path).read(), cv2.readOpticalFlow(path)
    known = np.abs(raw).max(-1) < 1e9
    np.testing.assert_array_equal(flow, np.where(known[..., None], raw, np.nan))
    assert flow.shape == (388, 584, 2) and 0.01 < 1 - known.mean() < 0.02
    assert np.abs(flow[known]).max() < 10


@pytest.mark.parametrize("order, scale", [("<", "-1.0"), (">", "1"), ("<", "-0.5e0")])
@pytest.mark.parametrize("channels", [2, 3])
def test_pfm_by_hand(tmp_path, order, scale, channels):
    data = b"".join(
        struct.pack(f"{order}{channels}f", *pixel, *[7.0] * (channels - 2))
        for row in reversed(ROWS)  # the last row comes first
        for pixel in row
    )
    path = tmp_path / "a.pfm"
    path.write_bytes(f"PF\n3 2\n{scale}\n".encode() + data)
    source = PfmFile(str(path))
    assert source.size() == (2, 3)
    np.testing.assert_array_equal(source.read(), ROWS)
    np.testing.assert_array_equal(source.read(Box(1, 1, 1, 2)), np.array(ROWS)[1:, 1:])
    assert source.read().dtype == np.float32 and source.read().flags.c_contiguous


def test_kitti_by_hand(tmp_path):
    # R, G, B = u, v, known: (1, -1.5) px; unknown; the largest and the smallest there is
    pixels = [
        (2**15 + 64, 2**15 - 96, 1),
        (40000, 40000, 0),
        (65535, 0, 1),
    ]
    rgb = np.array([pixels], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), rgb[..., ::-1])
    source = KittiFile(str(tmp_path / "a.png"))
    assert source.size() == (1, 3)
    flow = source.read()[0]
    assert flow[0].tolist() == [1.0, -1.5]
    assert np.isnan(flow[1]).all()
    assert flow[2].tolist() == [(65535 - 32768) / 64, -512.0]


@pytest.mark.parametrize("suffix", [".flo", ".npy", ".pfm", ".png"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"ä b{suffix}"
    write_flow(path, FLOW)
    source = open_flow(path)
    assert source.size() == (40, 60)
    half_step = {".png": 0.5 / 64, ".npy": 0.5 / 16}.get(suffix, 0.0)  # up to 128 px
    np.testing.assert_allclose(source.read(), FLOW, rtol=0, atol=half_step)
    np.testing.assert_array_equal(source.read(BOX), source.read()[3:23, 5:35])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert source.read().dtype == np.float32


def test_what_is_written_is_what_others_read(tmp_path):
    write_flow(tmp_path / "a.pfm", FLOW)
    picture = cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED)  # turns RGB around
    np.testing.assert_array_equal(picture[..., 2:0:-1], FLOW)
    write_flow(tmp_path / "a.png", FLOW)
    raw = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16 and (raw[..., 0] == 1).all()
    np.testing.assert_allclose((raw[..., 2] - 32768.0) / 64, FLOW[..., 0], atol=0.5 / 64, rtol=0)


@pytest.mark.parametrize("suffix", [".flo", ".npy", ".pfm", ".png"])
def test_unknown_flow_stays_unknown(tmp_path, suffix):
    flow, path = FLOW.copy(), tmp_path / f"a{suffix}"
    flow[0, 0] = 1.7e9
    flow[1, 1, 0] = np.nan
    flow[2, 2, 1] = -np.inf
    write_flow(path, flow)
    read = open_flow(path).read()
    known = ~np.isnan(read).any(-1)
    assert np.argwhere(~known).tolist() == [[0, 0], [1, 1], [2, 2]]
    np.testing.assert_allclose(read[known], FLOW[known], rtol=0, atol=0.5 / 16)
    np.testing.assert_array_equal(open_flow(path).read(Box(0, 0, 3, 3)), read[:3, :3])
    assert np.isnan(flow).sum() == 1  # what was given is left as it is


@pytest.mark.parametrize("suffix", [".flo", ".pfm"])
def test_files_of_others_mark_unknown_flow_by_huge_values(tmp_path, suffix):
    write_flow(tmp_path / f"a{suffix}", FLOW)
    data = (tmp_path / f"a{suffix}").read_bytes()
    for value in (1.666666752e9, 1e10, np.inf, -2e9, np.nan):
        marked = data.replace(FLOW[5, 7, :1].tobytes(), np.float32(value).tobytes())
        assert marked != data
        (tmp_path / f"a{suffix}").write_bytes(marked)
        read = open_flow(tmp_path / f"a{suffix}").read()
        assert np.argwhere(np.isnan(read)).tolist() == [[5, 7, 0]]


def test_a_flo_marks_unknown_flow_as_middleburys_programs_do(tmp_path):
    flow = FLOW.copy()
    flow[5, 7, 1] = np.nan
    write_flow(tmp_path / "a.flo", flow)
    raw = cv2.readOpticalFlow(str(tmp_path / "a.flo"))
    assert raw[5, 7, 1] > 1e9 and np.isfinite(raw).all()


def test_half_precision_keeps_what_is_known_and_nothing_else():
    flow = np.array([0.0, -3.25, 65000, 65504, 1e5, 1.7e9, -np.inf, np.nan], np.float32)
    with np.errstate(all="raise"):
        half = to_half(flow)
    assert half.dtype == np.float16 and np.isnan(half[3:]).all()
    np.testing.assert_array_equal(from_half(half), [0, -3.25, 64992, *[np.nan] * 5])


def test_the_largest_half_number_is_unknown_flow_of_older_files(tmp_path):
    old = np.array([[[65504, -65504], [12, 3]]], np.float16)
    (tmp_path / "shard").write_bytes(old.tobytes())
    np.save(tmp_path / "a.npy", old)
    for source in (ShardFlow(str(tmp_path / "shard"), 0, 1, 2), HalfFlow(str(tmp_path / "a.npy"))):
        np.testing.assert_array_equal(source.read(), [[[np.nan] * 2, [12, 3]]])
        assert source.read().dtype == np.float32


def test_a_field_in_half_precision_is_read_in_part_and_damage_is_named(tmp_path):
    path = tmp_path / "a.npy"
    for content in (np.zeros((4, 4, 2), np.float32), np.zeros((4, 4), np.float16)):
        np.save(path, content)
        with pytest.raises(UserError, match=r"a\.npy: not a flow field in half precision"):
            HalfFlow(str(path)).size()
    write_flow(path, FLOW)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"a\.npy: cannot be read .*write it again"):
        HalfFlow(str(path)).read()


def test_real_flow_survives_every_format_and_carries_its_frames(tmp_path, shared_data):
    flow = FloFile(str(shared_data("flow/rubberwhale_10_to_11.flo"))).read()
    known = ~np.isnan(flow).any(-1)
    first, second = (
        ImageFile(str(shared_data(f"middlebury_other/RubberWhale/frame{i}.png"))).read()
        for i in (10, 11)
    )
    for suffix in (".flo", ".npy", ".pfm", ".png"):
        write_flow(tmp_path / f"a{suffix}", flow)
        again = open_flow(tmp_path / f"a{suffix}").read()
        assert np.abs(again - flow)[known].max() <= 0.5 / 64
        field = torch.from_numpy(np.where(known[..., None], again, 0)).permute(2, 0, 1)[None]
        picture = torch.from_numpy(second).permute(2, 0, 1)[None].float()
        warped = backwarp(picture, field)[0].permute(1, 2, 0).numpy()
        error = np.abs(warped - first).mean(-1)[known].mean()
        assert error < 0.5 * np.abs(second.astype(float) - first).mean(-1)[known].mean()


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "cut off"),
        (b"PIEH\2\0\0\0", "cut off"),
        (b"XXXX" + struct.pack("<ii", 2, 2) + bytes(32), "not a .flo"),
        (b"PIEH" + struct.pack("<ii", -2, 2) + bytes(32), "not a .flo"),
        (b"PIEH" + struct.pack("<ii", 2**30, 2**30) + bytes(32), "not a .flo"),
        (b"PIEH" + struct.pack("<ii", 2, 2) + bytes(31), "cut off"),
        (b"PIEH" + struct.pack("<ii", 2, 2) + bytes(33), "too long"),
    ],
)
def test_damaged_flow_is_named(tmp_path, data, message):
    (tmp_path / "bad.flo").write_bytes(data)
    with pytest.raises(UserError, match=rf"bad\.flo: {message}"):
        FloFile(str(tmp_path / "bad.flo")).read()


def head(text: str, data: int) -> bytes:
    return text.encode() + bytes(data)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not a .pfm"),
        (b"PF\n3", "not a .pfm"),
        (head("PX\n3 2\n-1\n", 72), "not a .pfm"),
        (head("Pf\n3 2\n-1\n", 24), "one channel"),
        (head("PF\n0 2\n-1\n", 0), "not a .pfm"),
        (head("PF\n3 2\n0\n", 72), "not a .pfm"),
        (head("PF\n9999999 9999999\n-1\n", 72), "not a .pfm"),
        (head("PF\n99999999999999999999 2\n-1\n", 72), "not a .pfm"),
        (head("PF\n3 2\n-1\n", 71), "takes 72 bytes"),
        (head("PF\n3 2\n-1\n", 73), "takes 72 bytes"),
    ],
)
def test_damaged_pfm_is_named(tmp_path, content, message):
    (tmp_path / "bad.pfm").write_bytes(content)
    with pytest.raises(UserError, match=rf"bad\.pfm: .*{message}"):
        PfmFile(str(tmp_path / "bad.pfm")).read()


def test_damaged_kitti_files_are_named(tmp_path):
    path = tmp_path / "bad.png"
    write_flow(path, FLOW)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"bad\.png: the picture is cut off"):
        KittiFile(str(path)).read()
    path.write_bytes(whole[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + whole[24:])
    with pytest.raises(UserError, match=r"bad\.png: not a flow field of KITTI"):
        KittiFile(str(path)).read()
    path.write_bytes(whole[:16] + struct.pack(">II", 99_999, 99_999) + whole[24:])
    with pytest.raises(UserError, match=r"bad\.png: "):
        KittiFile(str(path)).read()
    for content in (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint16)):
        cv2.imwrite(str(path), content)
        with pytest.raises(UserError, match="3 channels of 16 bits"):
            KittiFile(str(path)).read()
    path.write_text("nothing")
    with pytest.raises(UserError, match="not a flow field"):
        KittiFile(str(path)).size()


def test_mistakes_are_told(tmp_path):
    for reader in (HalfFlow, PfmFile, KittiFile):
        with pytest.raises(UserError, match="no such file"):
            reader(str(tmp_path / "gone")).read()
    with pytest.raises(UserError, match=r"a\.txt: no .* called '\.txt'; use \.flo, .*, \.png"):
        open_flow("a.txt")
    with pytest.raises(UserError, match=r"a: no flow format is called ''; use \.flo"):
        write_flow(tmp_path / "a", FLOW)
    far = FLOW.copy()
    far[0, 0, 0] = -600
    with pytest.raises(UserError, match=r"a\.png: flow of 600 px does not fit.*use \.flo"):
        write_flow(tmp_path / "a.png", far)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"\(h, w, 2\)"):
        write_flow(tmp_path / "a.pfm", FLOW[..., 0])
    write_flow(tmp_path / "a.pfm", FLOW)
    with pytest.raises(UserError, match="do not lie inside"):
        PfmFile(str(tmp_path / "a.pfm")).read(Box(30, 0, 20, 20))


def test_no_motion_is_zero_everywhere():
    still = NoMotion(40, 60)
    assert still.size() == (40, 60) and still == NoMotion(40, 60)
    assert still.read(BOX).shape == (20, 30, 2) and not still.read().any()
    with pytest.raises(UserError):
        still.read(Box(30, 0, 20, 20))
