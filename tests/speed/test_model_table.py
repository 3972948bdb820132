"""Rows of the model table, and what becomes of failures."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch

from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator, Pad
from midframe.speed import model_probe, model_table
from midframe.speed.model_table import markdown
from midframe.types import Inputs, Prediction

THREADS = torch.get_num_threads()


def row(name: str, **other: Any) -> dict[str, Any]:
    info = zoo.describe(name)
    facts = {key: info.get(key) for key in model_table.FACTS}
    return {"name": name, "title": model_table.title(name), **facts, **other}


def found(*rows: dict[str, Any]) -> dict[str, Any]:
    where = {"date": "2030-01-02", "processor": "a processor", "versions": {"torch": "9.9"}}
    sizes = ["448x256", "1280x720"]
    return {
        **{"sizes": sizes, "rounds": 5, "threads": 2, "environment": where, "models": list(rows)}
    }


FULL = {
    "parameters": 2803610,
    "flops": {"448x256": {"total": 25_192_065_024}, "1280x720": {"total": 1_411_847_884_800}},
    "seconds": 0.1344,
    "peak_bytes": 121_818_728,
    "weight_keys": "as published",
}


def test_probe_of_a_network() -> None:
    got = model_probe.probe("ifrnet_s", [(64, 64), (70, 60)], rounds=2, threads=THREADS)
    assert got["parameters"] == 2803610
    assert got["weights_bytes"] == 4 * 2803610
    assert got["weight_keys"] == "as published"
    assert got["padded"]["64x64"] == [64, 64]
    assert all(a % 16 == 0 for a in got["padded"]["70x60"])
    assert got["flops"]["64x64"]["total"] == got["flops"]["64x64"]["convolution"] > 0
    assert got["seconds"] > 0 and len(got["seconds_each"]) == 2
    assert got["peak_bytes"] >= got["weights_bytes"]
    assert json.loads(json.dumps(got)) == got


def test_probe_of_a_baseline_without_operations() -> None:
    got = model_probe.probe("dis", [(64, 64)], rounds=1, threads=THREADS)
    assert got["flops"] == {"64x64": None} and got["weight_keys"] is None
    assert got["parameters"] == 0 and got["seconds"] > 0


def test_renamed_keys_are_named() -> None:
    model, info = zoo.create_model("pwcnet"), zoo.describe("pwcnet")
    assert model_probe.key_names(model, info) == "renamed: module -> net"


def test_padded_follows_the_hints_for_the_size() -> None:
    model = zoo.create_model("upr")
    assert model_probe.padded(model, 448, 256) == (448, 256)  # three levels: multiples of 16
    assert model_probe.padded(model, 1280, 720) == (1280, 768)  # five levels: of 64


class Hungry(Interpolator):
    """Takes 256 MB for a moment, at any size but the first, small one."""

    pad = Pad(1)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        if x.frames.shape[-1] > 64:
            torch.ones(64, 1_000_000).sum()
        return Prediction(x.frames[:, :1])


def test_peak_memory_is_what_a_call_takes_at_its_height() -> None:
    cost = model_probe._cost(Hungry(), (80, 64), 2)
    assert 250e6 <= cost["peak_bytes"] < 300e6


def test_a_wrong_count_of_parameters_is_an_error() -> None:
    model, info = zoo.create_model("ifrnet_s"), zoo.describe("ifrnet_s")
    assert model_probe.check_parameters(model, info) == 2803610
    with pytest.raises(UserError, match=r"2,803,610 .*conf/model/ifrnet_s.yaml says 2,803,611"):
        model_probe.check_parameters(model, {**info, "parameters": 2803611})
    with pytest.raises(UserError, match="says None"):
        model_probe.check_parameters(model, {**info, "parameters": None})


def test_what_fails_in_the_process_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = json.dumps({"name": "ifrnet_s", "sizes": [[64, 64]], "rounds": 1, "threads": THREADS})
    info = {**zoo.describe("ifrnet_s"), "parameters": 1}
    monkeypatch.setattr(zoo, "describe", lambda name: info)
    assert model_probe.main(asked) == 1
    assert "2,803,610 parameters" in json.loads(capsys.readouterr().out)["error"]

    def broken(name: str) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(zoo, "describe", broken)
    assert model_probe.main(asked) == 1
    assert json.loads(capsys.readouterr().out) == {"error": "RuntimeError: first line"}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL; was there enough"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "ended by SIGTERM"),
        ("raise SystemExit('no such thing')", "no such thing"),
        ("print('noise')", "no row, exit code 0"),
        ("print('3')", "no row"),
    ],
)
def test_a_process_that_ends_badly_is_a_row(code: str, error: str) -> None:
    got = model_table.measure("ifrnet_s", [(64, 64)], 1, 1, (sys.executable, "-c", code))
    assert error in got["error"]
    assert got["name"] == "ifrnet_s" and got["licence"] == "MIT"


def test_the_row_is_the_last_line_and_the_process_gets_what_was_asked() -> None:
    code = "import sys, os; print('noise'); a = sys.argv[1]; t = os.environ['OMP_NUM_THREADS']; "
    code += "print('{\"asked\":' + a + ',\"threads\":' + t + '}')"
    got = model_table.measure("ifrnet_s", [(64, 32)], 3, 1, (sys.executable, "-c", code))
    asked = {"name": "ifrnet_s", "sizes": [[64, 32]], "rounds": 3, "threads": 1}
    assert got["asked"] == asked and got["threads"] == 1 and "error" not in got


def test_figures() -> None:
    assert model_table.gflop(FULL, "448x256") == "25.2"
    assert model_table.gflop(FULL, "1280x720") == "1,412"
    assert model_table.gflop({"flops": {"448x256": {"total": 99_960_000_000}}}, "448x256") == "100"
    assert model_table.gflop({"flops": {"448x256": None}}, "448x256") == "-"
    assert [model_table.seconds({"seconds": s}) for s in (0.1344, 9.996, 12.34)] == [
        *("0.13", "10.0", "12.3")
    ]
    assert model_table.megabytes(FULL) == "122"
    assert model_table.parameters({"parameters": 0}) == "-"
    assert model_table.seconds({}) == model_table.megabytes({}) == "-"


def test_titles_come_from_the_yamls() -> None:
    assert model_table.title("ifrnet") == "IFRNet (CVPR 2022), the base size"
    assert model_table.title("pwcnet") == "PWC-Net (CVPR 2018): optical flow"
    assert model_table.title("average") == "the average of the two frames, weighted by time"
    for name in zoo.list_models():
        assert len(model_table.title(name)) > 3


def test_order_is_by_kind_family_and_size() -> None:
    names = model_table.ordered(zoo.list_models())
    assert sorted(names) == zoo.list_models()
    assert [n for n in names if "ifrnet" in n] == ["ifrnet_s", "ifrnet", "ifrnet_l"]
    assert names.index("average") < names.index("dis")
    assert names.index("upr_llarge") < names.index("pwcnet") < names.index("average")


def test_a_link_ends_where_its_address_does() -> None:
    facts = {"official_weights": "a.tar of https://github.com/B/c; others fit as well"}
    made = markdown(found({**row("ifrnet_s"), **facts}))
    assert "| a.tar of [B/c](https://github.com/B/c); others fit as well |" in made


def test_markdown_has_a_cell_for_every_column() -> None:
    rows = (row("ifrnet_s", **FULL), row("pwcnet", weight_keys="renamed: module -> net"))
    text = markdown(found(*rows, row("average", seconds=0.001, peak_bytes=5e6)))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.count("|") for line in table] == [11] * 5
    assert table[0] == (
        "| name | model | parameters | GFLOP 448x256 | GFLOP 720p | CPU s | peak MB | times "
        "| code licence | official weights |"
    )
    assert table[2] == (
        "| `ifrnet_s` | IFRNet-S (CVPR 2022), the small size | 2,803,610 | 25.2 | 1,412 | 0.13 "
        "| 122 | any | MIT | [ltkong218/IFRNet](https://github.com/ltkong218/IFRNet) (MIT) |"
    )
    assert "| GPL-3.0 (theirs) |" in table[3] and table[3].endswith("pytorch-pwc), keys renamed |")
    assert table[4].endswith("| - | - | - | 0.00 | 5 | any | MIT | needs none |")
    flat = " ".join(text.split())
    for fact in ("2030-01-02", "PyTorch 9.9", "a processor", "2 threads", "median of 5 calls"):
        assert fact in flat
    assert "- `ifrnet_s`: Vimeo90K weights ignore t" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 100


def test_models_of_the_same_note_share_a_line() -> None:
    text = markdown(found(row("ifrnet_s", **FULL), row("ifrnet", **FULL)))
    assert "- `ifrnet_s`, `ifrnet`: Vimeo90K weights" in text
