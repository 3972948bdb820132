"""Ways to run a model: their names, what they do to its weights, and who cannot take part."""

from __future__ import annotations

import pytest
import torch

from midframe.errors import UserError
from midframe.models.zoo import create_model
from midframe.speed.ways import WAYS, Way, named, obstacle, prepare


def test_names_are_one_with_spaces_or_underscores() -> None:
    assert [named(name) for name in WAYS] == list(WAYS.values())
    assert named("bf16_channels_last") == Way("bf16", channels_last=True)
    assert named(" fp32  channels_last compiled ") == named("fp32_channels_last_compiled")
    assert str(Way("bf16", True, True)) == "bf16 channels_last compiled"
    with pytest.raises(UserError, match=r"no way bf61 .*did you mean bf16"):
        named("bf61")


@pytest.mark.parametrize("way", [way for way in WAYS.values() if not way.compiled], ids=str)
def test_a_copy_has_the_precision_and_the_layout(way: Way) -> None:
    model = create_model("ifrnet_s")
    ready = prepare(model, way)
    weights = [w for w in ready.parameters() if w.ndim == 4 and min(w.shape) > 1]
    kept = torch.channels_last if way.channels_last else torch.contiguous_format
    assert weights and all(w.is_contiguous(memory_format=kept) for w in weights)
    assert ready.dtype == (torch.bfloat16 if way.precision == "bf16" else torch.float32)
    assert model.dtype == torch.float32 and all(w.is_contiguous() for w in model.parameters())


def test_bf16_is_for_models_that_cast_or_have_no_weights() -> None:
    model = create_model("ifrnet_s")
    model.__class__ = type("Other", (type(model),), {"casts": False})
    assert obstacle(model, Way("fp32", True, True)) is None
    assert obstacle(create_model("average"), Way("bf16")) is None
    assert "Other has no bf16" in str(obstacle(model, Way("bf16")))
    with pytest.raises(UserError, match="no bf16"):
        prepare(model, Way("bf16"))
