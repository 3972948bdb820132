"""Configuration errors are found before anything is built, and say what to do."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import DictConfig

from midframe.data.module import Data
from midframe.engine.compose import compose
from midframe.engine.enrich import Enricher
from midframe.errors import UserError
from midframe.launch.check import check, check_data, check_labels, main, reads_labels
from midframe.losses import L1
from midframe.models.average import Average
from midframe.models.parts import given_parts, parts_of
from midframe.models.zoo import build_empty, config_of
from midframe.paths import config_files


@cache
def _chosen(*choices: str) -> DictConfig:
    return compose(choices)


def composed(*overrides: str) -> DictConfig:
    """Return what `compose` does, with the choices of groups composed once for all tests."""
    choices = [word for word in overrides if config_files(word.partition("=")[0])]
    cfg = copy.deepcopy(_chosen(*choices))
    options = [word for word in overrides if word not in choices]
    # as Hydra goes on behind its choices
    parsed = OverridesParser.create().parse_overrides(options)
    ConfigLoaderImpl._apply_overrides_to_config(parsed, cfg)
    return cfg


def weights_of(node: Mapping[str, Any], path: Path, part: str | None = None) -> str:
    """Save zeros that fit a model, or a part of it; return the path."""
    model = build_empty(node)
    state = (parts_of(model)[part] if part else model).state_dict()
    zeros = {key: torch.zeros((), dtype=x.dtype).expand(x.shape) for key, x in state.items()}
    torch.save(zeros, path)
    return str(path)


EXPERIMENTS = config_files("experiment")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_passes(experiment: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.touch()
    cfg = composed(f"experiment={experiment}")
    if cfg.weights:
        cfg.weights = str(weights)
    for part in cfg.loss.terms.values():
        if "weights" in part.term:
            part.term.weights = str(weights)
    if cfg.teacher.get("weights"):
        cfg.teacher.weights = weights_of(config_of(cfg.teacher.name), tmp_path / "teacher.pth")
    for name in given_parts(cfg.model):
        node = {"name": cfg.model.name, "net": cfg.model.net}
        cfg.model.parts[name] = weights_of(node, tmp_path / "part.pth", part=name)
    network = (cfg.model.get("motion") or {}).get("network", "dis")
    if network != "dis":
        cfg.model.motion.weights = weights_of(config_of(network), tmp_path / "motion.pth")
    check(cfg)


@pytest.mark.parametrize("data", ["vimeo", "vimeo_septuplet", "gopro", "adobe240", "synthetic"])
def test_every_data_set_fits_ifrnet(data: str) -> None:
    check(composed("model=ifrnet", f"data={data}"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.crop=100"], r"crop 100 is no multiple of 16.*use 96 or 112"),
        (["model=dis"], "nothing to train"),
        (["loss.terms.charbonnier.weight=0", "loss=charbonnier"], "no term with a weight"),
        (["trainer.max_steps=abc"], "trainer.max_steps=abc must be a whole number"),
        (["trainer.max_steps=0"], "from 1 on"),
        (["trainer.max_steps=null"], "both null"),
        (["data.crop=abc"], "data.crop=abc must be a whole number of pixels"),
        (["trainer=cpu", "trainer.devices=[0,1]", "data.global_batch=3"], "data.global_batch=4"),
        (["seed=abc"], "seed=abc must be a whole number"),
        (["data.times=foo"], "fixed or any"),
        (["optimizer.lr=-1"], "optimizer.lr=-1 must be a positive number"),
        (["data.global_batch=5", "trainer.accumulate_grad_batches=2"], "set data.global_batch=4"),
        (["data.context=0"], "data.context=0 gives 0"),
        (["data.context=abc"], "data.context=abc must be a whole number"),
        (["trainer.precision=bf61"], "trainer.precision=bf61 must be one of auto, fast,.*bf16-mix"),
        (["trainer.strategy=nope"], "trainer.strategy=nope must be one of auto, ddp"),
        (["trainer.accelerator=nope"], "trainer.accelerator=nope must be one of auto, gpu"),
        (["+trainer.max_stepz=1"], "trainer has no option max_stepz; did you mean max_steps"),
        (["+trainer.max_epochs=1"], "trainer has no option max_epochs"),
        (["trainer.devices=x"], "trainer.devices=x must be"),
        (["trainer.devices=0"], "trainer.devices=0 must be"),
        (["trainer.threads=many"], "trainer.threads=many must be"),
        (["trainer.gradient_clip_val=abc"], "gradient_clip_val=abc must be a number"),
        (["trainer.profiler=abc"], "trainer.profiler=abc must be null, one of simple"),
        (["epochs=abc", "trainer.max_steps=null"], "epochs=abc must be a positive number"),
        (["channels_last=maybe"], "channels_last=maybe must be true or false"),
        (["optimizer.betas=[2,3]"], "optimizer: Invalid beta"),
        (["optimizer.lr_end=abc"], "optimizer: "),
        (["+optimizer.build.rate=1"], "optimizer.build has no option rate; known: lr, betas"),
        (["model.net.size=XL"], "ifrnet_s cannot be built.*XL"),
        (["++model.net.sise=S"], "model ifrnet_s has no option sise; did you mean size. known"),
        (["+model.hints.pyr_lvl=4"], "model ifrnet_s has no hint pyr_lvl; known: scale_factor"),
        (["model.net._target_=midframe.models.ifrnet.Net"], "net._target_ .*ifrnet has no Net"),
        (["model.net.size=???"], "^model.net.size must be given"),
        (["loss.terms.census.term._target_=midframe.losses.Cencus"],
         "loss.terms.census.term._target_ .*no Cencus; did you mean Census"),
        (["loss.terms.census.term={_target_: pathlib.Path}"], "pathlib.Path is no Term class"),
        (["+loss.terms.census.term.pach=3"], "term has no option pach; did you mean patch. kn"),
        (["loss=softsplat_lf"], "the VGG loss has no weights and .*not there; get torchvision's"),
        (["loss=softsplat_lf", "loss.terms.vgg.term.weights=no.pth"], "there is no file no.pth"),
        (["+loss.terms.x.term={_target_: midframe.losses.Against, source: teacher, "
          "term: {_target_: midframe.losses.VGGFeatures}}"], "the VGG loss has no weights"),
        (["loss.terms.census.term.patch=4"], "census needs an odd patch"),
        (["loss.terms.census.weight=abc"], "loss.terms.census must hold term"),
        (["loss.terms.census=3"], "loss.terms.census must hold term"),
        (["+loss.terms.x.term={_target_: midframe.losses.Against}"], "x.term needs source, term"),
        (["loss.terms.census.weight={_target_: midframe.losses.Linear, start: 1, end: 0, "
          "begin_step: 2, end_step: 1}"], "from step 2 to step 1"),
        (["data.layout._target_=no.such"], "data.layout._target_ no.such not found"),
        (["+data.layout.sise=3"], "data.layout has no option sise; did you mean size.* known"),
        (["+data.layout.root=x"], "data.layout has no option root"),
        (["~data.layout._partial_"], "data.layout needs .*_partial_: true"),
        (["+data.cropp=3"], "data has no option cropp"),
        (["+data.augment.flip=1"], "data.augment.flip: no such option"),
        (["data.workers=abc"], "data.workers=abc: give"),
        (["data.crop=[96,96,96]"], "or two of them"),
        (["+callbacks.best.when=1"], "callbacks.best has no option when; known: directory"),
        (["+callbacks.mine={_target_: my.Callback}"], "no module my.*MIDFRAME_PROJECT"),
        (["weights=no/such.pth"], "there is no weights file no/such.pth"),
        (["model.weights=no/such.pth"], "there is no weights file no/such.pth"),
        (["teacher=dis", "teacher.estimator.preset=slow"], "no preset 'slow'"),
        (["teacher=pwcnet"], "teacher=pwcnet has no weights"),
        (["teacher=dis", "+teacher.estimator.prest=fast"], "no option prest; did you mean preset"),
        (["teacher.enrich=[{_target_: midframe.losses.L1}]"], "L1 is no Enricher class"),
        (["~loss.terms.charbonnier", "~loss.terms.census", "loss.terms.geometry.weight=0",
          "loss.terms.distillation.weight=0"], "no term"),
    ],
)  # fmt: skip
def test_mistakes_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(composed("data=synthetic", *overrides))


@pytest.mark.parametrize("command", ["pack", "labels"])
def test_commands_that_read_data_name_its_mistakes_too(command: str) -> None:
    check_data(compose(["data=synthetic"], command))
    for override, message in (
        ("+data.layout.sise=3", "data.layout has no option sise"),
        ("data.workers=abc", "data.workers=abc: give"),
        ("data.layout._target_=no.such", "no module no"),
    ):
        with pytest.raises(UserError, match=message):
            check_data(compose(["data=synthetic", override], command))


def test_every_mistake_is_named_at_once_in_one_line() -> None:
    with pytest.raises(UserError) as caught:
        check(composed("data=synthetic", "trainer.devices=x", "seed=abc"))
    assert len(str(caught.value).split("; ")) == 2 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["weights=none", "model.weights=no/such.pth"],
        ["trainer.strategy=ddp_find_unused_parameters_true", "trainer.precision=16-mixed"],
        ["trainer.devices=[1]", "trainer.gradient_clip_val=1", "trainer.limit_val_batches=0.5"],
        ["trainer.max_steps=null", "epochs=0.5"],
        ["debug=profile", "logger=wandb", "callbacks=[default,ema]"],
        ["debug=overfit", "logger=none", "callbacks=none"],
        ["teacher=dis"],
        ["trainer=ddp_cpu"],
    ],
)
def test_what_works_is_not_refused(overrides: list[str]) -> None:
    check(composed("data=synthetic", *overrides))


@pytest.mark.parametrize(
    ("level", "crop", "multiple"), [(3, 96, 16), (5, 192, 64), (5, 96, 64), (1, 6, 4)]
)
def test_crops_fit_the_models_own_hints(level: int, crop: int, multiple: int) -> None:
    cfg = composed(
        "model=upr", "data=synthetic", f"+model.hints.pyr_level={level}", f"data.crop={crop}"
    )
    if crop % multiple:
        with pytest.raises(UserError, match=f"crop {crop} is no multiple of {multiple}"):
            check(cfg)
    else:
        check(cfg)


class NeedsEvents(Average):
    """A model with an input that frames alone do not give."""

    needs = frozenset({"events"})
    trainable = True


class Sharpen(Enricher):
    """Adds what the loss could be held against, from what nothing gives."""

    needs = frozenset({"pixels"})
    adds = frozenset({"teacher"})


class Teach(Enricher):
    """Adds a teacher's prediction."""

    needs = frozenset({"target"})
    adds = frozenset({"teacher"})


def test_inputs_that_no_data_has_are_named() -> None:
    cfg = composed("data=synthetic", "loss=l1")
    cfg.model.net = {"_target_": f"{__name__}.NeedsEvents"}
    with pytest.raises(
        UserError, match="needs events, which data=synthetic does not give; choose data=events"
    ):
        check(cfg)
    for choice in ("events_synthetic", "events"):
        cfg = composed(f"data={choice}", "loss=l1", "paths.data=none", "data.context=1")
        cfg.model.net = {"_target_": f"{__name__}.NeedsEvents"}
        check(cfg)


def test_enrichers_give_in_order_what_terms_and_later_ones_need() -> None:
    cfg = composed("data=synthetic", "loss=charbonnier")
    against = {"_target_": "midframe.losses.Against", "source": "teacher"}
    against["term"] = {"_target_": "midframe.losses.L1"}
    cfg.loss.terms.charbonnier.term = against
    cfg.teacher.enrich = [{"_target_": f"{__name__}.Teach"}]
    check(cfg)
    cfg.teacher.enrich = [{"_target_": f"{__name__}.Sharpen"}]
    with pytest.raises(UserError, match=r"teacher.enrich\[0\]: Sharpen needs pixels"):
        check(cfg)


def own_loss(factor: float) -> torch.nn.Module:
    """A loss that is no sum of terms."""
    return torch.nn.Identity()


def test_a_loss_of_ones_own_may_be_anything() -> None:
    cfg = composed("data=synthetic", "loss=l1")
    cfg.loss = {"_target_": f"{__name__}.own_loss", "factor": 1.0, "terms": 3}
    with pytest.raises(UserError, match="loss has no option terms; known: factor"):
        check(cfg)
    cfg.loss = {"_target_": f"{__name__}.own_loss", "factor": 1.0}
    check(cfg)


def test_terms_that_need_labels_want_one_in_the_data() -> None:
    cfg = composed("model=ifrnet_s", "data=synthetic", "data.layout.flow=false", "loss=pwcnet")
    check(cfg)  # which clips have labels is not known before they are looked for
    data: Data = instantiate(cfg.data)
    with pytest.raises(UserError, match="multiscale needs flow labels.*~loss.terms.multiscale"):
        check_labels(cfg, data)
    for other in (["loss=pwcnet", "teacher=dis"], ["loss=ifrnet"]):  # made; used where they are
        check_labels(composed("model=ifrnet_s", "data=synthetic", *other), data)
    labelled = composed("model=ifrnet_s", "data=synthetic", "loss=pwcnet")
    check_labels(labelled, instantiate(labelled.data))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_recipe_without_a_gpu_is_named() -> None:
    with pytest.raises(UserError, match="trainer=cpu"):
        check(composed("data=synthetic", "trainer=gpu"))


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["loss=charbonnier"], False),
        (["loss=ifrnet"], True),  # its distillation takes labels where there are some
        (["loss=ifrnet", "loss.terms.distillation.weight=0"], False),
        (["loss=ifrnet", "~loss.terms.distillation"], False),
        (["model=pwcnet"], True),
        (["loss=charbonnier", "teacher=dis"], False),
    ],
)
def test_labels_are_read_by_some_terms_alone(overrides: list[str], wanted: bool) -> None:
    assert reads_labels(composed("data=synthetic", *overrides)) is wanted


def test_labels_are_read_by_terms_within_terms_and_perhaps_by_a_loss_of_one_s_own() -> None:
    cfg = composed("data=synthetic", "loss=charbonnier")
    node = {"_target_": "midframe.losses.Against", "source": "teacher"}
    inner = {"_target_": "midframe.losses.FlowDistillation"}
    cfg.loss.terms.charbonnier.term = {**node, "term": inner}
    assert reads_labels(cfg)
    cfg.loss = {"_target_": f"{__name__}.Own"}
    assert reads_labels(cfg)


class Own(torch.nn.Module):
    """A loss that is no sum of terms."""


def test_term_without_its_field_is_named() -> None:
    cfg = composed("data=synthetic", "loss=charbonnier")
    cfg.loss.terms.charbonnier.term = {
        "_target_": "midframe.losses.Against",
        "source": "teacher",
        "term": {"_target_": "midframe.losses.Charbonnier"},
    }
    said = "charbonnier needs teacher, which model=ifrnet_s with data=synthetic does not give.*"
    with pytest.raises(UserError, match=f"{said}drop it with '~loss.terms.charbonnier'$"):
        check(cfg)


def test_a_teacher_of_flow_gives_no_frames(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=ifrnet_s", "data=synthetic", "teacher=dis", "loss=distillation"]
    assert main(words) == 2
    said = "is frames of a teacher: teacher=dis gives flow; choose a teacher=NAME, any of conf/mod"
    assert said in capsys.readouterr().err


class Picky(L1):
    """A term whose constructor refuses what it is given."""

    def __init__(self) -> None:
        raise UserError("edge=-1 must be positive")


def test_what_a_term_refuses_is_told_with_its_place() -> None:
    cfg = composed("data=synthetic", "loss=l1")
    cfg.loss.terms.l1.term = {"_target_": f"{__name__}.Picky"}
    with pytest.raises(UserError, match=r"^loss.terms.l1.term: edge=-1 must be positive$"):
        check(cfg)


@pytest.mark.parametrize("model", ["pwcnet", "liteflownet"])
@pytest.mark.parametrize("data", ["synthetic", "flyingchairs"])
def test_flow_networks_learn_from_flow_at_the_ends(model: str, data: str) -> None:
    cfg = composed(f"model={model}", f"data={data}")
    check(cfg)
    assert cfg.data.layout.learns == "flow" and cfg.data.targets is None
    assert (cfg.callbacks.best.monitor, cfg.callbacks.best.mode) == ("val/epe", "min")
    frames = composed("model=ifrnet_s", "data=synthetic")
    assert (frames.data.layout.learns, frames.data.targets) == ("frames", 1)
    assert (frames.callbacks.best.monitor, frames.callbacks.best.mode) == ("val/psnr", "max")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=stmfnet", "data=vimeo"], "vimeo gives 2 input frames and the model takes 4; use "),
        (["model=pwcnet", "data=vimeo"], "pwcnet is a flow network.*data=vimeo does not give"),
        (["model=pwcnet", "data=synthetic", "loss=charbonnier"], "use loss=pwcnet"),
        (["model=liteflownet", "data=synthetic", "data.times=any"], "data.times=fixed"),
        (["model=ifrnet_s", "data=flyingchairs"], "ifrnet_s learns from frames between"),
    ],
)
def test_flow_networks_and_their_data_belong_together(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(composed(*overrides))


def test_a_teacher_of_four_frames_is_refused_where_data_has_two(tmp_path: Path) -> None:
    weights = weights_of(config_of("stmfnet_mini"), tmp_path / "mini.pth")
    teacher = ["teacher=stmfnet_mini", f"teacher.weights={weights}"]
    with pytest.raises(UserError, match="vimeo gives 2 input.*teacher=stmfnet_mini reads 4"):
        check(composed("data=vimeo", "loss=distillation", *teacher))
    check(composed("data=vimeo_septuplet", "data.times=fixed", "loss=distillation", *teacher))


def test_checking_is_quick() -> None:
    cfg = composed("experiment=ifrnet_vimeo")
    start = time.process_time()
    check(cfg)
    assert time.process_time() - start < 2.0


def test_loss_follows_the_model_unless_told_otherwise() -> None:
    assert set(composed("model=ifrnet_l", "data=synthetic").loss.terms) == {
        "charbonnier",
        "census",
        "geometry",
        "distillation",
    }
    assert set(composed("model=ifrnet_l", "data=synthetic", "loss=l1").loss.terms) == {"l1"}
