"""Tables: one for each protocol, complete results first, verdicts, what models beside count."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import fake_results
import numpy as np
import pytest

from midframe.benchmark.protocol import Metric, Published
from midframe.report import finding, sections, texts, verdicts
from midframe.report.results import digest

HOSTILE = "<script>alert(1)</script> a_b & 50% #1 $x$ {y} ~z^ \\w |p| `q`"


def build(*paths, count=0, budget=0):
    entries, speeds = finding.read(paths)
    return sections.build("Results", entries, speeds, count, budget)


def cells(markdown, first):
    """Return the cells of the first row of a Markdown table that starts so."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def rows_of(report):
    return list(csv.DictReader(io.StringIO(texts.rows(report))))


def test_means_stand_beside_published_rows_which_are_marked(tmp_path):
    fake_results.write(tmp_path / "one")
    text = texts.markdown(build(tmp_path / "one"))
    assert cells(text, "net ")[1].startswith("30.00 (28.00 to 32.00)")
    assert cells(text, "net ")[2].startswith("0.9000")
    assert cells(text, "Other (published)")[1:3] == ["29.99", "0.8999"]
    assert "Published Net, Net L, Other: A paper, table 1" in text


def test_the_best_complete_value_is_bold_and_incomplete_results_come_last(tmp_path):
    fake_results.write(tmp_path / "a", "low", {k: (20, 0.5) for k in "abc"})
    fake_results.write(tmp_path / "b", "high", {k: (25, 0.6) for k in "abc"})
    limited = {"complete": False, "problems": ["limited to 1 of every subset"]}
    fake_results.write(tmp_path / "c", "part", {"a": (99, 0.99)}, **limited)
    report = build(tmp_path)
    assert [e.title for e in report.sections[0].group.entries] == ["high", "low", "part"]
    text = texts.markdown(report)
    assert cells(text, "high")[1].startswith("**25.00**")
    assert cells(text, "low")[1].startswith("20.00")
    assert cells(text, "part (incomplete, limited)")[1].startswith("99.00")
    assert "part is incomplete: limited to 1 of every subset" in text


def test_lower_is_better_where_the_metric_says_so(tmp_path):
    by = fake_results.protocol(metrics={"ie": Metric("interpolation_error", better="lower")})
    fake_results.write(tmp_path / "a", "bad", {k: (5,) for k in "abc"}, by)
    fake_results.write(tmp_path / "b", "good", {k: (2,) for k in "abc"}, by)
    report = build(tmp_path)
    assert [e.title for e in report.sections[0].group.entries] == ["good", "bad"]
    assert cells(texts.markdown(report), "good")[1].startswith("**2.00**")
    pair = cells(texts.markdown(report).split("Mean differences")[1], "good")
    assert pair[1:4] == ["bad", "IE", "−3.000"] and pair[5:8] == ["3", "0", "0"]


def test_bfloat16_is_marked(tmp_path):
    fake_results.write(tmp_path / "a", precision="bf16")
    assert cells(texts.markdown(build(tmp_path)), "net (bf16)")[1].startswith("30.00")


@pytest.mark.parametrize(
    ("measured", "word"),
    [
        (30.12, "reproduced"),
        (30.1349, "reproduced"),  # 30.13 as printed
        (30.1051, "reproduced"),
        (30.1351, "close"),  # 30.14
        (30.174, "close"),
        (30.176, "better"),
        (30.07, "close"),
        (30.0649, "worse"),
        (math.inf, "better"),
        (math.nan, "not measured"),
        (None, "not measured"),
    ],
)
def test_a_verdict_counts_units_of_the_last_printed_digit(measured, word):
    assert verdicts.verdict(30.12, measured, digits=2) == word


def test_a_verdict_goes_by_what_is_better_of_the_metric():
    assert verdicts.verdict(2.0, 2.5, digits=2, better="lower") == "worse"
    assert verdicts.verdict(2.0, 1.5, digits=2, better="lower") == "better"


def test_an_incomplete_result_gets_no_verdict():
    assert verdicts.verdict(30.12, 30.12, digits=2, complete=False) == "incomplete"


def test_digits_are_those_of_the_source_although_zeros_at_the_end_are_lost(tmp_path):
    published = [Published(n, {"psnr": v}, "A", n) for n, v in zip("xyz", (37.5, 38.18, 36.0))]
    published.append(Published("w", {"psnr": 37.5}, "B", "net"))
    by = fake_results.protocol(published=tuple(published))
    fake_results.write(tmp_path / "a", by=by)
    group = build(tmp_path).sections[0].group
    column = group.columns[0]
    assert verdicts.printed_digits(group, "A", column) == 2
    assert verdicts.printed_digits(group, "B", column) == 2  # one number says nothing: the column's


def test_paper_and_measurement_stand_in_one_row_with_difference_and_verdict(tmp_path):
    values = {"a": (30.0, 0.9), "b": (32.0, 0.95), "c": (29.52, 0.8536)}
    fake_results.write(tmp_path / "a", values=values)
    report = build(tmp_path)
    text = texts.markdown(report).split("Each number of a paper")[1]
    found = [cells(line, "net") for line in text.splitlines() if line.startswith("| net ")][:2]
    assert found[0][2:6] == ["PSNR dB", "30.50", "30.51", "+0.01"]
    assert found[0][7] == "reproduced"
    assert found[1][2:6] == ["SSIM", "0.9012", "0.9012", "0.0000"]
    row = next(r for r in rows_of(report) if r["model"] == "net" and r["metric"] == "psnr")
    assert row["verdict"] == "reproduced" and float(row["published"]) == 30.5
    assert "net_l" not in text  # nobody measured it: it is listed, not judged


def test_published_rows_of_a_subset_are_held_against_that_subset(tmp_path):
    rows = (
        Published("Net", {"psnr": 40.01}, "A", "net", "easy"),
        Published("Net", {"psnr": 20.01}, "A", "net", "hard"),
        Published("Net", {"psnr": 30.11}, "A", "net"),
    )
    by = fake_results.protocol(
        subsets=("easy", "hard"), expected={"easy": 1, "hard": 1}, published=rows
    )
    fake_results.write(tmp_path / "a", values={"easy/1": (40, 1), "hard/1": (20.04, 1)}, by=by)
    report = build(tmp_path)
    found = {(c.row.subset, c.verdict) for c in report.sections[0].compared}
    assert found == {("easy", "reproduced"), ("hard", "close"), (None, "worse")}
    text = texts.markdown(report)
    assert "| Model | easy: PSNR dB | easy: SSIM | hard: PSNR dB | hard: SSIM |" in text


def test_a_subset_that_was_not_measured_is_said_to_be_so(tmp_path):
    rows = (Published("Net", {"psnr": 20.0}, "A", "net", "hard"),)
    by = fake_results.protocol(subsets=("easy", "hard"), expected={}, published=rows)
    fake_results.write(tmp_path / "a", values={"easy/1": (40, 1)}, by=by)
    assert [c.verdict for c in build(tmp_path).sections[0].compared] == ["not measured"]


def test_numbers_of_different_protocols_never_share_a_table(tmp_path):
    other = fake_results.protocol(version=2, quantisation="uint8")
    fake_results.write(tmp_path / "a", "one")
    fake_results.write(tmp_path / "b", "two", by=other)
    report = build(tmp_path)
    assert [s.group.rules.id for s in report.sections] == ["tiny@1", "tiny@2"]
    assert [[e.title for e in s.group.entries] for s in report.sections] == [["one"], ["two"]]
    (line,) = report.sections[0].group.differs
    assert 'quantisation is "none" here, "uint8" there; version is 1 here, 2 there' in line
    tables = texts.markdown(report).split("## tiny@")
    assert "| two" not in tables[1] and "| one" not in tables[2]


def test_the_same_name_and_version_with_another_digest_is_another_protocol(tmp_path):
    other = fake_results.protocol(hints={"scale": 2})
    fake_results.write(tmp_path / "a", "one")
    fake_results.write(tmp_path / "b", "two", by=other, protocol_digest=None)
    report = build(tmp_path)
    assert [len(s.group.entries) for s in report.sections] == [1, 1]
    differs = " ".join(line for s in report.sections for line in s.group.differs)
    assert "hints.scale is absent here, 2 there" in differs


@pytest.mark.parametrize("more", [{}, {"layout_options": {"on_error": "skip", "size": 3}}])
def test_the_digest_of_what_was_written_is_the_protocol_s_own(more):
    by = fake_results.protocol(**more)
    written = json.loads(json.dumps(by.describe()))
    assert digest(written) == by.digest()


def test_extra_columns_of_another_definition_are_columns_of_their_own(tmp_path):
    for name, variant in (("one", "gaussian"), ("two", "gaussian_3d"), ("three", "gaussian")):
        extra = {"x": Metric("ssim", {"variant": variant})}
        by = fake_results.protocol(extra=extra)
        fake_results.write(tmp_path / name, name, {k: (30, 0.9, 0.5) for k in "abc"}, by)
    group = build(tmp_path / "one", tmp_path / "two", tmp_path / "three").sections[0].group
    assert [c.name for c in group.columns] == ["psnr", "ssim", "x", "x #2"]
    assert {e.title: sorted(e.total.mean) for e in group.entries}["two"] == ["psnr", "ssim", "x #2"]
    assert "x #2 is not x: two was measured by another definition" in group.notes[0]


def test_models_beside_are_entries_unless_they_were_given_themselves(tmp_path):
    fake_results.write(tmp_path / "net")
    fake_results.write(tmp_path / "net" / "beside" / "average", "average", parameters=0)
    fake_results.write(tmp_path / "net" / "beside" / "dis", "dis", parameters=0)
    fake_results.write(tmp_path / "dis", "dis", {k: (1, 0.1) for k in "abc"}, parameters=0)
    group = build(tmp_path).sections[0].group
    found = {e.title: e.total.mean["psnr"] for e in group.entries}
    assert found == {"net": 30, "average": 30, "dis": 1}
    assert {e.title: e.beside for e in group.entries}["average"]


def test_a_complete_model_beside_stays_next_to_an_incomplete_one_or_one_of_other_options(tmp_path):
    config = {"name": "dis", "net": {"preset": "fast"}}
    fake_results.write(tmp_path / "net")
    fake_results.write(tmp_path / "net" / "beside" / "dis", "dis", model_config=config)
    part = {"complete": False, "problems": ["limited to 1 of every subset"]}
    fake_results.write(tmp_path / "x", "dis", {"a": (1, 0.1)}, model_config=config, **part)
    other = {"name": "dis", "net": {"preset": "slow"}}
    fake_results.write(tmp_path / "y", "dis", {k: (2, 0.2) for k in "abc"}, model_config=other)
    found = build(tmp_path / "net", tmp_path / "x").sections[0].group.entries
    assert {e.title for e in found} == {"net", "dis [beside net]", "dis [x]"}
    found = build(tmp_path / "net", tmp_path / "y").sections[0].group.entries
    assert {e.title for e in found} == {"net", "dis [beside net]", "dis [y]"}
    fake_results.write(tmp_path / "z", "dis", model_config=config)
    found = build(tmp_path / "net", tmp_path / "z").sections[0].group.entries
    assert {e.title: e.beside for e in found} == {"net": False, "dis": False}


def test_a_result_with_problems_is_incomplete_whatever_it_says(tmp_path):
    fake_results.write(tmp_path / "a", "net", problems=["2 clips cannot be read"], complete=True)
    fake_results.write(tmp_path / "b", "low", {k: (20, 0.5) for k in "abc"})
    report = build(tmp_path)
    assert [e.title for e in report.sections[0].group.entries] == ["low", "net"]
    assert cells(texts.markdown(report), "net (incomplete)")[1].startswith("30.00")


def test_means_of_models_beside_in_an_old_summary_are_entries(tmp_path):
    fake_results.write(tmp_path / "net", beside={"average": {"mean": {"psnr": 20.0, "ssim": 0.5}}})
    found = build(tmp_path).sections[0].group.entries
    assert {e.title: e.total.mean["psnr"] for e in found} == {"net": 30, "average": 20}


def test_two_results_of_one_model_are_told_apart_by_their_folders(tmp_path):
    fake_results.write(tmp_path / "first")
    fake_results.write(tmp_path / "second")
    titles = [e.title for e in build(tmp_path).sections[0].group.entries]
    assert sorted(titles) == ["net [first]", "net [second]"]


def test_a_folder_given_twice_counts_once(tmp_path):
    fake_results.write(tmp_path / "a")
    assert len(build(tmp_path, tmp_path / "a", tmp_path / "a" / "summary.json").sections) == 1
    assert len(build(tmp_path, tmp_path / "a").sections[0].group.entries) == 1


def test_paired_differences_are_those_of_common_images(tmp_path):
    fake_results.write(tmp_path / "a", "one", {"a": (30, 0.9), "b": (31, 0.9), "c": (35, 0.9)})
    fake_results.write(tmp_path / "b", "two", {"a": (29, 0.9), "b": (31.5, 0.9)})
    text = texts.markdown(build(tmp_path)).split("Mean differences")[1]
    psnr, ssim = cells(text, "one"), cells(text.split("PSNR dB", 1)[1], "one")
    assert psnr[1:4] == ["two", "PSNR dB", "+0.250"] and psnr[5:] == ["1", "1", "0", "1.000"]
    assert ssim[2:4] == ["SSIM", "0.00000"] and ssim[5:8] == ["0", "0", "2"]


def test_the_interval_of_the_file_is_shown_and_computed_only_where_it_lacks(tmp_path):
    fake_results.write(tmp_path / "a", interval={"psnr": [1.5, 55.5]})
    group = build(tmp_path).sections[0].group
    assert group.entries[0].total.interval["psnr"] == (1.5, 55.5)
    low, high = group.entries[0].total.interval["ssim"]
    means = np.mean(np.random.default_rng(5).choice([0.9, 0.95, 0.85], (20_000, 3)), 1)
    assert [low, high] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-9)


def test_images_of_a_sequence_are_drawn_together(tmp_path):
    by = fake_results.protocol(reduction="sequences", expected={"test": 4})
    values = {"s/1": (30, 1), "s/2": (30, 1), "t/1": (20, 1), "t/2": (20, 1)}
    values = {f"test/{key.replace('/', '-')}": v for key, v in values.items()}
    groups = {"test/s": ["test/s-1", "test/s-2"], "test/t": ["test/t-1", "test/t-2"]}
    folder = fake_results.write(tmp_path / "a", "one", values, by, groups=groups)
    fake_results.write(tmp_path / "b", "two", {k: (v[0] - 1, 1) for k, v in values.items()}, by,
                       groups=groups)  # fmt: skip
    report = build(folder, tmp_path / "b")
    text = texts.markdown(report).split("Mean differences")[1]
    assert cells(text, "one")[5:8] == ["2", "0", "0"]  # two sequences, not four images


def test_a_submission_has_no_columns_and_is_said_to_be_handed_in(tmp_path):
    by = fake_results.protocol(metrics={}, submission="{id}/x.png", published=())
    fake_results.write(tmp_path / "a", values={"a": ()}, by=by)
    assert "predictions are handed in" in texts.markdown(build(tmp_path))


def test_csv_has_every_number_in_full_precision(tmp_path):
    fake_results.write(tmp_path / "a", values={"a": (30.123456789012345, 0.9)})
    found = rows_of(build(tmp_path))
    measured = [r for r in found if r["kind"] == "measured" and r["of"] == "all"]
    assert {(r["metric"], float(r["value"])) for r in measured} == {
        ("psnr", 30.123456789012345),
        ("ssim", 0.9),
    }
    assert measured[0]["protocol"] == "tiny@1" and measured[0]["complete"] == "true"
    assert [r["model"] for r in found if r["kind"] == "published"][::2] == ["Net", "Net L", "Other"]


def test_csv_holds_no_formula(tmp_path):
    fake_results.write(tmp_path / "a", "=HYPERLINK(1)")
    assert {r["model"] for r in rows_of(build(tmp_path)) if r["kind"] == "measured"} == {
        "'=HYPERLINK(1)"
    }


def test_latex_is_a_booktabs_tabular_whose_text_is_escaped(tmp_path):
    fake_results.write(tmp_path / "a", HOSTILE)
    text = texts.latex(build(tmp_path))
    tabular = text.split(r"\begin{tabular}{lrrr}")[1].split(r"\end{tabular}")[0]
    assert tabular.count(r"\toprule") == tabular.count(r"\bottomrule") == 1
    assert r"a\_b \& 50\% \#1 \$x\$ \{y\} \textasciitilde{}z\textasciicircum{}" in tabular
    assert r"\textless{}script\textgreater{}" in tabular
    for line in tabular.splitlines():
        if line.endswith(r"\\"):
            bare = re.sub(r"\\[&%$#_{}]", "", line)
            assert bare.count("&") == 3 and not re.search(r"[%#_$<>|~^]", bare)
            assert bare.count("{") == bare.count("}")


def test_markdown_is_escaped(tmp_path):
    fake_results.write(tmp_path / "a", HOSTILE + " ![x](http://x) [l](javascript:1)")
    text = texts.markdown(build(tmp_path))
    assert "<script" not in text and "](" not in re.sub(r"\\\]\(", "", text)
    row = next(line for line in text.splitlines() if "script" in line and line.startswith("| "))
    assert re.sub(r"\\\|", "", row).count("|") == 5


def test_lines_of_a_text_cannot_break_a_table_or_a_comment(tmp_path):
    fake_results.write(tmp_path / "a", weights="x\n\n# heading\n\\input{y}", revision="1\n| 2 |")
    report = build(tmp_path)
    assert "\n# heading" not in texts.markdown(report)
    assert "\n\\input" not in texts.latex(report)
