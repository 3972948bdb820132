"""Samples are a function of their ticket; bad files are named, or skipped and counted."""

from dataclasses import dataclass, replace
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch

from midframe.data.dataset import ClipDataset, collate, labelled_share
from midframe.data.flow_files import FloFile
from midframe.data.io import write_image
from midframe.data.records import Box, Clip, Ticket
from midframe.data.transforms import Augment
from midframe.errors import UserError
from midframe.ops.warp import backwarp

PAPER = Augment(24, 0.1, 0.5, 0.3, 0.5, 0.05, 0.1, 0.5)


@dataclass(frozen=True)
class Numbered:
    """A frame whose every value is its own number; remembers nothing, reads no file."""

    number: int
    shape: tuple[int, int] = (40, 40)

    def size(self) -> tuple[int, int]:
        return self.shape

    def read(self, box: Box | None = None) -> np.ndarray:
        shape = self.shape if box is None else (box.height, box.width)
        return np.full((*shape, 3), self.number, np.uint8)


def _clip(count: int, inputs=(0, 1), targets=(), **options) -> Clip:
    return Clip("clip", tuple(Numbered(i) for i in range(count)), inputs, targets, **options)


def _same(a, b) -> bool:
    return (
        a.id == b.id
        and np.array_equal(a.frames, b.frames)
        and np.array_equal(a.target, b.target)
        and np.array_equal(a.t, b.t)
        and np.array_equal(a.flow, b.flow)
    )


@pytest.fixture(scope="module")
def triplets(tmp_path_factory) -> Path:
    return fakes.vimeo_triplets(tmp_path_factory.mktemp("vimeo"), train=6)


def test_a_triplet_is_read_as_it_is(triplets):
    sample = ClipDataset(fakes.labelled(triplets))[2]
    for frame, time in zip((*sample.frames, *sample.target), (0, 1, 0.5)):
        np.testing.assert_array_equal(frame, fakes.moving(time, seed=2))
    assert sample.t.tolist() == [0.5] and sample.size == fakes.SIZE
    np.testing.assert_array_equal(sample.flow[0, 1], fakes.moving_flow(0.5, 1))


def test_samples_follow_from_seed_epoch_and_index_alone(triplets):
    def make(seed: int = 3) -> ClipDataset:
        return ClipDataset(fakes.labelled(triplets), augment=PAPER, seed=seed)

    tickets = [Ticket(epoch, index) for epoch in range(3) for index in range(6)]
    one, other = make(), make()
    backward = {t: other[t] for t in reversed(tickets)}
    np.random.seed(5)  # noqa: NPY002  global state must not matter
    assert all(_same(one[t], backward[t]) for t in tickets)
    assert not all(_same(one[Ticket(0, i)], one[Ticket(1, i)]) for i in range(6))
    assert not all(_same(one[t], make(4)[t]) for t in tickets)


def test_augmented_batches_keep_flow_and_frames_together(triplets):
    dataset = ClipDataset(fakes.labelled(triplets), augment=PAPER)
    batch = collate([dataset[Ticket(e, i)] for e in range(8) for i in range(6)]).float()
    target, flow = batch.target[:, 0], batch.flow[:, 0]
    for frame, to in zip(batch.inputs.pair, flow.unbind(1)):
        inside = backwarp(torch.ones_like(frame), to, "zeros") > 0.999
        error = (backwarp(frame, to) - target).abs().mul(255)
        assert error[inside].mean() < 1.0 and error[inside].max() < 30


def test_fixed_times_draw_from_the_targets():
    dataset = ClipDataset([_clip(9, (0, 8), tuple(range(1, 8)))], targets=2)
    seen = set()
    for epoch in range(60):
        sample = dataset[Ticket(epoch, 0)]
        numbers = sample.target[:, 0, 0, 0].tolist()
        assert sample.frames[:, 0, 0, 0].tolist() == [0, 8] and numbers == sorted(set(numbers))
        np.testing.assert_allclose(sample.t, np.array(numbers) / 8)
        seen.update(numbers)
    assert seen == set(range(1, 8))
    with pytest.raises(UserError, match="targets=9"):
        ClipDataset([_clip(9, (0, 8), tuple(range(1, 8)))], targets=9)[0]


@pytest.mark.parametrize("targets", [None, 1, 3])
def test_any_times_draw_ordered_frames(targets):
    dataset = ClipDataset([_clip(7)], times="any", targets=targets)
    drawn = set()
    for epoch in range(400):
        sample = dataset[Ticket(epoch, 0)]
        first, last = sample.frames[:, 0, 0, 0].astype(int)
        between = sample.target[:, 0, 0, 0].astype(int)
        assert len(between) == (targets or 1)
        assert first < between[0] and between[-1] < last and (np.diff(between) > 0).all()
        np.testing.assert_allclose(sample.t, (between - first) / (last - first), rtol=1e-6)
        drawn.add((first, *between, last))
    assert len(drawn) == (35 if targets != 3 else 21)  # all choices of 3 (of 5) out of 7


def test_any_times_with_four_frames_are_evenly_spaced():
    dataset = ClipDataset([_clip(13)], context=2, times="any")
    for epoch in range(100):
        sample = dataset[Ticket(epoch, 0)]
        frames = sample.frames[:, 0, 0, 0].astype(int)
        step = frames[1] - frames[0]
        assert step >= 2 and (np.diff(frames) == step).all()
        assert frames[1] < sample.target[0, 0, 0, 0] < frames[2]
        np.testing.assert_allclose(sample.t, (sample.target[:, 0, 0, 0] - frames[1]) / step)
    with pytest.raises(UserError, match="has 6 frames.*take 7"):
        ClipDataset([_clip(6)], context=2, times="any")[0]


def test_labels_only_where_they_belong_to_the_drawn_inputs(triplets):
    clips = fakes.labelled(triplets)
    assert ClipDataset(clips, times="any")[0].flow is not None
    longer = replace(clips[0], frames=clips[0].frames + clips[1].frames)
    samples = [ClipDataset([longer], times="any")[Ticket(epoch, 0)] for epoch in range(100)]
    labelled = [sample for sample in samples if sample.flow is not None]
    assert 0 < len(labelled) < 30  # one choice of twenty
    for sample in labelled:
        for frame, time in zip((*sample.frames, *sample.target), (0, 1, 0.5)):
            np.testing.assert_array_equal(frame, fakes.moving(time, seed=0))


def test_only_the_crop_of_a_source_is_read():
    boxes = []

    class Spy(Numbered):
        def read(self, box=None):
            boxes.append(box)
            return super().read(box)

    clip = Clip("spy", tuple(Spy(i) for i in range(3)), (0, 2), (1,))
    ClipDataset([clip], augment=Augment(16))[0]
    ClipDataset([clip], crop=16)[0]
    assert len(boxes) == 6 and all((b.height, b.width) == (16, 16) for b in boxes)


# --- bad files


def _missing(path: Path) -> None:
    path.unlink()


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _odd_sized(path: Path) -> None:
    write_image(path, fakes.moving(0, (32, 40)))


def _foreign(path: Path) -> None:
    path.write_text("<html>")


BAD = [_missing, _truncated, _odd_sized, _foreign]


@pytest.mark.parametrize("spoil", BAD)
def test_a_bad_frame_is_named(tmp_path, spoil):
    fakes.vimeo_triplets(tmp_path)
    spoil(tmp_path / "sequences/00001/0002/im3.png")
    dataset = ClipDataset(fakes.labelled(tmp_path), augment=PAPER)
    assert dataset[Ticket(0, 0)].id == "00001/0001"
    with pytest.raises(UserError) as error:
        dataset[Ticket(0, 1)]
    message = str(error.value)
    assert "00001/0002/im3.png" in message and "\n" not in message
    if spoil is _odd_sized:
        assert "40x32" in message and "48x32" in message


def test_a_bad_label_is_named(tmp_path):
    fakes.vimeo_triplets(tmp_path)
    path = tmp_path / "flow/00001/0001/flow_t1.flo"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"flow_t1\.flo: cut off"):
        ClipDataset(fakes.labelled(tmp_path))[0]


@pytest.mark.parametrize("spoil", BAD)
def test_bad_clips_are_skipped_and_counted(tmp_path, spoil, caplog):
    fakes.vimeo_triplets(tmp_path, train=5)
    spoil(tmp_path / "sequences/00001/0002/im1.png")

    def make() -> ClipDataset:
        return ClipDataset(fakes.labelled(tmp_path), augment=PAPER, on_error="skip")

    dataset, again = make(), make()
    for epoch in range(5):
        sample = dataset[Ticket(epoch, 1)]
        assert sample.id != "00001/0002" and _same(sample, again[Ticket(epoch, 1)])
    assert dataset.skipped >= 5 and dataset.skipped == again.skipped
    assert caplog.text.count("skipped: ") == 2  # once for each data set, not each time
    dataset[Ticket(0, 0)]
    assert dataset.skipped == again.skipped


def test_skipping_does_not_hide_a_wrong_crop_or_a_lost_data_set(tmp_path):
    fakes.vimeo_triplets(tmp_path)
    clips = fakes.labelled(tmp_path)
    with pytest.raises(UserError, match="bigger than the frame"):
        ClipDataset(clips, augment=Augment(224), on_error="skip")[0]
    for path in tmp_path.glob("sequences/*/*/im2.png"):
        path.unlink()
    with pytest.raises(UserError, match="in a row cannot be read.*im2.png"):
        ClipDataset(clips, on_error="skip")[0]


# --- batches


def test_collate_stacks_contiguous_tensors(triplets):
    dataset = ClipDataset(fakes.labelled(triplets), augment=Augment((16, 24)))
    samples = [dataset[i] for i in range(3)]
    batch = collate(samples, "vimeo")
    assert batch.inputs.frames.shape == (3, 2, 3, 16, 24) and batch.target.shape[1] == 1
    assert batch.flow.shape == (3, 1, 2, 2, 16, 24) and batch.flow.dtype == torch.float32
    assert batch.inputs.frames.dtype == batch.target.dtype == torch.uint8
    assert all(x.is_contiguous() for x in (batch.inputs.frames, batch.target, batch.flow))
    assert batch.flow_valid is None and batch.ids == tuple(s.id for s in samples)
    assert batch.meta.dataset == "vimeo" and batch.meta.sizes == (fakes.SIZE,) * 3
    np.testing.assert_array_equal(
        batch.inputs.frames[1, 1].numpy(), samples[1].frames[1].transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(batch.flow[2, 0, 1, 0].numpy(), samples[2].flow[0, 1, ..., 0])
    assert batch.float().target.max() <= 1


def test_collate_marks_samples_without_labels(triplets):
    samples = [ClipDataset(fakes.labelled(triplets))[i] for i in range(3)]
    samples[1] = replace(samples[1], flow=None)
    batch = collate(samples)
    assert batch.flow_valid.tolist() == [1, 0, 1]
    assert not batch.flow[1].any() and batch.flow[0].any()
    bare = collate([replace(s, flow=None) for s in samples])
    assert bare.flow is None and bare.flow_valid is None


def test_collate_names_clips_of_different_size(triplets):
    one = ClipDataset([_clip(3, (0, 2), (1,))])[0]
    other = ClipDataset(fakes.labelled(triplets))[0]
    with pytest.raises(UserError, match=r"clip \(40x40.*00001/0001 \(48x32"):
        collate([one, other])


def test_clips_are_cheap_to_pickle(triplets):
    import pickle

    clips = fakes.labelled(triplets)
    many = [replace(clip, id=f"{i}") for i in range(200) for clip in clips]
    assert len(pickle.dumps(many)) / len(many) < 600
    assert pickle.loads(pickle.dumps(clips)) == clips
    assert isinstance(clips[0].flow[1][0], FloFile)


@dataclass(frozen=True)
class Still(Numbered):
    """A flow field without motion."""

    def read(self, box: Box | None = None) -> np.ndarray:
        return super().read(box)[..., :2].astype(np.float32)


@pytest.mark.parametrize(
    ("count", "inputs", "targets", "drawn"),
    [
        (3, (0, 2), (1,), 1),
        (5, (0, 4), (1, 2, 3), 1),
        (6, (1, 4), (2, 3), 2),
        (4, (0, 3), (1, 2), 1),
        (7, (0, 2, 4, 6), (3,), 1),
        (8, (0, 2, 4, 6), (3,), 1),
        (10, (0, 3, 6, 9), (4,), 1),
        (10, (0, 3, 6, 9), (4, 5), 2),
    ],
)
def test_the_share_of_samples_with_labels_is_the_one_that_is_drawn(count, inputs, targets, drawn):
    flow = {target: (Still(0), Still(0)) for target in targets}
    clip = _clip(count, inputs, targets, flow=flow)
    context, tries = len(inputs) // 2, 600
    share = labelled_share(clip, context, drawn)
    dataset = ClipDataset([clip], context, times="any", targets=drawn, crop=8)
    hits = sum(dataset[Ticket(epoch, 0)].flow is not None for epoch in range(tries))
    assert 0 < share <= 1
    assert hits / tries == pytest.approx(share, abs=4 * (share * (1 - share) / tries) ** 0.5)


def test_without_labels_or_frames_enough_no_sample_has_any():
    assert labelled_share(_clip(5, (0, 4), (2,)), 1, 1) == 0
    flow = {1: (Still(0), Still(0))}
    assert labelled_share(_clip(3, (0, 2), (1,), flow=flow), 1, 2) == 0
    assert labelled_share(_clip(4, (0, 1, 2, 3), (), flow=flow), 2, 1) == 0
