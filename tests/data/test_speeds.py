"""The speed of shots is that of a known motion, in pixels of their frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from footage import pan, write_video

from midframe.data.shots import load_or_cut, video
from midframe.data.speeds import NAME, with_speeds


def _shots(folder: Path, step: int, height: int = 180, width: int = 640):
    frames = pan(3, range(0, 6 * step, step), height, width)
    path = write_video(folder / "film.mkv", frames)
    found = load_or_cut([video("film", path)], folder / "cache", settings={}, title="")
    return found["film"]


@pytest.mark.parametrize("step", [3, 11])
def test_a_pan_moves_as_fast_as_it_was_made(tmp_path, step):
    (shot,) = with_speeds(_shots(tmp_path, step))
    assert len(shot.speed) == len(shot.frames) == 6 and shot.speed[0] == 0
    assert shot.speed[1:] == pytest.approx([step] * 5, rel=0.15)
    assert shot.part(2, 4, "a part").speed == shot.speed[2:4]


def test_it_is_measured_once(tmp_path):
    shots = _shots(tmp_path, 5)
    looked: list[int] = []

    def begin(name: str, count: int) -> Callable[[], None]:
        looked.append(count)
        return lambda: looked.append(1)

    first = with_speeds(shots, begin)
    assert looked == [5] + [1] * 5
    assert with_speeds(shots, begin) == first and len(looked) == 6
    (file,) = tmp_path.rglob(NAME)
    for damage in ("no json", '{"version": 0, "speeds": {}}', '{"version": 1, "speeds": []}'):
        file.write_text(damage)
        assert with_speeds(shots) == first
    cut = json.loads(file.read_text())
    cut["speeds"] = {name: values[:-1] for name, values in cut["speeds"].items()}
    file.write_text(json.dumps(cut))
    assert with_speeds(shots) == first


def test_no_shots_are_no_error():
    assert with_speeds([]) == []
