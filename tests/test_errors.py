"""Errors for people: what they can choose from, nearest first; and none without a word."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import midframe
from midframe.errors import did_you_mean, known_names

SOURCES = sorted(Path(midframe.__file__).parent.rglob("*.py"))


def test_near_names_come_before_the_others() -> None:
    known = ["a_name", "size", "mode"]
    assert known_names("sise", known) == "did you mean size? known: size, a_name, mode"
    assert known_names("sise", known, ["sine"]).startswith("did you mean size or sine? known: si")
    assert known_names(["sise", "modes"], iter(known)).endswith("known: size, mode, a_name")
    assert known_names("xyz", known) == "known: a_name, size, mode"
    assert known_names("xyz", []) == "known: none"
    assert did_you_mean("xyz", known) == "" and did_you_mean("sise", iter(known))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_what_a_subclass_has_to_define_is_named(path: Path) -> None:
    """A bare NotImplementedError would leave whoever writes a model or a term without a hint."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise):
            bare = isinstance(node.exc, ast.Name) and node.exc.id == "NotImplementedError"
            assert not bare, f"line {node.lineno} raises NotImplementedError without a message"
