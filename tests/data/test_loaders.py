"""What loading rests on besides samples: threads of workers, batches that fit, fingerprint."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from midframe.data.dataset import collate
from midframe.data.module import Data
from midframe.data.records import Box, Clip, Sample
from midframe.errors import UserError


@dataclass(frozen=True)
class Threads:
    """A frame whose every value is the number of threads that OpenCV uses where it is read."""

    def size(self) -> tuple[int, int]:
        return 16, 16

    def read(self, box: Box | None = None) -> np.ndarray:
        shape = (16, 16) if box is None else (box.height, box.width)
        return np.full((*shape, 3), cv2.getNumThreads(), np.uint8)


@dataclass(frozen=True)
class Still:
    """A flow field without motion."""

    def size(self) -> tuple[int, int]:
        return 16, 16

    def read(self, box: Box | None = None) -> np.ndarray:
        return np.zeros((16, 16, 2), np.float32)


CLIP = Clip("a", (Threads(),) * 5, (0, 4), (2,))


def _data(clip: Clip, workers: int = 0) -> Data:
    return Data(
        "one",
        lambda root, split, context: [clip],
        global_batch=1,
        crop=16,
        workers=workers,
    )


@pytest.fixture
def _three_threads():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize(("workers", "threads"), [(0, 3), (1, 1)])
def test_opencv_starts_no_threads_of_its_own_in_workers(workers, threads):
    """Each of many workers would start as many as there are cores."""
    (batch,) = _data(CLIP, workers).train_loader(steps=1)
    assert batch.inputs.frames.unique().tolist() == [threads]


@pytest.mark.parametrize(
    "changed",
    [
        replace(CLIP, id="b"),
        replace(CLIP, inputs=(0, 3)),
        replace(CLIP, targets=(3,)),
        replace(CLIP, flow={2: (Still(), Still())}),
    ],
    ids=["id", "inputs", "targets", "flow"],
)
def test_the_fingerprint_tells_apart_what_is_learnt_from(changed):
    assert _data(CLIP).fingerprint() == _data(replace(CLIP)).fingerprint()
    assert _data(changed).fingerprint() != _data(CLIP).fingerprint()


def test_a_batch_has_targets_for_all_of_its_samples_or_for_none():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    with_target = Sample(frames, frames[:1], np.array([0.5], np.float32), id="a")
    without = replace(with_target, target=None, id="b")
    assert collate([without, without]).target is None
    for pair in ([with_target, without], [without, with_target]):
        with pytest.raises(UserError, match="only one has targets"):
            collate(pair)
