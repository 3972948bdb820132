"""Every public name says what it is, itself or by what it overrides."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "midframe"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def bare(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of public functions, classes and methods without a docstring."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from bare(node.body, f"{prefix}{node.name}.")


def inherits(module: str, name: str) -> bool:
    """Return whether a method overrides one that is documented, by us or by a framework."""
    it = import_module(module)
    *classes, method = name.split(".")
    for part in classes:
        it = getattr(it, part)
    return bool(classes) and any(
        method in vars(base) and inspect.getdoc(vars(base)[method]) for base in it.__mro__[1:]
    )


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE))
)
def test_public_names_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    module = ".".join(part for part in parts if part != "__init__")
    assert ast.get_docstring(tree) or not tree.body, f"{path} does not say what it is"
    without = [name for name in bare(tree.body) if not inherits(module, name)]
    assert without == []
