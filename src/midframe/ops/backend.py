"""Which code runs an operator: one name for each backend, chosen by argument, context or variable.

Every backend computes the same function. ``auto`` takes the fastest one that works here: ``cupy``
for CUDA tensors, ``numba`` for CPU tensors where it is installed, ``torch`` everywhere else.
``reference`` is the plain formula on PyTorch's tape: slow, differentiable twice, exportable.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from dataclasses import dataclass
from types import ModuleType

import torch

from midframe.errors import UserError

AUTO = "auto"
REFERENCE = "reference"
BACKENDS = ("cupy", "numba", "torch", REFERENCE)
OPERATORS = ("splat", "correlation", "adacof")
VARIABLE = "MIDFRAME_OPS"

_forced: list[str] = []


@dataclass(frozen=True)
class Availability:
    """Whether a backend can run here.

    Attributes:
        ok: it can.
        why: why it can't, in one sentence; empty where it can.
        remedy: what to install, as a command's argument ("cupy-cuda13x"); empty where nothing
            that can be installed would help.
        expected: a user of this machine would expect it: worth a warning where it is missing.
    """

    ok: bool
    why: str = ""
    remedy: str = ""
    expected: bool = False


class use_backend:  # noqa: N801 - a context manager that reads like a function
    """Run the operators inside a ``with`` block on one backend.

    The choice is the process's, not the thread's; the innermost block wins. An operator's own
    ``backend`` argument goes before it, ``MIDFRAME_OPS`` after it. The gradient runs on the backend
    of its forward pass, wherever ``backward`` is called.

    Args:
        name: "auto", "cupy", "numba", "torch" or "reference".

    Raises:
        UserError: at once, if there is no such backend or it can't run here.
    """

    def __init__(self, name: str) -> None:
        self.name = _checked(name, "use_backend")
        if name != AUTO and not availability(name).ok:
            raise _unusable(name)

    def __enter__(self) -> None:
        _forced.append(self.name)

    def __exit__(self, *_: object) -> None:
        _forced.pop()


def choose(backend: str | None) -> str:
    """Return the name asked for: the argument, else the context's, else MIDFRAME_OPS, else auto.

    A compiled function notices a change of the context, but reads MIDFRAME_OPS only while it is
    compiled.

    Raises:
        UserError: if there is no backend of that name.
    """
    if backend is not None:
        return _checked(backend, "backend")
    if _forced:
        return _forced[-1]
    return _checked(os.environ.get(VARIABLE) or AUTO, VARIABLE)


def resolve(name: str, device: torch.device) -> str:
    """Turn a chosen name into the backend that runs on ``device``.

    Raises:
        UserError: if a backend asked for by name can't run on that device here.
    """
    if name == AUTO:
        return _best(device.type)
    found = availability(name)
    if not found.ok:
        raise _unusable(name)
    if name == "cupy" and device.type not in _runs_cupy():
        raise UserError(
            f"backend=cupy runs on CUDA tensors, this one is on {device}: move it, or take "
            f"backend=auto"
        )
    if name == "numba" and device.type != "cpu":
        raise UserError(
            f"backend=numba runs on CPU tensors, this one is on {device}: take backend=auto"
        )
    return name


def current(device: torch.device) -> str:
    """Return the backend that an operator on ``device`` runs on now, for the record of a result."""
    return resolve(choose(None), device)


def module(operator: str, name: str, device: torch.device) -> ModuleType:
    """Return the module whose ``forward`` and ``backward`` run ``operator`` on ``device``."""
    return _module(operator, resolve(name, device))


@functools.cache
def _module(operator: str, backend: str) -> ModuleType:
    return importlib.import_module(f"midframe.ops.backends.{backend}_{operator}")


@functools.cache
def availability(name: str) -> Availability:
    """Tell whether a backend can run in this process; asked once, at first use."""
    if name == "cupy":
        from midframe.ops.backends import launcher

        return launcher.availability()
    if name == "numba":
        return _numba()
    return Availability(ok=True)


@functools.cache
def _numba() -> Availability:
    try:
        import numba  # noqa: F401
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "numba"
        why = "numba is not installed" if missing else f"numba does not import: {error}"
        return Availability(False, why, "numba")
    return Availability(ok=True)


@functools.cache
def _best(device: str) -> str:
    """Return the fastest backend for tensors of a device type; warn once where cupy is missed."""
    if device == "cuda":
        found = availability("cupy")
        if found.ok:
            return "cupy"
        if found.expected:
            remedy = f"; `pip install {found.remedy}` mends it" if found.remedy else ""
            warnings.warn(
                f"midframe's CUDA kernels are off: {found.why}{remedy}. The operators run in "
                f"PyTorch instead: the same numbers, slower. `midframe doctor` tells more.",
                stacklevel=2,
            )
        return "torch"
    if device == "cpu" and availability("numba").ok:
        return "numba"
    return "torch"


def _runs_cupy() -> tuple[str, ...]:
    from midframe.ops.backends import launcher

    return launcher.DEVICES


def _checked(name: str, where: str) -> str:
    if name != AUTO and name not in BACKENDS:
        raise UserError(f"{where}={name}: there is {AUTO}, {', '.join(BACKENDS)}")
    return name


def _unusable(name: str) -> UserError:
    found = availability(name)
    remedy = f": `pip install {found.remedy}`" if found.remedy else ""
    return UserError(f"backend={name} can't run here: {found.why}{remedy}, or take backend=auto")
