"""A full disk is the user's to mend, whoever meets it first."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig

from midframe.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def room_for(cfg: DictConfig) -> Iterator[None]:
    """Turn an error of a full disk within a training into one line; see `is_full`.

    Raises:
        UserError: where it is full.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        file = f" for {error.filename}" if error.filename else ""
        raise UserError(
            f"no room{file} under {cfg.run.dir or cfg.paths.runs} ({error.strerror}); the last "
            "good checkpoint is kept: make room, and the same command goes on from it"
        ) from error


def is_full(error: OSError) -> bool:
    """Whether a disk, a quota or a limit on files ended a write."""
    return error.errno in _FULL
