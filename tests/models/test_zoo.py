"""Models by name, from Python and from config nodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

import midframe
from midframe.errors import UserError
from midframe.models import zoo
from midframe.paths import config_dir


def test_every_yaml_is_a_complete_model_named_after_its_file():
    names = midframe.list_models()
    assert {"ifrnet_s", "ifrnet", "ifrnet_l", "average", "dis"} <= set(names)
    for name in names:
        text = (config_dir() / "model" / f"{name}.yaml").read_text()
        config = yaml.safe_load(text)
        assert text.startswith("# ")
        assert config["name"] == name
        assert set(config) == {"name", "net", "weights", "hints", "info"}
        assert config["weights"] is None
        facts = midframe.describe(name)
        count = sum(p.numel() for p in midframe.create_model(name).parameters())
        assert facts["parameters"] == count
        assert {"paper", "licence", "official_weights", "context", "times"} <= set(facts)
        cls = type(midframe.create_model(name))
        assert (facts["context"], facts["trainable"]) == (cls.context, cls.trainable)


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
