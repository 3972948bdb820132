"""Graphs for any size: which can be recorded, and what is said of those that cannot."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from midframe import create_model
from midframe.errors import UserError
from midframe.export import verify
from midframe.export.engine import load_engine
from midframe.export.make import Wanted, make
from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import lacking
from midframe.ops import correlation
from midframe.types import Inputs, Prediction

REFUSED = "of_some cannot be recorded for any size ("


class OfSome(Interpolator):
    """Computes what does not go for every size."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Return the first frame, or some of it."""
        return Prediction(self._some(x.pair[0])[:, None])

    def _some(self, first: Tensor) -> Tensor:
        if self.kind == "broad":
            return first if first.shape[-1] > 30 else 1 - first
        if self.kind == "square":
            return first + first.transpose(2, 3)
        if self.kind == "both":
            return first if first.shape[-1] > 30 and first.shape[-2] > 20 else 1 - first
        raise RuntimeError("no\x1b way " + "on" * 300 + "\nand more of it")


def _refused(kind: str, tmp_path) -> str:
    one = Wanted(OfSome(kind).eval(), "of_some", "pt2", None, {})
    with pytest.raises(UserError) as told:
        make(one, tmp_path / "some.pt2")
    text = str(told.value)
    assert text.startswith(REFUSED) and text.endswith("); give --size HEIGHTxWIDTH")
    assert text.isprintable() and list(tmp_path.iterdir()) == []
    return text[len(REFUSED) : -len("); give --size HEIGHTxWIDTH")]


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("broad", ["Not all values of width satisfy 31 <= width"]),
        ("square", ["width", "height", "must always be equal"]),
        ("both", ["values of height satisfy 21 <= height", "values of width satisfy 31 <= width"]),
    ],
)
def test_what_holds_for_some_sizes_only_is_told_in_words(kind, reasons, tmp_path):
    found = _refused(kind, tmp_path)
    assert all(reason in found for reason in reasons), found
    assert len(found) <= 200
    assert "L[" not in found and "TORCH_LOGS" not in found


def test_a_reason_is_short_and_of_one_line(tmp_path):
    found = _refused("raises", tmp_path)
    assert found.startswith("no\ufffd way onon") and found.endswith("...") and len(found) == 200


class Coarse(Interpolator):
    """Correlates at a quarter of the size, of which frames up to four pixels have one only."""

    pad = Pad(1)
    recorded_from: ClassVar[int] = 5

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Return the first frame, changed by how alike both are."""
        height, width = x.frames.shape[-2:]
        sides = (0, lacking(width, 4), 0, lacking(height, 4))
        first, second = (F.avg_pool2d(F.pad(frame, sides), 4) for frame in x.pair)
        found = correlation(first, second, 1).max(1, keepdim=True).values
        alike = F.interpolate(found, scale_factor=4.0, mode="nearest")[..., :height, :width]
        return Prediction((x.pair[0] * (1 - alike))[:, None])


SMALL = [(2, 2), (4, 3), (3, 9), (17, 4), (33, 18)]


@pytest.mark.slow
def test_what_is_recorded_from_more_pixels_takes_fewer(tmp_path):
    model = Coarse().eval()
    made = make(Wanted(model, "coarse", "pt2", None, {}), tmp_path / "coarse.pt2")
    assert made.facts.least == 2
    found = verify.differences(load_engine(tmp_path / "coarse.pt2"), model, SMALL, {})
    assert max(one.greatest for one in found) < 1e-5


@pytest.mark.slow
def test_the_event_model_takes_any_size(tmp_path):
    """In few channels; frames of 16 pixels and less on both sides are padded further."""
    torch.manual_seed(0)
    model = create_model("event", channels=[8] * 5, bins=2).eval()
    make(Wanted(model, "event", "pt2", None, {}), tmp_path / "event.pt2")
    sizes = [(2, 2), (16, 16), (17, 5), (3, 40), (33, 18)]
    found = verify.differences(load_engine(tmp_path / "event.pt2"), model, sizes, {})
    assert max(one.greatest for one in found) < 1e-5
