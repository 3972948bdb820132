"""`midframe events`: from the command line to the files it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recordings import drawn

from midframe import cli
from midframe.data.io import ImageFile, write_image
from midframe.events.aedat import read_recording
from midframe.events.libraries import READERS, is_installed
from midframe.events.shards import open_shards
from midframe.events.single import load_recording, save_recording

Output = pytest.CaptureFixture[str]


def run(*words: object) -> int:
    return cli.main(["events", *map(str, words)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_recording(drawn(), tmp_path / "one.npz")
    return tmp_path / "one.npz"


def test_prepare_does_the_rest_and_says_what_failed(
    file: Path, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "cut.npz").write_bytes(file.read_bytes()[:700])
    assert run("prepare", tmp_path, "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "one: 4 frames, 300 events, 32x24, prepared" in said.out
    assert f"left out: {tmp_path / 'cut.npz'}" in said.out
    assert "error: 1 of 2 recordings could not be prepared" in said.err
    (tmp_path / "cut.npz").unlink()
    assert run("prepare", tmp_path, "--out", tmp_path / "out", "--workers", 1) == 0
    said = capsys.readouterr()
    assert "was there already" in said.out and "recordings 1/1" not in said.err
    assert "data=events" in said.out and "preparing 1/1 recordings" in said.out
    assert open_shards(tmp_path / "out" / "one").count == 4


def test_real_recordings_are_prepared_shown_and_described(
    tmp_path: Path, shared_data: Callable[[str], Path], capsys: Output
) -> None:
    if not any(is_installed(reader) for reader in READERS):
        pytest.skip("no reader of AEDAT4 is installed")
    folder = shared_data("aedat4")
    assert run("prepare", folder, "--out", tmp_path / "out") == 0
    assert "davis346: 59 frames, 78,830 events, 346x260, prepared" in capsys.readouterr().out
    assert len(open_shards(tmp_path / "out" / "davis346").events(0, 1 << 60)) == 78_830
    assert run("info", folder / "davis346.aedat4") == 0
    said = capsys.readouterr().out
    assert "78,830, 52.3% ON" in said and "59 grey, 25.00 a second" in said
    assert run("show", folder / "davis346.aedat4", "--out", tmp_path / "show", "--count", 3) == 0
    shown = sorted(path.name for path in (tmp_path / "show").iterdir())
    assert shown == ["frame_00000.png", "frame_00029.png", "frame_00058.png", "rate.png"]
    assert ImageFile(str(tmp_path / "show" / shown[1])).size() == (2 * 260 + 24, 2 * 346)


def test_info_for_programs(file: Path, capsys: Output) -> None:
    assert run("info", file, "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["width"], about["height"], about["events"], about["reader"]) == (
        32,
        24,
        300,
        "npz",
    )


def test_show_without_frames(tmp_path: Path, capsys: Output) -> None:
    save_recording(drawn(frames=0), tmp_path / "one.npz")
    words = ("--out", tmp_path / "show", "--count", 2, "--span", 5)
    assert run("show", tmp_path / "one.npz", *words) == 0
    assert len(list((tmp_path / "show").iterdir())) == 3
    assert run("show", tmp_path / "one.npz", "--out", tmp_path / "show", "--count", 0) == 2


SCENE = ("synthetic", "--size", "48x32", "--seconds", "0.1", "--fps", "120")


@pytest.mark.parametrize("suffix", [".npz", ".aedat4"])
def test_generated_scenes(suffix: str, tmp_path: Path, capsys: Output) -> None:
    if suffix == ".aedat4" and not is_installed("dv_processing"):
        pytest.skip("dv-processing, which writes AEDAT4, is not installed")
    path = tmp_path / f"scene{suffix}"
    assert run("simulate", *SCENE, "--out", path, "--threshold", "0.15,0.25") == 0
    said = capsys.readouterr().out
    found = load_recording(path) if suffix == ".npz" else read_recording(path)
    # 13 frames of 120 a second; every fifth is kept
    assert found.frames.shape == (3, 32, 48, 3) and found.times.tolist() == [0, 41667, 83333]
    assert len(found.events) > 100
    assert f"{path}: 3 frames of 48x32, {len(found.events):,} events" in said


def test_the_same_seed_gives_the_same_and_options_count(tmp_path: Path) -> None:
    made = {}
    for name, words in {
        "a": (),
        "b": (),
        "noise": ("--shot", 20, "--mismatch", 0.05),
        "seed": ("--seed", 1),
        "scene": ("--scene", 1),
        "high": ("--threshold", 0.5),
        "slow": ("--refractory", 50_000),
    }.items():
        assert run("simulate", *SCENE, "--out", tmp_path / f"{name}.npz", *words) == 0
        made[name] = load_recording(tmp_path / f"{name}.npz")
    assert np.array_equal(made["a"].events.t, made["b"].events.t)
    assert not np.array_equal(made["a"].frames, made["seed"].frames)
    assert not np.array_equal(made["a"].frames, made["scene"].frames)
    assert np.array_equal(made["a"].frames, made["noise"].frames)
    assert len(made["noise"].events) != len(made["a"].events)
    assert len(made["high"].events) < len(made["a"].events)
    assert len(made["slow"].events) < len(made["a"].events)


def test_pictures_in_a_folder(tmp_path: Path) -> None:
    for number in range(6):
        picture = np.full((8, 10, 3), 40 * number, np.uint8)
        write_image(tmp_path / "frames" / f"{number}.png", picture)
    words = ("--out", tmp_path / "one.npz", "--fps", 100, "--every", 2, "--grey", "--limit", 5)
    assert run("simulate", tmp_path / "frames", *words) == 0
    found = load_recording(tmp_path / "one.npz")
    assert found.times.tolist() == [0, 20_000, 40_000] and found.frames.shape == (3, 8, 10)
    assert found.frames[2, 0, 0] == 160 and (found.events.p == 1).all() and len(found.events)


def test_a_video(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    video = shared_data("video/car-turn.mp4")
    words = ("--out", tmp_path / "one.npz", "--limit", 3, "--max-side", 64, "--every", 1)
    assert run("simulate", video, *words) == 0
    found = load_recording(tmp_path / "one.npz")
    assert found.frames.shape[0] == 3 and max(found.frames.shape[1:3]) == 64


@pytest.mark.parametrize(
    "words, said",
    [
        (("prepair", "x"), "no 'prepair': did you mean prepare?"),
        (("prepare", "x", "--out", "y", "--worker", "2"), "did you mean --workers"),
        (("info", "x.npz", "--zzz"), "does not know --zzz; there are --help"),
        (("info", "gone.npz"), "gone.npz: cannot be read"),
        (("info", "gone.aedat4", "--reader", "adat"), "did you mean aedat"),
        (("info", "clip.mp4"), "recordings are *.aedat4 or *.npz"),
        (("simulate", "synthetic", "--out", "a.mp4"), "give a file *.aedat4 or *.npz"),
        (("simulate", "synthetic", "--out", "a.npz", "--threshold", "x"), "--threshold x"),
        (("simulate", "synthetic", "--out", "a.npz", "--threshold", "0"), "threshold_on=0"),
        (("simulate", "synthetic", "--out", "a.npz", "--fps", "0"), "--fps 0"),
        (("simulate", "synthetic", "--out", "a.npz", "--every", "0"), "every=0"),
        (("simulate", "synthetic", "--out", "a.npz", "--size", "48"), "--size 48"),
        (("simulate", "gone.mp4", "--out", "a.npz"), "gone.mp4: no such video"),
        (("simulate", ".", "--out", "a.npz"), "no pictures"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["", "prepare", "info", "show", "simulate"])
def test_help(kind: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*filter(None, [kind]), "--help")
    assert ended.value.code == 0 and f"midframe events {kind}".strip() in capsys.readouterr().out
