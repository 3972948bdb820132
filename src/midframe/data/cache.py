"""A folder of pieces of remote files: bounded, shared by all processes of a machine, self-mending.

A piece lies there with its checksum behind it, under a name that follows from where it comes from
and what it must be. Whoever needs one that is not there fetches it while others wait for the same;
room is made, and the piece written aside and renamed, under one lock for the folder. So pieces and
what is being written never take more than the bound, and a process that is killed leaves nothing
that anybody would take for a piece.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from midframe.errors import UserError
from midframe.files import aside_of, remove_leftovers

_TRAILER = struct.Struct("<I")
_LOCKS = 64  # files that processes lock pieces by


class PieceCache:
    """Pieces of files in ``folder``, at most ``bound`` bytes; the least recently used go first.

    It is small and may be pickled: everything is in the folder.

    Raises:
        UserError: if the folder cannot be made.
    """

    def __init__(self, folder: Path, bound: int) -> None:
        self.folder = folder
        self.bound = bound
        self._checked: set[str] = set()  # pieces that this process has read and found whole
        try:
            (folder / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"data.cache.dir={folder}: cannot be made ({error.strerror}); name a folder on a "
                "local disk that you may write to"
            ) from error

    def read(
        self,
        name: str,
        size: int,
        start: int,
        end: int,
        fetch: Callable[[], bytes],
        checksum: int | None = None,
    ) -> bytes:
        """Return bytes ``start`` to ``end`` of a piece, which is fetched if it is not there.

        Args:
            name: of the piece; the same content under the same name.
            size: of the whole piece.
            start: first byte.
            end: byte after the last.
            fetch: returns the whole piece, right in size and checksum.
            checksum: CRC-32 of the piece, where it is known beforehand.
        """
        path = self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.piece"
        found = self._read(path, size, start, end, checksum)
        if found is not None:
            return found
        with self._locked(self.folder / "locks" / str(int(path.name[:8], 16) % _LOCKS)):
            found = self._read(path, size, start, end, checksum)  # another has fetched it meanwhile
            if found is not None:
                return found
            path.unlink(missing_ok=True)  # damaged, if it is there
            piece = fetch()
            self._store(path, piece)
        return piece[start:end]

    def used(self) -> int:
        """Return how many bytes lie in the folder, unfinished pieces included."""
        return sum(size for _, size, _ in self._pieces())

    def _read(
        self, path: Path, size: int, start: int, end: int, checksum: int | None
    ) -> bytes | None:
        """Return a part of a piece, None where it is not there or is damaged."""
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size != size + _TRAILER.size:
                    return None
                if path.name not in self._checked:
                    content = file.read()
                    (kept,) = _TRAILER.unpack(content[size:])
                    found = zlib.crc32(content[:size])
                    if found != kept or (checksum is not None and found != checksum):
                        return None
                    self._checked.add(path.name)
                    part = content[start:end]
                else:
                    file.seek(start)
                    part = file.read(end - start)
                os.utime(file.fileno())  # it was used now
                return part if len(part) == end - start else None
        except OSError:  # such as FileNotFoundError; another process may have removed it just now
            return None

    def _store(self, path: Path, piece: bytes) -> None:
        """Write a piece, and remove others for it; without room on the disk it is not kept."""
        needed = len(piece) + _TRAILER.size
        self._checked.discard(path.name)
        with self._locked(self.folder / "locks" / "all"):
            remove_leftovers(self.folder)
            pieces = sorted(self._pieces())
            used = sum(size for _, size, _ in pieces)
            for _, size, old in pieces:
                if used + needed <= self.bound:
                    break
                old.unlink(missing_ok=True)
                used -= size
            aside = aside_of(path)
            try:
                aside.write_bytes(piece + _TRAILER.pack(zlib.crc32(piece)))
                aside.replace(path)
            except OSError:  # a full disk costs time, not the training
                aside.unlink(missing_ok=True)

    def _pieces(self) -> list[tuple[int, int, Path]]:
        """Return time of last use in ns, size and path of all pieces, unfinished ones included."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith((".piece", ".part")):
                    with contextlib.suppress(FileNotFoundError):
                        info = entry.stat()
                        found.append((info.st_mtime_ns, info.st_size, Path(entry.path)))
        return found

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # of a process that is killed the system lets it go
            yield

    def __reduce__(self) -> tuple[type[PieceCache], tuple[Path, int]]:
        return PieceCache, (self.folder, self.bound)
