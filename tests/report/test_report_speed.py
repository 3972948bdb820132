"""Speed: what was timed alike shares a table, nothing replaces another, and notes go with it."""

from __future__ import annotations

import re

import fake_results
from test_report_tables import build, cells

from midframe.report import page, texts
from midframe.report.plotted import axes


def test_speed_of_each_device_has_its_own_table_and_parameters_reach_the_results(tmp_path):
    fake_results.write(tmp_path / "a")
    fake_results.speed(tmp_path / "speed-net.json")
    fake_results.speed(tmp_path / "other.json", device="NVIDIA H200")
    report = build(tmp_path, tmp_path / "other.json")
    assert [t.caption for t in report.speed_tables] == [
        "Speed on cpu, 2 threads",
        "Speed on NVIDIA H200",
    ]
    text = texts.markdown(report)
    assert "| net | 448x256 | bf16 | 5 M | 2 G | 6.25 | 14 | 20 | 80 | 191 MiB |" in text
    assert "| net | 448x256 | big | 5 M | 2 G | out of memory |" in text
    assert cells(text, "net (")[-1] == "5 M" if "net (" in text else cells(text, "net")[-1] == "5 M"


def test_times_of_different_machines_or_versions_share_no_table(tmp_path):
    for gpu, torch in (("NVIDIA H200", "2.13"), ("RTX 2080 Ti", "2.13"), ("NVIDIA H200", "2.9")):
        place = {"gpu": gpu, "processor": "P", "versions": {"torch": torch}}
        name = f"{gpu}{torch}.json".replace(" ", "")
        fake_results.speed(tmp_path / name, device="cuda:0", environment=place)
    report = build(*sorted(tmp_path.iterdir()))
    assert sorted(t.caption for t in report.speed_tables) == [
        "Speed on NVIDIA H200, torch 2.13",
        "Speed on NVIDIA H200, torch 2.9",
        "Speed on RTX 2080 Ti, torch 2.13",
    ]


def test_two_measurements_of_one_model_and_setting_are_both_kept_and_told_apart(tmp_path):
    fake_results.write(tmp_path / "r")
    first = fake_results.speed(tmp_path / "speed-a.json")
    way = {"p50_ms": 42.0}
    size = {"size": "448x256", "flops": 2e9, "ways": {"fp32": way}}
    second = fake_results.speed(tmp_path / "speed-b.json", sizes=[size])
    report = build(tmp_path / "r", first, second)
    (table,) = report.speed_tables
    assert {line.cells[0].text for line in table.lines} == {"net [speed-a]", "net [speed-b]"}
    (latency,) = [a for a in axes(report.sections[0].group, report.speeds)
                  if a["title"] == "Latency"]  # fmt: skip
    found = {v["label"]: v["values"] for v in latency["variants"]}
    assert found["448x256, fp32, cpu, 2 threads"] == [12.5]
    assert found["[speed-b] 448x256, fp32, cpu, 2 threads"] == [42.0]


def test_what_speed_says_beside_its_figures_stands_below_them(tmp_path):
    more = {
        "preset": "paper",
        "notes": ["as the paper's script", "preset paper has rounds=100, this is rounds=2"],
        "published": [{"seconds": 0.042, "size": "640x480", "gpu": None, "source": "S"}],
        **{"rounds": 2, "warmup": 1, "frames": "picture", "load_before": 14.0},
        "left_out": {"bf16": "it has none"},
    }
    report = build(fake_results.speed(tmp_path / "speed.json", **more))
    text = texts.markdown(report)
    assert "**Speed on cpu, 2 threads, preset paper, changed**" in text
    note = next(line for line in text.splitlines() if line.startswith("- net: 2 calls after 1"))
    said = ["frames: picture", "load average 14 when it began", "this is rounds=2"]
    said += ["42 ms at 640x480 on a GPU that is not named (S)", "bf16 is left out"]
    for words in said:
        assert words in re.sub(r"\\", "", note) and words in page.html(report)
    kept = {**more, "notes": ["as the paper's script"]}
    report = build(fake_results.speed(tmp_path / "speed.json", **kept))
    assert report.speed_tables[0].caption.endswith("preset paper")
