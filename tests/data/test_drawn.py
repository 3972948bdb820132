"""Epochs of draws: what is drawn follows from (seed, epoch, index), and every clip as often."""

from __future__ import annotations

from collections import Counter

import fakes
import numpy as np
import pytest

from midframe.data.drawn import DrawnData
from midframe.data.layouts import vimeo_bvidvc
from midframe.data.records import Ticket
from midframe.errors import UserError

FLIPS = {"horizontal_flip": 0.5, "vertical_flip": 0.5, "time_reversal": 0.5}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fakes.vimeo_bvidvc(tmp_path_factory.mktemp("both"))  # four septuplets, three quintuplets


def _data(root, draws, seed=0):
    options = {"context": 2, "crop": 16, "global_batch": 2, "augment": FLIPS, "workers": 0}
    val = {"split": "test", "batch": 2}
    return DrawnData("both", vimeo_bvidvc.clips, root, draws=draws, seed=seed, val=val, **options)


def _ids(data, steps, start=0):
    loader = data.train_loader(steps=steps, start_step=start)
    return [batch.ids for batch in loader]


def test_without_draws_an_epoch_is_every_item_once(root):
    data = _data(root, None)
    assert len(data.train_set) == 7
    names = [name for ids in _ids(data, 7) for name in ids]  # two epochs
    assert Counter(names) == {clip.id: 2 for clip in data.clips("train")}


def test_an_epoch_has_as_many_draws_as_were_asked_for(root):
    data = _data(root, 1000)
    assert len(data.train_set) == 1000
    drawn = Counter(
        data.train_set[Ticket(epoch, index)].id for epoch in range(3) for index in range(0, 1000, 3)
    )
    share = sum(n for name, n in drawn.items() if name.startswith("vimeo/")) / sum(drawn.values())
    assert share == pytest.approx(4 / 7, abs=0.05)  # a set by its size
    assert len(drawn) == 7 and min(drawn.values()) > 0.6 * max(drawn.values())  # then an item


def test_a_sample_follows_from_seed_epoch_and_index(root):
    one, other = _data(root, 50), _data(root, 50)
    tickets = [Ticket(2, i) for i in range(50)]
    first = [one.train_set[ticket] for ticket in tickets]
    again = [other.train_set[ticket] for ticket in reversed(tickets)][::-1]
    for a, b in zip(first, again):
        assert a.id == b.id
        np.testing.assert_array_equal(a.frames, b.frames)
    for changed in (_data(root, 50, seed=1).train_set, one.train_set):
        epoch = 2 if changed is not one.train_set else 3
        ids = [changed[Ticket(epoch, i)].id for i in range(50)]
        assert ids != [sample.id for sample in first]
    assert _ids(one, 40)[30:] == _ids(one, 40, start=30)  # across the end of an epoch


def test_a_clip_drawn_twice_is_cropped_and_turned_anew(root):
    data = _data(root, 60).train_set
    crops = {data[i].frames.tobytes() for i in range(60)}
    assert len(crops) > 55


def test_validation_is_not_drawn_and_repeats_for_any_seed(root):
    batches = [
        [b for b in _data(root, draws, seed).val_loader()] for draws, seed in ((None, 0), (9, 1))
    ]
    for one, other in zip(*batches, strict=True):
        assert one.ids == other.ids
        assert (one.inputs.frames == other.inputs.frames).all()


@pytest.mark.parametrize("draws", [0, -1, 1.5])
def test_a_wrong_number_is_named(root, draws):
    with pytest.raises(UserError, match="data.draws="):
        _data(root, draws)
    with pytest.raises(IndexError):
        _data(root, 5).train_set[Ticket(0, 5)]
