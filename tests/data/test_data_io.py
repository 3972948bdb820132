"""Files: what comes back is what was written, and damage is noticed and named."""

import struct
import zlib

import cv2
import fakes
import numpy as np
import pytest

from midframe.data.io import ImageFile, write_image
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


def exif(orientation: int, order: str = ">", kind: int = 3) -> bytes:
    """Return a segment of a JPEG as cameras write it, with another entry before the orientation."""
    name = {">": b"MM", "<": b"II"}[order]
    head = name + struct.pack(f"{order}HIH", 42, 8, 2) + struct.pack(f"{order}HHII", 0x100, 4, 1, 9)
    return segment(
        b"Exif\0\0" + head + struct.pack(f"{order}HHIHHI", 0x112, kind, 1, orientation, 0, 0)
    )


def segment(data: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


XMP = segment(b"http://ns.adobe.com/xap/1.0/\0<x/>")


@pytest.mark.parametrize(
    "segments, turned",
    [
        *((exif(o, order), 5 <= o <= 8) for o in range(10) for order in "<>"),
        (XMP, False),
        (XMP + exif(6), True),
        (exif(6) + XMP, True),
        (exif(6) + exif(1), True),  # the first one counts
        (exif(1) + exif(6), False),
    ],
)
def test_a_turned_jpeg_has_the_size_it_is_read_with(tmp_path, monkeypatch, segments, turned):
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), PICTURE)
    data = path.read_bytes()
    path.write_bytes(data[:2] + segments + data[2:])
    source = ImageFile(str(path))
    assert source.read().shape[:2] == ((60, 40) if turned else (40, 60))
    size = source.read().shape[:2]
    monkeypatch.setattr(cv2, "imdecode", None)  # the header tells
    assert source.size() == size


@pytest.mark.parametrize("segments", [exif(6)[:-30], segment(b"Exif\0\0XX" + bytes(40))])
def test_a_damaged_camera_note_is_left_to_the_decoder(tmp_path, segments):
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), PICTURE)
    data = path.read_bytes()
    path.write_bytes(data[:2] + segment(segments[4:]) + data[2:])
    assert ImageFile(str(path)).size() == ImageFile(str(path)).read().shape[:2]


@pytest.mark.parametrize("side", [0, 99_999, 100_000, 2**31 - 1])
def test_a_header_that_cannot_be_true_is_a_clear_error(tmp_path, side):
    path = tmp_path / "a.png"
    write_image(path, PICTURE)
    data = path.read_bytes()
    head = data[12:16] + struct.pack(">II", side, side) + data[24:29]
    path.write_bytes(data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:])
    with pytest.raises(UserError, match=r"a\.png: not a picture that can be decoded"):
        ImageFile(str(path)).read()
    if side != 99_999:  # which a header may say
        with pytest.raises(UserError, match=r"a\.png: not a picture that can be decoded"):
            ImageFile(str(path)).size()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0, 1, 10, 30, 0.3, 0.9, -1, -2, -12])
def test_a_cut_off_picture_is_an_error_at_every_length(tmp_path, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    write_image(path, PICTURE)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(UserError, match=f"cut{suffix}"):
        ImageFile(str(path)).read()


def test_a_jpeg_cut_inside_its_scan_is_noticed_though_a_decoder_would_fill_it(tmp_path):
    path = tmp_path / "a.jpg"
    write_image(path, PICTURE)
    data = path.read_bytes()
    scan = data.rindex(b"\xff\xda")
    path.write_bytes(data[: scan + (len(data) - scan) // 2])
    assert cv2.imread(str(path)) is not None  # grey below
    with pytest.raises(UserError, match=r"a\.jpg: the picture is cut off"):
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


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, PICTURE)
    before = path.read_bytes()

    def half(self, data):
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", half)
    with pytest.raises(OSError, match="No space"):
        write_image(path, PICTURE[:20])
    monkeypatch.undo()
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(UserError, match="cannot write pictures as"):
        write_image(tmp_path / "a.nothing", PICTURE)
