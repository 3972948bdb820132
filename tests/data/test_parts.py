"""Frames that are parts of pictures: the right part, decoded no more often than needed."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

import midframe.data.parts as parts
from midframe.data.io import ImageFile, write_image
from midframe.data.parts import CentreHalf, Resized, Tile
from midframe.data.records import Box
from midframe.errors import UserError

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (8, 30, 3), dtype=np.uint8)  # five tiles of 8x6


@pytest.fixture
def path(tmp_path):
    write_image(tmp_path / "a.png", PICTURE)
    return str(tmp_path / "a.png")


def test_a_tile_is_its_part_of_the_picture(path):
    for number in range(5):
        tile, expected = Tile(path, number, 5), PICTURE[:, 6 * number : 6 * number + 6]
        assert tile.size() == (8, 6)
        np.testing.assert_array_equal(tile.read(), expected)
        np.testing.assert_array_equal(tile.read(Box(2, 1, 5, 3)), expected[2:7, 1:4])
    assert pickle.loads(pickle.dumps(tile)) == tile and len({tile, Tile(path, 4, 5)}) == 1


def test_the_tiles_of_a_picture_are_decoded_once_and_are_nobodys_but_the_readers(path, monkeypatch):
    decoded, read = [], ImageFile.read
    monkeypatch.setattr(ImageFile, "read", lambda self: decoded.append(self.path) or read(self))
    for number in range(5):
        Tile(path, number, 5).read()[:] = 0  # whoever writes to his own does not write to others'
    assert len(decoded) == 1
    np.testing.assert_array_equal(Tile(path, 2, 5).read(), PICTURE[:, 12:18])


def test_a_picture_written_anew_is_read_anew(path):
    before = Tile(path, 0, 5).read()
    write_image(path, np.concatenate([255 - PICTURE] * 2))
    assert Tile(path, 0, 5).size() == (16, 6)
    np.testing.assert_array_equal(Tile(path, 0, 5).read()[:8], 255 - before)


def test_only_a_few_pictures_are_kept(tmp_path):
    for i in range(9):
        write_image(tmp_path / f"{i}.png", PICTURE)
        Tile(str(tmp_path / f"{i}.png"), 0, 5).read()
    assert parts._decoded.cache_info().currsize <= 2


@pytest.mark.parametrize("size", [(8, 30), (9, 31), (12, 20)])
def test_the_centre_is_half_as_high_and_wide(tmp_path, size):
    picture = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", picture)
    centre = CentreHalf(str(tmp_path / "a.png"))
    rows, columns = size[0] // 2, size[1] // 2
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    expected = picture[top : top + rows, left : left + columns]
    assert centre.size() == (rows, columns)
    np.testing.assert_array_equal(centre.read(), expected)
    np.testing.assert_array_equal(centre.read(Box(1, 2, 3, 4)), expected[1:4, 2:6])


@pytest.mark.parametrize("size", [(4, 15), (3, 7), (8, 30)])
def test_a_resized_picture_is_that_of_opencv_by_area(path, size):
    resized = Resized(path, *size)
    theirs = cv2.resize(cv2.imread(path), size[::-1], interpolation=cv2.INTER_AREA)[..., ::-1]
    assert resized.size() == size
    np.testing.assert_array_equal(resized.read(), theirs)
    np.testing.assert_array_equal(resized.read(Box(1, 2, 2, 4)), theirs[1:3, 2:6])
    with pytest.raises(UserError, match="a.png: .* do not lie inside"):
        resized.read(Box(0, 0, size[0] + 1, 1))


def test_what_does_not_fit_is_named(path, tmp_path):
    with pytest.raises(UserError, match="a.png: 30x8 pixels are not 4 pictures side by side"):
        Tile(path, 0, 4).read()
    for part in (Tile(path, 1, 5), CentreHalf(path)):
        with pytest.raises(UserError, match="a.png"):  # not what lies beside it in the file
            part.read(Box(0, 0, 8, 16))
    for missing in (Tile(str(tmp_path / "b.png"), 0, 5), CentreHalf(str(tmp_path / "b.png"))):
        with pytest.raises(UserError, match="b.png: no such file"):
            missing.read()
