"""What only a GPU can show: streams, graphs, threads, devices, large tensors, nothing recompiled.

That the kernels' numbers are right is shown by the other files, which run on the GPU too where
there is one. With MIDFRAME_GPU_CHECK=1 (`make gpu-check`) a missing GPU fails instead of skipping.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from cases import assert_near, random
from torch import Tensor

from midframe import ops
from midframe.ops import backend as backends
from midframe.ops.backends import launcher

OPERATORS = ("splat", "correlation", "adacof")
DEMANDED = os.environ.get("MIDFRAME_GPU_CHECK") == "1"
WIDE = 2**31 + 2**20  # elements: more than an int counts


def _why_not() -> str | None:
    if not torch.cuda.is_available():
        return "needs a CUDA device"
    found = backends.availability("cupy")
    return None if found.ok else found.why


@pytest.fixture(autouse=True)
def _gpu() -> Iterator[None]:
    why = _why_not()
    if why and DEMANDED:
        pytest.fail(f"MIDFRAME_GPU_CHECK=1 demands the cupy backend: {why}")
    if why:
        pytest.skip(why)
    yield
    torch.cuda.synchronize()


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def inputs(
    name: str, height: int = 37, width: int = 50, batch: int = 2, channels: int = 8, seed: int = 0
) -> list[Tensor]:
    """Return an operator's tensors on the CPU; all want a gradient."""
    plane = (batch, 25, height, width)
    shapes = {
        "splat": [(batch, channels, height, width), (batch, 2, height, width)]
        + [(batch, 1, height, width)],
        "correlation": [(batch, channels, height, width)] * 2,
        "adacof": [(batch, 3, height + 4, width + 4), plane, plane, plane],
    }[name]
    return [random(*shape, seed=10 * seed + at) for at, shape in enumerate(shapes)]


def operator(name: str, backend: str = "cupy") -> Callable[..., Tensor]:
    def call(*tensors: Tensor) -> Tensor:
        options = {"mode": "soft"} if name == "splat" else {}
        return getattr(ops, name)(*tensors, **options, backend=backend)

    return call


def results(
    function: Callable[..., Tensor], tensors: list[Tensor], device: str = "cuda"
) -> list[Tensor]:
    """Return the output and all gradients, for a gradient that depends on the place alone."""
    leaves = [x.detach().to(device).requires_grad_() for x in tensors]
    out = function(*leaves)
    grad = random(*out.shape, seed=99).to(out)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


def truth(name: str, tensors: list[Tensor]) -> list[Tensor]:
    return results(operator(name, "reference"), [x.double() for x in tensors], "cpu")


def assert_results(found: list[Tensor], wanted: list[Tensor], tolerance: float = 1e-4) -> None:
    assert len(found) == len(wanted)
    for at, (mine, its) in enumerate(zip(found, wanted)):
        assert_near(mine, its, tolerance, f"result {at}")


@pytest.mark.parametrize("name", OPERATORS)
def test_equals_the_reference(name):
    tensors = inputs(name)
    assert_results(results(operator(name), tensors), truth(name, tensors))


@pytest.mark.parametrize("name", OPERATORS)
def test_on_a_side_stream_it_waits_for_that_stream_alone(name):
    tensors, stream = inputs(name), torch.cuda.Stream()
    results(operator(name), tensors)  # compiled
    empty = [torch.empty_like(x, device="cuda") for x in tensors]
    there = [x.cuda() for x in tensors]
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # whoever runs on another stream reads before the copies
        for target, source in zip(empty, there):
            target.copy_(source)
        found = results(operator(name), empty)
    stream.synchronize()
    assert_results(found, truth(name, tensors))


@pytest.mark.parametrize("name", OPERATORS)
def test_a_captured_call_is_replayed_with_new_data(name):
    fixed = [x.cuda() for x in inputs(name)]
    call = operator(name)
    call(*fixed)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call(*fixed)
    for seed in (1, 2):
        tensors = inputs(name, seed=seed)
        for target, source in zip(fixed, tensors):
            target.copy_(source)
        graph.replay()
        torch.cuda.synchronize()
        assert_near(out, truth(name, tensors)[0], 1e-5, f"replay {seed}")


@pytest.mark.parametrize("name", OPERATORS)
def test_a_captured_training_step_is_replayed_with_new_data(name):
    fixed = [x.cuda().requires_grad_() for x in inputs(name)]
    call = operator(name)
    grad = random(*call(*fixed).shape, seed=99).cuda()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            torch.autograd.grad(call(*fixed), fixed, grad)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call(*fixed)
        found = [out.detach(), *torch.autograd.grad(out, fixed, grad)]
    tensors = inputs(name, seed=3)
    with torch.no_grad():
        for target, source in zip(fixed, tensors):
            target.copy_(source)
    graph.replay()
    torch.cuda.synchronize()
    assert_results(found, truth(name, tensors))


@pytest.mark.parametrize("name", OPERATORS)
def test_make_graphed_callables(name):
    sample = tuple(x.cuda().requires_grad_() for x in inputs(name))
    graphed = torch.cuda.make_graphed_callables(operator(name), sample)
    tensors = inputs(name, seed=4)
    assert_results(results(graphed, tensors), truth(name, tensors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("name", OPERATORS)
def test_autocast_computes_in_float32(name, dtype):
    tensors = inputs(name)
    with torch.autocast("cuda", dtype):
        found = results(operator(name), tensors)
    assert all(x.dtype == torch.float32 for x in found)
    assert_results(found, truth(name, tensors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("name", OPERATORS)
def test_half_precision_is_rounded_once(name, dtype):
    tensors = [x.to(dtype) for x in inputs(name)]
    found = results(operator(name), tensors)
    assert found[0].dtype == dtype
    near = 4 * torch.finfo(dtype).eps
    assert_results(found, truth(name, tensors), near)


@pytest.mark.parametrize("name", OPERATORS)
def test_compiles_whole_with_inductor(name):
    pytest.importorskip("triton", reason="torch.compile on a GPU needs Triton")
    if not (shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")):
        pytest.skip("Triton needs a C compiler")
    call, tensors = operator(name), inputs(name)

    @torch.compile(fullgraph=True)
    def compiled(*tensors: Tensor) -> Tensor:
        return 2 * call(*(x + 0 for x in tensors))

    wanted = truth(name, tensors)
    assert_results(results(compiled, tensors), [2 * x for x in wanted])


@pytest.mark.parametrize("name", OPERATORS)
def test_on_the_second_device(name):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    tensors = inputs(name)
    found = results(operator(name), tensors, "cuda:1")
    assert torch.cuda.current_device() == 0
    assert all(x.device.index == 1 for x in found)
    assert_results(found, truth(name, tensors))


@pytest.mark.parametrize("name", OPERATORS)
def test_deterministic_mode_gives_the_same_bits(name, deterministic):
    tensors = inputs(name, height=90, width=120)
    if name == "splat":
        tensors[1] = tensors[1] * 8  # many sources on each target
    first = results(operator(name), tensors)
    for _ in range(5):
        for mine, its in zip(results(operator(name), tensors), first):
            assert torch.equal(mine, its)
    assert_results(first, truth(name, tensors))


@pytest.mark.parametrize("name", OPERATORS)
def test_new_shapes_compile_nothing(name):
    call = operator(name)
    for channels in (32, 16, 3, 5):  # what is chosen by channels is compiled
        results(call, inputs(name, 20, 30, channels=channels))
    before = [cache.cache_info().misses for cache in (launcher._module, launcher._function)]
    for height, width, batch, channels in (
        (33, 47, 1, 32),
        (64, 20, 3, 16),
        (9, 11, 2, 3),
        (5, 300, 1, 5),
    ):
        results(call, inputs(name, height, width, batch, channels))
    after = [cache.cache_info().misses for cache in (launcher._module, launcher._function)]
    assert after == before


@pytest.mark.parametrize("name", OPERATORS)
def test_all_memory_is_pytorchs(name):
    import cupy

    results(operator(name), inputs(name))
    assert cupy.get_default_memory_pool().used_bytes() == 0
    assert cupy.get_default_memory_pool().total_bytes() == 0


@pytest.mark.parametrize("name", OPERATORS)
def test_backward_from_another_thread_and_stream(name):
    tensors, stream = inputs(name), torch.cuda.Stream()
    leaves = [x.cuda().requires_grad_() for x in tensors]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        out = operator(name)(*leaves)
    grad, found = random(*out.shape, seed=99).cuda(), []
    torch.cuda.synchronize()
    thread = threading.Thread(target=lambda: found.extend(torch.autograd.grad(out, leaves, grad)))
    thread.start()
    thread.join()
    torch.cuda.synchronize()
    assert_results([out.detach(), *found], truth(name, tensors))


@pytest.mark.parametrize("name", OPERATORS)
def test_many_threads_at_once(name):
    tensors, wanted = inputs(name), truth(name, inputs(name))
    found: list[list[Tensor]] = []

    def work() -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            found.append(results(operator(name), tensors))
            torch.cuda.current_stream().synchronize()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for one in found:
        assert_results(one, wanted)


def _needs(bytes: float) -> None:
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0]
    if free < bytes:
        pytest.skip(f"needs {bytes / 2**30:.0f} GiB of free GPU memory, has {free / 2**30:.0f}")


@torch.inference_mode()
def test_splat_beyond_32_bits():
    height, width = 2048, 4096
    channels = WIDE // (height * width) + 1
    _needs(2 * 4 * channels * height * width * 1.3)
    input = torch.empty(1, channels, height, width, device="cuda")
    for c in range(channels):
        input[:, c] = c
    flow = torch.zeros(1, 2, height, width, device="cuda")
    flow[:, 0] = 1.0
    out = ops.splat(input, flow, backend="cupy")
    for c in (0, 1, channels // 2, channels - 1):  # each plane moved one to the right
        assert (out[0, c, :, 1:] == c).all() and (out[0, c, :, 0] == 0).all(), f"plane {c}"


@torch.inference_mode()
def test_adacof_beyond_32_bits():
    size = 9472  # 25 planes of it
    _needs(3 * 2 * 25 * size * size * 1.2)
    image = torch.rand(1, 3, size + 4, size + 4, device="cuda", dtype=torch.float16)
    weight = torch.zeros(1, 25, size, size, device="cuda", dtype=torch.float16)
    weight[:, 24] = 1  # the last tap, whose planes lie beyond
    offset = torch.zeros_like(weight)
    assert weight.numel() > 2**31
    out = ops.adacof(image, weight, offset, offset, backend="cupy")
    assert torch.equal(out, image[..., 4:, 4:])


@torch.inference_mode()
def test_correlation_beyond_32_bits():
    size = 5200  # 81 planes of it
    _needs(2 * 81 * size * size * 1.3)
    first = torch.rand(1, 1, size, size, device="cuda").half()
    second = torch.rand(1, 1, size, size, device="cuda").half()
    out = ops.correlation(first, second, backend="cupy")
    assert out.numel() > 2**31
    last = (first[..., :-4, :-4].float() * second[..., 4:, 4:].float()).half()
    assert torch.equal(out[:, 80:, :-4, :-4], last)
