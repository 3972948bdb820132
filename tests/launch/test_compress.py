"""`midframe compress`: widths from densities, a config that trains, channels that survive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from midframe import create_model
from midframe.cli import main
from midframe.engine.compress import derive, narrowed
from midframe.engine.compress_transfer import probe_run
from midframe.models import zoo
from midframe.models.average import Average
from midframe.models.base import Interpolator
from midframe.models.weights import BEST, LAST

ROOT = Path(__file__).resolve().parents[2]
NET = {"_target_": "midframe.models.ifrnet.IFRNet", "size": "S", "init": "default"}


def sparse(shares: dict[str, float]) -> Interpolator:
    """An IFRNet-S whose first channels are zero in all layers of a width, to these densities."""
    torch.manual_seed(0)
    model = create_model("ifrnet_s")
    named = dict(model.named_parameters())
    with torch.no_grad():
        for width in model.widths():
            share = shares.get(width.option, 1.0)
            for name in width.parameters:
                weight = named[name]
                flat = weight.view(-1)
                flat[: round(flat.numel() * (1 - share))] = 0
    return model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory: its best checkpoint is dense, its last one sparse."""
    folder = tmp_path / "run"
    folder.mkdir()
    shares = {"widths.pyramid.0": 0.5, "widths.pyramid.3": 0.25, "widths.side": 1 / 3}
    for name, model in ((BEST, create_model("ifrnet_s")), (LAST, sparse(shares))):
        state = {f"model.{key}": value for key, value in model.state_dict().items()}
        torch.save({"state_dict": state, "global_step": 3}, folder / name)
    node = {"name": "ifrnet_s", "net": NET, "hints": {}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": node}))
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one's own, whose conf/model takes what is written."""
    (tmp_path / "mine" / "conf" / "model").mkdir(parents=True)
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path / "mine"))
    return tmp_path / "mine" / "conf" / "model"


def compress(*words: Any) -> int:
    return main(["compress", *map(str, words)])


def test_every_width_becomes_its_density_s_share(
    run: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = project / "ifrnet_tiny.yaml"
    assert compress(run, "--out", out) == 0
    node = yaml.safe_load(out.read_text())
    assert out.read_text().startswith("# ")
    assert node["name"] == "ifrnet_tiny" and node["loss"] == "ifrnet"
    assert node["net"] == {**NET, "widths": {"pyramid": [12, 36, 54, 18], "side": 8}}
    told = node["info"]["compressed"]
    assert told["from"] == "ifrnet_s" and told["densities"]["widths.side"] == pytest.approx(1 / 3)
    assert node["info"]["licence"] == "MIT" and "official_weights" not in node["info"]

    narrow = create_model("ifrnet_tiny")
    count = sum(p.numel() for p in narrow.parameters())
    assert count == node["info"]["parameters"]
    shown = capsys.readouterr().out
    assert "widths.pyramid.3        72    0.250       18" in shown
    assert f"2,803,610 parameters become {count:,}" in shown
    assert "midframe train model=ifrnet_tiny" in shown
    assert main(["check", "model=ifrnet_tiny", "data=synthetic"]) == 0


@pytest.mark.slow
def test_what_survives_is_a_start_for_training(run: Path, project: Path, tmp_path: Path) -> None:
    def values(model: Interpolator) -> set[float]:
        return set(model.get_parameter("encoder.pyramid2.0.0.weight").flatten().tolist())

    for suffix in (".pth", ".safetensors"):
        weights = tmp_path / f"start{suffix}"
        out = project / f"tiny_{suffix[1:]}.yaml"
        assert compress(run, "--out", out, "--transfer", weights) == 0
        narrow = create_model(out.stem, weights=weights)
        assert probe_run(narrow).frame.isfinite().all()
        assert values(narrow) <= values(sparse({}))
    assert not list(tmp_path.rglob("*.part"))


def test_options_of_the_rule(run: Path, project: Path) -> None:
    words = ("--rule", "root", "--least", 30, "--set", "widths.pyramid.3=7")
    assert compress(run, "--out", project / "rooted.yaml", *words) == 0
    widths = yaml.safe_load((project / "rooted.yaml").read_text())["net"]["widths"]
    assert widths == {"pyramid": [24, 36, 54, 7], "side": 24}  # 17 and 14 are below the least


def test_small_weights_may_count_as_zero() -> None:
    model = sparse({})
    largest = model.get_parameter("encoder.pyramid1.0.0.weight").detach().abs().max()
    found = {c.width.option: c for c in derive(model, threshold=float(largest))}
    assert found["widths.pyramid.0"].density < 0.1
    assert all(c.density == 1 and c.channels == c.width.channels for c in derive(model))


def test_multiples_and_smallest_widths_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from midframe.models.widths import Width

    model = sparse({"widths.side": 0.4})
    (side,) = (w for w in model.widths() if w.option == "widths.side")
    for least, multiple, wanted in ((1, 1, 10), (1, 8, 16), (20, 1, 20), (20, 8, 24)):
        one = Width(side.option, 24, side.parameters, multiple, least)
        monkeypatch.setattr(model, "widths", lambda one=one: (one,))
        assert [c.channels for c in derive(model)] == [wanted]


def test_widths_may_lie_anywhere_in_the_options() -> None:
    model = sparse({"widths.side": 0.5, "widths.pyramid.1": 0.5})
    config = {"net": {**NET, "widths": {"first_kernel": 5}}}
    changed = narrowed(config, derive(model))["net"]["widths"]
    assert changed == {"first_kernel": 5, "pyramid": [24, 18, 54, 72], "side": 12}
    assert config["net"]["widths"] == {"first_kernel": 5}


def test_weights_of_no_run_need_a_model(run: Path, project: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.pth"
    torch.save(sparse({"widths.side": 0.5}).state_dict(), bare)
    out = project / "bare.yaml"
    assert compress(bare, "--out", out) == 2
    assert compress(bare, "--out", out, "--model", "ifrnet_s") == 0
    assert yaml.safe_load(out.read_text())["net"]["widths"]["side"] == 12


@pytest.mark.slow
def test_a_compressed_model_can_be_compressed(run: Path, project: Path, tmp_path: Path) -> None:
    start = tmp_path / "a.pth"
    assert compress(run, "--out", project / "once.yaml", "--transfer", start) == 0
    words = ("--model", "once", "--set", "widths.side=4")
    assert compress(start, "--out", project / "twice.yaml", *words) == 0
    net = yaml.safe_load((project / "twice.yaml").read_text())["net"]
    assert net["widths"]["side"] == 4
    assert zoo.config_of("twice")["loss"] == "ifrnet"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}", "--out", "{project}/x.yml"], "conf/model/NAME.yaml"),
        (["{run}", "--out", "{project}/9x.yaml"], "letters, digits"),
        (["{run}", "--out", "{tmp}/ifrnet.yaml"], "there is a model ifrnet already"),
        (["{run}", "--out", "{project}/there.yaml"], "is there already"),
        (["{run}", "--out", "{project}/x.yaml", "--transfer", "{run}/last.ckpt"], "give a file"),
        (["{run}", "--out", "{project}/x.yaml", "--set", "side"], "OPTION=N"),
        (["{run}", "--out", "{project}/x.yaml", "--set", "side=3"], "no width of IFRNet"),
        (["{run}", "--out", "{project}/x.yaml", "--set", "widths.side=99"], "from 1 to 24"),
        (["{run}", "--out", "{project}/x.yaml", "--least", "0"], "least=0"),
        (["{tmp}/none.pth", "--out", "{project}/x.yaml"], "no weights file"),
        (["{run}/best.ckpt", "--out", "{project}/x.yaml"], "nothing to narrow"),
    ],
)
def test_what_can_be_mended_is_said_in_a_line(
    words: list[str],
    said: str,
    run: Path,
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project / "there.yaml").write_text("# mine\nname: there\nnet: {}\n")
    folders = {"run": run, "project": project, "tmp": tmp_path}
    assert compress(*(word.format(**folders) for word in words)) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert (project / "there.yaml").read_text().startswith("# mine")
    assert not (project / "x.yaml").exists()


def test_overwrite_replaces(run: Path, project: Path) -> None:
    out = project / "again.yaml"
    out.write_text("# old\nname: again\nnet: {_target_: midframe.models.average.Average}\n")
    assert compress(run, "--out", out, "--overwrite") == 0
    assert yaml.safe_load(out.read_text())["net"]["size"] == "S"


def test_models_that_say_no_widths_cannot_be_compressed() -> None:
    assert Average().widths() == ()
    with pytest.raises(Exception, match="define widths"):
        derive(Average())


@pytest.mark.slow
@pytest.mark.parametrize("data", ["synthetic", "sample"])
def test_from_training_to_training(project: Path, tmp_path: Path, data: str) -> None:
    """Phase 1, the narrower network, and its training from what survived, by commands."""
    short = f"data={data} data.crop=64 data.global_batch=2 data.val.limit=1 data.workers=0"
    short += f" trainer=cpu trainer.threads=1 logger=[csv] paths.runs={tmp_path / 'runs'}"
    short += " trainer.max_steps=12 trainer.val_check_interval=6 loss=l1"
    phase = "optimizer=obproxsg optimizer.lambda_=0.01 optimizer.eps=5e-3"
    phase += " callbacks=[default,sparsity]"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def command(*words: str) -> str:
        line = [sys.executable, "-m", "midframe.cli", *words]
        found = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    command("train", "model=ifrnet_s", *short.split(), *phase.split())
    (run,) = (tmp_path / "runs").iterdir()
    out, start = project / "narrow.yaml", tmp_path / "start.pth"
    shown = command("compress", str(run), "--out", str(out), "--transfer", str(start))
    assert "parameters become" in shown
    assert "narrow" in command("models", "narrow")
    command("train", "model=narrow", f"weights={start}", *short.split())
    runs = {p.name.rsplit("-", 1)[0] for p in (tmp_path / "runs").iterdir()}
    assert runs == {f"ifrnet_s-{data}", f"narrow-{data}"}
