"""What somebody forgets in a project of his own is one line that names the file and the cure."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.launch import check, evaluate
from midframe.launch.tasks import train_main

ROOT = Path(__file__).resolve().parents[2]
CODE = """
from midframe.data.layouts.synthetic import synthetic

def scenes(root, split, context, *, step=1):
    return synthetic(root, split, context, size=32, scenes=4, val_scenes=2)

def without_context(root, split, *, step=1): ...

def in_another_order(split, root, context): ...

def by_name_alone(*, root, split, context): ...

def nothing(root, split, context):
    scenes(root, split, context)

def one_by_one(root, split, context):
    yield from scenes(root, split, context)

def names(root, split, context):
    return ["a", "b"]
"""
DATA = """\
# Scenes
defaults: [_base, _self_]
name: mine
root: null
layout: {_target_: layouts_of_mistakes.scenes}
crop: 32
"""
MODEL = """\
# The average
name: mine
net: {_target_: midframe.models.average.Average}
"""
BENCHMARK = """\
# @package benchmark.suites.mine
# Scenes
root: null
protocol:
  version: 1
  layout: {_target_: layouts_of_mistakes.scenes}
  subsets: [val]
  metrics: {psnr: {function: psnr}}
"""
Write = Callable[[str, str], None]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A folder of one's own; returns how a file of its conf/ is written."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "layouts_of_mistakes.py").write_text(CODE)
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "layouts_of_mistakes", raising=False)
    monkeypatch.chdir(tmp_path)

    def write(group: str, text: str) -> None:
        path = tmp_path / "conf" / group / "mine.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said on stderr."""
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_without_a_mistake_nothing_is_said(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    project("data", DATA)
    assert check.main(["data=mine", "model=ifrnet_s"]) == 0
    shown = capsys.readouterr()
    assert shown.out == (
        "ok: model=ifrnet_s data=mine: names and options are right\n"
        "train it:  midframe train data=mine model=ifrnet_s\n"
    )
    assert not shown.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("defaults: [_base, _self_]\n", "", "must begin with `defaults: [_base, _self_]`"),
        ("[_base, _self_]", "[_self_]", "must begin with `defaults: [_base, _self_]`"),
        ("[_base, _self_]", "[_self_, _base]", "must begin with `defaults: [_base, _self_]`"),
        ("name: mine\n", "", "must say `name: mine`, as the file is called"),
        ("name: mine", "name: other", "must say `name: mine`, as the file is called, not `name: o"),
    ],
)
def test_a_data_file_begins_with_the_base_and_names_itself(
    project: Write, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    assert old in DATA
    project("data", DATA.replace(old, new, 1))
    assert check.main(["data=mine", "model=ifrnet_s"]) == 2
    line = line_of(capsys)
    assert line.startswith("error: ") and f"conf/data/mine.yaml {said}" in line
    with pytest.raises(UserError, match="conf/data/mine.yaml must"):
        compose(["data=mine"])
    compose(["data=synthetic"])  # others do not suffer


@pytest.mark.parametrize(("new", "said"), [("", ""), ("name: other\n", ", not `name: other`")])
def test_a_model_file_names_itself(
    project: Write, capsys: pytest.CaptureFixture[str], new: str, said: str
) -> None:
    project("model", MODEL.replace("name: mine\n", new, 1))
    for command in (check.main, evaluate.main):
        assert command(["model=mine"]) == 2
        assert f"mine.yaml must say `name: mine`, as the file is called{said}" in line_of(capsys)


def test_a_module_that_hides_ones_own_is_told_with_its_file(
    project: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "wave.py").write_text("class Net: ...")
    project("model", MODEL.replace("midframe.models.average.Average", "wave.Net"))
    assert evaluate.main(["model=mine"]) == 2
    assert f"not found: wave ({import_module('wave').__file__}) has no Net" in line_of(capsys)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("suites.mine", "suites.other", "the first line of {} must be `# @package benchmark.s"),
        ("protocol:\n", "protocol:\n  name: other\n", "{}: its protocol says name: other; write"),
    ],
)
def test_a_benchmark_file_names_itself(
    project: Write, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    project("benchmark", BENCHMARK.replace(old, new, 1))
    assert evaluate.main(["benchmark=[middlebury,mine]", "model=average"]) == 2
    path = Path("conf/benchmark/mine.yaml").resolve()
    assert said.format(path) in line_of(capsys)
    with pytest.raises(UserError, match="benchmark/mine.yaml"):
        compose(["benchmark=mine"], "evaluate")


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        ("without_context", "root, split, *, step"),
        ("in_another_order", "split, root, context"),
        ("by_name_alone", "*, root, split, context"),
    ],
)
def test_a_layout_of_another_signature_is_found_before_it_is_called(
    project: Write, capsys: pytest.CaptureFixture[str], function: str, shape: str
) -> None:
    form = f"{function}({shape}) must have the form (root, split, context, *, options of its own)"
    project("data", DATA.replace("scenes}", f"{function}}}"))
    assert check.main(["data=mine", "model=ifrnet_s"]) == 2
    assert line_of(capsys) == f"error: data.layout: {form}"
    project("benchmark", BENCHMARK.replace("scenes}", f"{function}}}"))
    assert evaluate.main(["benchmark=mine", "model=average"]) == 2
    assert line_of(capsys).endswith(form)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "its layout returned None and not a list of clips; does it end without a"),
        ("one_by_one", "its layout returned a generator and not a list of clips; let it return l"),
        ("names", "its layout returned a str among its clips"),
    ],
)
def test_a_layout_that_returns_no_clips_is_told_so(
    project: Write, capsys: pytest.CaptureFixture[str], function: str, said: str
) -> None:
    project("data", DATA.replace("scenes}", f"{function}}}"))
    assert train_main(["data=mine", "model=ifrnet_s", "paths.runs=runs"]) == 2
    assert f"error: data mine: {said}" in line_of(capsys)
    project("benchmark", BENCHMARK.replace("scenes}", f"{function}}}"))
    assert evaluate.main(["benchmark=mine", "model=average", "device=cpu"]) == 2
    assert f"error: data mine: {said}" in line_of(capsys)


@pytest.mark.parametrize(
    "program", [[str(ROOT / "train.py")], ["-m", "midframe.cli", "train"]], ids=["file", "command"]
)
@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("data.crop=100", "crop 100 is no multiple of 16"),  # found by us
        ("name=${no.such}", "configuration: Interpolation key 'no.such' not found"),  # by OmegaConf
    ],
)
def test_nothing_of_hydras_stands_before_our_line(
    tmp_path: Path, program: list[str], mistake: str, said: str
) -> None:
    words = ["experiment=smoke", mistake, f"paths.runs={tmp_path}"]
    found = subprocess.run(
        [sys.executable, *program, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    (line,) = found.stderr.strip().splitlines()
    assert found.returncode == 2 and line.startswith(f"error: {said}")


def test_a_defect_keeps_its_traceback_and_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(cfg: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(check, "check", broken)
    with pytest.raises(ZeroDivisionError, match="ours") as error:
        check.main(["experiment=smoke"])
    assert error.value.__cause__ is None and error.traceback[-1].name == "broken"
