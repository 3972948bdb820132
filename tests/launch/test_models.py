"""`midframe models`: the list, the measurement, and the files it writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from midframe import cli
from midframe.models import zoo
from midframe.models.zoo import list_models
from midframe.speed import model_table

START, END = model_table.MARKERS
TEXT = f"top\n{START}\nold\n{END}\nend"


def fake_row(name: str, sizes: Any, rounds: int, threads: int | None) -> dict[str, Any]:
    info = zoo.describe(name)
    facts = {key: info.get(key) for key in model_table.FACTS}
    figures = {"seconds": 0.5, "peak_bytes": 7e6, "threads": 3, "weight_keys": None}
    flops = {f"{w}x{h}": {"total": 1_000_000 * w * h} for w, h in sizes}
    return {"name": name, "title": "a model", **facts, **figures, "flops": flops}


@pytest.fixture(scope="module", autouse=True)
def _described_once() -> Iterator[None]:
    """Spare every command but the first the building of all models, from which this follows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "describe", cache(zoo.describe))
        yield


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come from nowhere."""
    monkeypatch.setattr(model_table, "measure", fake_row)


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    """A text with markers."""
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    return path


def code_of(*args: str) -> int:
    """Return the exit code, which a command may also raise."""
    try:
        return cli.main(["models", *args])
    except SystemExit as error:
        return int(error.code or 0)


def test_the_list_can_be_narrowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("upr", "dis") == 0
    shown = capsys.readouterr().out
    assert "1,653,961" in shown and "dis" in shown and "ifrnet" not in shown


@pytest.mark.slow
def test_measuring_one_small_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "models.json"
    args = ("--measure", "ifrnet_s", "--rounds", "1", "--threads", "1", "--save", str(file))
    assert code_of(*args, "--size", "64x64", "70x60") == 0
    shown = capsys.readouterr()
    assert "GFLOP 70x60" in shown.out and "2,803,610" in shown.out
    assert "1/1 ifrnet_s: " in shown.err
    found = json.loads(file.read_text())
    assert found["sizes"] == ["64x64", "70x60"] and found["rounds"] == found["threads"] == 1
    assert found["dtype"] == "float32" and "are two" in found["flops_are"]
    assert {"revision", "date", "processor", "versions"} <= found["environment"].keys()
    (row,) = found["models"]
    assert row["flops"]["64x64"]["total"] > 1e8 and row["seconds"] > 0
    for key in ("parameters", "peak_bytes", "licence", "official_weights", "weight_keys"):
        assert row[key]
    assert row["times"] == "any" and row["context"] == 1
    assert [p.name for p in file.parent.iterdir()] == ["models.json"]


@pytest.mark.usefixtures("fakes")
def test_the_readme_gets_all_models(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--measure", "--readme", str(readme)) == 0
    text = readme.read_text()
    for name in list_models():
        assert f"| `{name}` |" in text
    assert text.startswith(f"top\n{START}\n| name |")
    assert text.endswith(f"\n{END}\nend") and "old" not in text.splitlines()
    assert [p.name for p in readme.parent.iterdir()] == ["README.md"]
    assert "3 threads" in " ".join(text.split()) and "| 115 |" in text  # 448 x 256 x 10^6


@pytest.mark.usefixtures("fakes")
def test_a_link_to_a_readme_stays_one(readme: Path) -> None:
    link = readme.parent / "link.md"
    link.symlink_to(readme)
    assert code_of("--measure", "--readme", str(link)) == 0
    assert link.is_symlink() and "| `upr` |" in readme.read_text()


def test_a_failed_model_is_a_row_and_the_exit_code(
    readme: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_fails(name: str, *args: Any) -> dict[str, Any]:
        return {"name": name, "error": "out [of] luck"} if name == "upr" else fake_row(name, *args)

    monkeypatch.setattr(model_table, "measure", one_fails)
    file = readme.parent / "m.json"
    assert code_of("--measure", "--readme", str(readme), "--save", str(file)) == 1
    shown = capsys.readouterr()
    assert "upr: out [of] luck" in shown.err and "failed" in shown.out
    rows = {row["name"]: row for row in json.loads(file.read_text())["models"]}
    assert rows["upr"]["error"] == "out [of] luck" and len(rows) == len(list_models())
    assert readme.read_text() == TEXT and "left as it was" in shown.err


def test_an_interrupted_measurement_writes_nothing(
    readme: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str, *args: Any) -> dict[str, Any]:
        if name == "upr":
            raise KeyboardInterrupt
        return fake_row(name, *args)

    monkeypatch.setattr(model_table, "measure", interrupted)
    file = readme.parent / "m.json"
    assert code_of("--measure", "--readme", str(readme), "--save", str(file)) == 130
    assert readme.read_text() == TEXT and not file.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--save", "x"), "--save needs --measure"),
        (("--measure", "uprr"), "did you mean upr"),
        (("--measure", "--size", "448"), "give WIDTHxHEIGHT"),
        (("--measure", "--rounds", "0"), "at least 1"),
        (("--measure", "upr", "--readme", "README.md"), "give no names"),
        (("--measure", "--readme", "absent.md"), "cannot read"),
        (("--measure", "--readme", "plain.md"), "0 lines <!-- models -->"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    args: tuple[str, ...],
    message: str,
    readme: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*args: Any) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(model_table, "measure", never)
    monkeypatch.chdir(readme.parent)
    Path("plain.md").write_text("no markers\n")
    assert code_of(*args) == 2
    assert message in capsys.readouterr().err
