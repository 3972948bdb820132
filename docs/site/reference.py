"""A page for each public module, which autodoc fills with docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "midframe"
PAGES = ROOT / "docs" / "reference"  # not under version control
# of the backends of operators only what they have in common: the operators are what is called
HIDDEN = "ops/backends"
SHOWN = {"__init__", "contract"}


def write() -> None:
    """Write the pages, and remove those of modules that are no more."""
    PAGES.mkdir(exist_ok=True)
    modules = dict(_modules())
    for name, path in modules.items():
        below = [other for other in modules if other.rpartition(".")[0] == name]
        page, text = PAGES / f"{name}.rst", _page(name, path, below)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")  # else it keeps its time and is not read again
    for page in PAGES.glob("*.rst"):
        if page.stem not in modules:
            page.unlink()


def _modules() -> Iterator[tuple[str, Path]]:
    """Yield dotted names and files; a package comes before what is in it."""
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda p: (p.parent, p.stem != "__init__", p)):
        within = path.relative_to(PACKAGE)
        if within.parent.as_posix() != HIDDEN or path.stem in SHOWN:
            parts = ("midframe", *within.with_suffix("").parts)
            yield ".".join(p for p in parts if p != "__init__"), path


def _page(name: str, path: Path, below: list[str]) -> str:
    mark = "=" * len(name)
    lines = [name, mark, "", f".. automodule:: {name}", "   :ignore-module-all:", ""]
    if given := list(_given(path)):
        lines += ["What can be imported from here: " + ", ".join(given) + ".", ""]
    if below:
        pages = [f"   {other.rpartition('.')[2]} <{other}>" for other in below]
        lines += [".. toctree::", "   :maxdepth: 1", "", *pages, ""]
    return "\n".join(lines)


def _given(path: Path) -> Iterator[str]:
    """Yield links to the names that a package passes on from its modules, in the file's order."""
    if path.stem != "__init__":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("midframe."):
            for alias in node.names:
                yield f":py:obj:`{alias.asname or alias.name} <{node.module}.{alias.name}>`"
