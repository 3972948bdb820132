"""Which backend runs, by argument, context, variable or what is installed; what it says if none."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from cases import random

from midframe import ops
from midframe.errors import UserError
from midframe.ops import backend as backends
from midframe.ops import use_backend
from midframe.ops.backend import Availability

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MISSING = Availability(False, "CuPy is not installed", "cupy-cuda13x", expected=True)


@pytest.fixture
def installed(monkeypatch) -> Iterator[Callable[..., None]]:
    """Pretend that these backends can run, or can't for a reason."""

    def pretend(**found: Availability) -> None:
        def availability(name: str) -> Availability:
            return found.get(name, Availability(ok=True))

        backends._best.cache_clear()
        monkeypatch.setattr(backends, "availability", availability)

    monkeypatch.delenv(backends.VARIABLE, raising=False)
    yield pretend
    backends._best.cache_clear()


@pytest.fixture
def used(monkeypatch) -> list[str]:
    """List the backends that ran, forward and backward, in order."""
    names: list[str] = []
    real = backends.module

    def module(operator, name, device):
        names.append(backends.resolve(name, device))
        return real(operator, name, device)

    monkeypatch.setattr(backends, "module", module)
    monkeypatch.delenv(backends.VARIABLE, raising=False)
    return names


def _splat(backend: str | None = None, **options: bool) -> torch.Tensor:
    input = random(1, 2, 3, 4).requires_grad_(options.get("grad", False))
    return ops.splat(input, random(1, 2, 3, 4, seed=1), backend=backend)


# --- auto


def test_auto_takes_the_fastest_that_is_there(installed):
    installed()
    assert (backends.resolve("auto", CPU), backends.resolve("auto", CUDA)) == ("numba", "cupy")
    installed(numba=Availability(False, "no"), cupy=Availability(False, "no"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody expects CuPy here
        found = backends.resolve("auto", CPU), backends.resolve("auto", CUDA)
    assert found == ("torch", "torch")


def test_auto_on_a_device_of_another_kind_is_torch(installed):
    installed()
    assert backends.resolve("auto", torch.device("mps")) == "torch"


def test_a_missing_cupy_is_told_once_with_the_wheel(installed):
    installed(cupy=MISSING)
    with pytest.warns(UserWarning, match="pip install cupy-cuda13x") as told:
        assert backends.resolve("auto", CUDA) == "torch"
    assert len(told) == 1 and "\n" not in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backends.resolve("auto", torch.device("cuda:0")) == "torch"


def test_numba_is_used_where_it_imports(used):
    try:
        import numba  # noqa: F401
    except ImportError:
        expected = "torch"
    else:
        expected = "numba"
    _splat(grad=True).sum().backward()
    assert used == [expected] * 2


def test_importing_the_operators_imports_no_accelerator():
    code = "import sys, midframe.ops; print(sorted({'numba', 'cupy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- precedence


def test_argument_goes_before_context_before_variable(monkeypatch):
    monkeypatch.delenv(backends.VARIABLE, raising=False)
    assert backends.choose(None) == "auto"
    monkeypatch.setenv(backends.VARIABLE, "")
    assert backends.choose(None) == "auto"
    monkeypatch.setenv(backends.VARIABLE, "torch")
    assert backends.choose(None) == "torch"
    with use_backend("reference"):
        assert backends.choose(None) == "reference"
        assert backends.choose("torch") == "torch"
        with use_backend("torch"):
            assert backends.choose(None) == "torch"
            with use_backend("auto"):
                assert backends.choose(None) == "auto"
            assert backends.choose(None) == "torch"
        assert backends.choose(None) == "reference"
    assert backends.choose(None) == "torch"


def test_the_operators_follow_the_choice(used, monkeypatch):
    _splat("torch")
    with use_backend("torch"):
        _splat()
        ops.correlation(random(1, 2, 3, 3), random(1, 2, 3, 3))
        ones = torch.ones(1, 1, 3, 3)
        ops.adacof(ones, ones, ones, ones)
    assert used == ["torch"] * 4
    with use_backend("reference"):
        out = _splat(grad=True)
    assert used == ["torch"] * 4 and "midframe" not in type(out.grad_fn).__name__.lower()
    monkeypatch.setenv(backends.VARIABLE, "torch")
    _splat()
    assert used == ["torch"] * 5


def test_a_context_ends_with_an_error():
    before = backends.choose(None)
    with pytest.raises(RuntimeError), use_backend("reference"):
        raise RuntimeError
    assert backends.choose(None) == before
    with pytest.raises(UserError), use_backend("reference"), use_backend("triton"):
        raise AssertionError
    assert backends.choose(None) == before


def test_a_context_serves_again():
    before, context = backends.choose(None), use_backend("reference")
    for _ in range(2):
        with context:
            assert backends.choose(None) == "reference"
        assert backends.choose(None) == before


def test_the_gradient_stays_on_the_backend_of_its_forward_pass(used, monkeypatch):
    with use_backend("torch"):
        out = _splat(grad=True)
    monkeypatch.setenv(backends.VARIABLE, "reference")
    with use_backend("reference"):
        out.sum().backward()
    assert used == ["torch", "torch"]


def test_a_compiled_function_follows_the_context(used):
    torch._dynamo.reset()
    compiled = torch.compile(ops.splat, backend="eager", fullgraph=True)
    input, flow = random(1, 2, 3, 4), random(1, 2, 3, 4, seed=1)
    wanted = ops.splat(input, flow, backend="reference")
    for name in ("torch", "reference", "torch"):
        with use_backend(name):
            torch.testing.assert_close(compiled(input, flow), wanted)
    assert used == ["torch", "torch"]
    torch._dynamo.reset()


# --- errors


def _one_line(error: pytest.ExceptionInfo[UserError], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text and all(part in text for part in parts), text


def test_unknown_names_are_refused_with_the_known_ones(monkeypatch):
    known = ("auto", "cupy", "numba", "torch", "reference")
    with pytest.raises(UserError) as error:
        _splat("triton")
    _one_line(error, "backend=triton", *known)
    with pytest.raises(UserError) as error:
        use_backend("Torch")
    _one_line(error, "use_backend=Torch", *known)
    monkeypatch.setenv(backends.VARIABLE, "fast")
    with pytest.raises(UserError) as error:
        _splat()
    _one_line(error, "MIDFRAME_OPS=fast", *known)
    _splat("reference")  # the argument goes before it


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_cupy_without_a_device_is_refused_in_one_line():
    for call in (lambda: _splat("cupy"), lambda: use_backend("cupy")):
        with pytest.raises(UserError) as error:
            call()
        _one_line(error, "backend=cupy can't run here", "PyTorch", "backend=auto")


def test_a_missing_package_is_named_with_its_remedy(installed):
    installed(cupy=MISSING, numba=Availability(False, "numba is not installed", "numba"))
    with pytest.raises(UserError) as error:
        use_backend("cupy")
    _one_line(error, "CuPy is not installed", "pip install cupy-cuda13x")
    with pytest.raises(UserError) as error:
        _splat("numba")
    _one_line(error, "numba is not installed", "pip install numba", "backend=auto")
    with use_backend("auto"):
        assert backends.choose(None) == "auto"


def test_tensors_on_the_wrong_device_are_refused(installed):
    installed()
    with pytest.raises(UserError) as error:
        backends.resolve("cupy", CPU)
    _one_line(error, "CUDA tensors", "cpu")
    with pytest.raises(UserError) as error:
        backends.resolve("numba", CUDA)
    _one_line(error, "CPU tensors", "cuda")
    for device in (CPU, CUDA):
        assert backends.resolve("torch", device) == "torch"


def test_the_kernels_on_the_cpu_leave_no_trace():
    on_cpu = pytest.importorskip("cuda_on_cpu")
    with on_cpu.kernels_on_cpu():
        assert backends.resolve("cupy", CPU) == "cupy"
    with pytest.raises(UserError):
        backends.resolve("cupy", CPU)
