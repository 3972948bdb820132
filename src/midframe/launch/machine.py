"""What the machine is: driver, processor, memory, compiler, free disk. In words, never raising."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from midframe.cores import usable_cores

GIB = 2**30
LITTLE_DISK = 10  # GiB; a run with pictures and checkpoints takes a few


def driver() -> str:
    """Return the NVIDIA driver's version, or nothing where there is none."""
    text = _read("/proc/driver/nvidia/version")
    if match := re.search(r"Kernel Module\D*?(\d[\d.]+)", text):
        return match[1]
    lines = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return lines.splitlines()[0].strip() if re.match(r"\s*\d", lines) else ""


def compiler() -> str:
    """Return the first line that the C++ compiler says of itself, or nothing without one."""
    name = os.environ.get("CXX") or "g++"
    lines = _output(*name.split(), "--version").splitlines()
    return lines[0].strip() if lines else ""


def processor() -> str:
    """Return the processor's name and the cores this process may use."""
    match = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    name = match[1].strip() if match else platform.processor() or platform.machine()
    total, usable = os.cpu_count() or 1, usable_cores()
    cores = f"{usable} cores" if usable == total else f"{usable} of {total} cores"
    return f"{name}, {cores}"


def memory() -> str:
    """Return how much memory there is, and how much of it is free."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    sizes = {name: int(kib) / 2**20 for name, kib in found}
    if "MemTotal" in sizes:
        free = sizes.get("MemAvailable", sizes.get("MemFree", 0))
        return f"{sizes['MemTotal']:.1f} GiB, {free:.1f} GiB free"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / GIB:.1f} GiB"
    return "unknown"


def disk() -> tuple[str, bool]:
    """Return the free space where runs go, and whether it is enough for a few."""
    folder = Path(os.environ.get("MIDFRAME_RUNS") or "runs").absolute()
    there = next((p for p in (folder, *folder.parents) if p.is_dir()), Path("/"))
    free = shutil.disk_usage(there).free / GIB
    writable = os.access(there, os.W_OK)
    words = f"{free:.1f} GiB free for {folder}" + ("" if writable else ", which can't be written")
    return words, writable and free >= LITTLE_DISK


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout
