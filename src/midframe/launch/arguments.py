"""Values of options that several commands take, from their text."""

from __future__ import annotations

from midframe.errors import UserError


def size(text: str) -> tuple[int, int]:
    """Turn "448x256" into (width, height).

    Raises:
        UserError: for another form, or a size of nothing.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UserError(f"--size {text}: give WIDTHxHEIGHT, such as 448x256")
    return int(parts[0]), int(parts[1])
