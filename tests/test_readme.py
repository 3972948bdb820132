"""The commands that the README shows are real ones."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
import yaml
from footage import pan, write_video
from recordings import drawn

from midframe import cli
from midframe.data.io import write_image
from midframe.events.write import write_recording
from midframe.launch import entry
from midframe.launch.check import check
from midframe.launch.evaluate import main as evaluate
from midframe.models import zoo
from midframe.models.zoo import create_model, list_models
from midframe.video.media import read_video

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()

CLIP = "clip.mp4"
RAW = "clip_640x360_30fps_10bit.yuv"  # names that the README uses
RECORDING = "RECORDING.aedat4"


def commands(start: str) -> list[list[str]]:
    """Return the arguments of the README's commands that begin so, comments dropped."""
    lines = re.findall(rf"^(?: {{4}}){re.escape(start)} ?(.*)$", README, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands name."""
    folder = tmp_path_factory.mktemp("named")
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        write_image(folder / name, rng.integers(0, 256, (32, 48, 3), dtype=np.uint8))
    levels = rng.integers(64, 940, 2 * 640 * 360 * 3 // 2, dtype=np.uint16)
    (folder / RAW).write_bytes(levels.tobytes())
    model, run = create_model("ifrnet_s"), folder / "RUN"
    run.mkdir()
    for path in (folder / "FILE", run / "best.ckpt"):
        torch.save(model.state_dict(), path)
    (run / "config.yaml").write_text(yaml.safe_dump({"model": zoo.config_of("ifrnet_s")}))
    return folder


@pytest.fixture
def folder(named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the commands name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(named, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("arguments", commands("python train.py"), ids=" ".join)
def test_training_commands_pass_the_check(arguments: list[str], folder: Path) -> None:
    arguments = [a for a in arguments if a != "-m" and "," not in a.split("[")[0]]
    assert entry.run("train", check, entry.with_recipe(arguments)) == 0


@pytest.mark.parametrize("arguments", commands("midframe check"), ids=" ".join)
def test_check_commands(arguments: list[str], folder: Path) -> None:
    assert cli.main(["check", *arguments]) == 0


@pytest.mark.parametrize("arguments", commands("python evaluate.py"), ids=" ".join)
def test_evaluation_commands(arguments: list[str], folder: Path) -> None:
    fakes.middlebury(folder / "DIR")
    small = "benchmark.suites.middlebury.protocol.pad.least=[48,64]"  # of as small pictures
    assert evaluate([*arguments, "threads=1", "limit=1", small]) == 0


@pytest.mark.parametrize("arguments", commands("midframe interpolate"), ids=" ".join)
def test_interpolation_commands(arguments: list[str], folder: Path) -> None:
    if arguments[0] == RECORDING:
        pytest.importorskip("dv_processing", reason="the extra 'events' is not installed")
        write_recording(drawn(), folder / RECORDING)
    if arguments[0] == CLIP:
        write_video(folder / CLIP, pan(1, range(3, 13, 3)), "libx264")
    assert cli.main(["interpolate", *arguments]) == 0
    factor = int(arguments[arguments.index("--factor") + 1]) if "--factor" in arguments else 2
    if arguments[0] == CLIP:
        made = {"smooth.mp4": 8, "slow.mp4": 16}  # of four frames, the last shown as long as it was
        for name, count in made.items():
            if name in arguments:
                assert sum(1 for _ in read_video(folder / name)) == count
        return
    if arguments[0] == RAW:
        frame = 640 * 360 * 3
        assert (folder / "out.yuv").stat().st_size == (factor + 1) * frame
        return
    if arguments[0] == RECORDING:
        written = folder / "RECORDING-interpolated" / "frames"
        assert len(list(written.iterdir())) == 3 * 4 + 1  # four recorded frames, three in each gap
        return
    assert len(list((folder / "between" / "frames").iterdir())) == factor + 1


@pytest.mark.parametrize("arguments", commands("midframe pack"), ids=" ".join)
def test_packing_commands(arguments: list[str], folder: Path) -> None:
    fakes.vimeo_triplets(folder / "DIR")
    arguments = [a.replace("out=DIR", "out=PACKED") for a in arguments]
    assert cli.main(["pack", *arguments]) == 0
    assert (folder / "PACKED").is_dir()


def test_models_are_listed_in_table_and_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in list_models())
    table = README.partition("<!-- models -->")[2].partition("<!-- /models -->")[0]
    listed = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert listed and listed <= set(list_models()), "midframe models --measure --readme README.md"


def test_every_subcommand_is_in_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    usage = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        (line,) = [x for x in usage.splitlines() if x.startswith(f"  {name} {command.arguments} ")]
        assert command.purpose.splitlines()[0] in line
    assert max(map(len, usage.splitlines())) <= 100
    assert cli.main(["nonsense"]) == 2
    assert ", ".join(cli.COMMANDS) in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(set(re.findall(r"^ {4}midframe (\w+)", README, re.M))))
def test_every_subcommand_of_the_readme_is_one(name: str) -> None:
    assert name in cli.COMMANDS
