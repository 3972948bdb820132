"""Every file of conf/metric is a column that can be measured, and the page on metrics names it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
import yaml

import midframe.metrics
from midframe.benchmark.protocol import Metric
from midframe.benchmark.protocol_file import metrics_from_config
from midframe.errors import UserError
from midframe.paths import config_dir

FILES = sorted((config_dir() / "metric").glob("*.yaml"))
PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
LEARNT = {"lpips", "flolpips", "vfips"}


def read(path: Path) -> Metric:
    content = yaml.safe_load(path.read_text())
    (metric,) = metrics_from_config({path.stem: content}, "metrics").values()
    return metric


def test_all_are_there():
    names = "lpips flolpips vfips vmaf psnr_uint8 psnr_capped ssim_2d ssim_3d ssim_skimage"
    names += " ie ie_rms nie"
    assert {path.stem for path in FILES} >= set(names.split())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_file_is_a_column(path: Path) -> None:
    assert path.read_text().splitlines()[0] == f"# @package metrics.{path.stem}"
    content = yaml.safe_load(path.read_text())
    assert set(content) == {"function", "options", "digits", "unit", "better"}
    metric = read(path)
    shown = set(inspect.signature(metric.find()).parameters) - {"pred", "target", "ends"}
    left_out = {"max_value", "cap", "rounding"}  # of PSNR and IE: other files' business
    assert set(content["options"]) <= shown and shown - set(content["options"]) <= left_out
    pictures = torch.rand(2, 3, 64, 64).round(decimals=2)
    if metric.function in LEARNT:
        with pytest.raises(UserError, match=f"metric {path.stem} has no weights"):
            metric(pictures, pictures, pictures)
        return
    if metric.function == "vmaf":
        pytest.importorskip("vmaf_torch")
    same, other = metric(pictures, pictures, pictures), metric(1 - pictures, pictures, pictures)
    assert same.shape == (2,)
    assert (same > other).all() if metric.better == "higher" else (same < other).all()


def test_page_names_every_file_and_function():
    text = PAGE.read_text()
    for path in FILES:
        assert f"`{path.stem}`" in text
    for name in midframe.metrics.__all__:
        if name.islower() and name != "known_flow":
            assert f"`{name}`" in text
