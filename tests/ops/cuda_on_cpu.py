"""Runs the CUDA kernels on the CPU: the same text, compiled with g++ behind cuda_on_cpu.h.

``kernels_on_cpu()`` swaps the launcher, so that backend="cupy" takes CPU tensors and its own code
(allocation, grids, order of arguments) runs unchanged.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from midframe.ops import backend
from midframe.ops.backends import launcher
from midframe.ops.backends.launcher import Argument, Grid, Kernel

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
SANITIZE = os.environ.get(
    "MIDFRAME_SANITIZE", ""
)  # such as "address,undefined", libraries preloaded
FLAGS = ("-O1", "-std=c++17", "-ffp-contract=off", "-w", "-shared", "-fPIC")
MOST_THREADS = 1024


def why_not() -> str | None:
    """Return why the kernels can't run on the CPU here, or None."""
    return None if shutil.which("g++") else "needs g++ to compile the kernels for the CPU"


@contextlib.contextmanager
def kernels_on_cpu() -> Iterator[None]:
    """Let backend="cupy" take CPU tensors."""
    kept = launcher.launch, launcher.DEVICES, launcher.availability
    launcher.launch = launch
    launcher.DEVICES = (*kept[1], "cpu")
    launcher.availability = lambda: backend.Availability(ok=True)
    backend.availability.cache_clear()
    try:
        yield
    finally:
        launcher.launch, launcher.DEVICES, launcher.availability = kept
        backend.availability.cache_clear()


def launch(
    kernel: Kernel, grid: Grid, block: Grid, arguments: Sequence[Argument], device: torch.device
) -> None:
    """Run a kernel over its whole grid, as `launcher.launch` would on a GPU."""
    assert device.type == "cpu"
    assert all(type(size) is int and size > 0 for size in (*grid, *block)), (grid, block)
    assert block[0] * block[1] * block[2] <= MOST_THREADS and block[2] <= 64
    assert max(grid[1:]) < 2**16, "a grid has at most 65535 blocks in y and z"
    cells = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            assert argument.device == device and argument.is_contiguous()
            cells.append(ctypes.c_void_p(argument.data_ptr()))
        elif isinstance(argument, int):
            cells.append(ctypes.c_longlong(argument))
        else:
            cells.append(ctypes.c_double(argument))
    pointers = (ctypes.c_void_p * len(cells))(*(ctypes.addressof(cell) for cell in cells))
    wanted = _run(kernel)((ctypes.c_uint * 6)(*grid, *block), pointers, len(cells))
    assert wanted == -1, f"{kernel.name} takes {wanted} arguments, got {len(cells)}"


@functools.cache
def _run(kernel: Kernel) -> ctypes._CFuncPtr:
    return getattr(_library(kernel.file, kernel.options), f"run_{kernel.name}")


@functools.cache
def _library(file: str, options: tuple[str, ...]) -> ctypes.CDLL:
    text = launcher.source(file)
    barriers = ["-DHAS_BARRIERS"] if "__syncthreads" in text else []
    names = re.findall(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(", text)
    exports = "\n".join(f"RUN_ON_CPU({name})" for name in names)
    code = f'#include "{HEADER}"\n{text}\n{exports}\n'
    macros = [option.replace("'", "") for option in options if option.startswith("-D")]
    flags = [*FLAGS, *barriers, *macros, *([f"-fsanitize={SANITIZE}"] if SANITIZE else [])]
    key = hashlib.sha256("\0".join([HEADER.read_text(), code, *flags]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"midframe-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{file}-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            source, built = Path(aside) / f"{file}.cpp", Path(aside) / "built.so"
            source.write_text(code)
            command = ["g++", *flags, str(source), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
            built.replace(library)
    return ctypes.CDLL(str(library))
