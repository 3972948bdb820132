"""How code differs from its commit: the diff, bounded, and the names of files git does not know."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from midframe.launch.environment import revision

LONGEST = 1 << 20  # characters of all diffs together
_NAMED = 100  # untracked files
_SECONDS = 10.0
# Files of these names may hold what nobody else should read.
_PRIVATE = (".env*", "*.pem", "*.key", ".netrc", "*secret*", "*credential*", "*password*")


def difference(folders: Sequence[Path], longest: int = LONGEST) -> tuple[dict[str, Any], str]:
    """Return how code differs from the commits that it is at.

    Args:
        folders: with code; those of one repository are told once.
        longest: characters of the diff that are kept.

    Returns:
        By repository its revision, whether its diff was cut, how many files git does not know and
        the names of the first of them, of which the content is not kept; and the diff of all, as
        ``git apply`` takes it. Binary files, and those whose names speak of secrets, are left out.
    """
    found: dict[str, Any] = {}
    patch = ""
    for folder in folders:
        top = _git(folder, "rev-parse", "--show-toplevel").strip()
        if not top or top in found or revision(folder) is None:
            continue
        private = [f":(exclude,icase,glob)**/{name}" for name in _PRIVATE]
        text = _git(
            Path(top), "diff", "HEAD", "--no-color", "--no-ext-diff", "--ignore-submodules", "--",
            ".", *private,
        )  # fmt: skip
        unknown = _git(Path(top), "ls-files", "--others", "--exclude-standard").splitlines()
        room = longest - len(patch)
        cut = len(text) > room
        if cut:
            text = text[:room].rpartition("\n")[0] + "\n"
        if text:
            patch += f"# {top} at {_git(Path(top), 'rev-parse', 'HEAD').strip()}\n{text}"
        found[top] = {
            "revision": revision(folder),
            "diff_cut": cut,
            "untracked": len(unknown),
            "untracked_names": unknown[:_NAMED],
        }
    return found, patch


def _git(folder: Path, *words: str) -> str:
    """Return what git prints, "" where it fails, is not there, or takes too long."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
