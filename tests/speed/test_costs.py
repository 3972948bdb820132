"""The record of a model's cost: its form, its tables, and rows that could not be measured."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from midframe.errors import UserError
from midframe.models import zoo
from midframe.speed import costs
from midframe.speed.cost_probe import Work
from midframe.speed.ways import named

SIZES = [(64, 64), (70, 60)]
ROW = {
    "p50_ms": 10.5, "p90_ms": 12.0, "p99_ms": 20.0, "mean_ms": 11.0, "frames_per_s": 90.91,
    "rounds": 4, "warmup": 1, "peak_bytes": 12_345_678, "weights_bytes": 1000, "cpu_ms": 9.5,
}  # fmt: skip
SHARED = {"threads": 1, "clock": "a clock", "peak_is": "a peak"}
# A process that answers as the real one does, without PyTorch
ANSWER = f"""
import json, os, signal, sys
asked = json.loads(sys.argv[-1])
if asked.get("count"):
    print(json.dumps({{"flops": {{"convolution": asked["size"][0] * 10**9, "splat": 5}}}}))
elif asked["size"] == [70, 60] and asked["way"] == "bf16":
    os.kill(os.getpid(), signal.SIGKILL)
else:
    print(json.dumps({{"done": 2}}))
    print(json.dumps({{**{ROW!r}, **{SHARED!r}}}))
"""
PROCESS = (sys.executable, "-c", ANSWER)


def work(name: str = "ifrnet_s", **other: Any) -> Work:
    options = {"config": zoo.config_of(name), "size": SIZES[0], "warmup": 1, "rounds": 4}
    return Work(**{**options, **other})


def started(name: str = "ifrnet_s", ways: str = "fp32 bf16", **other: Any) -> Any:
    return costs.start(work(name, **other), SIZES, [named(way) for way in ways.split()])


def measured(**other: Any) -> dict[str, Any]:
    record, ways = started()
    costs.measure(record, work(), ways, command=PROCESS, **other)
    return record


def test_what_is_known_before_anything_runs() -> None:
    record, ways = started("upr", times=(0.25, 0.5), hints={"pyr_level": 3})
    assert [str(way) for way in ways] == ["fp32", "bf16"]
    assert record["kind"] == "speed" and record["model"] == "upr"
    assert record["parameters"] == 1_653_961 and record["weights"] is None
    assert record["times"] == (0.25, 0.5) and record["hints"] == {"pyr_level": 3}
    assert record["cudnn_benchmark"] is False
    assert [size["padded"] for size in record["sizes"]] == [[64, 64], [80, 64]]
    for what in ("multiplication and its addition are two", "correlations", "not element-wise"):
        assert what in record["flops_are"]
    higher, _ = started("upr", hints={"pyr_level": 5})
    assert higher["sizes"][1]["padded"] == [128, 64]


def test_the_form_of_a_record() -> None:
    record = measured()
    assert json.loads(json.dumps(record))["sizes"] == record["sizes"]
    first, second = record["sizes"]
    assert first["size"] == "64x64" and first["flops"] == 64 * 10**9 + 5
    assert first["flops_by_operator"] == {"convolution": 64 * 10**9, "splat": 5}
    assert first["ways"] == {"fp32": ROW, "bf16": ROW}
    assert {key: record[key] for key in SHARED} == SHARED


def test_a_size_that_memory_is_too_small_for_is_a_row_and_no_end() -> None:
    record = measured()
    second = record["sizes"][1]
    assert second["ways"]["fp32"] == ROW
    assert second["ways"]["bf16"]["error"] == "out of memory"
    assert costs.cells(second, "bf16") == ["70x60", "bf16", "out of memory", *["-"] * 6]
    assert costs.failed(record) == []
    del second["ways"]["fp32"]["cpu_ms"]  # as on a GPU
    assert costs.cells(second, "fp32")[-4:] == ["11", "-", "90.9", "12"]
    second["ways"]["bf16"] = {"error": "ValueError: no"}
    assert costs.cells(second, "bf16")[2] == "failed"
    assert costs.failed(record) == ["ifrnet_s 70x60 bf16: ValueError: no"]


def test_calls_are_told_once_each_whatever_becomes_of_a_row() -> None:
    told: list[int] = []
    rows: list[str] = []
    measured(tell=told.append, done=lambda size, way: rows.append(f"{size['size']} {way}"))
    assert sum(told) == 4 * 5 and told[:2] == [2, 3]
    assert rows == ["64x64 fp32", "64x64 bf16", "70x60 fp32", "70x60 bf16"]


def test_an_interrupt_ends_the_process_and_keeps_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    stay = f"""\
elif asked["way"] == "bf16":
    import time
    with open({str(file)!r}, "w") as pid:
        pid.write(str(os.getpid()))
    print(json.dumps({{"done": 2}}), flush=True)
    time.sleep(60)
else:"""
    code = ANSWER.replace("else:", stay)
    record, ways = started()
    told: list[int] = []

    def interrupt(calls: int) -> None:
        told.append(calls)
        if len(told) == 3:  # the second row's first
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        costs.measure(record, work(), ways, tell=interrupt, command=(sys.executable, "-c", code))
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
    assert record["sizes"][0]["ways"] == {"fp32": ROW}


def test_operations_that_cannot_be_counted_are_said() -> None:
    record, ways = started(ways="fp32")
    code = ANSWER.replace('print(json.dumps({"flops"', 'sys.exit("no way.") #')
    costs.measure(record, work(), ways, command=(sys.executable, "-c", code))
    assert record["sizes"][0]["flops"] is None
    assert "operations at 64x64 are not counted: no way" in list(costs.remarks(record))
    assert costs.summary(record) == "2,803,610 parameters"


def test_models_without_parameters_have_no_operations() -> None:
    record, ways = started("average", "bf16")
    costs.measure(record, work("average"), ways, command=PROCESS)
    assert record["sizes"][0]["flops"] is None and "flops_error" not in record["sizes"][0]


def test_a_way_that_a_model_cannot_be_run_in_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = zoo.build_empty(zoo.config_of("ifrnet_s"))
    model.__class__ = type("Other", (type(model),), {"casts": False})
    monkeypatch.setattr(zoo, "build_empty", lambda config: model)
    record, ways = started()
    assert [str(way) for way in ways] == ["fp32"]
    assert list(costs.remarks(record)) == [f"bf16 is left out: {record['left_out']['bf16']}"]
    with pytest.raises(UserError, match="Other has no bf16"):
        started(ways="bf16 bf16_channels_last")


def test_times_that_a_model_does_not_know_are_told() -> None:
    with pytest.raises(UserError, match=r"only t = 0.5, not times=\[0.25\]"):
        started("softsplat_gridnet", times=(0.25,))


def test_the_table_says_what_was_measured_and_on_what() -> None:
    record = measured()
    record["environment"] = {"processor": "P", "date": "D", "revision": "R", "versions": {}}
    record["load_before"] = 1.5
    record["notes"] = ["as somewhere"]
    record["published"] = [{"seconds": 0.042, "size": "640x480", "gpu": None, "source": "S"}]
    text = costs.markdown([record, record])
    assert text.startswith("**P; 1 thread. torch None. D, revision R. 4 calls after 1, picture.")
    assert "Load average 1.5 when it began" in text.splitlines()[0]
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 2 * 4 and {line.count("|") for line in table} == {11}
    row = "| `ifrnet_s` | 64x64 | fp32 | 10.5 | 12 | 20 | 11 | 9.5 | 90.9 | 12 |"
    assert table[2] == row and "out of memory" in table[5]
    flat = " ".join(text.split())
    assert "2,803,610 parameters; 64.0 GFLOP at 64x64; 70.0 GFLOP at 70x60" in flat
    assert "`ifrnet_s`: as somewhere." in flat
    published = "published, not measured here: 42 ms at 640x480 on a GPU that is not named (S)"
    assert published in flat
