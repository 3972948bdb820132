"""What `midframe runs compare A B` says of two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from midframe.cli import main
from midframe.launch.runs_compare import Compared, plot


def run_of(runs: Path, name: str, config: Any, rows: dict[int, float], **record: Any) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    said = {"status": "finished", "command": ["train.py", f"name={name}"], **record}
    (folder / "run.json").write_text(json.dumps(said))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [f"{step},{value},1.5" for step, value in rows.items()]
    (folder / "metrics.csv").write_text("\n".join(["step,val/psnr,val/epe", *lines]) + "\n")
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    def config(name: str, lr: float, **more: Any) -> dict[str, Any]:
        place = str(tmp_path / name)
        return {
            "optimizer": {"lr": lr, "build": {"lr": lr, "eps": 1}},
            "callbacks": {"best": {"directory": place}},
            "run": {"dir": place, "id": name},
            "paths": {"runs": name},
            **more,
        }

    a = config("a", 0.1, data={"crop": 32, "sizes": [1, 2]})
    b = config("b", 0.2, data={"crop": 32, "sizes": [1, 3]}, ema=None)
    old = {"revision": "aaa", "versions": {"torch": "2.6", "numpy": "2"}}
    new = {"revision": "aaa", "versions": {"torch": "2.13", "numpy": "2", "av": "18"}}
    return (
        run_of(tmp_path, "a", a, {0: 20, 10: 25, 20: 24}, **old),
        run_of(tmp_path, "b", b, {0: 20, 10: 24, 15: 24.5, 20: 26}, **new),
    )


def test_differences_of_settings_and_code(pair: tuple[Path, Path]) -> None:
    both = Compared(*pair)
    assert both.settings() == {
        "data.sizes": ([1, 2], [1, 3]),
        "ema": (None, None),  # there, and null, in one of them
        "optimizer.build.lr": (0.1, 0.2),
        "optimizer.lr": (0.1, 0.2),
    }
    assert both.code() == {"versions.torch": ("2.6", "2.13"), "versions.av": (None, "18")}
    assert Compared(pair[0], pair[0]).settings() == {}


def test_curves_side_by_side(pair: tuple[Path, Path]) -> None:
    both = Compared(*pair)
    assert both.curve("val/psnr") == {
        0: (20, 20),
        10: (25, 24),
        15: (None, 24.5),
        20: (24, 26),
    }
    numbers = both.numbers()["val/psnr"]
    assert numbers["a"] == {"last": 24, "at": 20, "best": 25, "best_at": 10}
    assert numbers["b"] == {"last": 26, "at": 20, "best": 26, "best_at": 20}


def test_as_text(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "compare", *map(str, pair)]) == 0
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines()]
    assert ["optimizer.lr", "(+1)", "0.1", "0.2"] in rows
    assert ["versions.torch", "2.6", "2.13"] in rows and ["versions.av", "-", "18"] in rows
    assert ["10", "25.0000", "24.0000", "-1.0000"] in rows and ["15", "24.5000"] in rows
    assert "RUN" not in said and "callbacks" not in said
    assert "+2.0000" in said and "val/psnr by step" in said
    assert main(["runs", "compare", str(pair[0]), str(pair[0])]) == 0
    said = capsys.readouterr().out
    assert "settings: the same" in said and "code and machine: the same" in said


def test_as_json(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "compare", *map(str, pair), "--json", "--metric", "val/epe"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["optimizer.lr"] == [0.1, 0.2]
    assert found["metric"] == "val/epe" and found["curve"]["15"] == [None, 1.5]


def test_by_name_below_the_usual_folder(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIDFRAME_RUNS", str(pair[0].parent))
    assert main(["runs", "compare", "a", "b"]) == 0
    assert "optimizer.lr" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "a"], "two runs are compared"),
        (["compare", "a", "none"], "there is no run directory none"),
        (["compare", "a", "b", "--metric", "x"], "share val/epe, val/psnr"),
    ],
)
def test_what_cannot_be_compared(
    pair: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.setenv("MIDFRAME_RUNS", str(pair[0].parent))
    assert main(["runs", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_broken_config_is_told(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (pair[1] / "config.yaml").write_text("a: [")
    assert main(["runs", "compare", *map(str, pair)]) == 2
    assert "config.yaml cannot be read" in capsys.readouterr().err


def test_the_plot_has_both_curves_where_they_belong() -> None:
    rows = list(plot({0: 0.0, 10: 1.0}, {0: 0.0, 10: 0.5, 5: float("nan")}, "x"))
    assert rows[0].startswith("        1 |") and rows[0].endswith("A")
    assert rows[11].startswith("        0 |*")
    assert sum(row.count("B") for row in rows) == 1 and any(row.endswith("B") for row in rows[4:8])
    assert list(plot({0: 1.0}, {0: 2.0}, "x")) == []
    assert len(list(plot({0: 1.0, 1: 1.0}, {}, "x"))) == 14  # a level line
