"""What every benchmark of conf/benchmark has to keep, and those of projects of one's own.

A layout's tiny data set is written by ``write_example(root)`` beside it, or by the function of
tests/fakes.py that is called as its module (or ``module_function``); without one of them the
benchmark is not run here. Options of the layout that hold the official sizes are replaced by those
of `fakes.SMALL`.
"""

from __future__ import annotations

import copy
import csv
import json
import math
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

import fakes
import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from midframe.benchmark.protocol import Protocol
from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.launch import entry, evaluate
from midframe.paths import config_files

FILES = config_files("benchmark")


@pytest.fixture(params=FILES)
def name(request) -> str:
    return request.param


def _chosen(*names: str) -> DictConfig:
    return compose([f"benchmark=[{','.join(names)}]", "model=average", "device=cpu"], "evaluate")


@cache
def _together() -> tuple[DictConfig, Mapping[str, DictConfig]]:
    """Return a config without a benchmark, and all of them, of one command line; none if it fails.

    Composing takes longer than most that is done here with what comes of it.
    """
    try:
        cfg = _chosen(*FILES)
    except UserError:
        return DictConfig({}), {}
    suites = cfg.benchmark.suites
    with open_dict(cfg):
        cfg.benchmark.suites = {}
    return cfg, suites


@cache
def _composed(name: str) -> DictConfig:
    rest, suites = _together()
    if name not in suites:
        return _chosen(name)
    cfg = copy.deepcopy(rest)
    with open_dict(cfg):
        cfg.benchmark.suites = {name: suites[name]}
    return cfg


def _suite(name: str, options: Mapping[str, object] | None = None) -> tuple[Protocol, Path | None]:
    """Return a benchmark as its file says it, with some options of its layout replaced."""
    cfg = _composed(name)
    if options:
        cfg = copy.deepcopy(cfg)
        OmegaConf.update(cfg, f"benchmark.suites.{name}.protocol.layout", options)
    parts, roots = evaluate.suites(cfg)
    assert list(parts) == [name]
    return parts[name], roots[name]


def _example(protocol: Protocol, root: Path) -> Path:
    module, _, function = protocol.layout.rpartition(".")
    writers = [getattr(import_module(module), "write_example", None)]
    stem = module.rpartition(".")[2]
    writers += [getattr(fakes, word, None) for word in (f"{stem}_{function}", stem)]
    writer = next((one for one in writers if one), None)
    if writer is None:
        pytest.skip(f"{module} has no write_example, and tests/fakes.py no {stem}")
    writer(root)
    return root


def _small(name: str) -> dict[str, object]:
    """Return the options of its layout that let a benchmark take tiny pictures."""
    module, _, function = _suite(name)[0].layout.rpartition(".")
    return fakes.SMALL.get(f"{module.rpartition('.')[2]}.{function}", {})


def _evaluate(name: str, layout: Mapping[str, object] | None = None, **options: object) -> int:
    """Do what the command of these options does once it is composed; return the exit code."""
    cfg = copy.deepcopy(_composed(name))
    suite = f"benchmark.suites.{name}.protocol"
    if "expected" in options:
        OmegaConf.update(cfg, f"{suite}.expected", options.pop("expected"), force_add=True)
    OmegaConf.update(cfg, f"{suite}.layout", layout or {})
    cfg.benchmark.root = str(options.pop("root"))
    cfg.merge_with(options)
    return entry.guarded(lambda: evaluate.evaluate(cfg))


def test_it_is_chosen_by_the_name_of_its_file(name):
    assert FILES[name].read_text().startswith(f"# @package benchmark.suites.{name}\n")
    protocol, _ = _suite(name)
    assert protocol.name == name and protocol.id == f"{name}@{protocol.version}"


def test_it_says_in_plain_data_how_it_measures(name):
    protocol, _ = _suite(name)
    said = json.loads(json.dumps(protocol.describe(), allow_nan=False))
    assert said["layout"] == protocol.layout and set(said["metrics"]) == set(protocol.metrics)
    assert protocol.digest() == _suite(name)[0].digest()
    for row in protocol.published:
        assert row.source.strip() and set(row.values) <= set(protocol.metrics)


def test_a_folder_that_is_not_there_is_answered_with_the_expected_tree(
    name, tmp_path, monkeypatch, capsys
):
    _, root = _suite(name)
    if root is None:
        pytest.skip("needs no files")
    monkeypatch.chdir(tmp_path)
    assert _evaluate(name, root="nowhere") == 2
    first, *tree = capsys.readouterr().err.strip().splitlines()
    assert first.startswith("error: ") and "nowhere" in first and "benchmark.root=DIR" in first
    assert len(tree) > 1
    assert not list(tmp_path.iterdir())


def test_an_example_is_measured_whole_and_twice_the_same(name, tmp_path, monkeypatch):
    small = _small(name)
    protocol, _ = _suite(name, small)
    root = _example(protocol, tmp_path / "data")
    layout = protocol.find_layout()
    clips = {subset: list(layout(root, subset, protocol.context)) for subset in protocol.subsets}
    groups = {s: [c.group or c.id for c in found for _ in c.targets] for s, found in clips.items()}
    assert all(groups.values()), "the example has no clip of one of the subsets"
    monkeypatch.chdir(tmp_path)
    tables = []
    for out in ("first", "second"):
        options = {"root": root, "expected": None, "threads": 1, "out": out}
        # without models beside it, which are measured where they are tested
        assert _evaluate(name, small, **options, beside=[]) == 0
        tables.append(_read_results(tmp_path / out, protocol, groups))
    assert tables[0] == tables[1]


def _read_results(folder: Path, protocol: Protocol, groups: dict[str, list[str]]) -> list[dict]:
    """Hold the files of a result against each other; return the rows without their times.

    ``groups`` are, by subset, the videos of its images in their order.
    """
    files = sorted(path.name for path in folder.iterdir())
    if protocol.submission:
        files.remove("submission")
    assert files == ["images.csv", "summary.json", "summary.md"]
    rows = list(csv.DictReader((folder / "images.csv").open()))
    record = json.loads((folder / "summary.json").read_text())
    assert record["benchmark"] == protocol.id
    assert record["complete"], record["problems"]
    assert record["images"] == len(rows) == sum(map(len, groups.values()))
    assert len({(row["subset"], row["id"]) for row in rows}) == len(rows)
    if protocol.submission:
        pictures = {folder / "submission" / protocol.submission.format(**row) for row in rows}
        assert {p for p in (folder / "submission").rglob("*.*") if p.is_file()} == pictures
    for subset, videos in groups.items():
        values = [row for row in rows if row["subset"] == subset]
        assert len(values) == record["subsets"][subset]["images"] == len(videos)
        for metric in protocol.metrics:
            numbers = [float(row[metric]) for row in values]
            assert all(map(math.isfinite, numbers))
            mean = record["subsets"][subset]["mean"][metric]
            assert mean == pytest.approx(_mean(numbers, videos, protocol))
    page = (folder / "summary.md").read_text()
    for metric, column in protocol.metrics.items():
        assert metric.upper() in page
        assert f"{record['mean'][metric]:.{column.digits}f}" in page
    for row in rows:
        assert float(row.pop("seconds")) >= 0
    return rows


def _mean(numbers: list[float], videos: list[str], protocol: Protocol) -> float:
    if protocol.reduction != "sequences":
        return sum(numbers) / len(numbers)
    parts = [[n for n, v in zip(numbers, videos, strict=True) if v == one] for one in set(videos)]
    return sum(sum(part) / len(part) for part in parts) / len(parts)
