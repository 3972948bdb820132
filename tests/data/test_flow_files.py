"""Flow files: bytes written by hand are understood, what is written comes back, damage is named."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
import torch

from midframe.data.flow_files import (
    KittiFile,
    NoMotion,
    PfmFile,
    open_flow,
    write_any_flow,
    write_kitti,
    write_pfm,
)
from midframe.data.io import FloFile, ImageFile
from midframe.data.records import Box
from midframe.errors import UserError
from midframe.ops import backwarp

BOX = Box(3, 5, 20, 30)
FLOW = np.random.default_rng(0).normal(0, 20, (40, 60, 2)).astype(np.float32)
# 3 columns, 2 rows: u = 10 * row + column, v = -u
ROWS = [[(10.0 * r + c, -10.0 * r - c) for c in range(3)] for r in range(2)]


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


@pytest.mark.parametrize("suffix", [".flo", ".pfm", ".png"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"ä b{suffix}"
    write_any_flow(path, FLOW)
    source = open_flow(path)
    assert source.size() == (40, 60)
    half_step = 0.5 / 64 if suffix == ".png" else 0.0
    np.testing.assert_allclose(source.read(), FLOW, rtol=0, atol=half_step)
    np.testing.assert_array_equal(source.read(BOX), source.read()[3:23, 5:35])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert source.read().dtype == np.float32


def test_what_is_written_is_what_others_read(tmp_path):
    write_pfm(tmp_path / "a.pfm", FLOW)
    picture = cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED)  # turns RGB around
    np.testing.assert_array_equal(picture[..., 2:0:-1], FLOW)
    write_kitti(tmp_path / "a.png", FLOW)
    raw = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16 and (raw[..., 0] == 1).all()
    np.testing.assert_allclose((raw[..., 2] - 32768.0) / 64, FLOW[..., 0], atol=0.5 / 64, rtol=0)


def test_unknown_flow_stays_unknown_in_kitti_files(tmp_path):
    flow = FLOW.copy()
    flow[0, 0] = 1.7e9
    flow[1, 1, 0] = np.nan
    flow[2, 2, 1] = -np.inf
    write_kitti(tmp_path / "a.png", flow)
    unknown = np.isnan(KittiFile(str(tmp_path / "a.png")).read())
    assert np.argwhere(unknown.all(-1)).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert unknown.sum() == 6


def test_real_flow_survives_every_format_and_carries_its_frames(tmp_path, shared_data):
    flow = FloFile(str(shared_data("flow/rubberwhale_10_to_11.flo"))).read()
    known = np.abs(flow).max(-1) < 1e9
    first, second = (
        ImageFile(str(shared_data(f"middlebury_other/RubberWhale/frame{i}.png"))).read()
        for i in (10, 11)
    )
    for suffix in (".flo", ".pfm", ".png"):
        write_any_flow(tmp_path / f"a{suffix}", flow)
        again = open_flow(tmp_path / f"a{suffix}").read()
        assert np.abs(again - flow)[known].max() <= 0.5 / 64
        field = torch.from_numpy(np.where(known[..., None], again, 0)).permute(2, 0, 1)[None]
        picture = torch.from_numpy(second).permute(2, 0, 1)[None].float()
        warped = backwarp(picture, field)[0].permute(1, 2, 0).numpy()
        error = np.abs(warped - first).mean(-1)[known].mean()
        assert error < 0.5 * np.abs(second.astype(float) - first).mean(-1)[known].mean()


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
    write_kitti(path, FLOW)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"bad\.png: cut off"):
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
    for reader in (PfmFile, KittiFile):
        with pytest.raises(UserError, match="no such file"):
            reader(str(tmp_path / "gone")).read()
    with pytest.raises(UserError, match=r"there are \.flo, \.pfm and \.png"):
        open_flow("a.txt")
    with pytest.raises(UserError, match=r"there are \.flo, \.pfm and \.png"):
        write_any_flow(tmp_path / "a", FLOW)
    far = FLOW.copy()
    far[0, 0, 0] = -600
    with pytest.raises(UserError, match="600 px does not fit"):
        write_kitti(tmp_path / "a.png", far)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"\(h, w, 2\)"):
        write_pfm(tmp_path / "a.pfm", FLOW[..., 0])
    write_pfm(tmp_path / "a.pfm", FLOW)
    with pytest.raises(UserError, match="do not lie inside"):
        PfmFile(str(tmp_path / "a.pfm")).read(Box(30, 0, 20, 20))


def test_no_motion_is_zero_everywhere():
    still = NoMotion(40, 60)
    assert still.size() == (40, 60) and still == NoMotion(40, 60)
    assert still.read(BOX).shape == (20, 30, 2) and not still.read().any()
    with pytest.raises(UserError):
        still.read(Box(30, 0, 20, 20))
