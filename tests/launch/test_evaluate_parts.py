"""What an evaluation writes besides its own table: models beside, extra columns, pictures."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import fakes
import pytest

from midframe.launch import evaluate
from midframe.models.average import Average

COMMON = ("device=cpu", "threads=1")


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    fakes.middlebury(tmp_path / "data", 3, size=(24, 32), two_folders=False)
    fakes.middlebury_evaluation(tmp_path / "eval")
    return tmp_path


def _run(*words, benchmark="middlebury_upr", root="data"):
    return evaluate.main([f"benchmark={benchmark}", f"benchmark.root={root}", *COMMON, *words])


def _record(folder):
    return json.loads((Path(folder) / "summary.json").read_text())


def _rows(folder):
    with (Path(folder) / "images.csv").open(newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def test_a_model_beside_is_a_full_result(work):
    assert _run("model=average", "beside=[]", "out=alone") == 0
    assert _run("model=dis", "beside=[average]", "out=both", "save_images=true") == 0
    own, alone = _record("both/beside/average"), _record("alone")
    for key in ("model", "mean", "interval", "parameters", "weights_sha256", "batch", "calls"):
        assert own[key] == alone[key]
    assert _rows("both/beside/average") == _rows("alone")
    kinds = {path.parts[0] for p in Path("both").rglob("*.png") if (path := p.relative_to("both"))}
    assert kinds == {"images", "truth", "flow", "beside"}
    assert not Path("both/beside/average/truth").exists()
    assert set(_record("both")["paired"]["average"]) == {"psnr", "ssim", "ie"}
    assert not list(Path("both").rglob("journal*"))


def test_parameters_and_batch_are_recorded(work):
    assert _run("model=ifrnet_s", "weights=none", "batch=2", "beside=[]", "out=o") == 0
    record = _record("o")
    assert record["parameters"] == 2_803_610 and record["batch"] == 2
    assert len(record["protocol_digest"]) == 12


def test_batches_leave_the_numbers(work):
    for batch in (1, 3):
        assert _run("model=dis", "beside=[]", f"batch={batch}", f"out={batch}") == 0
    one, three = _record("1"), _record("3")
    assert three["mean"] == pytest.approx(one["mean"], abs=1e-4)


def test_extra_columns_are_measured_and_move_nothing_else(work):
    assert _run("model=average", "beside=[dis]", "out=plain") == 0
    assert _run("model=average", "beside=[dis]", "metric=[ssim_2d,ie]", "out=more") == 0
    plain, more = _record("plain"), _record("more")
    assert set(more["mean"]) == set(plain["mean"]) | {"ssim_2d"}  # ie is the protocol's own
    assert {k: more["mean"][k] for k in plain["mean"]} == plain["mean"]
    assert more["protocol_digest"] == plain["protocol_digest"]
    assert list(more["protocol"]["extra"]) == ["ssim_2d"]
    assert "ssim_2d" in more["paired"]["dis"] and "ssim_2d" in _rows("more/beside/dis")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["metric=[nix]"], "nix"),
        (["metric=[lpips]"], "weights"),
        (["batch=some"], "batch=some must be a whole number from 1 on, or auto"),
        (["devices=0"], "devices=0 must be a whole number from 1 on, or auto"),
        (["devices=2", "device=cuda"], "CUDA devices here"),
        (["out=data/Beanbags/frame10.png"], "cannot write into"),
        (["out=data/Beanbags/frame10.png", "save_images=true"], "cannot write into"),
    ],
)
def test_mistakes_get_one_line(work, capsys, words, said):
    before = sorted(work.rglob("*"))
    assert _run("model=average", *words) == 2
    shown = capsys.readouterr().err
    assert said in shown and "Traceback" not in shown and shown.count("error:") == 1
    assert sorted(work.rglob("*")) == before


def test_jobs_of_a_multirun_do_not_share_a_folder(work, capsys):
    words = [f"benchmark.root={work / 'data'}", "benchmark=middlebury_upr", *COMMON]
    assert evaluate.main(["-m", "model=average,dis", *words, "out=one"]) == 2
    assert "out=one is one folder, and every job of a multirun" in capsys.readouterr().err
    assert not Path("one").exists()
    assert evaluate.main(["-m", "model=average,dis", *words, "paths.results=several"]) == 0
    assert len(list(Path("several").glob("*-middlebury_upr-*/summary.json"))) == 2


def test_frames_to_hand_in_are_counted_and_gone_on_with(work, monkeypatch, capsys):
    words = ("model=average", "out=handed", "metric=[ie]")
    calls = []

    def counted(self, x, **hints):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(self, x, **hints)

    forward = Average.forward
    monkeypatch.setattr(Average, "forward", counted)
    assert _run(*words, benchmark="middlebury_eval", root="eval") == 130
    assert "the same command goes on where it stopped" in capsys.readouterr().err
    scene = next(Path("handed/submission").iterdir())
    (scene / "frame10i11.png").unlink()
    assert _run(*words, benchmark="middlebury_eval", root="eval") == 0
    shown = capsys.readouterr().out
    assert len(calls) == 4 + 6 and "2 images were measured by an earlier" in shown
    assert "8 pictures to hand in are in handed/submission" in shown and "PSNR" not in shown
    assert len(list(Path("handed").rglob("*.png"))) == 8
    record = _record("handed")
    assert record["images"] == 8 and record["mean"] == {} and record["complete"]
    assert "8 pictures to hand in" in Path("handed/summary.md").read_text()


def test_a_model_that_cannot_take_part_is_refused_before_anything_is_measured(work, capsys):
    assert _run("model=average", "benchmark.suites.middlebury_upr.protocol.times=[0.25]") == 2
    assert "middlebury_upr" in capsys.readouterr().err
    assert not Path("results").exists()
