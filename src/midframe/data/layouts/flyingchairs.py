"""FlyingChairs: pairs of frames with exact flow, by the official list of the two splits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from midframe.data.flow_files import FloFile, NoMotion
from midframe.data.io import ImageFile
from midframe.data.layouts.folders import OnError, need, need_split, report_missing, serves
from midframe.data.records import Clip, PartialClips
from midframe.errors import UserError

LIST = "FlyingChairs_train_val.txt"
TREE = f"""\
  FlyingChairs_release/
    data/00001_img1.ppm 00001_img2.ppm 00001_flow.flo  ...
    {LIST}               (here or beside the folder; line i is 1 where pair i
                                             is for training, 2 for validation)
The data set is FlyingChairs of FlowNet (Dosovitskiy et al., 2015), 31 GB; the list is offered
beside it."""
_SPLITS = {"train": "1", "val": "2"}


@serves("flyingchairs", (1,), "a model of two frames")
def pairs(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    learns: Literal["flow"] = "flow",
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index the pairs: the target is the first frame itself, with its flow to the second.

    Args:
        root: the folder with ``data``.
        split: "train" (22,232 pairs) or "val" (640).
        context: 1.
        learns: "flow": there is no frame between the two to learn from.
        on_error: "skip" leaves out listed pairs that are not there and counts them, "raise" stops.

    Raises:
        UserError: if the folder, the list or a pair of it is missing, the list is not one of 1 and
            2, or the context is not 1.
    """
    need_split("flyingchairs", split, _SPLITS)
    if learns != "flow":
        raise UserError(
            "data flyingchairs has no frame between its two; use it with a flow network, such as "
            "model=pwcnet"
        )
    root = need(root, TREE)
    names = set(os.listdir(need(root / "data", TREE)))  # noqa: PTH208  no 70,000 paths
    wanted = _SPLITS[split]
    listed = [f"{i:05d}" for i, mark in enumerate(_marks(root), start=1) if mark == wanted]
    missing = [e for e in listed if not all(f"{e}_{part}" in names for part in _PARTS)]
    count = report_missing("flyingchairs", missing, len(listed), TREE, root, on_error)
    absent = set(missing)
    return PartialClips(_clips(root, [e for e in listed if e not in absent]), count)


_PARTS = ("img1.ppm", "img2.ppm", "flow.flo")


def _marks(root: Path) -> list[str]:
    """Return the list's marks, one per pair."""
    path = next((p for p in (root / LIST, root.parent / LIST) if p.is_file()), root / LIST)
    marks = need(path, TREE).read_text().split()
    wrong = next((i for i, mark in enumerate(marks) if mark not in _SPLITS.values()), None)
    if wrong is not None:
        raise UserError(
            f"{path}: entry {wrong + 1} is {marks[wrong][:20]!r}; the list holds a 1 (training) or "
            "2 (validation) per pair"
        )
    return marks


def _clips(root: Path, entries: list[str]) -> list[Clip]:
    if not entries:
        return []
    starts = [os.path.join(root, "data", f"{e}_") for e in entries]  # noqa: PTH118  22,000 times
    flows = [FloFile(f"{start}{_PARTS[2]}") for start in starts]
    still = _still(flows)
    clips: list[Clip] = []
    for entry, start, flow in zip(entries, starts, flows):
        frames = (ImageFile(f"{start}{_PARTS[0]}"), ImageFile(f"{start}{_PARTS[1]}"))
        clips.append(Clip(entry, frames, (0, 1), (0,), {0: (still, flow)}, group=entry))
    return clips


def _still(flows: list[FloFile]) -> NoMotion:
    """Return the field without motion that all pairs share: they are of one size."""
    for flow in flows:
        with contextlib.suppress(UserError):  # a pair that is damaged is told of when it is read
            return NoMotion(*flow.size())
    return NoMotion(*flows[0].size())  # all are: this one says so
