"""Configuration errors are found before anything is built, and say what to do."""

from __future__ import annotations

import time

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from midframe.errors import UserError
from midframe.launch.check import check
from midframe.launch.entry import register_resolvers
from midframe.paths import config_dir


def composed(*overrides: str) -> DictConfig:
    register_resolvers()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", list(overrides))


EXPERIMENTS = sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_passes(experiment: str) -> None:
    check(composed(f"experiment={experiment}"))


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
        (["~loss.terms.charbonnier", "~loss.terms.census", "loss.terms.geometry.weight=0",
          "loss.terms.distillation.weight=0"], "no term"),
    ],
)  # fmt: skip
def test_mistakes_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(composed("data=synthetic", *overrides))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_recipe_without_a_gpu_is_named() -> None:
    with pytest.raises(UserError, match="trainer=cpu"):
        check(composed("data=synthetic", "trainer=gpu"))


def test_term_without_its_field_is_named() -> None:
    cfg = composed("data=synthetic", "loss=charbonnier")
    cfg.loss.terms.charbonnier.term = {
        "_target_": "midframe.losses.Against",
        "source": "teacher",
        "term": {"_target_": "midframe.losses.Charbonnier"},
    }
    with pytest.raises(UserError, match="charbonnier needs teacher.*~loss.terms.charbonnier"):
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
        (["model=pwcnet", "data=vimeo"], "pwcnet is a flow network.*data=vimeo does not give"),
        (["model=pwcnet", "data=synthetic", "loss=charbonnier"], "use loss=pwcnet"),
        (["model=liteflownet", "data=synthetic", "data.times=any"], "data.times=fixed"),
        (["model=ifrnet_s", "data=flyingchairs"], "ifrnet_s learns from frames between"),
    ],
)
def test_flow_networks_and_their_data_belong_together(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(composed(*overrides))


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
