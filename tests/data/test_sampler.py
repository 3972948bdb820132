"""Order follows from the step number: not from devices, workers or restarts."""

import itertools

import pytest

from midframe.data.sampler import EvalSampler, StepSampler, per_device_batch
from midframe.errors import UserError


def test_every_epoch_visits_every_clip_once_and_in_its_own_order():
    tickets = list(itertools.chain(*StepSampler(10, 4, seed=1, steps=10)))
    for epoch in range(4):
        part = tickets[10 * epoch : 10 * epoch + 10]
        assert {t.epoch for t in part} == {epoch}
        assert sorted(t.clip for t in part) == list(range(10))
    orders = [[t.clip for t in tickets[10 * e : 10 * e + 10]] for e in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    assert list(itertools.chain(*StepSampler(10, 4, seed=2, steps=10))) != tickets


def test_a_data_set_smaller_than_the_batch():
    batches = list(StepSampler(3, 8, seed=0, steps=5))
    assert [len(b) for b in batches] == [8] * 5
    assert sorted(t.clip for t in batches[0][:3]) == [0, 1, 2]
    assert batches[0][3].epoch == 1


@pytest.mark.parametrize("world, micro", [(2, 1), (4, 1), (1, 2), (2, 3), (3, 4)])
def test_global_batches_do_not_depend_on_devices_or_micro_batches(world, micro):
    whole = list(StepSampler(50, 24, seed=5, steps=7))
    parts = [
        list(StepSampler(50, 24, 5, rank, world, steps=7, micro_batches=micro))
        for rank in range(world)
    ]
    for step, expected in enumerate(whole):
        got = [t for rank in parts for b in rank[step * micro : (step + 1) * micro] for t in b]
        assert got == expected
    assert all(len(b) == 24 // world // micro for rank in parts for b in rank)


@pytest.mark.parametrize("start", [0, 1, 6, 7])
def test_a_later_start_continues_without_replay_and_keeps_the_length(start):
    whole = list(StepSampler(11, 4, seed=5, steps=7, micro_batches=2))
    late = StepSampler(11, 4, seed=5, steps=7, micro_batches=2, start_step=start)
    assert list(late) == whole[2 * start :]
    assert len(late) == 14


def test_a_batch_that_cannot_be_shared_names_ones_that_can():
    with pytest.raises(UserError, match=r"global_batch=24 .* 5 device.*global_batch=25"):
        StepSampler(10, 24, 0, world=5)
    assert per_device_batch(24, 4, 2) == 3
    with pytest.raises(UserError, match="global_batch=4"):
        per_device_batch(2, 4)
    with pytest.raises(UserError, match="no clip"):
        StepSampler(0, 4, 0)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("limit", [None, 1, 5, 99])
def test_evaluation_visits_every_clip_once(world, limit):
    samplers = [EvalSampler(13, 3, rank, world, limit) for rank in range(world)]
    seen = sorted(t.clip for s in samplers for batch in s for t in batch)
    count = min(limit or 13, 13)
    assert len(set(seen)) == count and len(seen) == max(count, world)
    assert all(len(list(s)) == len(s) for s in samplers)
    if limit is None:
        assert seen == list(range(13))


def test_no_rank_is_left_without_a_batch():
    """One without would not validate, and the others wait for it; rows are kept by clip."""
    shares = [list(EvalSampler(2, 4, rank, 4)) for rank in range(4)]
    assert [[t.clip for t in batch] for (batch,) in shares] == [[0], [1], [0], [0]]


def test_a_wrong_option_is_named_as_it_is_given():
    with pytest.raises(UserError, match=r"data\.val\.batch=0, data\.val\.limit=None"):
        EvalSampler(2, 0)


def test_a_limit_is_spread_over_the_data_set():
    (batch,) = EvalSampler(100, 8, limit=4)
    assert [t.clip for t in batch] == [0, 25, 50, 75]
