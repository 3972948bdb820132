"""Clips turned upright: where a display matrix puts each pixel, and what cannot be turned."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from films import Film, even, shoot

from midframe.video.clip import open_clip
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.upright import Turn, turn_of, upright

ONE = 1 << 16


def shown(plane: np.ndarray, display: tuple[int, ...]) -> np.ndarray:
    """Put every pixel where the matrix says, one by one."""
    a, b, _, c, d = (number // ONE for number in display[:5])
    at = {(a * p + c * q, b * p + d * q): plane[q, p] for q, p in np.ndindex(plane.shape)}
    columns, lines = (sorted({place[axis] for place in at}) for axis in (0, 1))
    return np.array([[at[x, y] for x in columns] for y in lines])


@pytest.mark.parametrize("chroma", ["420", "422", "440", "444", "410"])
@pytest.mark.parametrize(("across", "first", "second"), product((0, 1), (-1, 1), (-1, 1)))
def test_every_pixel_is_where_the_matrix_puts_it(chroma, across, first, second):
    numbers = (0, first, 0, second, 0) if across else (first, 0, 0, 0, second)
    display = (*(number * ONE for number in numbers), 0, 0, 0, 1 << 30)
    form = Format(12, 8, 8, chroma)
    rng = np.random.default_rng(0)
    planes = tuple(rng.integers(0, 256, shape).astype(np.uint8) for shape in form.shapes)
    turn = turn_of(display)
    turned = turn.form(form)
    for plane, shape in zip(planes, turned.shapes):
        found = turn.plane(plane)
        assert found.shape == shape
        np.testing.assert_array_equal(found, shown(plane, display))


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_file_is_turned_as_its_rotation_says(tmp_path, degrees):
    context = {"sample_aspect_ratio": Fraction(4, 3)}
    source = shoot(tmp_path / "in.mp4", Film(even(3), rotation=degrees, context=context))
    clip = open_clip(source)
    turned = upright(clip)
    quarters = round(clip.tags.rotation / 90)
    assert quarters % 4 == degrees // 90 % 4
    across = quarters % 2
    assert (turned.format.width, turned.format.height) == ((48, 64) if across else (64, 48))
    assert turned.tags.aspect == (Fraction(3, 4) if across else Fraction(4, 3))
    assert turned.tags.display is None and "turned upright" in turned.notes[-1]
    frames = list(turned.read(1))
    assert len(frames) == 2
    for before, after in zip(clip.read(1), frames):
        assert after.format == turned.format
        for plane, other in zip(before.planes, after.planes):
            np.testing.assert_array_equal(np.rot90(plane, quarters), other)


def test_what_cannot_be_turned_stays_and_is_told(tmp_path):
    clip = open_clip(shoot(tmp_path / "in.mp4", Film(even(2), rotation=90)))
    slanted = replace(clip.tags, display=(ONE // 2, ONE, 0, -ONE, ONE // 2, 0, 0, 0, 1 << 30))
    thin = replace(clip.format, chroma="411")
    for one in (replace(clip, tags=slanted), replace(clip, format=thin)):
        stays = upright(one)
        assert stays.format == one.format and stays.source is one.source
        assert "rotation" in stays.notes[-1] and "not kept" in stays.notes[-1]
    plain = replace(clip, tags=replace(clip.tags, display=None))
    assert upright(plain) is plain


def test_what_is_said_of_a_frame_stays():
    frame = Frame(Format(2, 2, 8, "444", "gray"), (np.zeros((2, 2), np.uint8),), damaged=True)

    class One:
        def read(self, first, last):
            yield frame

    from midframe.video.upright import _Turned

    (turned,) = _Turned(One(), Turn(True, False, False), frame.format).read()
    assert turned.damaged
