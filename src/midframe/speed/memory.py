"""Memory of this process: what is resident, the highest of it, and whether it ran out."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import torch
from torch import Tensor

# what PyTorch, NumPy, OpenCV and C++ say where an allocation fails without an error of its own
_SAID = ("can't allocate memory", "not enough memory", "Insufficient memory", "bad_alloc")


def bytes_of(model: torch.nn.Module) -> int:
    """Return the bytes of a model's parameters and buffers."""
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    return sum(x.numel() * x.element_size() for x in tensors)


def start_of_peak() -> int:
    """Forget the highest resident memory so far and return the present one, in bytes."""
    # where this is not allowed the peak of the imports stays, which is small beside a model's
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _resident("VmRSS")


def peak() -> int:
    """Return the highest resident memory since `start_of_peak`, in bytes."""
    return _resident("VmHWM")


def go_first() -> None:
    """Have Linux end this process before others, should it run out of memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, on the CPU or a GPU."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"MemoryError", "OutOfMemoryError"}:  # the latter PyTorch's, and CuPy's
        return True
    return any(said in str(error) for said in _SAID)


def _resident(field: str) -> int:
    """Return resident memory in bytes: "VmRSS" now, "VmHWM" the highest."""
    try:
        # Linux hands getrusage's maximum on to a new program, so it may be the parent's
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
