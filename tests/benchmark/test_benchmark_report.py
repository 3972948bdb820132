"""Reports: files that other programs read, with everything that a number depends on."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest
from rich.console import Console

from midframe.benchmark import report, table
from midframe.benchmark.journal import Row
from midframe.benchmark.protocol import Metric, Protocol, Published
from midframe.benchmark.runner import Outcome
from midframe.metrics import statistics

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
    table.show(outcome, FACTS, Console(file=text, width=100))
    for shown in (text.getvalue(), report.to_markdown(outcome, FACTS)):
        assert "Net (published)" in shown and "37.24" in shown and "A paper" in shown
        assert "27.37" in shown and "ncomplete" in shown and "protocol has 9" in shown
    assert "<- this model" in text.getvalue()


def _shown(outcome, width=100):
    text = io.StringIO()
    table.show(outcome, FACTS, Console(file=text, width=width))
    return text.getvalue()


def test_published_rows_of_a_subset_stand_with_it(outcome):
    hard = Published("Other", {"psnr": 21.5}, "Another paper", subset="hard")
    outcome.protocol = dataclasses.replace(
        outcome.protocol, published=(*outcome.protocol.published, hard)
    )
    for shown in (_shown(outcome), report.to_markdown(outcome, FACTS)):
        lines = shown.splitlines()
        (at,) = (i for i, line in enumerate(lines) if "Other, hard (published)" in line)
        assert "21.50" in lines[at] and "hard (1 images)" in lines[at - 1]
        assert "Another paper" in shown
        assert shown.index("Other, hard") < shown.index("mean of 3") < shown.index("Net (publ")


def test_means_have_intervals_by_the_rules_of_the_reduction(outcome):
    record = report.summary(outcome, FACTS)
    psnr = [row.values["psnr"] for row in outcome.rows]
    assert record["interval"]["psnr"] == list(statistics.interval(psnr))
    assert record["subsets"]["easy"]["interval"]["psnr"] == list(statistics.interval(psnr[:2]))
    assert "95 % interval" in _shown(outcome) and "95 % interval" in report.to_markdown(outcome, {})
    outcome.protocol = dataclasses.replace(outcome.protocol, reduction="subsets")
    expected = statistics.interval_of_subsets([psnr[:2], psnr[2:]])
    assert report.summary(outcome, FACTS)["interval"]["psnr"] == list(expected)
    outcome.protocol = dataclasses.replace(outcome.protocol, reduction="sequences")
    outcome.groups = {"easy/a/b": "s", "easy/c,d": "s", "hard/e": "z"}
    record = report.summary(outcome, FACTS)
    assert record["interval"]["psnr"] == list(statistics.interval(psnr, ["s", "s", "z"]))
    assert record["groups"] == {"easy/s": ["easy/a/b", "easy/c,d"], "hard/z": ["hard/e"]}


def test_images_of_one_clip_are_drawn_together(outcome):
    outcome.protocol = dataclasses.replace(outcome.protocol, times=(0.25, 0.75))
    psnr = [30.0, 31.0, 20.0, 21.0, 40.0, 41.0]
    outcome.rows = [
        Row(f"{clip}@{t}", "easy", {"psnr": psnr[2 * i + k], "ssim": 0.5})
        for i, clip in enumerate("abc")
        for k, t in enumerate(("0.25", "0.75"))
    ]
    record = report.summary(outcome, FACTS)
    together = statistics.interval(psnr, ["a", "a", "b", "b", "c", "c"])
    assert record["interval"]["psnr"] == list(together) != list(statistics.interval(psnr))
    assert record["times"]["0.25"]["interval"]["psnr"] == list(statistics.interval(psnr[::2]))
    outcome.rows = outcome.rows[:-1]  # then means of clips would be another mean
    record = report.summary(outcome, FACTS)
    assert record["interval"]["psnr"] == list(statistics.interval(psnr[:-1]))


def test_models_beside_are_held_against_the_model_image_by_image(outcome):
    other = [
        dataclasses.replace(row, values={"psnr": row.values["psnr"] - d, "ssim": s})
        for row, d, s in zip(outcome.rows, (1.0, 2.0, -0.5), (0.9, 0.9, 0.9))
    ]
    outcome.protocol = dataclasses.replace(
        outcome.protocol,
        metrics={"psnr": Metric("psnr"), "ssim": Metric("ssim", better="lower")},
    )
    outcome.beside = {"base": Outcome(outcome.protocol, other)}
    record = report.summary(outcome, FACTS)
    one = record["paired"]["base"]["psnr"]
    assert one["difference"] == pytest.approx(2.5 / 3)
    assert one["interval"] == pytest.approx(statistics.interval([1.0, 2.0, -0.5]))
    assert (one["better"], one["worse"], one["ties"], one["p"]) == (2, 1, 0, 1.0)
    counts = record["paired"]["base"]["ssim"]
    assert (counts["better"], counts["worse"], counts["ties"]) == (2, 0, 1)  # lower is better
    for shown in (_shown(outcome), report.to_markdown(outcome, FACTS)):
        assert "ifrnet_s minus base" in shown and "+0.83" in shown and "p = 1" in shown


def test_infinite_values_stay_json_wherever_they_stand(outcome):
    same = {"psnr": float("inf"), "ssim": 1.0}
    outcome.beside = {"same": Outcome(outcome.protocol, [Row("a/b", "easy", same)])}
    text = json.dumps(report.summary(outcome, FACTS), allow_nan=False)
    assert json.loads(text)["paired"]["same"]["psnr"]["difference"] == "-inf"


@pytest.mark.parametrize("width", [60, 80])
def test_numbers_are_never_cut_on_a_narrow_screen(outcome, width):
    outcome.beside = {"another model of a long name": Outcome(outcome.protocol, outcome.rows)}
    shown = _shown(outcome, width)
    assert "\u2026" not in shown and "27.37" in shown and "0.7333" in shown


def test_extra_columns_stand_behind_the_protocols_own(outcome):
    outcome.protocol = dataclasses.replace(
        outcome.protocol, extra={"ie": Metric("interpolation_error", better="lower")}
    )
    outcome.rows = [
        dataclasses.replace(row, values={**row.values, "ie": 3.0}) for row in outcome.rows
    ]
    assert report.to_csv(outcome).splitlines()[0] == "subset,id,psnr,ssim,ie,seconds"
    assert report.summary(outcome, FACTS)["mean"]["ie"] == 3.0 and "IE" in _shown(outcome)


def _with_many_columns(outcome, count=9):
    metrics = {f"metric_{i}": Metric("psnr", unit="dB") for i in range(count)}
    outcome.protocol = dataclasses.replace(outcome.protocol, extra=metrics)
    for row in outcome.rows:
        row.values.update(dict.fromkeys(metrics, 12.25))
    return list(metrics)


def test_images_keep_their_names_beside_many_columns(outcome):
    names = _with_many_columns(outcome)
    shown = _shown(outcome, width=80)  # no terminal: one table that is as wide as it has to be
    (line,) = (line for line in shown.splitlines() if line.lstrip(" │").startswith("a/b"))
    assert line.count("12.25") == len(names)
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=True, color_system=None)
    table.show(outcome, FACTS, console)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.lstrip(" │").startswith("a/b")]
    assert len(rows) > 1 and sum(line.count("12.25") for line in rows) == len(names)
    assert all(name.upper() in text.getvalue() for name in names)


def test_names_are_no_markup(outcome):
    outcome.rows.append(Row("scene [a] [/bold]\x1b[31m", "hard", {"psnr": 9.0, "ssim": 0.1}))
    outcome.problems.append("hard/[b]: lacks")
    text = io.StringIO()
    table.show(outcome, {**FACTS, "model": "net [red]"}, Console(file=text, width=100))
    shown = text.getvalue()
    assert "scene [a] [/bold]" in shown and "hard/[b]: lacks" in shown and "net [red] on" in shown
    assert "\x1b" not in shown
