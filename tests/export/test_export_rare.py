"""The table of exports as it is measured and kept, and the command's rarer words."""

from __future__ import annotations

import argparse
import errno
import json
import os
from types import SimpleNamespace

import pytest
import torch

from midframe.errors import UserError
from midframe.export import make as making
from midframe.export import table
from midframe.export.facts import Facts
from midframe.export.verify import Difference
from midframe.launch import export
from midframe.models import zoo
from midframe.models.average import Average


def made(error: float) -> SimpleNamespace:
    return SimpleNamespace(facts=SimpleNamespace(error=error, mean_error=error / 10))


def test_rows_are_kept_after_each_export_and_gone_on_with(tmp_path, monkeypatch):
    """An interrupted table loses nothing; what could not be exported is not tried again either."""
    tried, told = [], []

    def make(wanted, path):
        tried.append((wanted.name, path.suffix, wanted.size))
        if len(tried) == 4:
            raise KeyboardInterrupt
        if wanted.format == "pt2":
            raise UserError("no pt2 here")
        return made(1e-6)

    save = tmp_path / "rows.json"
    monkeypatch.setattr(table, "make", make)
    with pytest.raises(KeyboardInterrupt):
        table.measured(["average"], save, 1e-3, told.append)
    assert list(json.loads(save.read_text())["average"]) == ["ONNX", "ONNX, any size", ".pt2"]
    assert told[-1] == "average, .pt2: no pt2 here"
    rows = table.measured(["average"], save, 1e-3, told.append)
    assert len(tried) == 4 + 2 and list(rows["average"]) == list(table.FORMS)
    assert rows["average"]["ONNX"] == {"error": 1e-6, "mean": 1e-7}
    assert rows["average"][".pt2"] == {"why": "no pt2 here"}
    assert table.measured(["average"], save, 1e-3, told.append) == rows and len(tried) == 6
    save.write_text("no json")
    with pytest.raises(UserError, match="holds no rows of an earlier table"):
        table.measured(["average"], save, 1e-3, told.append)


def test_what_an_exporter_does_not_follow_is_a_row_and_no_end(monkeypatch):
    def make(wanted, path):
        raise RuntimeError("unsupported\nsecond line")

    monkeypatch.setattr(table, "make", make)
    before = torch.random.get_rng_state()
    rows = table.measured(["average"], None, 1e-3, lambda line: None)
    assert rows["average"]["ncnn"] == {"why": "RuntimeError: unsupported"}
    assert torch.equal(torch.random.get_rng_state(), before)
    text = table.markdown(rows)
    assert text.count("no (1)") == len(table.FORMS) and "1. RuntimeError: unsupported" in text


def options(*words):
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_a_table_goes_into_a_page_and_unknown_names_are_told_before_the_work(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    start, end = table.MARKERS
    page.write_text(f"# Page\n\n{table.HEADING}\n\n{start}\nold\n{end}\n\nbelow\n")
    asked = []

    def measured(names, save, tolerance, tell):
        asked.append((names, save, tolerance))
        return {name: {"ONNX": {"error": 2e-7, "mean": 1e-8}} for name in names}

    monkeypatch.setattr(table, "measured", measured)
    rows = tmp_path / "rows.json"
    assert export.run(options("average", "dis", "--table", page, "--save", rows)) == 0
    assert asked == [(["average", "dis"], rows, 1e-3)]
    text = page.read_text()
    assert "| `average` | 2.0e-07 |" in text and "old" not in text and "below" in text
    with pytest.raises(UserError, match="there is no model 'avarage'"):
        export.run(options("avarage", "--table", page))
    assert len(asked) == 1
    export.run(options("--table", page))
    assert asked[-1][0] == zoo.list_models()


def test_a_place_that_takes_no_file_is_told(tmp_path, monkeypatch):
    def make(wanted, path, tell):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(making, "make", make)
    out = tmp_path / "a.onnx"
    with pytest.raises(UserError, match=r"cannot write .*a\.onnx: No space left on device"):
        export.run(options("average", "--size", "24x40", "--out", out))


def test_who_reads_no_further_is_no_place_that_takes_no_file(tmp_path, monkeypatch):
    """As `| head`, which ends the command without a word."""

    def make(wanted, path, tell):
        tell("recording average")
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(making, "make", make)
    with pytest.raises(BrokenPipeError):
        export.run(options("average", "--size", "24x40", "--out", tmp_path / "a.onnx"))


@pytest.mark.parametrize("word", ["pyr_level=[", "pyr_level=[1]", "=3", "pyr_level="])
def test_a_hint_that_is_no_plain_value_is_told(word):
    with pytest.raises(UserError, match="give NAME=VALUE, such as pyr_level=5"):
        export._hints([word], zoo.config_of("average"))


def test_a_file_is_timed_against_its_model_on_the_size_that_it_takes(monkeypatch, capsys):
    seen = []

    class Seen(Average):
        def forward(self, x, **hints):
            seen.append((tuple(x.frames.shape[-2:]), hints))
            return super().forward(x)

    engine = Average()
    monkeypatch.setattr("midframe.export.engine.load_engine", lambda path: engine)
    monkeypatch.setattr(export, "_ROUNDS", 2)
    wanted = SimpleNamespace(size=(40, 24), model=Seen().eval(), format="onnx")
    export._bench(wanted, SimpleNamespace(facts=SimpleNamespace(hints={"scale": 1})), "a.onnx")
    assert {size for size, _ in seen} == {(24, 40)} and seen[0][1] == {"scale": 1}
    out = capsys.readouterr().out
    assert out.startswith("40 wide, 24 high on the CPU: PyTorch ") and "onnx is " in out


@pytest.mark.parametrize("words", [(), ("--hint", "pyr_level=4"), ("--size", "64x64")])
def test_a_choice_by_the_size_that_is_frozen_for_any_size_is_told(
    tmp_path, monkeypatch, capsys, words
):
    """UPR-Net has more levels for larger frames; a file of any size has one number of them."""
    facts = Facts("upr", "onnx", None, 1, 64, 1, "any", tolerance=1e-3, error=2e-6, mean_error=1e-7)
    found = SimpleNamespace(facts=facts, differences=[Difference((70, 66), 0.5, 2e-6, 1e-7)])
    monkeypatch.setattr(making, "make", lambda wanted, path, tell: found)
    out = tmp_path / "upr.onnx"
    assert export.run(options("upr", "--weights", "none", "--out", out, *words)) == 0
    told = capsys.readouterr().out
    assert ("note: pyr_level=3 at every size, as for 448 wide, 256 high" in told) == (not words)
    assert "70 wide, 66 high, t = 0.5: max 2e-06, mean 1e-07" in told
    assert f"{out}: upr for any size; it differs from PyTorch by 2e-06 at most" in told
    assert "inputs first, second, t; frames are padded to multiples of 64" in told
