"""Tables in a text, each between two marker lines: all else stays byte for byte."""

from __future__ import annotations

import re

from midframe.errors import UserError


def replaced(data: bytes, start: str, end: str, table: str, where: str) -> bytes:
    """Put a table between its two marker lines.

    Args:
        data: of the file.
        start: the line before the table.
        end: the line behind it.
        table: Markdown; its lines end as the start line does.
        where: names the file in errors.

    Raises:
        UserError: if there is not one pair of markers, each alone on its line.
    """
    marks = re.escape(start.encode()), re.escape(end.encode())
    pattern = rb"^(%s[ \t]*(\r?\n))(.*?)^(%s[ \t]*)\r?$" % marks
    counts = _counts(data, start, end)
    match = re.search(pattern, data, re.DOTALL | re.MULTILINE)
    if counts != [1, 1] or match is None:
        raise UserError(
            f"{where} has {counts[0]} lines {start} and {counts[1]} lines {end}; the table goes "
            "between one of each, in this order, at the start of their lines"
        )
    text = f"{table}\n".replace("\n", match[2].decode())
    return data[: match.end(1)] + text.encode() + data[match.start(4) :]


def placed(data: bytes, start: str, end: str, table: str, where: str, heading: str) -> bytes:
    """Put a table in place of the one before, or at the end where there are no such markers.

    Args:
        data: of the file, empty for a new one.
        start: see `replaced`, as are ``end``, ``table`` and ``where``.
        end: see above.
        table: see above.
        where: see above.
        heading: goes before the first table of its kind.

    Raises:
        UserError: if there is one marker without the other, or more than one pair.
    """
    if _counts(data, start, end) != [0, 0]:
        return replaced(data, start, end, table, where)
    before = data.rstrip()
    title = b"" if heading.encode() in data.splitlines() else f"{heading}\n\n".encode()
    block = f"{start}\n{table}\n{end}\n".encode()
    return (before + b"\n\n" if before else b"") + title + block


def _counts(data: bytes, start: str, end: str) -> list[int]:
    lines = [line.strip() for line in data.splitlines()]
    return [lines.count(mark.encode()) for mark in (start, end)]
