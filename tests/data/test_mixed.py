"""Mixtures of layouts keep their shares, come round, and validate on one part."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from midframe.data.clips import ClipDataset, collate
from midframe.data.layouts.mixed import mixed
from midframe.data.layouts.synthetic import synthetic
from midframe.data.records import Clip
from midframe.data.transforms import Augment
from midframe.errors import UserError

exact = partial(synthetic, size=48, scenes=500)
plain = partial(synthetic, size=64, scenes=7, val_scenes=3, flow=False, seed=5)
both = partial(mixed, parts={"real": plain, "exact": exact}, validate="real")


def test_shares_hold_and_a_small_part_comes_round() -> None:
    clips = both(Path(), "train", shares={"real": 1, "exact": 3}, length=400)
    assert len(clips) == 400
    real = Counter(clip.id for clip in clips if not clip.flow)
    assert sum(real.values()) == 100 and len(real) == 7
    assert max(real.values()) - min(real.values()) <= 1
    assert len({clip.id for clip in clips if clip.flow}) == 300
    assert clips[-1] == clips[399] and clips[3:5] == [clips[3], clips[4]]
    with pytest.raises(IndexError):
        clips[400]


def test_only_one_part_is_validated() -> None:
    clips = both(Path(), "val", shares={"real": 1, "exact": 1})
    assert [clip.id for clip in clips] == [clip.id for clip in plain(None, "val")]


def test_a_share_of_zero_leaves_a_part_out() -> None:
    def never(*_: object) -> list[Clip]:
        raise AssertionError("read a part that has no share")

    parts = {"real": plain, "never": never}
    clips = mixed(
        Path(), "train", parts=parts, shares={"real": 1, "never": 0}, validate="real", length=10
    )
    assert len(clips) == 10


def test_a_batch_says_which_samples_have_labels() -> None:
    clips = both(Path(), "train", shares={"real": 1, "exact": 1}, length=20)
    data = ClipDataset(clips, augment=Augment(32))
    batch = collate([data[0], data[15]])
    assert batch.flow is not None and batch.flow_valid is not None
    assert batch.flow_valid.tolist() == [0.0, 1.0]
    assert not batch.flow[0].any() and batch.flow[1].any()
    again = data[0], data[7]  # the same clip of the small part, cut out anew
    assert again[0].id == again[1].id
    assert not np.array_equal(again[0].frames, again[1].frames)
    assert torch.equal(batch.inputs.frames, collate([data[0], data[15]]).inputs.frames)


def test_wrong_names_are_told() -> None:
    with pytest.raises(UserError, match="give each a share"):
        both(Path(), "train", shares={"real": 1})
    with pytest.raises(UserError, match="shares"):
        both(Path(), "train", shares={"real": 0, "exact": 0})
    with pytest.raises(UserError, match="has no clip"):
        both(
            Path(),
            "train",
            shares={"real": 1, "exact": 1},
            parts={"real": lambda *_: [], "exact": exact},
        )
