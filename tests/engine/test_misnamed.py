"""What a command line says of a choice or an option that there is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from midframe.engine.compose import compose
from midframe.errors import UserError

TERM = "loss.terms.charbonnier.term"
LAPLACIAN = "loss.terms.laplacian.term"


def told(*overrides: str, config: str = "train") -> str:
    with pytest.raises(UserError) as error:
        compose(overrides, config)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            [f"{TERM}.epsilo=1"],
            f"{TERM} has no option epsilo; did you mean epsilon? known: none; "
            f"with + before (Charbonnier takes it): +{TERM}.epsilon",
        ),
        (
            [f"{TERM}.epsilon=1"],
            f"{TERM}.epsilon is not in the config, but Charbonnier takes it: "
            f"write +{TERM}.epsilon=1",
        ),
        (["loss.nosuch=1"], "loss has no option nosuch; known: terms"),
        (
            ["optimizer.warm_steps=1"],
            "optimizer has no option warm_steps; did you mean warmup_steps? known: warmup_steps, "
            "lr, lr_end, weight_decay, betas, build, schedule",
        ),
        (["data.crop.size=3"], "data.crop has no option size; known: none"),
        (
            ["loss.terms.mine.weight=1", "loss=l1"],
            "loss.terms has no option mine; known: l1; "
            "a new one is given with + before: +loss.terms.mine.weight=1",
        ),
        (
            ["model=ifrnet", "model.hints.scale=1"],
            "model.hints has no option scale; did you mean scale_factor? known: none; "
            "with + before (IFRNet takes it): +model.hints.scale_factor",
        ),
        (
            ["model.parts.flow=x.pth"],
            "model.parts is not in the config, but a model takes it: write +model.parts.flow=x.pth",
        ),
        (["max_steps=3"], "there is no option max_steps; did you mean trainer.max_steps?"),
        (["lr=3"], "there is no option lr; did you mean optimizer.lr?"),
        (
            ["trainer.fast_dev_run=1"],
            "trainer.fast_dev_run is not in the config, but lightning.Trainer takes it: "
            "write +trainer.fast_dev_run=1",
        ),
    ],
)
def test_an_option_that_there_is_not_comes_with_those_there_are(
    overrides: list[str], said: str
) -> None:
    assert told(*overrides) == said


def test_an_option_of_a_class_that_is_not_there_is_answered_with_the_class() -> None:
    text = told("+loss.terms.mine.term._target_=no_such_module.Term", "loss.terms.mine.term.a=1")
    assert text.startswith("loss.terms.mine.term._target_ no_such_module.Term not found")


def test_what_only_the_class_names_comes_last() -> None:
    text = told("loss=laplacian", f"{LAPLACIAN}.bnd=blur")
    assert text.index("did you mean band?") < text.index("known: ") < text.index("with + before")
    assert f"(LaplacianPyramid takes these): +{LAPLACIAN}." in text and "band" in text


def test_of_what_is_called_later_only_the_options_count() -> None:
    text = told("data=synthetic", "data.layout.sofness=1")
    assert text.endswith("with + before (synthetic takes it): +data.layout.softness")
    assert "root" not in text and "split" not in text
    assert "params" not in told("optimizer.build.parms=1")


def test_a_group_is_near_as_an_option_is() -> None:
    assert "did you mean experiment" in told("expriment=first")
    assert "did you mean limit?" in told("limt=1", config="evaluate")


@pytest.mark.parametrize(
    ("override", "near", "absent"),
    [
        ("loss=ifrnt", "ifrnet or ifrnet_s", ("average", "_base", "softsplat_gridnet")),
        ("data=synthetc", "synthetic", ("_base",)),
        ("teacher=dsi", "dis", ("average", "upr_large")),
        ("teacher=ifrnet_xs", "ifrnet_s", ("average",)),
        ("model=ifrnt", "ifrnet", ("hydra",)),
        ("callbacks=[defualt]", "default", ("path",)),
        ("experiment=frst", "first", ("path",)),
    ],
)
def test_a_choice_that_there_is_not_comes_with_the_nearest_first(
    override: str, near: str, absent: tuple[str, ...]
) -> None:
    text = told(override)
    group, name = override.replace("[", "").replace("]", "").split("=")
    assert text.startswith(f"there is no {group}={name}; did you mean {near}")
    known = text.partition(" known: ")[2].partition(";")[0].split(", ")
    assert not set(absent) & set(known) and len(known) > 2
    if group not in ("loss", "teacher"):
        assert known[0] == near.split()[0]
    else:  # models are told apart
        assert "; or any model by its name, for the " in text


def test_a_group_that_another_command_has() -> None:
    assert told("loss=l1", config="labels") == "this command has no loss; leave out loss=..."


def test_a_file_that_names_what_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    file = tmp_path / "conf" / "data" / "mine.yaml"
    file.write_text("# Mine\ndefaults: [_bse, _self_]\nname: mine\n")
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    said = f"{file}: there is no data=_bse; did you mean _base? known: _base, "
    assert told("data=mine").startswith(said)
    assert "mine" in told("data=minee").partition(" known: ")[2], "choices of projects count"
