"""Folders of flow labels that others have made."""

from __future__ import annotations

import fakes
import numpy as np
import pytest

from midframe.data.flow_files import write_flow
from midframe.data.io import ImageFile
from midframe.data.labels import label_path, with_labels
from midframe.data.records import Clip

CLIPS = [
    Clip(f"a/{i}", tuple(ImageFile(f"{i}_{k}.png") for k in range(3)), (0, 2), (1,))
    for i in range(4)
]


@pytest.mark.parametrize("suffix", [".flo", ".npy", ".pfm", ".png"])
def test_published_labels_may_be_of_any_format(tmp_path, suffix):
    for clip in CLIPS[1:3]:  # the first has none
        for side in range(2):
            flow = fakes.moving_flow(0.5, side)
            write_flow(label_path(tmp_path, clip, 1, side, suffix), flow)
        (tmp_path / clip.id / "flow.txt").touch()
    found = with_labels(CLIPS, tmp_path, "train")
    assert [len(clip.flow) for clip in found] == [0, 1, 1, 0]
    for side in range(2):
        read = found[1].flow[1][side].read()
        np.testing.assert_array_equal(read, fakes.moving_flow(0.5, side))
