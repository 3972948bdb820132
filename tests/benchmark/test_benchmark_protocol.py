"""Protocols: the files of conf/benchmark build, mistakes are named, changes change the digest."""

from __future__ import annotations

import dataclasses

import fakes
import pytest
import torch
import yaml

from midframe.benchmark.protocol_file import from_config
from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.launch.evaluate import suites
from midframe.models.base import Pad
from midframe.paths import config_dir

# A digest of a published version never changes: rows of interrupted runs are found by it, and a
# change that moves a number raises the version.
DIGESTS = {
    "adobe240@1": "9ec9c0dca02b",
    "davis90@1": "1496b3d32c65",
    "davis90_middle@1": "654a874ba6c1",
    "gopro@1": "5f70919f4eca",
    "hd@1": "0f22c805939f",
    "middlebury@1": "84338dfafbe4",
    "middlebury_eval@1": "32768183d32e",
    "middlebury_softsplat@1": "04f7a0fdda23",
    "middlebury_upr@1": "ce17e2f4168d",
    "snufilm@1": "51f491467998",
    "snufilm_middle@1": "840a89cc5601",
    "snufilm_quintuplet@1": "088640f16c86",
    "ucf101@1": "9877e654eb9e",
    "ucf101_middle@1": "4d35335422d8",
    "ucf101_quintuplet@1": "8283e319ee51",
    "ucf101_softsplat@1": "ffb5efdbf436",
    "vfitex@1": "26c4322ee84b",
    "vfitex_middle@1": "0b555b675bf4",
    "vimeo@1": "6936373fc175",
    "vimeo_septuplet@1": "240530fd16ba",
    "vimeo_softsplat@1": "c6ba9d4f1351",
    "x4k_2k@1": "f88d6561fd62",
    "x4k_4k@1": "01f5875477de",
    "xiph_2k@1": "3581289f1629",
    "xiph_4k@1": "b951bd787b58",
}


def _node(path=None):
    path = path or config_dir() / "benchmark" / "middlebury.yaml"
    return yaml.safe_load(path.read_text())["protocol"]


def test_versions_and_digests_of_the_package():
    names = [path.stem for path in (config_dir() / "benchmark").glob("*.yaml")]
    parts, _ = suites(compose([f"benchmark=[{','.join(names)}]"], "evaluate"))
    found = {protocol.id: protocol.digest() for protocol in parts.values()}
    assert {name: found.get(name) for name in DIGESTS} == DIGESTS


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
        ({"version": None}, "lacks version"),
        ({"version": "one"}, "version=one must be a whole number"),
        ({"context": 0}, "context=0"),
        ({"pad": {"multiples": 16}}, "multiples"),
        ({"pad": "zeros"}, "pad must be like"),
        ({"pad": {"multiple": 0}}, "multiple=0"),
        ({"pad": {"mode": "zero"}}, "mode=zero"),
        ({"pad": {"least": 480}}, "pad.least must be a list"),
        ({"pad": {"least": [480]}}, "a height and a width"),
        ({"metrics": {"vif": {"function": "vif"}}}, "there is no metric vif.*psnr, ssim"),
        ({"metrics": {"x": {"function": "PerImage"}}}, "there is no metric PerImage"),
        ({"metrics": {"x": {"function": "known_flow"}}}, "called with .pred, target."),
        ({"metrics": {"x": {"function": "no.such.place"}}}, "metrics.x: no.such.place not found"),
        ({"metrics": {"x": {"function": "pathlib.Path"}}}, "no metric pathlib.Path"),
        ({"metrics": {"x": {"function": "psnr", "options": {"peek": 1}}}}, "metrics.x: .*peek"),
        ({"metrics": {"x": {"function": "psnr", "better": "more"}}}, "better=more"),
        ({"metrics": {"x": {"function": "psnr", "digits": "two"}}}, "digits=two"),
        ({"metrics": {"x": {"options": {}}}}, "metrics.x lacks function"),
        ({"metrics": {"psnr": "psnr"}}, "metrics.psnr must be like {function: ...}, not 'psnr'"),
        ({"metrics": ["psnr"]}, "metrics must be like"),
        ({"metrics": {}}, "no metric"),
        ({"metrics": None}, "no metric"),
        ({"subsets": []}, "no subset"),
        ({"subsets": "test"}, "subsets must be a list"),
        ({"times": 0.5}, "times must be a list"),
        ({"times": ["half"]}, "times: give numbers"),
        ({"times": [1.5]}, r"must lie in \[0, 1\]"),
        ({"hints": [1]}, "hints must be like"),
        ({"quantisation": "int8"}, "int8"),
        ({"reduction": "videos"}, "videos"),
        ({"expected": {"easy": 1}}, "expected has a count of easy, .*subsets .* .it has test."),
        ({"expected": {"test": "all"}}, "expected.test=all"),
        ({"expected": 12}, "expected must be like"),
        ({"layout": None}, "layout must be like"),
        ({"layout": {"factor": 8}}, "layout must be like"),
        ({"published": {"model": "A"}}, "published must be a list"),
        ({"published": [{"model": "A", "values": {}}]}, "published lacks source"),
        ({"published": [{"model": "A", "values": [1], "source": "B"}]}, "values must be like"),
    ],
)
def test_mistakes_are_named(change, named):
    with pytest.raises(UserError, match=f"^benchmark middlebury.*{named}"):
        from_config({**_node(), **change})


def test_an_option_that_a_metric_refuses_is_told_with_the_benchmark_and_the_metric():
    column = {"function": "ssim", "options": {"variant": "skimge"}}
    protocol = from_config({**_node(), "metrics": {"same": column}})
    said = r"benchmark middlebury: metric same \(ssim\): ssim has .*skimage, not 'skimge'"
    with pytest.raises(UserError, match=said):
        protocol.try_metrics()
    with pytest.raises(UserError, match=said):
        protocol.measure("same", torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_what_may_be_left_out():
    node = {key: _node()[key] for key in ("version", "layout", "subsets", "metrics")}
    protocol = from_config({**node, "expected": None}, "mine")
    assert protocol.id == "mine@1" and protocol.family == "mine" and protocol.expected == {}
    assert protocol.times == (0.5,) and protocol.pad is None and protocol.note == ""
    with pytest.raises(UserError, match="benchmark mine: its protocol says name: middlebury"):
        from_config(_node(), "mine")


def test_digest_follows_what_moves_a_number_only():
    protocol = from_config(_node())
    same = dataclasses.replace(protocol, note="other words", published=())
    other = dataclasses.replace(protocol, pad=Pad(16, "half", "after", (480, 640)))
    assert same.digest() == protocol.digest() != other.digest()


def test_a_layout_is_written_as_a_name_or_as_in_conf_data():
    target = "midframe.data.layouts.gopro.clips"
    named, plain, chosen = (
        from_config({**_node(), "layout": layout})
        for layout in (
            target,
            {"_target_": target, "_partial_": True, "on_error": "skip"},
            {"_target_": target, "factor": 4},
        )
    )
    assert {named.layout, plain.layout, chosen.layout} == {target}
    assert plain.layout_options == {"on_error": "skip"} and chosen.layout_options == {"factor": 4}
    assert named.digest() == plain.digest() != chosen.digest()


def test_the_options_reach_the_layout(tmp_path):
    root = fakes.gopro(tmp_path)
    node = {**_node(), "layout": {"_target_": "midframe.data.layouts.gopro.clips"}}
    for options in ({}, {"factor": 4}):
        node["layout"].update(options, on_error="skip")
        clips = from_config(node).find_layout()(root, "test", 1)
        assert clips[0].inputs == (0, options.get("factor", 8))


@pytest.mark.parametrize(
    ("layout", "named"),
    [
        ("midframe.data.layouts.middlebury.nix", "nix"),
        ("no_such_module.clips", "no_such_module.*MIDFRAME_PROJECT"),
        ("clips", "clips not found"),
        (".clips", "clips not found"),
        ("midframe.data.layouts.middlebury.SCENES", "is no function layout"),
        ({"_target_": "midframe.data.layouts.gopro.clips", "fcator": 4}, "fcator.*factor"),
        ("math.sqrt", r"sqrt\(x.*must have the form \(root, split, context, "),
    ],
)
def test_a_layout_that_cannot_be_called_is_named(layout, named):
    protocol = from_config({**_node(), "layout": layout})
    with pytest.raises(UserError, match=f"^benchmark middlebury: layout .*{named}"):
        protocol.find_layout()
