"""ST-MFNet's benchmarks: its metrics, its means over sequences, and two frames out of its four."""

from __future__ import annotations

import json
import math

import fakes
import numpy as np
import pytest
import torch

from midframe.benchmark.journal import Journal
from midframe.benchmark.protocol import Protocol
from midframe.benchmark.runner import Outcome, Predictor, run
from midframe.data.io import write_image
from midframe.engine.compose import compose
from midframe.launch import evaluate
from midframe.models.average import Average
from midframe.models.base import Interpolator
from midframe.types import Prediction

SETS = {
    "ucf101": fakes.ucf101,
    "davis90": fakes.davis90,
    "vfitex": fakes.vfitex,
    "snufilm": fakes.snufilm,
}
NAMES = {  # of four frames, and of the middle two of them
    "ucf101": ("ucf101_quintuplet", "ucf101_middle"),
    "davis90": ("davis90", "davis90_middle"),
    "vfitex": ("vfitex", "vfitex_middle"),
    "snufilm": ("snufilm_quintuplet", "snufilm_middle"),
}


def _protocol(name: str) -> Protocol:
    return evaluate.suites(compose([f"benchmark={name}"], "evaluate"))[0][name]


class Four(Interpolator):
    """Mixes all four of its frames."""

    context, times = 2, "half"

    def forward(self, x, **hints):
        weights = x.frames.new_tensor([-1, 9, 9, -1]).view(1, 4, 1, 1, 1) / 16
        return Prediction((x.frames * weights).sum(1, keepdim=True))


@pytest.mark.parametrize("name", SETS)
def test_metrics_are_those_of_the_published_code(golden, name):
    data = np.load(golden("stmfnet/metrics.npz"))
    protocol = _protocol(NAMES[name][0])
    assert protocol.quantisation == "uint8"
    for case in ("noise", "smooth", "identical", "tiny"):
        target, out = (torch.from_numpy(data[f"{case}/{key}"]) for key in ("gt", "out"))
        rounded = [x.clamp(0, 1).mul(255).round().div(255) for x in (out, target)]
        for key in ("psnr", "ssim"):
            metric = protocol.metrics[key]
            values = metric.find()(*rounded, **metric.options)
            # the published SSIM is itself up to 6e-5 off the float64 value
            np.testing.assert_allclose(values, data[f"{case}/{key}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SETS)
def test_two_frames_are_measured_on_the_same_images_by_quintuplets_and_their_middle(tmp_path, name):
    root = SETS[name](tmp_path)
    outcomes = []
    for protocol in map(_protocol, NAMES[name]):
        outcomes.append(run(Predictor(Average(), protocol), protocol, root))
    four, two = ({row.key: row.values for row in one.rows} for one in outcomes)
    assert set(four) <= set(two) and (set(four) == set(two)) is (name != "snufilm")
    assert all(four[key] == two[key] for key in four)
    assert len(two) == {"ucf101": 3, "davis90": 4, "vfitex": 4, "snufilm": 12}[name]
    if set(four) == set(two):
        assert outcomes[0].means() == outcomes[1].means()


@pytest.mark.parametrize("name", SETS)
def test_a_four_frame_model_is_measured_and_needs_quintuplets(tmp_path, name):
    root, protocol = SETS[name](tmp_path), _protocol(NAMES[name][0])
    outcome = run(Predictor(Four(), protocol), protocol, root)
    average = run(Predictor(Average(), protocol), protocol, root)
    assert [row.key for row in outcome.rows] == [row.key for row in average.rows]
    # what moves evenly is better told by four frames; a frame at a wrong place would be seen
    assert outcome.means()["psnr"] > average.means()["psnr"] + 0.5
    with pytest.raises(Exception, match="reads 4 frames, benchmark .* gives 2"):
        Predictor(Four(), _protocol(NAMES[name][1]))


def _sequences(root, offsets):
    """Write sequences whose targets all differ by a number of grey levels from the average."""
    for number, (length, offset) in enumerate(offsets):
        for i in range(length):
            grey = np.full((32, 32, 3), 100 + (offset if i % 2 else 0), np.uint8)
            write_image(root / f"s{number}" / f"{i + 1:03d}.png", grey)


def test_the_mean_is_that_of_the_sequences_means(tmp_path):
    """Targets are the even files, inputs the odd ones: a difference of d is 20 log10(255 / d)."""
    offsets = [(21, 2), (7, 50)]  # eight targets, one target
    _sequences(tmp_path / "data", offsets)
    protocol = _protocol("vfitex")
    outcome = run(Predictor(Average(), protocol), protocol, tmp_path / "data")
    each = [-10 * math.log10((d / 255) ** 2 + 1e-8) for _, d in offsets]
    assert [outcome.count("test"), len(outcome.rows)] == [9, 9]
    assert outcome.means()["psnr"] == pytest.approx(sum(each) / 2, rel=1e-5)
    assert outcome.means("test") == outcome.means()
    found = {name: means["psnr"] for name, means in outcome.sequences().items()}
    assert found == {
        "test/s0": pytest.approx(each[0], rel=1e-5),
        "test/s1": pytest.approx(each[1], rel=1e-5),
    }
    by_image = {**vars(outcome), "protocol": _protocol("ucf101_quintuplet")}
    assert Outcome(**by_image).means()["psnr"] == pytest.approx((8 * each[0] + each[1]) / 9)


def test_a_killed_evaluation_goes_on_to_the_same_mean_of_sequences(tmp_path):
    root, protocol = fakes.davis90(tmp_path / "data"), _protocol("davis90")
    whole = run(Predictor(Average(), protocol), protocol, root)
    journal = Journal(tmp_path / "journal.jsonl", "key")
    journal.add(whole.rows[:2])
    journal.close(discard=False)
    again = Journal(tmp_path / "journal.jsonl", "key")
    rest = run(Predictor(Average(), protocol), protocol, root, journal=again)
    again.close(discard=True)
    assert rest.reused == 2 and rest.means() == whole.means()


def test_the_result_tells_every_sequence(tmp_path, monkeypatch, capsys):
    root = fakes.davis90(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    words = ["benchmark=davis90", f"benchmark.root={root}", "model=average", "device=cpu"]
    assert evaluate.main([*words, "out=out"]) == 0
    record = json.loads((tmp_path / "out/summary.json").read_text())
    assert list(record["sequences"]) == ["test/sequence0", "test/sequence1"]
    mean = sum(one["psnr"] for one in record["sequences"].values()) / 2
    assert record["mean"]["psnr"] == pytest.approx(mean)
    assert "mean of 4 in 2 sequences" in (tmp_path / "out/summary.md").read_text()
    assert record["problems"] == ["test: 4 images, the protocol has 2849"]
    assert "28.29" in capsys.readouterr().out


def test_what_the_published_counts_are():
    expected = {
        name: dict(_protocol(name).expected)
        for name in (
            "ucf101_quintuplet",
            "davis90",
            "vfitex",
            "snufilm_middle",
        )
    }
    assert expected == {
        "ucf101_quintuplet": {"test": 100},
        "davis90": {"test": 2849},
        "vfitex": {"test": 19 * 47 + 41},  # one sequence as offered has 87 frames
        "snufilm_middle": dict.fromkeys(("easy", "medium", "hard", "extreme"), 310),
    }
