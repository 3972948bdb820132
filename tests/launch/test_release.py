"""midframe release: what a run leaves becomes weights with a record that another can go by."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import fakes
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import train

from midframe.cli import main
from midframe.files import sha256_of
from midframe.models import shipped, zoo
from midframe.models.weights import load_weights, weights_to_use


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and one that began with its weights."""
    first, second = (tmp_path_factory.mktemp(name) for name in ("first", "second"))
    ema = "callbacks=[default,ema]"
    assert train(first, "model=upr_small", ema) == 0
    (before,) = first.iterdir()
    assert train(second, "model=upr_small", ema, f"weights={before}", "seed=7") == 0
    (after,) = second.iterdir()
    return before, after


def test_another_can_load_it_and_repeat_the_training(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--to", str(tmp_path / "new"), "--credit", "A film, by someone"]
    assert main(["release", str(runs[1]), *words]) == 0
    path = tmp_path / "new" / "upr_small.safetensors"
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["sha256"] == sha256_of(path)
    assert record["licence"] == "MIT" and record["credits"] == ["A film, by someone"]
    assert 0 <= record["halving_changes"] < 2e-3
    first, last = record["stages"]
    assert first["command"].startswith("python train.py") and "seed=7" in last["command"]
    # paths of the machine that trained are of no use to another one
    assert f"weights=DIR/{runs[0].name}" in last["command"]
    assert str(runs[0].parent) not in path.with_suffix(".json").read_text(encoding="utf-8")
    recipe = last["recipe"]
    assert recipe["trainer.max_steps"] == 4 and recipe["optimizer.build.lr"] > 0
    assert recipe["data.layout._target_"].endswith("synthetic") and "loss._target_" in recipe
    assert (last["steps"], last["samples"]) == (4, 8)
    assert last["kept"]["sha256"] == sha256_of(runs[1] / "best.ckpt")
    assert first["kept"]["sha256"] == sha256_of(runs[0] / "best.ckpt")
    assert last["data"] == "synthetic" and len(last["data_fingerprint"]) == 16
    (start,) = json.loads((runs[1] / "run.json").read_text(encoding="utf-8"))["starts"]
    lasted = datetime.fromisoformat(start["ended"]) - datetime.fromisoformat(start["time"])
    assert last["hours"] == pytest.approx(lasted.total_seconds() / 3600, abs=1e-4)
    assert last["seeds"]["run"] == 7
    assert set(last["curve"]["val/psnr"]) == {"2", "4"}
    # what training left is what is passed on, averaged, in half precision
    config = zoo.config_of("upr_small")
    model = zoo.build({**config, "weights": "none"})
    whole = load_weights(model, runs[1]).state_dict()
    for key, value in load_file(path).items():
        assert value.dtype == torch.float16 and torch.equal(value, whole[key].half())
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "new")
    assert weights_to_use(None, config) == path


def test_results_of_other_weights_are_not_put_into_the_record(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, scenes = tmp_path / "results", tmp_path / "scenes"
    fakes.middlebury(scenes, 2, size=(24, 32), two_folders=False)
    two = "benchmark.suites.middlebury_upr.protocol.expected.test=2"
    words = ["benchmark=middlebury_upr", f"benchmark.root={scenes}", two, f"out={results}"]
    assert main(["evaluate", f"weights={runs[1]}", *words]) == 0
    words = ["--results", str(results), "--to", str(tmp_path)]
    assert main(["release", str(runs[0]), *words]) == 2
    assert "nothing there was measured with the weights of this run" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors"))
    assert main(["release", str(runs[1]), *words, "--name", "mine"]) == 0
    record = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    (measured,) = record["metrics"].values()
    assert measured["images"] == 2 and measured["psnr"] > 5
    again = ["release", str(runs[0]), "--to", str(tmp_path), "--name", "mine"]
    assert main(again) == 2 and "mine.safetensors is there already" in capsys.readouterr().err
    assert json.loads((tmp_path / "mine.json").read_text(encoding="utf-8")) == record
    assert main([*again, "--overwrite"]) == 0
    assert json.loads((tmp_path / "mine.json").read_text(encoding="utf-8")) != record


def test_the_record_says_which_checkpoint_was_kept(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """The best one may be from long before the end: neither are its samples those of the run."""
    before, after = (shutil.copytree(run, tmp_path / run.name) for run in runs)
    content = torch.load(after / "best.ckpt", weights_only=True)
    content["global_step"] = 2
    torch.save(content, after / "best.ckpt")
    (after / "config.yaml").write_text(
        (after / "config.yaml").read_text().replace(str(runs[0]), str(before))
    )
    assert main(["release", str(after), "--to", str(tmp_path), "--name", "mine"]) == 0
    record = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    first, last = record["stages"]
    assert (last["steps"], last["samples"]) == (4, 8)
    sha256 = sha256_of(after / "best.ckpt")
    wanted = {"checkpoint": "best.ckpt", "step": 2, "samples": 4, "sha256": sha256}
    assert last["kept"] == wanted and record["sha256"] != sha256
    assert "before its numbers were halved" in record["metrics_of"]
    assert first["kept"]["checkpoint"] in ("best.ckpt", "last.ckpt") and first["kept"]["step"] > 0
    with safe_open(tmp_path / "mine.safetensors", "pt") as file:
        said = file.metadata()
    assert (said["checkpoint"], said["step"]) == ("best.ckpt", "2")
    # what the second run began with is there no more
    for path in before.glob("*.ckpt"):
        path.unlink()
    again = ["release", str(after), "--to", str(tmp_path), "--name", "mine", "--overwrite"]
    assert main(again) == 0
    record = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert [stage["kept"] for stage in record["stages"]] == [None, wanted]


@pytest.mark.parametrize("name", ["a/b", "../../esc", "..", "", "a\\b", "a\nb"])
def test_a_name_never_leads_out_of_the_folder(
    name: str, runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "x" / "y"
    assert main(["release", str(runs[0]), "--to", str(to), "--name", name]) == 2
    assert "give a name without folders" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_files_is_told(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for to in (tmp_path / "file", tmp_path / "file" / "inside"):
        assert main(["release", str(runs[0]), "--to", str(to)]) == 2
        error = capsys.readouterr().err
        assert f"--to {to}: " in error and len(error.splitlines()) == 1
    (tmp_path / "upr_small.safetensors").mkdir()
    assert main(["release", str(runs[0]), "--to", str(tmp_path), "--overwrite"]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path} is no run directory: there is no best.ckpt or last.ckpt in it" in error
    assert main(["release", str(tmp_path / "none")]) == 2
    assert "none is no run directory: there is no such folder" in capsys.readouterr().err
    (tmp_path / "best.ckpt").write_bytes(b"")
    assert main(["release", str(tmp_path)]) == 2
    assert "is no run directory: there is no config.yaml" in capsys.readouterr().err
