"""Errors that are meant for the person at the keyboard."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can put right: bad input, a wrong option, a missing file.

    The message is one clear line: what is wrong, where, and what to do. Entry points print it
    without a traceback and exit with code 2.
    """


def did_you_mean(names: str | Iterable[str], known: Iterable[str]) -> str:
    """Return "did you mean a or b?" of names that are not known; "" where none is near."""
    near = _near(names, known)
    return f"did you mean {' or '.join(near)}?" if near else ""


def known_names(
    names: str | Iterable[str], known: Iterable[str], unlisted: Iterable[str] = ()
) -> str:
    """Return what a person can choose, nearest first: "did you mean a? known: a, b, c".

    Args:
        names: that were given, and are not known.
        known: that could have been.
        unlisted: further ones, which are told only where they are near.
    """
    known = list(known)
    near = _near(names, known)
    listed = sorted(known, key=lambda name: near.index(name) if name in near else len(near))
    hint = did_you_mean(names, [*known, *unlisted])
    return f"{hint} known: {', '.join(listed) or 'none'}".lstrip()


def _near(names: str | Iterable[str], known: Iterable[str]) -> list[str]:
    given, known = [names] if isinstance(names, str) else list(names), list(known)
    near = [x for name in given for x in get_close_matches(name, known, n=3, cutoff=0.5)]
    return list(dict.fromkeys(near))
