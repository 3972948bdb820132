"""What a ``_target_`` names and which options it takes, without calling anything."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from midframe.errors import UserError
from midframe.nodes import check_forward, check_hints, check_options, find_class, find_target


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("torch.nn.Linear", nn.Linear),
        ("torch.nn.functional.relu", nn.functional.relu),
        ("torch.Tensor.add", torch.Tensor.add),  # an attribute of a class
        ("functools.partial", functools.partial),
    ],
)
def test_targets_are_found_as_hydra_finds_them(target: str, found: object) -> None:
    assert find_target(target, "here") == found


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, "here has no _target_, which names its class or function"),
        ("Linear", "no dotted name"),
        ("torch..Linear", "no dotted name"),
        ("torch.nn.Lineer", "torch.nn .*has no Lineer; did you mean Linear"),
        ("torch.nm.Linear", "torch .*has no nm"),
        ("no_such_package.Net", "there is no module no_such_package; .*MIDFRAME_PROJECT"),
        ("functools.WRAPPER_ASSIGNMENTS", "neither a class nor a function"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(target: object, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        find_target(target, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("import no_such_package", UserError, "cannot be imported: No module named 'no_such_pack"),
        ("from math import nothing_there", UserError, "cannot be imported: cannot import name"),
        ("1 / 0", ZeroDivisionError, "division"),  # a defect: its traceback says where
    ],
)
def test_what_fails_inside_a_file_is_not_taken_for_a_wrong_name(
    tmp_path, monkeypatch, content, error, words
) -> None:
    (tmp_path / "module_of_a_test.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error, match=words):
        find_target("module_of_a_test.Net", "here")
    assert "module_of_a_test" not in sys.modules


def test_a_class_is_of_its_kind() -> None:
    assert find_class("torch.nn.Linear", "here", nn.Module) is nn.Linear
    for target in ("torch.optim.Adam", "torch.nn.functional.relu"):
        with pytest.raises(UserError, match=f"here._target_ {target} is no Module class"):
            find_class(target, "here", nn.Module)


class Bare(nn.Module):
    """Has no constructor; that of torch takes anything, and complains later."""


class Plain:
    """Has no constructor either."""


@dataclass
class Record:
    """Its fields are its options."""

    size: int
    mode: str = "a"


def function(size: int, /, mode: str, *rest: int, **options: int) -> None:
    """Takes any option."""


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        (Record, ["size", "sise"], "here has no option sise; did you mean size. known: size, mode"),
        (Record, ["mode"], "here needs size"),
        (Bare, ["size"], "no option size; known: none"),
        (Plain, ["size"], "no option size; known: none"),
        (function, ["size"], "here needs mode"),
        (nn.Linear, ["in_features"], "needs out_features"),
    ],
)
def test_options_are_those_of_the_signature(target, options, words) -> None:
    with pytest.raises(UserError, match=words):
        check_options(target, options, "here")


def test_a_constructor_that_tracing_has_wrapped_is_still_torchs(monkeypatch) -> None:
    def wrapped(self: nn.Module, *args: object, **options: object) -> None:
        """As torch.export leaves it."""

    monkeypatch.setattr(nn.Module, "__init__", wrapped)
    with pytest.raises(UserError, match="no option size; known: none"):
        check_options(Bare, ["size"], "here")


def test_options_that_fit_pass() -> None:
    check_options(Record, ["size"], "here")
    check_options(Record, ["mode"], "here", partial=True)
    check_options(Record, ["mode"], "here", given=("size",))
    check_options(Bare, [], "here")
    check_options(function, ["mode", "anything"], "here")
    check_options(max, ["key"], "here")  # compiled code does not tell
    with pytest.raises(UserError, match="no option size; known: mode"):
        check_options(Record, ["size"], "here", given=("size",))


class Base(nn.Module):
    def forward(self, x: int, scale: float = 1.0, **hints: object) -> int:
        return x


class PassesOn(Base):
    def forward(self, x: int, level: int = 3, **hints: object) -> int:
        return super().forward(x, **hints)


class Closed(Base):
    def forward(self, x: int, level: int = 3) -> int:  # type: ignore[override]
        return x


@pytest.mark.parametrize(
    ("cls", "known"), [(Base, "scale"), (PassesOn, "level, scale"), (Closed, "level"), (Bare, "")]
)
def test_hints_are_those_that_forward_names(cls: type, known: str) -> None:
    check_hints(cls, [name for name in known.split(", ") if name], "here")
    for wrong in ("x", "self", "hints", "other"):
        with pytest.raises(UserError, match=f"no hint {wrong}; known: {known or 'none'}$"):
            check_hints(cls, [wrong], "here")


class _Term:
    def forward(self, pred, batch, model): ...


class _Turned:
    def forward(self, pred, model, batch): ...


class _Short:
    def forward(self, pred, batch): ...


def test_forward_is_held_against_the_call_that_it_gets() -> None:
    call = ("pred", "batch", "model")
    check_forward(_Term, call, "here")
    for cls in (_Turned, _Short):  # the one would run, with the wrong things in the wrong places
        with pytest.raises(UserError, match=rf"here: {cls.__name__}\.forward\(self, pred.*must"):
            check_forward(cls, call, "here")
