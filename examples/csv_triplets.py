"""A data layout of one's own: pictures in a folder, and a csv that says which three go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from midframe.data.io import ImageFile, write_image
from midframe.data.layouts.folders import (
    OnError,
    need,
    need_split,
    read_csv,
    report_missing,
    serves,
)
from midframe.data.records import Clip, PartialClips

TREE = """\
  my_triplets/
    triplets.csv             (first,middle,last,split: three pictures, then train or val)
    pictures/a_0001.png ...  (anywhere below the folder, as the table names them)"""
COLUMNS = ("first", "middle", "last", "split")


@serves("csv_triplets", (1,), "a model of two frames")
def triplets(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    table: str = "triplets.csv",
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index the triplets of a table: inputs first and last, target middle.

    Args:
        root: the folder with the table.
        split: "train" or "val", as the table's last column says.
        context: 1.
        table: the name of the table.
        on_error: "skip" leaves out triplets with a picture that is not there and counts them,
            "raise" stops.

    Raises:
        UserError: if the folder, the table, a column or a picture is missing, or the context is
            not 1.
    """
    need_split("csv_triplets", split, ("train", "val"))
    root = need(root, TREE)
    rows = [row for row in read_csv(root / table, COLUMNS, TREE) if row["split"] == split]
    clips = [_clip(root, row) for row in rows]
    missing = [clip.id for clip in clips if not all(Path(f.path).is_file() for f in clip.frames)]
    count = report_missing("csv_triplets", missing, len(clips), TREE, root, on_error)
    absent = set(missing)
    return PartialClips((clip for clip in clips if clip.id not in absent), count)


def _clip(root: Path, row: dict[str, str]) -> Clip:
    frames = tuple(ImageFile(str(root / row[name])) for name in ("first", "middle", "last"))
    name = Path(row["middle"]).with_suffix("").as_posix()  # unique, as each is a target once
    return Clip(id=name, frames=frames, inputs=(0, 2), targets=(1,), group=name)


def write_example(root: Path) -> Path:
    """Write a small folder of this form; the tests try the layout with it."""
    lines = [",".join(COLUMNS)]
    for number, split in enumerate(["train"] * 4 + ["val"] * 2):
        noise = np.random.default_rng(number).uniform(0, 256, (9, 12, 3)).astype(np.uint8)
        wide = noise.repeat(16, 0).repeat(16, 1)  # 144x192; each frame shows another 160 columns
        names = [f"pictures/{number:04d}_{i}.png" for i in range(3)]
        for i, name in enumerate(names):
            write_image(root / name, np.ascontiguousarray(wide[:, 8 * i : 8 * i + 160]))
        lines.append(",".join([*names, split]))
    (root / "triplets.csv").write_text("\n".join(lines) + "\n")
    return root
