"""What autodoc reads, made readable: docstrings here are plain text with a little Markdown."""

from __future__ import annotations

import re

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$")


def plain(_app: object, _kind: str, _name: str, _it: object, _options: object, lines: list) -> None:
    """Keep indented blocks and tables above the first section as they are, and bars as bars.

    Args:
        lines: the docstring, changed in place.
    """
    found: list[str] = []
    above, inside = True, False
    for line in lines:
        above = above and not SECTION.match(line)
        block = above and line.startswith(("    ", "|"))
        if block and not inside and not (found and found[-1].strip()):
            found += [".. code-block:: text" if line.startswith("|") else "::", ""]
        inside = block or (inside and not line.strip())
        found.append(f"    {line}" if block else line.replace("|", "\\|"))
    lines[:] = found


def signature(
    _app: object,
    _kind: str,
    _name: str,
    _it: object,
    _options: object,
    given: str | None,
    back: str,
) -> tuple[str, str] | None:
    """Write defaults that are made anew each time as dots, so that it can be read as Python."""
    return (given.replace("<factory>", "..."), back) if given else None


def skipped(
    _app: object, _kind: str, _name: str, it: object, skip: bool, _options: object
) -> bool | None:
    """Leave out the fields of named tuples, of which the docstring of the class tells."""
    return True if str(getattr(it, "__doc__", "")).startswith("Alias for field number") else None
