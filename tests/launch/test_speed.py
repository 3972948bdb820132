"""`midframe speed`: words to work, presets' facts, what is shown and kept, errors for people."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from midframe.launch import speed
from midframe.models import zoo
from midframe.paths import config_files
from midframe.speed import costs

# Answers as the process does, without PyTorch; what was asked is in ASKED
ANSWER = """
import json, os, sys
asked = json.loads(sys.argv[-1])
with open(os.environ["ASKED"], "a") as file:
    print(sys.argv[-1], file=file)
times = dict.fromkeys(("p50_ms", "p90_ms", "p99_ms", "mean_ms", "frames_per_s"), 12.5)
row = {**times, "rounds": asked["rounds"], "peak_bytes": 7_000_000, "threads": 3}
if asked["size"] == [48, 48]:
    row = {"error": "out of memory"}
if asked["size"] == [56, 56]:
    row = {"error": "ValueError: broken"}
print(json.dumps({"flops": {"convolution": 10**9}} if asked.get("count") else row))
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace the process, and return what it was asked for: times and memory, without counts."""
    file = tmp_path / "asked.jsonl"
    monkeypatch.setenv("ASKED", str(file))
    monkeypatch.setattr(costs, "COMMAND", (sys.executable, "-c", ANSWER))

    def read() -> list[dict[str, Any]]:
        lines = file.read_text().splitlines() if file.exists() else []
        found = [json.loads(line) for line in lines]
        return [one for one in found if not one.get("count")]

    return read


def kept(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_one_model_for_real(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "average.json"
    words = ["model=average", "size=24x16", "ways=fp32", "rounds=3", "warmup=2", "threads=1"]
    assert speed.main([*words, f"save={file}"]) == 0
    found = kept(file)
    assert found["kind"] == "speed" and found["model"] == "average" and found["preset"] is None
    assert found["device"] == "cpu" and found["threads"] == 1 and found["parameters"] == 0
    assert {"revision", "date", "processor", "versions"} <= found["environment"].keys()
    (size,) = found["sizes"]
    assert size["size"] == "24x16" and size["padded"] == [24, 16] and size["flops"] is None
    row = size["ways"]["fp32"]
    assert row["rounds"] == 3 and row["warmup"] == 2 and 0 < row["p50_ms"] <= row["p99_ms"]
    assert row["peak_bytes"] >= 0 and row["frames_per_s"] > 0
    shown = capsys.readouterr()
    assert "average: 0 parameters; CPU, 1 thread" in shown.out and "24x16" in shown.out
    assert "average 24x16 fp32: " in shown.err and f"wrote {file}" in shown.err


def test_words_become_work(asked: Any) -> None:
    words = ["model=upr_large", "size=[64x64,32x48]", "ways=[bf16,fp32_channels_last]", "batch=2"]
    more = ["times=[0.25,0.5]", "rounds=5", "warmup=4", "threads=1", "+model.hints.pyr_level=4"]
    assert speed.main([*words, *more, "frames=noise", "compile=true"]) == 0
    got = asked()
    ways = ["bf16", "fp32 channels_last", "bf16 compiled", "fp32 channels_last compiled"]
    sizes = [[64, 64], [32, 48]]
    assert [(one["size"], one["way"]) for one in got] == [(s, w) for s in sizes for w in ways]
    config = got[0]["config"]
    assert config["name"] == "upr_large" and config["hints"] == {"pyr_level": 4}
    shared = {"batch": 2, "times": [0.25, 0.5], "rounds": 5, "warmup": 4, "frames": "noise"}
    assert all(one[key] == value for one in got for key, value in shared.items())


def test_weights_of_a_run_bring_its_model(asked: Any, tmp_path: Path) -> None:
    net = {**zoo.config_of("ifrnet_s")["net"], "init": "he"}
    node = {"name": "ifrnet_s", "net": net, "weights": None}
    torch.save(zoo.build(node).state_dict(), tmp_path / "last.ckpt")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": node}))
    file = tmp_path / "a.json"
    assert speed.main([f"weights={tmp_path}", "size=16x16", "ways=fp32", f"save={file}"]) == 0
    (got,) = asked()
    assert got["config"]["name"] == "ifrnet_s" and got["config"]["net"]["init"] == "he"
    assert got["config"]["weights"] == kept(file)["weights"] == str(tmp_path / "last.ckpt")


def test_usual_calls_are_fewer_on_the_cpu(asked: Any) -> None:
    assert speed.main(["model=average", "size=16x16", "device=cpu"]) == 0
    assert {(one["warmup"], one["rounds"]) for one in asked()} == {speed.CALLS["cpu"]}
    assert speed.CALLS["cuda"] == (20, 100)


def test_several_models_have_a_file_each_and_a_table(
    asked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save, table = tmp_path / "cost.json", tmp_path / "page.md"
    words = ["model=[upr,ifrnet_s,upr]", "size=64x64", "ways=fp32"]
    for _ in range(2):  # the second time it takes the place of the first
        assert speed.main([*words, f"save={save}", f"table={table}"]) == 0
    assert kept(tmp_path / "cost-upr.json")["model"] == "upr" and not save.exists()
    assert kept(tmp_path / "cost-ifrnet_s.json")["sizes"][0]["flops"] == 10**9
    text = table.read_text()
    assert text.startswith(costs.HEADING) and text.count("| `upr` | 64x64 |") == 1
    assert "ifrnet_s: 2,803,610 parameters; 1.0 GFLOP at 64x64" in capsys.readouterr().out


def test_sizes_too_large_are_rows_and_no_failure(
    asked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    words = ["model=ifrnet_s", "size=[48x48,32x32]", "ways=fp32", f"save={file}"]
    assert speed.main(words) == 0
    first, second = kept(file)["sizes"]
    assert first["ways"]["fp32"] == {"error": "out of memory"}
    assert second["ways"]["fp32"]["p50_ms"] == 12.5
    assert "out of memory" in capsys.readouterr().out


def test_other_failures_are_told_at_last_and_by_the_exit_code(
    asked: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed.main(["model=ifrnet_s", "size=[56x56,32x32]", "ways=fp32"]) == 1
    shown = capsys.readouterr()
    assert "12.5" in shown.out
    assert shown.err.splitlines()[-1] == "ifrnet_s 56x56 fp32: ValueError: broken"


def test_what_was_measured_is_kept_when_it_is_interrupted(
    asked: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from midframe.launch.progress import Progress

    calls: list[int] = []

    def advance(self: Progress, count: int = 1) -> None:
        calls.append(count)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", advance)
    file = tmp_path / "a.json"
    assert speed.main(["model=average", "size=[16x16,24x24]", "ways=fp32", f"save={file}"]) == 130
    assert [list(size["ways"]) for size in kept(file)["sizes"]] == [["fp32"], []]
    shown = capsys.readouterr()
    assert "12.5" in shown.out and f"interrupted; {file} has what was measured" in shown.err


PRESETS = {
    "uprnet": {"size": [640, 480], "hints": {"pyr_level": 3}, "cudnn_benchmark": False},
    "ifrnet": {"size": [448, 256], "hints": {}, "cudnn_benchmark": True},
}


def test_presets_are_those_tested_here() -> None:
    assert set(config_files("preset")) >= set(PRESETS)


@pytest.mark.parametrize(("preset", "model"), [("uprnet", "upr_llarge"), ("ifrnet", "ifrnet")])
def test_a_preset_is_the_published_script(
    asked: Any, tmp_path: Path, preset: str, model: str
) -> None:
    file = tmp_path / "a.json"
    assert speed.main([f"model={model}", f"preset={preset}", f"save={file}"]) == 0
    (got,) = asked()
    assert (got["warmup"], got["rounds"], got["frames"]) == (100, 100, "noise")
    assert (got["way"], got["times"], got["batch"]) == ("fp32", [0.5], 1)
    assert {key: got[key] for key in PRESETS[preset]} == PRESETS[preset]
    assert got["config"]["name"] == model  # and not the base, whatever was asked for
    found = kept(file)
    assert found["preset"] == preset and not any("this is" in note for note in found["notes"])


def test_a_preset_brings_its_notes_and_published_times(
    asked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    words = ["model=[upr_large,ifrnet_l]", "preset=uprnet", "rounds=4", "size=32x32"]
    assert speed.main([*words, f"save={file}"]) == 0
    upr, other = (kept(tmp_path / f"a-{name}.json") for name in ("upr_large", "ifrnet_l"))
    notes = " ".join(upr["notes"])
    assert "does not pass its model_size on" in notes and "times the base model" in notes
    assert "preset uprnet has rounds=100, this is rounds=4" in notes
    assert "preset uprnet has size=640x480, this is size=32x32" in notes and "warmup" not in notes
    (published,) = upr["published"]
    assert published["seconds"] == 0.062 and published["gpu"] == "RTX 2080 Ti"
    assert other["published"] == []
    assert any("of upr, upr_large, upr_llarge, not of ifrnet_l" in x for x in other["notes"])
    shown = capsys.readouterr().out
    assert "published, not measured here: 62 ms at 640x480 on RTX 2080 Ti" in shown


def test_published_times_are_those_of_the_papers() -> None:
    found = {}
    for name in PRESETS:
        node = yaml.safe_load(config_files("preset")[name].read_text())["preset"]
        found |= {x["model"]: (x["seconds"], x["size"], x["gpu"]) for x in node["published"]}
        assert [x["model"] for x in node["published"]] == node["models"]
    assert found == {
        "upr": (0.042, "640x480", "RTX 2080 Ti"),
        "upr_large": (0.062, "640x480", "RTX 2080 Ti"),
        "upr_llarge": (0.081, "640x480", "RTX 2080 Ti"),
        "ifrnet_s": (0.019, "1280x720", None),
        "ifrnet": (0.025, "1280x720", None),
        "ifrnet_l": (0.079, "1280x720", None),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ways=fp16", "no way fp16"),
        ("ways=[]", "ways=[]: name at least one"),
        ("size=0x256", "size=0x256: give WIDTHxHEIGHT"),
        ("size=448", "size=448: give WIDTHxHEIGHT"),
        ("size=[]", "size=[]: name at least one"),
        ("rounds=0", "rounds=0 must be a whole number from 1 on"),
        ("warmup=-1", "warmup=-1 must be a whole number from 0 on"),
        ("batch=null", "batch=None must be"),
        ("threads=1.5", "threads=1.5 must be"),
        ("times=[]", "times=[] must be numbers"),
        ("times=[2]", "times=[2] must be numbers from 0 to 1"),
        ("frames=film", "use picture or noise"),
        ("model=uprr", "did you mean upr"),
        ("model=[]", "name at least one model"),
        ("model=[upr,uprr]", "did you mean upr"),
        ("preset=upr", "no preset=upr"),
        ("round=3", "did you mean rounds"),
        ("model=softsplat_gridnet times=[0.25]", "only t = 0.5"),
        ("weights=no-such-file.pt", "no-such-file.pt"),
        ("model=[upr,ifrnet_s] weights=a.pt", "weights=a.pt are of one model"),
    ],
)
def test_what_a_person_can_mend_is_told_before_anything_runs(
    asked: Any, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed.main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and asked() == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["device=cuda"]) == 2
    assert "0 CUDA devices" in capsys.readouterr().err and asked() == []


def test_a_text_with_half_a_table_is_told_before_the_work(
    asked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "page.md"
    table.write_text(f"{costs.MARKERS[0]}\n")
    assert speed.main(["model=average", f"table={table}"]) == 2
    assert str(table) in capsys.readouterr().err and asked() == []


def test_hydras_flags_show_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["model=upr", "preset=uprnet", "--cfg", "job"]) == 0
    shown = capsys.readouterr().out
    assert "rounds: 100" in shown and "pyr_level: 3" in shown
