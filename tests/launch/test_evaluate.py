"""`evaluate.py` from its command line: results, refusals, several benchmarks at once."""

from __future__ import annotations

import csv
import json
import sys

import cv2
import numpy as np
import pytest
import torch

from midframe.launch import evaluate
from midframe.models.zoo import create_model
from midframe.paths import config_files

TINY = (
    "benchmark.suites.middlebury.protocol.expected.test=2",
    "benchmark.suites.middlebury.protocol.pad.least=[48,64]",
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    folder = tmp_path / "data"
    for number, scene in enumerate(("Grove2", "Venus")):
        rng = np.random.default_rng(number)
        picture = cv2.GaussianBlur(rng.integers(0, 256, (40, 80, 3), dtype=np.uint8), (0, 0), 2)
        (folder / scene).mkdir(parents=True)
        for shift, name in enumerate(("frame10.png", "frame10i11.png", "frame11.png")):
            cv2.imwrite(str(folder / scene / name), picture[:36, 2 * shift : 2 * shift + 48])
    return folder


def _run(root, *overrides):
    return evaluate.main([f"benchmark.root={root}", "device=cpu", *TINY, *overrides])


def test_average_writes_rows_summary_and_a_table(root, tmp_path, capsys):
    assert _run(root, "model=average", "save_images=true") == 0
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.startswith("average-middlebury-")
    assert sorted(p.name for p in folder.iterdir()) == [
        "beside",
        "flow",
        "images",
        "images.csv",
        "summary.json",
        "summary.md",
        "truth",
    ]
    rows = list(csv.DictReader((folder / "images.csv").open()))
    record = json.loads((folder / "summary.json").read_text())
    assert [r["id"] for r in rows] == ["Grove2", "Venus"] and record["complete"]
    mean = np.mean([float(r["psnr"]) for r in rows])
    assert record["mean"]["psnr"] == pytest.approx(mean)
    for key in ("weights_sha256", "revision", "op_backend", "precision", "device", "versions"):
        assert key in record
    shown = capsys.readouterr().out
    assert f"{mean:.2f}" in shown and "IFRNet S (published)" in shown


def test_dis_beats_the_average(root, tmp_path):
    for name in ("average", "dis"):
        assert _run(root, f"model={name}", f"out={tmp_path / name}") == 0
    psnr = [
        json.loads((tmp_path / name / "summary.json").read_text())["mean"]["psnr"]
        for name in ("average", "dis")
    ]
    assert psnr[1] > psnr[0] + 3


def test_weights_are_recorded_by_their_hash_and_bf16_stays_close(root, tmp_path):
    torch.manual_seed(1)
    torch.save(create_model("ifrnet_s").state_dict(), tmp_path / "w.pth")
    weights = f"weights={tmp_path / 'w.pth'}"
    for precision in ("fp32", "bf16"):
        assert (
            _run(
                root,
                "model=ifrnet_s",
                weights,
                f"precision={precision}",
                f"out={tmp_path / precision}",
            )
            == 0
        )
    full, half = (json.loads((tmp_path / p / "summary.json").read_text()) for p in ("fp32", "bf16"))
    assert len(full["weights_sha256"]) == 64 and half["precision"] == "bf16"
    assert half["mean"]["psnr"] != full["mean"]["psnr"]
    assert half["mean"]["psnr"] == pytest.approx(full["mean"]["psnr"], abs=0.1)


@pytest.mark.slow
def test_blocks_are_part_of_what_is_recorded_and_of_what_is_continued(root, tmp_path, capsys):
    words = ("model=dis", "save_images=true")
    found = {}
    for blocks in ((), ("block=24",), ("block=24", "overlap=0"), ("block=24", "blend=published")):
        assert _run(root, *words, *blocks) == 0
        assert "measured by an earlier" not in capsys.readouterr().out
        (new,) = set((tmp_path / "results").iterdir()) - set(found)
        found[new] = json.loads((new / "summary.json").read_text())
        assert _run(root, *words, *blocks) == 0  # the same folder
        assert len(list((tmp_path / "results").iterdir())) == len(found)
    settings = [record.get("blocks") for record in found.values()]
    assert settings == [
        None,
        {"block": [24, 24], "overlap": 12, "blend": "cosine"},
        {"block": [24, 24], "overlap": 0, "blend": "cosine"},
        {"block": [24, 24], "overlap": 12, "blend": "published"},
    ]
    means = [record["mean"]["psnr"] for record in found.values()]
    assert means[1] == means[2] and len(set(means)) == 3  # the benchmark asks for blocks of 32
    assert min(means) > 40
    (folder, *_) = (f for f, record in found.items() if "blocks" in record)
    assert '- blocks: {"block": [24, 24]' in (folder / "summary.md").read_text()


def test_what_looks_at_a_pixel_alone_is_measured_the_same_in_blocks(root, tmp_path):
    means = []
    for number, blocks in enumerate(((), ("block=16",), ("block=16", "blend=published"))):
        out = tmp_path / str(number)
        assert _run(root, "model=average", f"out={out}", *blocks) == 0
        means.append(json.loads((out / "summary.json").read_text())["mean"]["psnr"])
    assert means == pytest.approx([means[0]] * 3, abs=1e-3)


def test_a_run_directory_serves_as_weights(root, tmp_path):
    (tmp_path / "run").mkdir()
    torch.save(create_model("ifrnet_s").state_dict(), tmp_path / "run" / "last.ckpt")
    weights = f"weights={tmp_path / 'run'}"
    assert _run(root, "model=ifrnet_s", weights, f"out={tmp_path / 'o'}") == 0
    record = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert record["weights"].endswith("last.ckpt")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=ifrnet_s"], "weights=none"),
        (["model=ifrnet_s", "weights=nix.pth"], "no weights file"),
        (["model=ifrnet_s", "weights=."], "best.ckpt"),
        (["model=average", "precision=fp16"], "fp32 or bf16"),
        (["model=average", "device=tpu"], "auto, cpu or cuda"),
        (["model=average", "limit=0"], "limit=0"),
        (["model=average", "block=big"], "block=big must be a whole number from 1"),
        (["model=average", "overlap=8"], "give block as well"),
        (["model=average", "block=16", "overlap=9"], "from 0 to 8"),
        (["model=average", "block=16", "blend=wavy"], "cosine, linear, mean, published"),
        (["model=nix"], "nix"),
        (["model=average", "benchmark.root=nowhere"], "benchmark.root=DIR"),
        (["model=average", "benchmark.suites.middlebury.protocol.colour=1"], "colour"),
    ],
)
def test_bad_input_gets_a_clear_line_exit_2_and_leaves_nothing(
    root, tmp_path, capsys, overrides, said
):
    before = sorted(tmp_path.rglob("*"))
    assert _run(root, *overrides) == 2
    shown = capsys.readouterr().err
    assert said in shown and "Traceback" not in shown
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_scenes_are_reported_and_marked(root, tmp_path, capsys):
    out = tmp_path / "o"
    expected = "benchmark.suites.middlebury.protocol.expected.test=12"
    assert _run(root, "model=average", expected, f"out={out}") == 0
    assert json.loads((out / "summary.json").read_text())["complete"] is False
    assert "2 images, the protocol has 12" in capsys.readouterr().out


def test_several_benchmarks_share_one_root_override(root, tmp_path, monkeypatch):
    text = config_files("benchmark")["middlebury"].read_text()
    second = text.replace("suites.middlebury", "suites.second").replace(
        "name: middlebury", "name: second"
    )
    (tmp_path / "conf" / "benchmark").mkdir(parents=True)
    (tmp_path / "conf" / "benchmark" / "second.yaml").write_text(second)
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    overrides = ["benchmark=[middlebury,second]", "model=average", f"out={tmp_path / 'o'}"]
    small = "benchmark.suites.second.protocol.pad.least=[48,64]"
    assert _run(root, *overrides, small) == 0
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["middlebury", "second"]
    record = json.loads((tmp_path / "o" / "second" / "summary.json").read_text())
    assert record["benchmark"] == "second@1" and record["images"] == 2
    assert not record["complete"]  # its count was not overridden


def test_other_models_are_measured_beside_on_the_same_images(root, tmp_path, capsys):
    assert _run(root, "model=average", "beside=[]", "out=alone") == 0
    assert _run(root, "model=dis", "beside=[average,dis]", "out=both") == 0
    alone, both = (
        json.loads((tmp_path / n / "summary.json").read_text()) for n in ("alone", "both")
    )
    assert {name: one["mean"] for name, one in both["beside"].items()} == {"average": alone["mean"]}
    assert "| average, mean of 2 |" in (tmp_path / "both" / "summary.md").read_text()
    assert "beside" not in alone
    for name, message in (("ifrnet_s", "has to be trained"), ("nobody", "no model of average")):
        assert _run(root, "model=dis", f"beside=[{name}]", "out=none") == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
