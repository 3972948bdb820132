"""Checkpoints as files: whole or not there at all, on the disk before they count, and checkable."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from midframe.errors import UserError
from midframe.files import aside_of
from midframe.models.weights import LAST

# Of a run directory: what last.ckpt was before the newest one took its place.
PREVIOUS = "previous.ckpt"


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place, waits for the disk, and renames it.

    Lightning itself writes into the folder for temporary files and moves the file from there, which
    copies it where that is another disk: a run killed meanwhile has half a file under the name.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            UserError: if it cannot be written, such as on a full disk; what was there stays.
        """
        path = Path(path)
        buffer = io.BytesIO()  # torch hides why it cannot write into a file of its own
        torch.save(checkpoint, buffer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_through(path, buffer.getbuffer())
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror or error}; the last good checkpoint is "
                "kept; make room, and the same command goes on from it"
            ) from error


def write_through(path: Path, data: bytes | memoryview) -> None:
    """Write a file aside, see it on the disk, and rename it; if that fails, nothing is left of it.

    Raises:
        OSError: if it cannot be written.
    """
    aside = aside_of(path)
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def put_in_place(aside: Path, folder: Path) -> None:
    """Make a file the ``last.ckpt`` of a folder, and the one that was there the one before.

    There is a whole ``last.ckpt`` at every moment, where the file system has links.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    if last.exists():
        link = aside_of(previous)
        link.unlink(missing_ok=True)
        try:
            link.hardlink_to(last)
            link.replace(previous)
        except OSError:  # a file system without links
            link.unlink(missing_ok=True)
            last.replace(previous)
    aside.replace(last)


def step_of(path: Path) -> int | None:
    """Return the optimizer step of a checkpoint, None where it is damaged; tensors are not read.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with path.open("rb"):
            pass
    except OSError as error:  # not damage: it may be fine for somebody with the rights to read it
        raise UserError(f"cannot read the checkpoint {path}: {error}") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(state["global_step"])
    except Exception:  # torch raises many types on damaged files; all mean the same here
        return None


def is_whole(path: Path) -> bool:
    """Whether every byte of a checkpoint is as it was written.

    torch.load does not compare the checksums that a checkpoint has as a zip file, so that a flipped
    bit of a weight would be trained on.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # like torch, zipfile raises many types on damaged files
        return False
