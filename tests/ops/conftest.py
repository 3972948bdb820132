"""The backends that the operators' tests run over; each test takes one of the fixtures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from midframe import ops
from midframe.ops import backend as backends

NAMES = ("reference", "torch", "numba", "kernels", "torch-cuda", "cupy")


@dataclass(frozen=True)
class Run:
    """One backend on one device.

    Attributes:
        name: as the tests call it: "kernels" is CuPy's code with its kernels run on the CPU.
        backend: as midframe calls it.
        device: where its tensors are.
        slow: keep sizes tiny.
    """

    name: str
    backend: str
    device: torch.device
    slow: bool = False

    def splat(self, *args: object, **options: object) -> Tensor:
        return ops.splat(*args, **options, backend=self.backend)

    def correlation(self, *args: object, **options: object) -> Tensor:
        return ops.correlation(*args, **options, backend=self.backend)

    def adacof(self, *args: object, **options: object) -> Tensor:
        return ops.adacof(*args, **options, backend=self.backend)

    def operator(self, name: str, *options: object) -> Callable[..., Tensor]:
        """Return the operator of that name with the arguments behind its tensors."""
        function = getattr(self, name)
        return lambda *tensors: function(*tensors, *options)


@contextlib.contextmanager
def opened(name: str) -> Iterator[Run]:
    """Give a backend by its name in the tests; skip with a reason where it can't run."""
    cpu = torch.device("cpu")
    if name == "kernels":
        on_cpu = pytest.importorskip("cuda_on_cpu")
        why = on_cpu.why_not()
        if why:
            pytest.skip(why)
        with on_cpu.kernels_on_cpu():
            yield Run(name, "cupy", cpu, slow=True)
        return
    backend = name.removesuffix("-cuda")
    on_cuda = backend != name or name == "cupy"
    absent = pytest.fail if on_cuda and os.environ.get("MIDFRAME_GPU_CHECK") else pytest.skip
    if on_cuda and not torch.cuda.is_available():
        absent("needs a CUDA device")
    found = backends.availability(backend)
    if not found.ok:
        absent(found.why)
    yield Run(name, backend, torch.device("cuda:0") if on_cuda else cpu)


@pytest.fixture(params=NAMES)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Every backend, one after the other."""
    with opened(request.param) as found:
        yield found


@pytest.fixture(params=NAMES[1:])
def custom(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Every backend behind the custom ops: all but the reference, which is on the tape."""
    with opened(request.param) as found:
        yield found


@pytest.fixture
def reference() -> Run:
    """The truth, on the CPU."""
    return Run("reference", "reference", torch.device("cpu"))


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Switch PyTorch's deterministic algorithms, which also fill fresh memory with NaN."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it products are refused
    before = torch.are_deterministic_algorithms_enabled()
    yield torch.use_deterministic_algorithms
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Give a gloo group of this process alone, one for all tests.

    A group must outlive its last reduction by a while: the one who drops it holds Python's lock
    and waits for gloo's thread, which waits for Python's lock to free that reduction. With a
    group per test that stood still once in some thousand tests (PyTorch 2.13).
    """
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("PyTorch is built without gloo")
    store = f"file://{tmp_path_factory.mktemp('gloo') / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield distributed.group.WORLD
    distributed.destroy_process_group()
