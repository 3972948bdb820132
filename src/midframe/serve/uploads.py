"""Clips that a page sends: received within limits, under names of our own, known by content."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from midframe.plain_text import plain

MEGABYTE = 1_000_000
_HEAD = 4096  # bytes that tell what a file is
_SPARE = 200 * MEGABYTE  # of the disk, beside what is received
_PATIENCE = 60.0  # seconds that may be waited for as many bytes as these
_LEAST = 1 << 14
_LONGEST_NAME = 80
_CUT_OFF = "The upload was cut off; send the clip again."
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_PACKET = 188  # bytes, of a transport stream


class Refused(Exception):
    """A request that is not carried out.

    Args:
        status: of HTTP.
        message: a sentence for the person.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Kind(NamedTuple):
    """A kind of file: the suffix that it gets here, and the type that browsers are told."""

    suffix: str
    type: str


MP4, WEBM = Kind(".mp4", "video/mp4"), Kind(".webm", "video/webm")
_OTHER = "application/octet-stream"


def kind_of(head: bytes) -> Kind | None:
    """Return what a file is by its first bytes; None of anything that is no video.

    Its name does not count. Playlists and the like, which make a decoder read other files, are
    none.
    """
    if head[4:8] in _BOXES:
        return MP4
    if head[:4] == b"\x1aE\xdf\xa3":  # Matroska; WebM is a part of it
        return WEBM if b"webm" in head[:64] else Kind(".mkv", "video/x-matroska")
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return Kind(".avi", _OTHER)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return Kind(".gif", "image/gif")
    if head[:10] == b"YUV4MPEG2 ":
        return Kind(".y4m", _OTHER)
    if head[:4] == b"\x00\x00\x01\xba":
        return Kind(".mpg", _OTHER)
    if head[:4] == b"FLV\x01":
        return Kind(".flv", _OTHER)
    if head[:4] == b"0&\xb2u":
        return Kind(".wmv", _OTHER)
    if head[:4] == b"OggS":
        return Kind(".ogv", "video/ogg")
    for first, step in ((0, _PACKET), (4, _PACKET + 4)):  # those of cameras have time stamps
        if len(head) > 4 * step and all(head[first + i * step] == 0x47 for i in range(4)):
            return Kind(".ts", _OTHER)
    return None


def shown_name(name: str) -> str:
    """Return the last part of a file's name as a page may show it; it is never opened by it."""
    last = re.split(r"[/\\]", plain(name))[-1].strip()
    return last[:_LONGEST_NAME] or "clip"


def download_name(name: str, added: str, suffix: str) -> str:
    """Return a name for a result: that of its clip, of harmless letters, and what was made."""
    stem = unicodedata.normalize("NFC", shown_name(name)).rpartition(".")[0] or shown_name(name)
    stem = re.sub(r"[^\w\- ]+", "_", stem).strip("_ ") or "clip"
    return f"{stem}-{added}{suffix}"


async def receive(
    chunks: AsyncIterator[bytes], said: int | None, folder: Path, limit: int
) -> tuple[Path, Kind]:
    """Write what is sent into a folder.

    Args:
        chunks: of the file.
        said: how many bytes there will be, if that is known.
        folder: an empty one; what is written there is ``clip`` with a suffix by its content.
        limit: bytes that it may have.

    Returns:
        The file, and what it is.

    Raises:
        Refused: if it is too large, as soon as that is known; of no video; or if there is no room.
    """
    aside = folder / "clip"
    try:
        if shutil.disk_usage(folder).free < (said or 0) + _SPARE:
            raise Refused(507, "There is not enough room on the disk for this clip.")
        size, kind = await _write(chunks, aside, limit)
        if said is not None and size != said:
            raise Refused(400, _CUT_OFF)
        path = aside.with_suffix(kind.suffix)
        aside.rename(path)
    except OSError as error:  # a full disk may be told by any of these, closing the file included
        raise unstored(error) from error
    return path, kind


async def _write(chunks: AsyncIterator[bytes], path: Path, limit: int) -> tuple[int, Kind]:
    """Write what is sent into a new file; return how many bytes that were, and of what."""
    size, kind = 0, None
    with path.open("xb") as file:
        waiting = b""
        async for chunk in _in_time(chunks):
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            if kind is None:
                waiting += chunk
                if len(waiting) < _HEAD:
                    continue
                chunk, kind = waiting, _known(waiting)
            await asyncio.to_thread(file.write, chunk)
        if kind is None:  # a tiny one
            kind = _known(waiting)
            file.write(waiting)
    return size, kind


def unstored(error: OSError) -> Refused:
    """Return what is said of a clip that the disk does not take."""
    return Refused(507, f"The clip could not be stored: {error.strerror or error}.")


def too_large(limit: int) -> Refused:
    """Return what is said of a clip above the limit."""
    return Refused(
        413,
        f"The clip is larger than {limit / MEGABYTE:.0f} MB, the limit of this page; "
        "`midframe serve --limit` changes it.",
    )


async def _in_time(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what is sent, unless it is too slow: single bytes now and then would never end."""
    iterator, patience, new = chunks.__aiter__(), _PATIENCE, 0
    while True:
        begun = time.monotonic()
        try:
            chunk = await asyncio.wait_for(iterator.__anext__(), patience)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError as error:
            raise Refused(408, "The upload stopped; send the clip again.") from error
        except ConnectionError as error:
            raise Refused(400, _CUT_OFF) from error
        patience -= time.monotonic() - begun  # what the disk takes is not the sender's
        new += len(chunk)
        if new >= _LEAST:
            patience, new = _PATIENCE, 0
        yield chunk


def _known(head: bytes) -> Kind:
    if not head:
        raise Refused(422, "The file is empty.")
    kind = kind_of(head)
    if kind is None:
        raise Refused(
            415,
            "This is not a video that the page takes: choose an MP4, MOV, MKV, WebM, AVI, GIF, "
            "Y4M, MPEG, FLV, WMV or Ogg file.",
        )
    return kind
