"""`midframe interpolate --engine FILE`: an exported file in the place of a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import midframe
from midframe.cli import main
from midframe.data.io import ImageFile, write_image
from midframe.errors import UserError


@pytest.fixture
def pair(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    wide = np.kron(noise, np.ones((4, 4, 1), np.uint8))
    files = []
    for number in (0, 1):
        files.append(str(tmp_path / f"{number}.png"))
        write_image(files[-1], np.ascontiguousarray(wide[2:34, 4 * number : 4 * number + 40]))
    return files


def test_it_makes_what_the_model_makes(pair, exported, tmp_path, capsys):
    path, model = exported("plain", "onnx")
    out = tmp_path / "between"
    assert main(["interpolate", *pair, "--out", str(out), "--engine", str(path)]) == 0
    assert f"model plain (onnx), as exported in {path}" in capsys.readouterr().out
    first, second = (ImageFile(file).read() for file in pair)
    expected = midframe.interpolate(model, first, second).astype(int)
    made = ImageFile(str(out / "frames" / "0001.png")).read().astype(int)
    assert np.abs(made - expected).max() <= 1


def test_it_converts_videos(pair, exported, tmp_path, capsys):
    path, _ = exported("plain", "onnx")
    frames, out = tmp_path / "%01d.png", tmp_path / "out_%02d.png"
    words = ["interpolate", str(frames), str(out), "--engine", str(path)]
    assert main(words) == 0
    assert len(list(tmp_path.glob("out_*.png"))) == 3
    pictures = [ImageFile(str(p)).read() for p in sorted(tmp_path.glob("out_*.png"))]
    assert np.array_equal(pictures[0], ImageFile(pair[0]).read())


@pytest.mark.parametrize("words", [["--factor", "4"], ["--times", "0.25,0.5,0.75"]])
@pytest.mark.parametrize("format", ["onnx", pytest.param("pt2", marks=pytest.mark.slow)])
def test_one_of_one_size_converts_videos_of_that_size_at_any_time(
    format, words, pair, exported, tmp_path
):
    path, model = exported("plain", format, (40, 32))
    frames, out = tmp_path / "%01d.png", tmp_path / "out_%02d.png"
    assert main(["interpolate", str(frames), str(out), "--engine", str(path), *words]) == 0
    pictures = [ImageFile(str(p)).read().astype(int) for p in sorted(tmp_path.glob("out_*.png"))]
    first, second = (ImageFile(file).read() for file in pair)
    assert len(pictures) == 5
    for made, t in zip(pictures, (0, 0.25, 0.5, 0.75)):
        expected = midframe.interpolate(model, first, second, t) if t else first
        assert np.abs(made - expected.astype(int)).max() <= 1


def test_a_video_of_another_size_is_told_by_its_own(pair, exported, tmp_path, capsys):
    path, _ = exported("plain", "onnx", (36, 32))
    out = tmp_path / "out_%02d.png"
    words = ["interpolate", str(tmp_path / "%01d.png"), str(out), "--engine", str(path)]
    assert main([*words, "--factor", "4"]) == 2
    error = capsys.readouterr().err
    assert "exported for 36 wide, 32 high, these frames are 40 wide, 32 high" in error
    assert not list(tmp_path.glob("out_*"))


def test_the_engine_is_told_which_gpu(pair, tmp_path, monkeypatch, capsys):
    def load(path, *, device):
        raise UserError(f"asked for {device}")

    monkeypatch.setattr("midframe.export.engine.load_engine", load)
    monkeypatch.setattr("midframe.launch.inference.resolve_device", torch.device)
    words = ["--out", str(tmp_path / "out"), "--engine", "x.onnx", "--device", "cuda:1"]
    assert main(["interpolate", *pair, *words]) == 2
    assert "asked for cuda:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "no.onnx"], "there is no engine no.onnx"),
        (["--engine", "no.bin"], "no.bin is none of NAME.onnx"),
        (["--engine", "no.onnx", "--model", "dis"], "leave out --model"),
        (["--engine", "no.onnx", "--precision", "bf16"], "leave out --precision"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, pair, tmp_path, capsys):
    assert main(["interpolate", *pair, "--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
