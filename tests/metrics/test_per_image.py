"""Means over images do not depend on order, sharding or repeated samples."""

import math
import pickle
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midframe.metrics import PerImage

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@settings(max_examples=50, deadline=None)
@given(VALUES, st.integers(1, 8), st.randoms(use_true_random=False))
def test_any_sharding_gives_the_same_bits(values, shards, rng: random.Random):
    rows = [(f"clip/{i}", {"psnr": v, "ssim": v / 3}) for i, v in enumerate(values)]
    whole = PerImage(dict(rows)).means()
    assert whole["psnr"] == math.fsum(values) / len(values)

    padded = rows + rows[: -len(rows) % shards]  # as a distributed sampler repeats samples
    rng.shuffle(padded)
    parts = [PerImage() for _ in range(shards)]
    for i, (key, row) in enumerate(padded):
        parts[i % shards].add(key, row)
    merged = PerImage()
    for part in parts:
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert merged.means() == whole and len(merged) == len(rows)


def test_batches_subsets_and_repeats():
    images = PerImage()
    images.add_batch(
        ["a", "b"], {"psnr": torch.tensor([10.0, 20.0]), "ie": torch.tensor([1.0, 3.0])}
    )
    images.add("b", {"psnr": 99.0})
    assert "b" in images and images.rows["b"]["psnr"] == 20.0
    assert images.means() == {"psnr": 15.0, "ie": 2.0}
    assert images.means(["b"]) == {"psnr": 20.0, "ie": 3.0}
    assert PerImage().means() == {}
    with pytest.raises(ValueError, match="1 values of psnr for 2 images"):
        images.add_batch(["c", "d"], {"psnr": torch.ones(1)})


def test_rows_are_copies():
    row = {"psnr": 1.0}
    images = PerImage()
    images.add("a", row)
    other = PerImage().merge(images)
    row["psnr"] = 2.0
    images.rows["a"]["psnr"] = 3.0
    assert other.rows["a"]["psnr"] == 1.0
