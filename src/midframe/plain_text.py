"""Text that anybody may have written, such as a name in a file, for a terminal to show as it is."""

from __future__ import annotations

import re

# Control characters, and those that turn the direction of what follows.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def plain(text: str) -> str:
    """Return a text in one line, control characters and surrogates replaced."""
    found = _CONTROL.sub("\ufffd", " ".join(text.split()))
    return found.encode("utf-8", "replace").decode()


def in_words(size: tuple[int, int]) -> str:
    """Return (width, height) so that nobody takes one for the other: "448 wide, 256 high"."""
    return f"{size[0]} wide, {size[1]} high"
