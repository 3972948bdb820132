"""Models by name, from Python and from config nodes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import yaml

import midframe
from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.paths import config_dir, config_files

KEYS = {"name", "net", "weights", "parts", "hints", "loss", "info", "motion"}


def test_every_yaml_is_a_complete_model_named_after_its_file():
    assert {"ifrnet_s", "ifrnet", "ifrnet_l", "average", "dis"} <= set(midframe.list_models())
    for name, path in config_files("model").items():
        text = path.read_text()
        config = yaml.safe_load(text)
        assert text.startswith("# ")
        assert config["name"] == name
        assert {"name", "net"} <= set(config) <= KEYS
        assert config.get("weights") is None
        facts = midframe.describe(name)
        model = midframe.create_model(name)
        assert set((config.get("parts") or {}).values()) <= {None}
        assert facts["parameters"] == sum(p.numel() for p in model.parameters())
        assert not {"context", "times"} & set(config.get("info") or {})  # the class says it
        assert (facts["context"], facts["times"]) == (model.context, model.times)
        assert facts["trainable"] == model.trainable


def test_published_models_say_where_they_come_from():
    for path in (config_dir() / "model").glob("*.yaml"):
        facts = midframe.describe(path.stem)
        if {"paper", "arxiv", "code"} & set(facts):
            assert {"paper", "licence", "official_weights"} <= set(facts), path


TINY = """
class Tiny(Interpolator):
    def __init__(self, start=0.5):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([float(start)]))
        if start == 7:
            self.weight.data.tolist()

    def forward(self, x, gain=1.0, **hints):
        first, second = (frame[:, None] for frame in x.pair)
        return Prediction(self.weight * gain * (first + second) + 0 * x.t[..., None, None, None])


class Tinier(Tiny):
    def forward(self, x, bias=0.0, **hints):
        out = super().forward(x, **hints)
        out.frame = out.frame + bias
        return out
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of one's own; returns how a model's yaml is put into it."""
    head = "import torch\nfrom midframe.models.base import Interpolator\n"
    head += "from midframe.types import Prediction\n"
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "tiny_of_a_test.py").write_text(head + TINY)
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "tiny_of_a_test", raising=False)

    def write(name, text):
        (tmp_path / "conf" / "model" / f"{name}.yaml").write_text(text)

    return write


def test_a_name_and_a_net_are_a_model(project):
    project("tiny", "name: tiny\nnet: {_target_: tiny_of_a_test.Tiny}\nloss: l1\n")
    assert "tiny" in midframe.list_models()
    facts = midframe.describe("tiny")
    assert (facts["parameters"], facts["times"], facts["context"]) == (1, "any", 1)
    assert facts["weights"] is None and facts["hints"] == {}
    assert "loss" not in facts
    frames = torch.rand(1, 2, 3, 8, 8)
    model = midframe.create_model("tiny", start=0.25)
    out = model.interpolate(midframe.Inputs(frames, torch.tensor([[0.5]])))
    torch.testing.assert_close(out.frame[:, 0], frames.sum(1) / 4)


def test_what_a_yaml_says_about_context_and_times_does_not_count(project):
    project(
        "tiny",
        "name: tiny\nnet: {_target_: tiny_of_a_test.Tiny, start: 7}\n"
        "info: {context: 2, times: half, paper: mine}\n",
    )
    facts = midframe.describe("tiny")
    assert (facts["name"], facts["context"], facts["times"]) == ("tiny", 1, "any")
    assert facts["paper"] == "mine" and facts["parameters"] == 1


def test_hints_of_a_yaml_are_some_that_forward_names(project):
    net = "name: tiny\nnet: {_target_: tiny_of_a_test.%s}\nhints: {%s}\n"
    project("tiny", net % ("Tiny", "gain: 0.0"))
    x = midframe.Inputs(torch.rand(1, 2, 3, 8, 8), torch.tensor([[0.5]]))
    assert (midframe.create_model("tiny").interpolate(x).frame == 0).all()
    project("tiny", net % ("Tinier", "gain: 0.0, bias: 0.25"))
    assert (midframe.create_model("tiny").interpolate(x).frame == 0.25).all()
    project("tiny", net % ("Tiny", "gain: 0.0, bias: 0.25"))
    with pytest.raises(UserError, match="model tiny has no hint bias; known: gain"):
        midframe.create_model("tiny")
    with pytest.raises(UserError, match="no hint bias"):
        midframe.describe("tiny")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("net: {}", "net._target_"),
        ("[1, 2]", "tiny.yaml must hold `key: value` lines"),
        (
            "net: {_target_: tiny_of_a_test.Tiny}",
            r"tiny.yaml must say `name: tiny`, as the file is",
        ),
        ("name: tidy\nnet: {_target_: a.B}", "must say `name: tiny`, .*not `name: tidy`"),
        ("name: {", "tiny.yaml is no yaml"),
        ("name: tiny\nnet: {_target_: tiny_of_a_test.Tony}", "no Tony; did you mean Tiny"),
        ("name: tiny\nnet: {_target_: tiny_of_a_test}", "tiny_of_a_test"),
    ],
)
def test_a_broken_yaml_is_told_to_who_asks_for_it_only(project, text, words):
    project("tiny", text)
    with pytest.raises(UserError, match=words) as caught:
        midframe.create_model("tiny")
    assert "\n" not in str(caught.value)
    assert set(zoo.list_flow_networks()) == {"pwcnet", "pwcnet_event", "liteflownet"}
    with pytest.raises(UserError, match="average is no flow network; .*liteflownet, pwcnet"):
        midframe.create_flow("average")


def test_an_empty_model_has_the_attributes_and_no_values():
    config = zoo.config_of("softsplat_personal")
    full, empty = zoo.build(config), zoo.build_empty({**config, "weights": "no/such.pth"})
    assert {p.device.type for p in empty.parameters()} == {"meta"}
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (full, empty)]
    assert shapes[0] == shapes[1]
    config["net"] = {"_target_": "midframe.models.softsplat_personal.SoftSplatPersonalGrid"}
    assert (full.times, zoo.build_empty(config).times) == ("any", "half")


def test_weights_none_leaves_a_model_untrained(tmp_path):
    config = {**zoo.config_of("ifrnet_s"), "weights": "none"}
    zoo.build(config)
    midframe.create_model("ifrnet_s", weights="none")
    with pytest.raises(UserError, match="no weights file"):
        zoo.build({**config, "weights": str(tmp_path / "x.pth")})


def test_options_replace_the_yamls():
    small = midframe.create_model("ifrnet", size="S")
    expected = midframe.create_model("ifrnet_s").state_dict()
    assert {k: v.shape for k, v in small.state_dict().items()} == {
        k: v.shape for k, v in expected.items()
    }
    assert not small.training


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: midframe.create_model("ifrnet_x"), ("ifrnet_x", "did you mean", "ifrnet_s")),
        (lambda: midframe.create_model("zzzz"), ("zzzz", "average")),
        (lambda: midframe.create_model("../data/vimeo"), ("no model",)),
        (lambda: midframe.create_model("ifrnet", sise="S"), ("sise", "known: size, init")),
        (lambda: midframe.create_model("average", size="S"), ("size", "known: none")),
        (lambda: midframe.create_model("ifrnet", size="XL"), ("XL", "base")),
        (lambda: midframe.create_model("dis", method="magic"), ("magic", "splat")),
        (lambda: zoo.build({"name": "m", "net": {"_target_": "no.such.Net"}}), ("no.such.Net",)),
        (lambda: zoo.build({"name": "m", "net": {"_target_": "pathlib.Path"}}), ("Interpolator",)),
    ],
)
def test_mistakes_are_named_in_one_line(call, words):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_build_takes_a_composed_node():
    from omegaconf import OmegaConf

    node = OmegaConf.load(config_dir() / "model" / "ifrnet_s.yaml")
    node.net.init = "he"
    node.hints = {"scale_factor": 0.5}
    model = zoo.build(node)
    assert type(model.fixed_hints) is dict
    frames = torch.rand(1, 2, 3, 40, 40)
    out = model.interpolate(midframe.Inputs(frames, torch.tensor([[0.5]])))
    assert out.flows_coarse[0].shape[-1] == 16  # half of the padded 64, at half the resolution
    torch.testing.assert_close(out.frame[:, 0], frames.mean(1), atol=1e-5, rtol=0)


def test_a_calls_hint_wins_over_the_models():
    model = midframe.create_model("ifrnet_s")
    model.fixed_hints = {"scale_factor": 0.5}
    x = midframe.Inputs(torch.rand(1, 2, 3, 64, 64), torch.tensor([[0.5]]))
    out = model.interpolate(x, scale_factor=1.0)
    assert out.flows_coarse[0].shape[-1] == 32


def test_average_is_the_weighted_mean_with_no_motion():
    frames = torch.rand(2, 2, 3, 9, 11)
    t = torch.tensor([[0.0, 0.25], [0.5, 1.0]])
    out = midframe.create_model("average").interpolate(midframe.Inputs(frames, t))
    expected = np.empty((2, 2, 3, 9, 11))
    for b in range(2):
        for k in range(2):
            first, second = frames[b].double().numpy()
            expected[b, k] = (1 - float(t[b, k])) * first + float(t[b, k]) * second
    np.testing.assert_allclose(out.frame.numpy(), expected, atol=1e-6)
    assert (out.flow == 0).all()
    assert torch.equal(out.mask[:, :, 0, 0, 0], 1 - t)


class _Odd(Interpolator):
    """A model whose class or call is not as the contract says; tests change one thing at a time."""

    def forward(self, x, **hints):
        return x


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("provides", "flow", r"_Odd\.provides = 'flow' must be a frozenset of names"),
        ("provides", {"flows"}, r"_Odd\.provides has flows; did you mean flow or flows_coarse\?"),
        ("needs", {"event"}, r"_Odd\.needs has event; did you mean events"),
        ("pad", 8, r"_Odd\.pad = 8 must be a Pad"),
        ("times", "all", r"_Odd\.times = 'all' must be 'any' or 'half'"),
        ("context", 3, r"_Odd\.context = 3 must be 1"),
        ("forward", lambda self, a, b, **hints: a, r"forward\(self, a, b, \*\*hints\) must have"),
        ("forward", lambda self, x: x, r"must have the form \(self, x, \*\*hints\)"),
    ],
)
def test_a_class_that_says_nonsense_is_told_before_it_is_built(monkeypatch, name, value, said):
    config = {"name": "odd", "net": {"_target_": f"{__name__}._Odd"}}
    assert zoo.check_config(config) is _Odd
    monkeypatch.setattr(_Odd, name, value)
    with pytest.raises(UserError, match=f"model odd: .*{said}"):
        zoo.check_config(config)


class _Bare(Interpolator):
    """A model that forgets to begin as every module does."""

    def __init__(self, layer=False):
        self.net = torch.nn.Conv2d(3, 3, 1) if layer else None


@pytest.mark.parametrize("layer", [True, False])
def test_a_constructor_that_forgets_super_is_told_so(layer):
    config = {"name": "bare", "net": {"_target_": f"{__name__}._Bare", "layer": layer}}
    for build in (zoo.build, zoo.build_empty):
        with pytest.raises(UserError) as caught:
            build(config)
        said = "model bare: _Bare.__init__ must begin with super().__init__()"
        assert str(caught.value) == said


@pytest.mark.parametrize(
    ("name", "hints", "said"),
    [
        ("ifrnet_s", {"scale_factor": -1}, "a scale_factor above 0, not -1"),
        ("upr", {"pyr_level": 0}, "pyr_level >= 1"),
        ("upr", {"pyr_level": 2, "nr_lvl_skipped": 2}, "0 <= nr_lvl_skipped < pyr_level"),
        ("upr", {"pyr_level": "many"}, "UPR-Net takes whole numbers"),
        ("upr", {"pyr_level": 99}, "pyr_level >= 1 and <= 10"),
        ("ifrnet_s", {"scale_factor": "half"}, "a number from 0.01 to 4"),
        ("ifrnet_s", {"scale_factor": float("nan")}, "a number from 0.01 to 4"),
        ("ifrnet_s", {"scale_factor": 0.333}, "two decimals"),
    ],
)
def test_a_hint_of_no_sense_is_told_before_anything_runs(name, hints, said):
    config = {**zoo.config_of(name), "hints": hints}
    for build in (zoo.build, zoo.build_empty):
        with pytest.raises(UserError) as error:
            build(config)
        assert "(model.hints)" in str(error.value) and said in str(error.value)
