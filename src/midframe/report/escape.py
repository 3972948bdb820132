"""Text that anybody may have written, made harmless in each kind of file."""

from __future__ import annotations

import html
import re

from midframe.plain_text import plain

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "∞": r"$\infty$",
    "−": "$-$",
    "·": r"\textperiodcentered{}",
    "×": r"$\times$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def for_html(text: str) -> str:
    """Return a text for HTML, in attributes as well."""
    return html.escape(plain(text), quote=True)


def for_markdown(text: str) -> str:
    """Return a text for a cell or a line of Markdown."""
    found = re.sub(r"([\\`*_\[\]{}|~#$])", r"\\\1", plain(text))
    return found.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def for_latex(text: str) -> str:
    """Return a text for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in plain(text))


def for_csv(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    found = plain(text)
    return f"'{found}" if found[:1] in ("=", "+", "-", "@") else found
