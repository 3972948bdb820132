"""Where a conversion may write: nothing that is no result of one is replaced, its input never."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from midframe.errors import UserError
from midframe.launch.convert_plan import Job
from midframe.video.pictures import Pictures, is_pattern, name_of
from midframe.video.target import WRITTEN

_OURS = re.compile(r"\d{6,}\.png")  # in a folder of pictures


def check_out(job: Job, overwrite: bool) -> None:
    """Look at the place of an output before anything is done.

    Args:
        job: the plan.
        overwrite: whether an earlier result may be replaced.

    Raises:
        UserError: where it would cost somebody something, or does not fit there.
    """
    out = job.out
    if str(out) == "-":
        raise UserError("-: nothing is written to standard output; give a file or a folder")
    if out.is_dir() and out.suffix.lower() in WRITTEN:
        raise UserError(f"{out} is a folder; give a file")
    if is_pattern(out):
        _check_pictures(job, overwrite)
    elif out.is_dir():
        _check_folder(job, overwrite)
    elif out.exists():
        if any(out.samefile(path) for path in _inputs(job)):
            raise UserError(f"{out} is the input; give another name")
        if not overwrite:
            raise UserError(f"{out} exists; give another name, or add --overwrite")
    folder = next(path for path in out.absolute().parents if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{out}: nothing can be written in {folder}")
    if job.target.kind in ("raw", "y4m"):
        # its parts are there until the whole is
        _check_room(out, 2 * len(job.schedule) * job.target.form.frame_bytes)


def _inputs(job: Job) -> Iterator[Path]:
    source = job.clip.source
    paths = source.paths if isinstance(source, Pictures) else [job.clip.path]
    return (path for path in paths if path.exists())


def _check_folder(job: Job, overwrite: bool) -> None:
    out = job.out.resolve()
    for path in _inputs(job):
        if out in path.resolve().parents:
            raise UserError(f"the input {path} lies in {job.out}; give a new folder")
    names = sorted(path.name for path in out.iterdir())
    if names and not overwrite:
        raise UserError(f"{job.out} is not empty; give another name, or add --overwrite")
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    if foreign:
        raise UserError(f"{job.out} holds {foreign[0]}, which is not ours; give a new folder")


def _check_pictures(job: Job, overwrite: bool) -> None:
    out = job.out
    folder = out.parent
    if not folder.is_dir():
        return
    there = {path.name for path in folder.iterdir()}
    names = (name_of(out, number) for number in range(len(job.schedule)))
    old = [name for name in names if name in there]
    if not old:
        return
    taken = {path.resolve() for path in _inputs(job)}
    for name in old:
        if (folder / name).resolve() in taken:
            raise UserError(f"{folder / name} is of the input; give another folder or name")
    if not overwrite:
        raise UserError(f"{folder / old[0]} exists; give another name, or add --overwrite")


def _check_room(out: Path, needed: int) -> None:
    folder = next(p for p in out.absolute().parents if p.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{out} takes {needed / 1e9:.1f} GB with its parts, there are {free / 1e9:.1f} GB free "
            f"in {folder}"
        )
