"""Values of options that several commands take, from their text."""

from __future__ import annotations

from midframe.errors import UserError

_FORM = "WIDTHxHEIGHT, such as 448x256"


def size(text: str, option: str = "--size ", form: str = _FORM) -> tuple[int, int]:
    """Turn "448x256" into (width, height), or what else its two numbers are.

    Args:
        text: of the option's value.
        option: how it is written, for messages.
        form: what it looks like, for messages.

    Raises:
        UserError: for another form, or a size of nothing.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"{option}{text}: give {form}")
    return int(parts[0]), int(parts[1])
