"""Compiles and launches the CUDA kernels of ``ops/kernels`` through CuPy.

The only file that imports CuPy. A kernel is compiled once per element type and mode, never per
shape: sizes are arguments. It runs on PyTorch's current stream of the tensors' device and touches
no memory but PyTorch's, so it can be captured into a CUDA graph once it has run before.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midframe.ops.backend import Availability

DEVICES: tuple[str, ...] = ("cuda",)
OPTIONS = ("-std=c++17",)
KERNELS = Path(__file__).resolve().parent.parent / "kernels"

SCALARS = {
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "half_t",
    torch.bfloat16: "bfloat_t",
}
LARGEST_INT = 2**31 - 1

Grid = tuple[int, int, int]
Argument = Tensor | int | float


@dataclass(frozen=True, eq=False)  # by identity: `kernel` makes each once, and hashing costs
class Kernel:
    """One kernel as it is compiled.

    Attributes:
        file: its file in ``ops/kernels``, without the ending.
        name: the function's name there.
        defines: the macros it is compiled with, sorted by name.
    """

    file: str
    name: str
    defines: tuple[tuple[str, str], ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The compiler's options."""
        return (*OPTIONS, *(f"-D{key}={value}" for key, value in self.defines))

    @property
    def source(self) -> str:
        """The text that is compiled."""
        return source(self.file)


@functools.cache
def source(file: str) -> str:
    """Return a kernel file's text behind what all of them share."""
    texts = [(KERNELS / name).read_text(encoding="utf-8") for name in ("common.cuh", f"{file}.cu")]
    return "\n".join(texts)


@functools.cache
def kernel(file: str, name: str, scalar: torch.dtype, wide: bool = False, **defines: int) -> Kernel:
    """Describe a kernel.

    Args:
        file: its file in ``ops/kernels``, without the ending.
        name: the function's name there.
        scalar: the tensors' dtype; sums are in float32, or float64 for float64.
        wide: index with 64 bits.
        **defines: further macros.
    """
    macros = {
        "SCALAR": SCALARS[scalar],
        "REAL": "double" if scalar == torch.float64 else "float",
        "INDEX": "long long" if wide else "int",
        **{key: str(value) for key, value in defines.items()},
    }
    return Kernel(file, name, tuple(sorted(macros.items())))


def is_wide(*sizes: int) -> bool:
    """Whether one of these element counts needs 64-bit indices."""
    return max(sizes) > LARGEST_INT


def launch(
    kernel: Kernel,
    grid: Grid,
    block: Grid,
    arguments: Sequence[Argument],
    device: torch.device,
) -> None:
    """Run a kernel on PyTorch's current stream of ``device``.

    Args:
        kernel: what to run.
        grid: blocks in x, y, z.
        block: threads of a block in x, y, z.
        arguments: tensors become pointers, int a ``long long``, float a ``double``.
        device: where the tensors are.
    """
    if _device_count() > 1:
        import cupy

        with torch.cuda.device(device), cupy.cuda.Device(device.index):
            _launch(kernel, grid, block, arguments, device)
    else:
        _launch(kernel, grid, block, arguments, device)


def _launch(
    kernel: Kernel, grid: Grid, block: Grid, arguments: Sequence[Argument], device: torch.device
) -> None:
    stream = torch.cuda.current_stream(device).cuda_stream
    values = tuple(x.data_ptr() if isinstance(x, Tensor) else x for x in arguments)
    _function(kernel, device.index)(grid, block, values, 0, _stream(stream))


@functools.cache
def _device_count() -> int:
    return torch.cuda.device_count()


@functools.cache
def _function(kernel: Kernel, device: int | None) -> Any:
    """Return the compiled function for a device."""
    return _module(kernel.file, kernel.options).get_function(kernel.name).kernel


@functools.cache
def _module(file: str, options: tuple[str, ...]) -> Any:
    import cupy

    return cupy.RawModule(code=source(file), options=options)


class _Foreign:
    """A stream of PyTorch's in CUDA's stream protocol."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


@functools.lru_cache(maxsize=64)
def _stream(pointer: int) -> Any:
    import cupy

    if hasattr(cupy.cuda.Stream, "from_external"):  # CuPy 14, where ExternalStream is deprecated
        return cupy.cuda.Stream.from_external(_Foreign(pointer))
    return cupy.cuda.ExternalStream(pointer)


def wheel() -> str:
    """Return the CuPy wheel that fits this PyTorch."""
    major = (torch.version.cuda or "13").split(".")[0]
    return f"cupy-cuda{major}x"


@functools.cache
def availability() -> Availability:
    """Tell whether the kernels run here: CuPy imports, and a kernel compiles, runs and is right."""
    if torch.version.cuda is None:
        return Availability(False, f"PyTorch {torch.__version__} is built without CUDA")
    if not torch.cuda.is_available():
        return Availability(False, "PyTorch finds no CUDA device")
    try:
        import cupy
    except Exception as error:  # a broken CuPy raises whatever it likes
        missing = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
        why = "CuPy is not installed" if missing else f"CuPy does not import: {_line(error)}"
        return Availability(False, why, wheel(), expected=True)
    try:
        _probe()
    except Exception as error:  # whatever CuPy, NVRTC or the driver have to say
        why = f"CuPy {cupy.__version__} can't run a kernel: {_line(error)}"
        return Availability(False, why, wheel(), expected=True)
    return Availability(ok=True)


def _probe() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    found = torch.zeros(1, device=device)
    launch(kernel("probe", "probe", torch.float32), (1, 1, 1), (1, 1, 1), (found, 1, 0.5), device)
    if found.item() != 1.5:
        raise RuntimeError(f"a test kernel returned {found.item()}, not 1.5")


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
