"""Protocols: the files of conf/benchmark build, mistakes are named, changes change the digest."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from midframe.benchmark.protocol import from_config
from midframe.errors import UserError
from midframe.models.base import Pad
from midframe.paths import config_dir

FILES = sorted((config_dir() / "benchmark").glob("*.yaml"))


def _node(path=None):
    path = path or config_dir() / "benchmark" / "middlebury.yaml"
    return yaml.safe_load(path.read_text())["protocol"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_file_is_a_protocol_of_its_name_with_sourced_numbers(path):
    protocol = from_config(_node(path))
    assert protocol.name == path.stem
    assert path.read_text().startswith(f"# @package benchmark.suites.{path.stem}\n")
    assert set(protocol.expected) <= set(protocol.subsets)
    function, _ = protocol.find_layout()
    assert callable(function)
    for row in protocol.published:
        assert row.source and set(row.values) <= set(protocol.metrics)


def test_middlebury_is_ifrnets_published_protocol():
    protocol = from_config(_node())
    assert protocol.id == "middlebury@1" and protocol.expected == {"test": 12}
    assert protocol.pad == Pad(16, "zeros", "after", (480, 640))
    assert protocol.pad.amounts(420, 380) == (0, 260, 0, 60)
    assert protocol.pad.amounts(388, 584) == (0, 56, 0, 92)
    assert protocol.metrics["ssim"].options == {"variant": "gaussian_3d"}
    values = {row.name: tuple(row.values.values()) for row in protocol.published}
    assert values["ifrnet_s"] == (37.24, 0.9851, 1.995)


def _shipped(name):
    return from_config(_node(config_dir() / "benchmark" / f"{name}.yaml"))


def test_three_protocols_measure_middlebury_in_three_ways():
    ifrnet, softsplat, upr = map(_shipped, ("middlebury", "middlebury_softsplat", "middlebury_upr"))
    assert {p.family for p in (ifrnet, softsplat, upr)} == {"middlebury"}
    assert len({p.digest() for p in (ifrnet, softsplat, upr)}) == 3
    for other in (softsplat, upr):  # the same images, padded by the model itself
        for key in ("layout", "subsets", "expected", "context", "times", "reduction"):
            assert getattr(other, key) == getattr(ifrnet, key)
        assert other.pad is None and list(other.metrics) == ["psnr", "ssim", "ie"]
    assert (softsplat.quantisation, upr.quantisation) == ("uint8", "none")
    assert softsplat.metrics["ssim"].options == {"variant": "skimage"}
    assert upr.metrics["ssim"] == ifrnet.metrics["ssim"] and upr.published == ()
    values = {row.model: dict(row.values) for row in softsplat.published}
    assert values == {
        "SoftSplat": {"psnr": 38.42, "ssim": 0.971, "ie": 1.81},
        "FILM": {"psnr": 37.52, "ssim": 0.966},
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": 1}, "colour"),
        ({"pad": {"multiples": 16}}, "multiples"),
        ({"metrics": {"lpips": {"function": "lpips"}}}, "lpips"),
        ({"metrics": {}}, "no metric"),
        ({"quantisation": "int8"}, "int8"),
        ({"reduction": "videos"}, "videos"),
        ({"expected": {"easy": 1}}, "easy"),
        ({"published": [{"model": "A", "values": {}}]}, "source"),
    ],
)
def test_mistakes_are_named(change, named):
    with pytest.raises(UserError, match=named):
        from_config({**_node(), **change})


def test_digest_follows_what_moves_a_number_only():
    protocol = from_config(_node())
    same = dataclasses.replace(protocol, note="other words", published=())
    other = dataclasses.replace(protocol, pad=Pad(16, "half", "after", (480, 640)))
    assert same.digest() == protocol.digest() != other.digest()


def test_unknown_layout_is_named():
    protocol = from_config({**_node(), "layout": "midframe.data.layouts.middlebury.nix"})
    with pytest.raises(UserError, match="nix"):
        protocol.find_layout()
