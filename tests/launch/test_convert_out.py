"""What a conversion may replace: results of its own when it is told to, and nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from midframe.data.io import write_image
from midframe.errors import UserError
from midframe.launch import interpolate


def run(*args: object) -> int:
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    words = [*map(str, args), "--model", "average"]
    return interpolate.run(parser.parse_args(words))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A folder of three pictures, 0001.png to 0003.png."""
    folder = tmp_path / "film"
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        write_image(folder / f"{number:04d}.png", rng.integers(0, 255, (8, 10, 3), np.uint8))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("given", ["", "%04d.png", "*.png"])
@pytest.mark.parametrize("out", ["", "%04d.png"])
def test_the_input_is_never_written_on(film, given, out, overwrite):
    before = content(film)
    with pytest.raises(UserError, match="input"):
        run(film / given, film / out, *overwrite)
    assert content(film) == before


def test_a_film_in_the_folder_of_the_output_stays(film, tmp_path):
    run(film, tmp_path / "in.y4m")
    (tmp_path / "w").mkdir()
    clip = (tmp_path / "in.y4m").rename(tmp_path / "w/in.y4m")
    with pytest.raises(UserError, match="the input .*in.y4m lies in"):
        run(clip, tmp_path / "w", "--overwrite")
    assert clip.is_file()


def test_a_folder_of_others_is_never_replaced(film, tmp_path):
    out = tmp_path / "out"
    assert run(film, out) == 0
    assert sorted(content(out)) == [f"{n:06d}.png" for n in range(5)]
    with pytest.raises(UserError, match="is not empty.*--overwrite"):
        run(film, out)
    assert run(film, out, "--overwrite", "--factor", 3) == 0 and len(content(out)) == 7
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds thesis.txt, which is not ours"):
        run(film, out, "--overwrite")
    assert (out / "thesis.txt").read_text() == "precious"


def test_pictures_of_a_pattern_are_replaced_only_when_told(film, tmp_path, monkeypatch):
    out = tmp_path / "out/%03d.png"
    assert run(film, out) == 0
    first = content(out.parent)
    assert sorted(first) == [f"{n:03d}.png" for n in range(5)]
    with pytest.raises(UserError, match="000.png exists.*--overwrite"):
        run(film, out)
    (out.parent / "notes.txt").write_text("mine")

    def full(self, data):
        if self.name == "002.png":
            raise OSError(28, "No space left on device")
        with self.open("wb") as file:
            return file.write(data)

    with monkeypatch.context() as patch:
        patch.setattr(type(out), "write_bytes", full)
        with pytest.raises((UserError, OSError), match="No space"):
            run(film, out, "--overwrite", "--factor", 3)
    assert content(out.parent) == {**first, "notes.txt": b"mine"}  # nothing by half
    assert run(film, out, "--overwrite", "--factor", 3) == 0
    assert len(content(out.parent)) == 8 and not list(out.parent.glob(".*"))


def test_a_picture_may_be_called_like_a_pattern(film, tmp_path):
    pair = []
    for number in (1, 2):
        pair.append(film / f"x[{number}].png")
        (film / f"{number:04d}.png").rename(pair[-1])
    assert run(*pair, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out/frames").is_dir()
