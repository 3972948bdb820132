"""Reports: files that other programs read, with everything that a number depends on."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from midframe.benchmark import report
from midframe.benchmark.journal import Row
from midframe.benchmark.protocol import Metric, Protocol, Published
from midframe.benchmark.runner import Outcome

FACTS = {
    "model": "ifrnet_s",
    "model_config": {"name": "ifrnet_s"},
    "weights_sha256": "ab" * 32,
    "revision": "0123456789ab",
    "precision": "fp32",
    "device": "cpu",
    "op_backend": "torch",
}


@pytest.fixture
def outcome():
    protocol = Protocol(
        "tiny",
        3,
        "a.b",
        ("easy", "hard"),
        {"easy": 2, "hard": 1},
        {"psnr": Metric("psnr", unit="dB"), "ssim": Metric("ssim", digits=4)},
        published=(Published("Net", {"psnr": 37.24}, "A paper", "ifrnet_s"),),
    )
    rows = [
        Row("a/b", "easy", {"psnr": 30.123456789012345, "ssim": 0.9}, 0.1),
        Row("c,d", "easy", {"psnr": 32.0, "ssim": 0.8}, 0.2),
        Row("e", "hard", {"psnr": 20.0, "ssim": 0.5}, 0.3),
    ]
    return Outcome(protocol, rows)


def test_csv_has_a_row_per_image_in_full_precision(outcome):
    rows = list(csv.DictReader(io.StringIO(report.to_csv(outcome))))
    assert [r["id"] for r in rows] == ["a/b", "c,d", "e"]
    assert float(rows[0]["psnr"]) == 30.123456789012345 and rows[2]["subset"] == "hard"


def test_summary_is_strict_json_with_provenance(outcome, tmp_path):
    outcome.rows.append(Row("same", "hard", {"psnr": float("inf"), "ssim": 1.0}))
    report.write(tmp_path, outcome, FACTS)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    record = json.loads((tmp_path / report.JSON).read_text(), parse_constant=refuse)
    assert record["benchmark"] == "tiny@3" and record["complete"] is True
    assert record["mean"]["psnr"] == "inf" and record["subsets"]["easy"]["images"] == 2
    assert record["subsets"]["easy"]["mean"]["ssim"] == pytest.approx(0.85)
    assert record["protocol"]["published"][0]["source"] == "A paper"
    for key, value in FACTS.items():
        assert record[key] == value
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [report.CSV, report.JSON, report.MARKDOWN]
    )


def test_markdown_and_table_label_published_rows_and_say_incomplete(outcome):
    outcome.problems.append("easy: 2 images, the protocol has 9")
    text = io.StringIO()
    report.show(outcome, FACTS, Console(file=text, width=100))
    for shown in (text.getvalue(), report.to_markdown(outcome, FACTS)):
        assert "Net (published)" in shown and "37.24" in shown and "A paper" in shown
        assert "27.37" in shown and "ncomplete" in shown and "protocol has 9" in shown
    assert "<- this model" in text.getvalue()
