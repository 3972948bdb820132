"""Compiles CUDA kernels to machine code with NVRTC's library: no GPU, driver or CuPy needed."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "nvidia.cu13"  # of the wheel nvidia-cuda-nvrtc
_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '\w+'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Usage:
    """What one kernel takes: registers of a thread, bytes of stack, spills and shared memory."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


@dataclass(frozen=True)
class Report:
    """What came of compiling a text.

    Attributes:
        cubin: the machine code.
        kernels: what each of its kernels takes, by name.
        log: the compiler's words.
    """

    cubin: bytes
    kernels: dict[str, Usage]
    log: str


def why_not() -> str | None:
    """Return why NVRTC can't be used here, or None."""
    folder = _folder()
    if folder is None:
        return "needs NVRTC: pip install nvidia-cuda-nvrtc"
    try:
        _library()
    except OSError as error:
        return f"NVRTC in {folder} does not load: {error}"
    return None


def compile(text: str, options: Sequence[str], arch: str) -> Report:
    """Compile a text.

    Args:
        text: the source.
        options: of the compiler.
        arch: such as "sm_90".

    Raises:
        RuntimeError: with the compiler's words, if it does not compile.
    """
    library = _library()
    program = ctypes.c_void_p()
    _done(library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"", 0, None, None))
    try:
        words = [f"--gpu-architecture={arch}", "--ptxas-options=-v", *options]
        array = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        status = library.nvrtcCompileProgram(program, len(words), array)
        log = _text(library, "ProgramLog", program).decode(errors="replace").rstrip("\0")
        if status:
            raise RuntimeError(f"{' '.join(words)}: {_error(status)}\n{log}")
        return Report(_text(library, "CUBIN", program), _usage(log), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _usage(log: str) -> dict[str, Usage]:
    found = {}
    for entry in _ENTRY.finditer(log):
        shared = re.search(r"(\d+) bytes smem", entry["rest"])
        numbers = (int(entry[key]) for key in ("registers", "stack", "stores", "loads"))
        found[entry["name"]] = Usage(*numbers, int(shared[1]) if shared else 0)
    return found


def _text(library: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _done(getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _done(getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _done(status: int) -> None:
    if status:
        raise RuntimeError(f"NVRTC: {_error(status)}")


def _error(status: int) -> str:
    return _library().nvrtcGetErrorString(status).decode()


@functools.cache
def _library() -> ctypes.CDLL:
    folder = _folder()
    if folder is None:
        raise OSError("no nvidia-cuda-nvrtc")
    for builtins in sorted(folder.glob("libnvrtc-builtins.so.*")):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(sorted(folder.glob("libnvrtc.so.*"))[0]))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


@functools.cache
def _folder() -> Path | None:
    """Return the folder with NVRTC's libraries, or None."""
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except ModuleNotFoundError:
        return None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "lib"
        if any(folder.glob("libnvrtc.so.*")):
            return folder
    return None
