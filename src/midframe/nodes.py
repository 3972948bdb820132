"""Config nodes with a ``_target_``: what they name, and whether it takes their options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from types import ModuleType
from typing import Any

from midframe.errors import UserError, did_you_mean, known_names
from midframe.paths import projects

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_SAID_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_SAID_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def find_target(target: Any, where: str) -> Callable[..., Any]:
    """Return the class or function that a ``_target_`` names.

    Args:
        target: a dotted name, such as "midframe.losses.Charbonnier".
        where: what the message begins with, such as "loss.terms.l1.term".

    Raises:
        UserError: if there is none, or importing it needs a package that is not there. What else
            goes wrong inside an imported file is a defect of that file and propagates.
    """
    label = f"{where}._target_ {target}"
    if target is None:
        raise UserError(
            f"{where} has no _target_, which names its class or function: _target_: package.Name"
        )
    if not _DOTTED.fullmatch(str(target or "")):
        raise UserError(f"{label} is no dotted name, such as midframe.losses.Charbonnier")
    module, names = _import(str(target), label)
    found: Any = module
    for name in names:
        if not hasattr(found, name):
            hint = did_you_mean(name, [n for n in dir(found) if n[0] != "_"])
            raise UserError(f"{label} not found: {_told(found)} has no {name}; {hint}".rstrip("; "))
        found = getattr(found, name)
    if not callable(found):
        raise UserError(f"{label} is neither a class nor a function")
    return found  # type: ignore[no-any-return]


def find_class(target: Any, where: str, base: type) -> type[Any]:
    """Return the class that a ``_target_`` names; `UserError` also if it is no ``base``."""
    found = find_target(target, where)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{where}._target_ {target} is no {base.__name__} class")
    return found


def check_options(
    function: Callable[..., Any],
    options: Iterable[str],
    where: str,
    *,
    given: Iterable[str] = (),
    partial: bool = False,
) -> None:
    """Hold options against a signature, without calling anything.

    Args:
        function: a class or function that gets the options by name.
        options: their names.
        where: what the message begins with, such as "loss.terms.l1.term".
        given: names of the parameters that the caller passes himself, by position, before any
            option.
        partial: whether the options that are missing may come later.

    Raises:
        UserError: for options that it does not have, or has to get and does not, and where it
            does not begin with the parameters that are given.
    """
    given = list(given)
    if given and not _begins_with(function, given):
        shape = f"({', '.join(given)}, *, options of its own)"
        own = getattr(function, "__qualname__", str(function))
        raise UserError(f"{where}: {own}({_shape_of(function)}) must have the form {shape}")
    named, takes_all = _parameters(function)
    known = options_of(function, given)
    options = list(options)
    unknown = [name for name in options if name not in known]
    if unknown and not takes_all:
        raise UserError(f"{where} has no option {_unknown(unknown, known)}")
    needed = [name for name in known if named[name].default is inspect.Parameter.empty]
    missing = [name for name in needed if name not in options]
    if missing and not partial:
        raise UserError(f"{where} needs {', '.join(missing)}")


def check_forward(cls: type[Any], names: Iterable[str], where: str, *, hints: bool = False) -> None:
    """Hold ``forward`` of a class against the call that it gets.

    Args:
        cls: of a module.
        names: what is passed by position; parameters may be called otherwise, but those of these
            names stand in their places.
        where: what the message begins with.
        hints: whether any other argument may come by name.

    Raises:
        UserError: if the call would fail.
    """
    names = list(names)
    forward = cls.forward
    found = _signature(forward)
    if found is None:
        return
    places = [one.name for one in found if one.kind in _SAID_BY_POSITION][1:]  # behind self
    moved = any(name in names and names.index(name) != at for at, name in enumerate(places))
    try:
        more = {"a_hint_of_another_model": None} if hints else {}
        inspect.signature(forward).bind(None, *names, **more)
    except TypeError:
        moved = True
    if moved:
        form = ", ".join(["self", *names, *(["**hints"] if hints else [])])
        own = f"{cls.__name__}.forward({_shape_of(forward)})"
        raise UserError(f"{where}: {own} must have the form ({form})")


def check_hints(cls: type, hints: Iterable[str], where: str) -> None:
    """Hold hints that somebody wrote for a model against the parameters of its ``forward``.

    A call may bring hints of other models, which ``forward`` ignores; what is written for this one
    must be one of its own, or it would be ignored as well.

    Raises:
        UserError: for hints that no ``forward`` of the class and of its bases names.
    """
    known = hints_of(cls)
    unknown = [name for name in hints if name not in known]
    if unknown:
        raise UserError(f"{where} has no hint {_unknown(unknown, known)}")


def hints_of(cls: type) -> list[str]:
    """Return the hints that a model's class takes: arguments of ``forward``, also of its bases."""
    known: list[str] = []
    for base in cls.__mro__:
        if "forward" in vars(base):
            named, passes_on = _parameters(vars(base)["forward"])
            known += [name for name in list(named)[2:] if name not in known]  # behind self and x
            if not passes_on:
                break
    return known


def options_of(function: Callable[..., Any], given: Iterable[str] = ()) -> list[str]:
    """Return the options that a class or function takes by name, without those ``given``."""
    return [name for name in _parameters(function)[0] if name not in set(given)]


def _import(target: str, label: str) -> tuple[ModuleType, list[str]]:
    """Import the longest part of a dotted name that is a module; return it and the names left."""
    projects()  # their modules can be imported from here on
    names = target.split(".")
    for count in range(len(names) - 1, 0, -1):
        module = ".".join(names[:count])
        try:
            return import_module(module), names[count:]
        except ImportError as error:
            outside = error.name is None or not f"{module}.".startswith(f"{error.name}.")
            if outside or not isinstance(error, ModuleNotFoundError):  # from within that file
                reason = str(error).splitlines()[0]
                raise UserError(f"{label} cannot be imported: {reason}") from error
    raise UserError(
        f"{label} not found: there is no module {names[0]}; modules of your own are found in the "
        "folder that MIDFRAME_PROJECT names"
    )


def _told(found: Any) -> str:
    """Return the name of a module (or class), of others' with its file: it may be another's."""
    name, file = str(found.__name__), getattr(found, "__file__", None)
    return f"{name} ({file})" if file and name.split(".")[0] != "midframe" else name


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters that can be given by name, and whether any other name is taken too."""
    if isinstance(function, type) and not _has_constructor(function):
        return {}, False
    found = _signature(function)
    if found is None:
        return {}, True
    named = {p.name: p for p in found if p.kind in _SAID_BY_NAME}
    return named, any(p.kind is p.VAR_KEYWORD for p in found)


def _signature(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Return the parameters in their order; None of compiled code that does not tell."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _begins_with(function: Callable[..., Any], given: list[str]) -> bool:
    """Whether a call may pass these parameters by position, and they mean what they are called."""
    found = _signature(function)
    if found is None:
        return True
    names: list[str] = []
    for one in found:
        if one.kind is one.VAR_POSITIONAL:
            return names == given[: len(names)]
        if one.kind in _SAID_BY_POSITION:
            names.append(one.name)
    return names[: len(given)] == given


def _shape_of(function: Callable[..., Any]) -> str:
    """Return a signature without its types and defaults: "root, split, *, step"."""
    words: list[str] = []
    for one in _signature(function) or ():
        if one.kind is one.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        words.append(str(one.replace(annotation=one.empty, default=one.empty)))
    return ", ".join(words)


def _has_constructor(cls: type) -> bool:
    """Whether a class has one of its own: torch.nn.Module's takes anything, and complains later."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    return f"{owner.__module__}.{owner.__qualname__}" != "torch.nn.modules.module.Module"


def _unknown(unknown: list[str], known: list[str]) -> str:
    return f"{', '.join(unknown)}; {known_names(unknown, known)}"
