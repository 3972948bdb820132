"""Every CUDA kernel compiles for the GPUs we name, and keeps what it computes with in registers.

Where a kernel's registers don't suffice, the compiler "spills" them to memory, which costs more
than anything else in these kernels. `report` gives the table; ``pytest -s`` prints it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import nvrtc
import pytest

from midframe.ops.backends.launcher import Kernel

pytestmark = pytest.mark.slow

ARCHITECTURES = ("sm_80", "sm_90")
MODULES = ("cupy_splat", "cupy_correlation", "cupy_adacof")
MOST_SHARED = 48 << 10  # bytes of shared memory that a block gets without asking
# left to the slow tests: wide indices, and float16, which differs from bfloat16 in two instructions
RARE = {("INDEX", "long long"), ("SCALAR", "half_t")}


@dataclass(frozen=True)
class Row:
    """One kernel as compiled for one architecture."""

    kernel: Kernel
    arch: str
    usage: nvrtc.Usage

    def __str__(self) -> str:
        macros = " ".join(f"{key}={value}" for key, value in self.kernel.defines)
        use = self.usage
        return (
            f"{self.kernel.name:<24} {self.arch} {use.registers:>3} registers"
            f" {use.spill_stores + use.spill_loads} spilled {use.shared:>5} shared  {macros}"
        )


def kernels() -> list[Kernel]:
    """Return every kernel that the backend can launch."""
    found: dict[Kernel, None] = {}
    for name in MODULES:
        path = f"midframe.ops.backends.{name}"
        if importlib.util.find_spec(path) is not None:
            found.update(dict.fromkeys(importlib.import_module(path).variants()))
    return list(found)


def report(chosen: list[Kernel], arch: str) -> Iterator[Row]:
    """Compile kernels, each text once for each set of options, and yield what they take."""
    compiled: dict[tuple[str, tuple[str, ...]], nvrtc.Report] = {}
    for kernel in chosen:
        key = (kernel.file, kernel.options)
        if key not in compiled:
            compiled[key] = nvrtc.compile(kernel.source, kernel.options, arch)
            assert compiled[key].cubin.startswith(b"\x7fELF")
        yield Row(kernel, arch, compiled[key].kernels[kernel.name])


def _files() -> list[str]:
    return sorted({kernel.file for kernel in kernels()})


def _check(file: str, arch: str, rare: bool, record) -> None:  # type: ignore[no-untyped-def]
    why = nvrtc.why_not()
    if why:
        pytest.skip(why)
    chosen = [k for k in kernels() if k.file == file and RARE.isdisjoint(k.defines) != rare]
    rows = list(report(chosen, arch))
    print("", *rows, sep="\n")
    for name in {row.kernel.name for row in rows}:
        most = max(row.usage.registers for row in rows if row.kernel.name == name)
        record(f"registers {name} {arch}", most)
    for row in rows:
        use = row.usage
        assert (use.spill_stores, use.spill_loads, use.stack) == (0, 0, 0), str(row)
        assert use.shared <= MOST_SHARED, str(row)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("file", _files())
def test_compiles_without_spills(file, arch, record_property):
    _check(file, arch, False, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("file", _files())
def test_the_rest_compiles_without_spills(file, arch, record_property):
    _check(file, arch, True, record_property)


@pytest.mark.skipif(nvrtc.why_not() is not None, reason=str(nvrtc.why_not()))
class TestCompiler:
    def test_tells_of_spills(self):
        body = " ".join(f"float v{i} = p[{i} + threadIdx.x];" for i in range(64))
        back = " ".join(f"p[{64 * 64} + {i} * threadIdx.x] = v{i};" for i in range(64))
        bound = "__launch_bounds__(1024, 2)"  # 32 registers each
        text = f'extern "C" __global__ void {bound} full(float* p) {{ {body} {back} }}'
        usage = nvrtc.compile(text, (), "sm_90").kernels["full"]
        assert usage.registers <= 32 and usage.spill_stores > 0 and usage.spill_loads > 0

    def test_repeats_the_compilers_words(self):
        with pytest.raises(RuntimeError, match="unknown_name"):
            nvrtc.compile('extern "C" __global__ void bad() { unknown_name(); }', (), "sm_90")
