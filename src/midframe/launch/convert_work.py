"""What a conversion has finished so far, in a folder beside its output: it goes on from there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from midframe.errors import UserError
from midframe.files import remove_leftovers, write_json
from midframe.launch import locks
from midframe.video.timing import Part

PLAN, CLAIMS = "plan.json", "claims"
_FORM = 1  # of what is in the folder; another one is not continued


class Work:
    """The finished parts of one conversion; a context manager that holds the folder's lock.

    The folder `.NAME.midframe` lies beside the output NAME. What another conversion of that name
    has left there, with other options or of another input, is set aside if parts of it are whole.
    A part's file has its name only when it is complete.

    Args:
        out: the file or folder that is to be written.
        identity: all that the parts depend on, as plain data.
        parts: all there are.
        suffix: of the parts' files.
        helps: whether another process, which started this one, has the folder.
        anew: whether what this conversion has finished before is deleted.

    Attributes:
        folder: where they are.
        notes: what became of an earlier conversion, for people.

    Raises:
        UserError: on entering, if another process is at it, or nothing can be written there.
    """

    def __init__(
        self,
        out: Path,
        identity: Mapping[str, Any],
        parts: Sequence[Part],
        suffix: str,
        helps: bool = False,
        anew: bool = False,
    ) -> None:
        self.out, self.parts, self.suffix = out, parts, suffix
        self.helps, self.anew = helps, anew
        self.folder = folder_of(out)
        self.identity = json.loads(json.dumps({"form": _FORM, **identity}, default=str))
        self.notes: list[str] = []
        self._lock: IO[str] | None = None
        self._sure: set[int] = set()  # of parts that are known to be done

    def __enter__(self) -> Work:
        if self.helps:
            if _identity(self.folder) != self.identity:
                raise UserError(f"{self.folder} changed while a process started; start again")
            return self
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            while not self._is_mine():
                pass
            (self.folder / CLAIMS).mkdir(exist_ok=True)
            for claim in (self.folder / CLAIMS).iterdir():
                claim.unlink()  # of a conversion that has ended
            for part in self.folder.glob(f"[0-9]*{self.suffix}") if self.anew else ():
                part.unlink()
            remove_leftovers(self.folder)
            write_json(self.folder / PLAN, self.identity)
        except OSError as error:
            raise UserError(f"cannot write beside {self.out}: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and not self.helps and not self.done():
            self.remove()
        if self._lock is not None:
            self._lock.close()

    def path(self, part: Part) -> Path:
        """Return the file of a part."""
        return self.folder / f"{part.number:05d}{self.suffix}"

    def done(self) -> list[Part]:
        """Return the parts that are complete."""
        for part in self.parts:
            if part.number not in self._sure and self.path(part).exists():
                self._sure.add(part.number)
        return [part for part in self.parts if part.number in self._sure]

    def todo(self) -> Iterator[Part]:
        """Yield parts that no process has made or is making; each goes to one process."""
        for part in self.parts:
            if not self.path(part).exists() and self._claim(part):
                yield part

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _claim(self, part: Part) -> bool:
        name = self.folder / CLAIMS / f"{part.number:05d}"
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _is_mine(self) -> bool:
        """Take the folder; False where it had to be cleared of another conversion first.

        It is moved and deleted only by who has its lock, which goes along with it.
        """
        mine = self.folder.with_name(f"{self.folder.name}-{_digest(self.identity)}")
        if not self.folder.exists() and mine.is_dir():
            mine.rename(self.folder)
        self._lock = locks.take(self.folder)
        if self._lock is None:
            raise UserError(f"{self.out} is being written by another process; wait for it")
        found = _identity(self.folder)
        whole = len(list(self.folder.glob(f"[0-9]*{self.suffix}")))
        if found == self.identity or not (whole or mine.is_dir()):
            return True
        with self._lock:
            if whole:
                self._set_aside(found)
            else:
                shutil.rmtree(self.folder)
        return False

    def _set_aside(self, found: Any) -> None:
        aside = self.folder.with_name(f"{self.folder.name}-{_digest(found)}")
        shutil.rmtree(aside, ignore_errors=True)
        self.folder.rename(aside)
        differs = ", ".join(_differences(found, self.identity)) or "other options"
        self.notes.append(
            f"an unfinished conversion to {self.out.name} with other settings ({differs}) "
            f"was set aside: {aside}; delete it unless you mean to go on with it"
        )


def folder_of(out: Path) -> Path:
    """Return where parts of an output are kept until it is complete."""
    return out.with_name(f".{out.name}.midframe")


def _identity(folder: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads((folder / PLAN).read_text(encoding="utf-8"))
    return None


def _digest(identity: Any) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def _differences(found: Any, wanted: Mapping[str, Any]) -> list[str]:
    if not isinstance(found, dict):
        return []
    return [key for key in wanted if found.get(key) != wanted[key]]
