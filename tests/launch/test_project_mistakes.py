"""What somebody forgets in a project of his own is one line that names the file and the cure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from midframe.choices import read_choice
from midframe.data.records import LAYOUT_ARGUMENTS, check_clips
from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.launch import check, evaluate, models
from midframe.launch.tasks import train_main
from midframe.nodes import check_options, find_target

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
    project: Write, tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in DATA
    project("data", DATA.replace(old, new, 1))
    with pytest.raises(UserError, match=re.escape(f"conf/data/mine.yaml {said}")):
        read_choice("data", tmp_path / "conf" / "data" / "mine.yaml")


def test_a_data_file_of_another_form_stops_who_chooses_it(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    project("data", DATA.replace("[_base, _self_]", "[_self_, _base]"))
    said = "conf/data/mine.yaml must begin with `defaults: [_base, _self_]`"
    assert check.main(["data=mine", "model=ifrnet_s"]) == 2
    line = line_of(capsys)
    assert line.startswith("error: ") and said in line
    with pytest.raises(UserError, match=re.escape(said)):
        compose(["data=mine"])
    compose(["data=synthetic"])  # others do not suffer


def test_a_model_file_names_itself(
    project: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = "mine.yaml must say `name: mine`, as the file is called"
    project("model", MODEL.replace("name: mine\n", ""))
    for command in (check.main, evaluate.main):
        assert command(["model=mine"]) == 2
        assert said in line_of(capsys)
    project("model", MODEL.replace("name: mine", "name: other"))
    with pytest.raises(UserError, match=f"{said}, not `name: other`"):
        read_choice("model", tmp_path / "conf" / "model" / "mine.yaml")


def test_a_model_file_has_no_other_keys(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    project("model", MODEL + "losss: charbonnier\n")
    assert check.main(["model=mine", "data=synthetic"]) == 2
    assert "mine.yaml: a model's file has no losss; did you mean loss" in line_of(capsys)


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


FORM = "must have the form (root, split, context, *, options of its own)"


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        ("without_context", "root, split, *, step"),
        ("in_another_order", "split, root, context"),
        ("by_name_alone", "*, root, split, context"),
    ],
)
def test_layouts_of_other_signatures_are_told_from_what_may_be_called(
    project: Write, function: str, shape: str
) -> None:
    found, given = find_target(f"layouts_of_mistakes.{function}", "x"), LAYOUT_ARGUMENTS
    with pytest.raises(UserError, match=re.escape(f"x: {function}({shape}) {FORM}")):
        check_options(found, ["step"], "x", given=given)


def test_a_layout_of_another_signature_is_found_before_it_is_called(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    form = f"in_another_order(split, root, context) {FORM}"
    project("data", DATA.replace("scenes}", "in_another_order}"))
    assert check.main(["data=mine", "model=ifrnet_s"]) == 2
    assert line_of(capsys) == f"error: data.layout: {form}"
    project("benchmark", BENCHMARK.replace("scenes}", "in_another_order}"))
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
def test_what_a_layout_returns_and_is_no_clips_is_told_so(
    project: Write, function: str, said: str
) -> None:
    layout = find_target(f"layouts_of_mistakes.{function}", "x")
    with pytest.raises(UserError, match=re.escape(f"data mine: {said}")):
        check_clips(layout(None, "train", 1), 1, "mine")


def test_a_layout_that_returns_no_clips_stops_training_and_benchmark(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "its layout returned a generator and not a list of clips"
    project("data", DATA.replace("scenes}", "one_by_one}"))
    assert train_main(["data=mine", "model=ifrnet_s", "paths.runs=runs"]) == 2
    assert f"error: data mine: {said}" in line_of(capsys)
    project("benchmark", BENCHMARK.replace("scenes}", "one_by_one}"))
    assert evaluate.main(["benchmark=mine", "model=average", "device=cpu"]) == 2
    assert f"error: data mine: {said}" in line_of(capsys)


BROKEN = {
    "of_no_yaml": "name: {",
    "of_no_text": "# gr\xf6\xdfer",
    "of_no_class": "name: of_no_class\nnet: {_target_: no_such_module.Net}",
    "of_no_loss": "name: of_no_loss\nnet: {_target_: midframe.models.average.Average}\nloss: l11",
}


@pytest.fixture
def broken(project: Write, tmp_path: Path) -> Write:
    """A project with models that are broken, each in another way, and a benchmark of scenes."""
    project("benchmark", BENCHMARK)
    (tmp_path / "conf" / "model").mkdir()
    for name, text in BROKEN.items():
        (tmp_path / "conf" / "model" / f"{name}.yaml").write_text(text, encoding="latin-1")
    return project


def test_what_is_broken_of_other_models_stops_nobody(
    broken: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["model=ifrnet_s", "data=synthetic", "teacher=average"]) == 2
    assert "no loss term looks at the frames of teacher=average" in line_of(capsys)
    assert check.main(["model=ifrnet_s", "data=synthetic"]) == 0
    assert check.main(["model=ifrnet_s", "data=flyingchairs"]) == 2
    assert "use it with model=liteflownet or model=pwcnet or" in line_of(capsys)
    for name in ("average", "of_no_loss"):  # measuring asks for no loss
        words = [f"model={name}", "benchmark=mine", "device=cpu", "limit=1", "out=result"]
        assert evaluate.main(words) == 0
    capsys.readouterr()
    models.show([])
    shown = capsys.readouterr()
    assert "ifrnet_s" in shown.out and "of_no_loss" in shown.out
    told = [line.partition("/conf/model/")[2] or line for line in shown.err.splitlines()]
    assert [line.split()[0].partition(".")[0] for line in told] == [
        "left",
        "of_no_text",
        "of_no_yaml",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=of_no_yaml"], "conf/model/of_no_yaml.yaml is no yaml: while parsing"),
        (["model=of_no_text"], "conf/model/of_no_text.yaml is no yaml: 'utf-8' codec"),
        (["model=of_no_class"], "model of_no_class: net._target_ no_such_module.Net not found"),
        (
            ["model=of_no_loss"],
            "conf/model/of_no_loss.yaml names loss: l11, not in conf/loss; did you mean l1",
        ),
        (["teacher=of_no_yaml", "loss=distillation"], "conf/model/of_no_yaml.yaml is no yaml"),
        (["teacher=of_no_class", "loss=distillation"], "net._target_ no_such_module.Net not found"),
    ],
)
def test_who_chooses_a_broken_model_is_told(
    broken: Write, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    others = [] if "model" in words[0] else ["model=ifrnet_s"]
    assert check.main([*words, *others, "data=synthetic"]) == 2
    assert said in line_of(capsys)


def test_compose_names_the_file_of_a_broken_model(broken: Write) -> None:
    for name in ("of_no_yaml", "of_no_text"):
        with pytest.raises(UserError, match=f"conf/model/{name}.yaml is no yaml"):
            compose([f"model={name}"])


def test_weights_are_given_to_a_model_whose_file_says_nothing_of_them(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    project("model", MODEL.replace("average.Average", "ifrnet.IFRNet"))
    for command in (check.main, evaluate.main):
        assert command(["model=mine", "model.weights=no/such.pth"]) == 2
        assert "there is no weights file no/such.pth" in line_of(capsys)


def test_an_option_that_the_base_would_bring_names_the_missing_line(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    project("data", DATA.replace("defaults: [_base, _self_]\n", ""))
    assert check.main(["data=mine", "model=ifrnet_s", "data.workers=0"]) == 2
    assert "mine.yaml must begin with `defaults: [_base, _self_]`" in line_of(capsys)
    with pytest.raises(UserError, match="must begin with `defaults"):
        compose(["data=mine", "data.workers=0"])


def test_a_benchmark_reads_no_pack_and_no_option_that_its_metric_refuses(
    project: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["benchmark=mine", "model=average", "device=cpu"]
    project("benchmark", BENCHMARK)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "pack.json").write_text("{}")
    assert evaluate.main([*words, "benchmark.root=packed"]) == 2
    said = "is a pack (midframe pack); benchmarks read the original folder"
    assert line_of(capsys) == f"error: benchmark.root=packed {said}"
    column = "{function: ssim, options: {variant: skimge}}"
    project("benchmark", BENCHMARK.replace("{function: psnr}", column))
    assert evaluate.main(words) == 2
    assert line_of(capsys).startswith("error: benchmark mine: metric psnr (ssim): ssim has gauss")


@pytest.mark.slow
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
