"""Files: what comes back is what was written, and damage is noticed and named."""

import struct

import cv2
import fakes
import numpy as np
import pytest

from midframe.data.io import FloFile, ImageFile, write_bytes, write_flow, write_image
from midframe.data.records import Box
from midframe.errors import UserError

BOX = Box(3, 5, 20, 30)
PICTURE = fakes.moving(0.3, (40, 60))


@pytest.mark.parametrize("name", ["a.png", "ä b.png", "a.bmp", "a.webp"])
def test_picture_round_trip(tmp_path, name):
    path = tmp_path / name
    write_image(path, PICTURE)
    source = ImageFile(str(path))
    assert source.size() == (40, 60)
    if not name.endswith("webp"):
        np.testing.assert_array_equal(source.read(), PICTURE)
        np.testing.assert_array_equal(source.read(BOX), PICTURE[3:23, 5:35])
    assert source.read(BOX).base is None or source.read(BOX).base.size == 20 * 30 * 3


def test_channel_order_is_rgb(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    write_image(tmp_path / "red.png", red)
    assert cv2.imread(str(tmp_path / "red.png"))[0, 0].tolist() == [0, 0, 255]


def test_grey_palette_and_16_bit_pictures_become_rgb(tmp_path):
    grey = PICTURE[..., 0]
    for name, data in (("grey", grey), ("deep", grey.astype(np.uint16) * 257)):
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), data)
        np.testing.assert_array_equal(ImageFile(str(path)).read(), np.dstack([grey] * 3))


def test_jpeg_size_from_the_header_agrees_with_the_picture(tmp_path):
    path = tmp_path / "a.jpg"
    for options in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]):
        cv2.imwrite(str(path), PICTURE, options)
        source = ImageFile(str(path))
        assert source.size() == (40, 60) == source.read().shape[:2]


def test_a_turned_jpeg_has_the_size_it_is_read_with(tmp_path):
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), PICTURE)
    data = path.read_bytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    source = ImageFile(str(path))
    assert source.size() == (60, 40) == source.read().shape[:2]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0, 1, 10, 30, 0.3, 0.9, -1, -2, -12])
def test_a_cut_off_picture_is_an_error_at_every_length(tmp_path, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    write_image(path, PICTURE)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(UserError, match=f"cut{suffix}"):
        ImageFile(str(path)).read()


def test_other_faults_of_pictures_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no picture at all")
    with pytest.raises(UserError, match=r"text\.png.*not a picture"):
        ImageFile(str(tmp_path / "text.png")).size()
    with pytest.raises(UserError, match=r"gone\.png: no such file"):
        ImageFile(str(tmp_path / "gone.png")).read()
    with pytest.raises(UserError, match="cannot be read"):
        ImageFile(str(tmp_path)).read()
    write_image(tmp_path / "a.png", PICTURE)
    with pytest.raises(UserError, match=r"a\.png: 30x20 pixels from column 40.*60x40"):
        ImageFile(str(tmp_path / "a.png")).read(Box(0, 40, 20, 30))


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
    flow = FloFile(path).read()
    np.testing.assert_array_equal(flow, cv2.readOpticalFlow(path))
    known = np.abs(flow).max(-1) < 1e9
    assert flow.shape == (388, 584, 2) and 0.01 < 1 - known.mean() < 0.02
    assert np.abs(flow[known]).max() < 10


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


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, PICTURE)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_bytes(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(UserError, match="cannot write pictures as"):
        write_image(tmp_path / "a.nothing", PICTURE)
