"""DAVIS as 90 folders of frames, cut into quintuplets for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from midframe.data.layouts.folders import every_second
from midframe.data.records import Clip

TREE = """\
  davis90/
    bear/00000.jpg 00001.jpg ...          (90 folders of frames)
    bike-packing/...
The data set is DAVIS 2017 at 480p, as Quadratic Video Interpolation (Xu et al., NeurIPS 2019) \
offers it for tests."""


def quintuplets(root: Path | None, split: str = "test", context: int = 2) -> Sequence[Clip]:
    """Index frames t, t+2, t+4, t+6 with the target t+3, for every second t of each sequence.

    Args:
        root: the folder that holds one folder of frames per sequence.
        split: "test".
        context: 2; with 1 the inputs are t+2 and t+4, for the same targets.

    Raises:
        UserError: if the folder is missing or holds no sequence of seven frames.
    """
    return every_second("davis90", root, split, context, TREE)
