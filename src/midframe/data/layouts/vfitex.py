"""VFITex: 20 sequences of moving textures, cut into quintuplets for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from midframe.data.io import ImageFile
from midframe.data.layouts.folders import FrameType, every_second
from midframe.data.parts import CentreHalf
from midframe.data.records import Clip

TREE = """\
  vfitex/
    sakura_4K_pexels/001.png 002.png ...      (20 folders of frames; of those with 4K in their
    ...                                        names the centre is taken, half as high and wide)
The data set is VFITex, made for ST-MFNet (Danier et al., CVPR 2022), whose repository offers it."""
_HALVED = "4K"


def quintuplets(root: Path | None, split: str = "test", context: int = 2) -> Sequence[Clip]:
    """Index frames t, t+2, t+4, t+6 with the target t+3, for every second t of each sequence.

    Args:
        root: the folder that holds one folder of frames per sequence.
        split: "test".
        context: 2; with 1 the inputs are t+2 and t+4, for the same targets.

    Raises:
        UserError: if the folder is missing or holds no sequence of seven frames.
    """
    return every_second("vfitex", root, split, context, TREE, _read)


def _read(folder: str) -> FrameType:
    return CentreHalf if _HALVED in folder else ImageFile
