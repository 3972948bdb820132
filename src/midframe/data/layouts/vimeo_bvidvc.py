"""What ST-MFNet is trained on: Vimeo-90K septuplets, and after them BVI-DVC quintuplets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from midframe.data.layouts import bvidvc as bvi
from midframe.data.layouts import vimeo as vimeo90k
from midframe.data.layouts.folders import OnError, need, need_split, only_the_gap, serves
from midframe.data.records import Clip, PartialClips

TREE = "  (a folder that holds both)\n" + "\n".join((vimeo90k.SEPTUPLETS, bvi.TREE))


@serves("vimeo_bvidvc", (1, 2), "data=clips")
def clips(
    root: Path | None,
    split: str,
    context: int = 2,
    *,
    vimeo: str = "vimeo_septuplet",
    bvidvc: str = "bvidvc",
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index both: inputs 1, 3, 5, 7, target 4. Names begin with ``vimeo/`` or ``bvidvc/``.

    Args:
        root: the folder with the folders of both.
        split: "train" (64,612 septuplets and 17,600 quintuplets), or "test" (7,824 septuplets).
        context: 2; with 1 the inputs are the frames 3 and 5.
        vimeo: the folder of the septuplets, below ``root`` or absolute.
        bvidvc: that of the quintuplets.
        on_error: "skip" leaves out entries that are not there and counts them, "raise" stops.

    Raises:
        UserError: if a folder, the list or an entry of it is missing.
    """
    need_split("vimeo_bvidvc", split, ("train", "test"))
    root = need(root, TREE)
    seven = vimeo90k.septuplets(need(root / vimeo, TREE), split, 2, on_error=on_error)
    found = list(_named("vimeo", seven, context))
    missing = getattr(seven, "missing", 0)
    if split == "train":
        five = bvi.quintuplets(need(root / bvidvc, TREE), split, 2, on_error=on_error)
        found += _named("bvidvc", five, context)
        missing += getattr(five, "missing", 0)
    return PartialClips(found, missing)


def _named(part: str, found: Sequence[Clip], context: int) -> Iterator[Clip]:
    for clip in found:
        name = f"{part}/{clip.id}"
        yield replace(clip if context == 2 else only_the_gap(clip), id=name, group=name)
