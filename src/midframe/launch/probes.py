"""The probes of `midframe doctor`: each tells about one thing and stands alone.

Hydra, Lightning and wandb are looked up, not imported.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import platform
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

from midframe.launch import machine

OK, MISSING, BROKEN, NOTE = "ok", "missing", "broken", "note"
# Used by every command; these are too slow to import only to look at them.
LOOKED_UP = (
    *("lightning", "hydra-core", "omegaconf", "torchmetrics", "tensorboard", "wandb"),
    *("rich", "pyyaml"),
)
AGAIN = "pip install -U --force-reinstall "


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        value: what was found, or why it does not run.
        state: "ok", "missing", "broken", or "note": not as good as it could be.
        remedy: a command that mends it, or empty.
        needed: midframe does not run in full without it.
    """

    name: str
    value: str
    state: str = OK
    remedy: str = ""
    needed: bool = False

    @property
    def failed(self) -> bool:
        """Whether something that is needed does not run."""
        return self.needed and self.state in (MISSING, BROKEN)


def checks() -> list[Check]:
    """Look at everything; never raises for what is missing or broken."""
    probes: list[tuple[str, Callable[[], list[Check]]]] = [
        ("Python", _python),
        ("PyTorch", _torch),
        ("CUDA", _cuda),
        ("CuPy", _cupy),
        ("numba", _numba),
        ("NumPy", lambda: [_package("NumPy", "numpy", "numpy")]),
        ("PyAV", _av),
        ("OpenCV", lambda: [_package("OpenCV", "cv2", "opencv-python-headless")]),
        ("packages", _looked_up),
        ("compiler", _compiler),
        ("machine", _machine),
        ("disk", _disk),
        ("MIDFRAME_OPS", _variable),
    ]
    return [check for name, probe in probes for check in guarded(name, probe)]


def guarded(name: str, probe: Callable[[], list[Check]]) -> list[Check]:
    """Run a probe; what it raises becomes its line."""
    try:
        with quiet():
            return probe()
    except (Exception, SystemExit) as error:  # whatever a broken package does when it is touched
        return [Check(name, first_line(error), BROKEN)]


@contextlib.contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Keep a package's warnings and words out of the table; gives the warnings."""
    with (
        warnings.catch_warnings(record=True) as told,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("always")
        yield told


def first_line(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def _package(
    name: str,
    module: str,
    wheel: str,
    needed: bool = True,
    detail: Callable[..., str] | None = None,
) -> Check:
    """Import a package and tell its version."""
    remedy = f"pip install {wheel}"
    try:
        found = importlib.import_module(module)
        version = str(getattr(found, "__version__", None) or metadata.version(wheel))
        return Check(name, version + (detail(found) if detail else ""), needed=needed)
    except ModuleNotFoundError as error:
        if error.name == module:
            return Check(name, "not installed", MISSING if needed else NOTE, remedy, needed)
        return Check(name, first_line(error), BROKEN, remedy, needed)
    except (Exception, SystemExit) as error:  # as above: a broken package raises anything
        return Check(name, first_line(error), BROKEN, AGAIN + wheel, needed)


def _python() -> list[Check]:
    value = f"{platform.python_version()}, {sys.executable}"
    return [Check("Python", value)]


def _torch() -> list[Check]:
    def detail(torch: object) -> str:
        built = torch.version.cuda or torch.version.hip  # type: ignore[attr-defined]
        return f", built with CUDA {built}" if built else ", built without CUDA"

    found = _package("PyTorch", "torch", "torch", detail=detail)
    least = _least("torch")
    if found.state == OK and _release(found.value) < _release(least):
        return [Check("PyTorch", f"{found.value}: {least} or newer is needed", BROKEN, needed=True)]
    return [found]


def _cuda() -> list[Check]:
    driver = machine.driver()
    try:
        torch = importlib.import_module("torch")
    except (Exception, SystemExit):  # told under PyTorch
        return [Check("driver", driver)] if driver else []
    if torch.version.cuda is None:
        if not driver:
            return [Check("GPU", "none")]
        page = "see https://pytorch.org/get-started/locally"
        why = f"NVIDIA driver {driver} is here, but this PyTorch is built without CUDA"
        return [Check("GPU", why, NOTE, f"pip install torch with CUDA: {page}")]
    with quiet() as told:
        there = torch.cuda.is_available()
    if not there:
        why = str(told[-1].message).splitlines()[0] if told else "PyTorch finds no device"
        state = NOTE if driver else OK
        return [Check("GPU", f"{why}; driver {driver or 'none'}", state)]
    checks = [Check("driver", driver or "version unknown")]
    for index in range(torch.cuda.device_count()):
        checks += guarded(f"GPU {index}", lambda index=index: [_gpu(torch, index)])
    return checks


def _gpu(torch: object, index: int) -> Check:
    cuda = torch.cuda  # type: ignore[attr-defined]
    found = cuda.get_device_properties(index)
    free, total = cuda.mem_get_info(index)
    words = (
        f"{found.name}, sm_{found.major}{found.minor}",
        f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free",
    )
    return Check(f"GPU {index}", ", ".join(words))


def _cupy() -> list[Check]:
    """Tell about CuPy, which only a GPU needs."""
    try:
        from midframe.ops.backends import launcher
    except (Exception, SystemExit):  # told under PyTorch
        return []
    wheels = cupy_wheels()
    torch = importlib.import_module("torch")
    wanted = torch.version.cuda is not None and torch.cuda.is_available()
    if not wanted and not wheels:
        return [Check("CuPy", "not installed; only a GPU needs it")]
    found = _package("CuPy", "cupy", launcher.wheel(), needed=False)
    named = f" ({', '.join(wheels)})" if wheels else ""
    value, state, remedy = found.value + named, found.state, cupy_remedy(found.value)
    if state == OK and wanted:
        why = launcher.availability()
        value, state = (value, OK) if why.ok else (f"{value}: {why.why}", BROKEN)
        remedy = cupy_remedy(why.why)
    elif state == OK:
        value += "; only a GPU needs it"
    if len(wheels) > 1 and state == OK:
        value, state = f"{value}: more than one is installed, keep {launcher.wheel()}", NOTE
    return [Check("CuPy", value, state, remedy if state != OK and wanted else "")]


def cupy_wheels() -> list[str]:
    """Return the names of all installed distributions of CuPy."""
    names = {str(found.metadata["Name"]) for found in metadata.distributions()}
    return sorted(n for n in names if re.fullmatch(r"cupy(-cuda\w+|-rocm[\w-]+)?", n))


def cupy_remedy(why: str) -> str:
    """Return the command that brings the CuPy that fits this PyTorch.

    Args:
        why: what is wrong with the one that is here.
    """
    from midframe.ops.backends import launcher

    wheel = launcher.wheel()
    others = [name for name in cupy_wheels() if name != wheel]
    install = f"pip install '{wheel}[ctk]'" if "nvrtc" in why.lower() else f"pip install {wheel}"
    # the wheels share their files, so that one on top of another breaks both
    return f"pip uninstall -y {' '.join(others)} && {install}" if others else install


def _numba() -> list[Check]:
    found = _package("numba", "numba", "numba", needed=False)
    if found.state == NOTE:
        return [Check("numba", "not installed; the operators on the CPU are faster with it", NOTE)]
    return [found]


def _av() -> list[Check]:
    def detail(av: object) -> str:
        ffmpeg = getattr(av, "ffmpeg_version_info", "")
        return f", FFmpeg {ffmpeg}" if ffmpeg else ""

    return [_package("PyAV", "av", "av", detail=detail)]


def _looked_up() -> list[Check]:
    there, checks = [], []
    for name in LOOKED_UP:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            command = f"pip install {name}"
            checks.append(Check(name, "not installed", MISSING, command, needed=True))
            continue
        least = _least(name)
        if _release(version) < _release(least):
            value, command = f"{version}: {least} or newer is needed", f"pip install -U {name}"
            checks.append(Check(name, value, BROKEN, command, needed=True))
        there.append(f"{name} {version}")
    return [*([Check("packages", ", ".join(there))] if there else []), *checks]


def _least(name: str) -> str:
    """Return the oldest version that the package's own metadata allows, or nothing."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for line in metadata.requires("midframe") or ():
            if match := re.match(rf"{re.escape(name)}\b[^;]*?>=([\d.]+)", line):
                return match[1]
    return ""


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _compiler() -> list[Check]:
    found = machine.compiler()
    if found:
        return [Check("g++", found)]
    why = "not found; torch.compile needs it (trainer.compile, bench infer --compile)"
    return [Check("g++", why, NOTE, "apt install g++, or set CXX")]


def _machine() -> list[Check]:
    return [Check("processor", machine.processor()), Check("memory", machine.memory())]


def _disk() -> list[Check]:
    value, enough = machine.disk()
    return [Check("disk", value, OK if enough else NOTE)]


def _variable() -> list[Check]:
    from midframe.errors import UserError

    try:
        from midframe.ops import backend as backends
    except (Exception, SystemExit):  # told under PyTorch
        return []
    try:
        name = backends.choose(None)
    except UserError as error:
        command = f"unset {backends.VARIABLE}"
        return [Check(backends.VARIABLE, str(error), BROKEN, command, needed=True)]
    return [] if name == backends.AUTO else [Check(backends.VARIABLE, name)]
