"""What the splatting kernels' host code decides: form, index width, groups; and each form's sums.

The kernels run on the CPU here. That they equal the definition is tested with all the backends in
test_splat.py; there the form is chosen for them.
"""

from __future__ import annotations

from itertools import product

import cuda_on_cpu
import pytest
import torch

from midframe.ops.backends import cupy_splat, launcher
from midframe.ops.backends.cupy_splat import FORMS, backward, forward, forward_with
from midframe.ops.reference import splat as reference

WAYS = [("sum", "addeps"), ("avg", "zeroeps"), ("linear", "clipeps"), ("soft", "addeps")]


@pytest.fixture(autouse=True)
def _kernels_on_cpu():
    why = cuda_on_cpu.why_not()
    if why:
        pytest.skip(why)
    with cuda_on_cpu.kernels_on_cpu():
        yield


@pytest.fixture
def launches(monkeypatch):
    """Give the names of the kernels launched."""
    names, run = [], launcher.launch

    def note(kernel, *args):
        names.append(kernel.name)
        run(kernel, *args)

    monkeypatch.setattr(launcher, "launch", note)
    return names


def _tensors(channels, mode, dtype=torch.float64, batch=2, size=(7, 5), scale=3.0, seed=0):
    random = torch.Generator().manual_seed(seed)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    input = torch.randn(batch, channels, *size, generator=random, dtype=torch.float64).to(dtype)
    flow = scale * torch.randn(batch, 2, *size, generator=random, dtype=torch.float64).to(exact)
    flow[..., 0, 0] = torch.tensor([-1.0, -1.0])
    flow[..., 0, 1] = torch.tensor([float("nan"), 0.0])
    metric = 100 * torch.rand(batch, 1, *size, generator=random, dtype=torch.float64).to(exact)
    return input, flow, metric if mode in ("linear", "soft") else None


def _collapse(batch, height, width):
    """Return a flow that sends every pixel to (1.25, 2.5)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    flow = torch.stack([1.25 - x, 2.5 - y]).double()
    return flow.expand(batch, -1, -1, -1)


# --- the forms


@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
@pytest.mark.parametrize("mode, normalize", WAYS)
@pytest.mark.parametrize("form", FORMS)
def test_forms_agree_with_the_definition(form, mode, normalize, wide):
    for channels in (1, 17):
        tensors = _tensors(channels, mode)
        output, weight, shift = forward_with(form, *tensors, mode, normalize, wide)
        truth = reference(*tensors, mode, normalize)
        torch.testing.assert_close(output, truth, rtol=1e-12, atol=1e-12)
        assert weight.numel() == (0 if mode == "sum" else 70)
        assert shift.numel() == (70 if mode == "soft" else 0)


@pytest.mark.parametrize("form", FORMS)
def test_forms_return_what_the_gradient_needs(form):
    tensors = _tensors(3, "soft")
    _, weight, shift = forward_with(form, *tensors, "soft", "addeps")
    _, truth, lowered = forward_with("atomic", *tensors, "soft", "addeps")
    assert lowered.max() > 20  # metrics go to 100
    torch.testing.assert_close(weight, truth, rtol=1e-12, atol=0.0)
    assert torch.equal(shift, lowered)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode, normalize", WAYS)
def test_many_sources_in_one_cell(form, mode, normalize):
    input, _, metric = _tensors(5, mode, size=(9, 8))
    flow = _collapse(2, 9, 8)
    output, _, _ = forward_with(form, input, flow, metric, mode, normalize)
    truth = reference(input, flow, metric, mode, normalize)
    torch.testing.assert_close(output, truth, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_is_summed_in_float32(form):
    """256 values of 1 plus one of 1/8: adding in bfloat16 would stop at 256."""
    input = torch.ones(1, 1, 1, 257, dtype=torch.bfloat16)
    input[..., 0] = 0.125
    flow = torch.zeros(1, 2, 1, 257)
    flow[0, 0, 0] = 3 - torch.arange(257.0)
    output, _, _ = forward_with(form, input, flow, None, "avg", "zeroeps")
    assert output.dtype == torch.bfloat16
    assert output[0, 0, 0, 3] == torch.tensor(256.125 / 257).bfloat16()


@pytest.mark.parametrize("form", FORMS)
def test_any_strides(form):
    input, flow, metric = _tensors(6, "soft")
    truth = forward_with(form, input, flow, metric, "soft", "addeps")[0]
    last = input.contiguous(memory_format=torch.channels_last)
    turned = flow.mT.contiguous().mT
    output = forward_with(form, last, turned, metric, "soft", "addeps")[0]
    assert output.is_contiguous() and torch.equal(output, truth)
    single = metric[:1, :, :1, :1]
    spread = single.expand_as(metric)
    output = forward_with(form, input, flow, spread, "soft", "addeps")[0]
    truth = forward_with(form, input, flow, spread.clone(), "soft", "addeps")[0]
    assert torch.equal(output, truth)


# --- the order of sums


def test_sorted_sources_rise_within_each_cell():
    _, flow, _ = _tensors(1, "sum", batch=3, size=(8, 8), scale=1.0)
    starts, order = cupy_splat._sort(flow, wide=False)
    assert starts.shape == (3 * 9 * 9 + 1,) and starts[0] == 0
    assert starts[-1] == _landed(flow).sum() < flow[:, 0].numel()
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist()):
        assert order[begin:end].tolist() == sorted(order[begin:end].tolist())


def _landed(flow):
    height, width = flow.shape[2:]
    x, y = torch.arange(width) + flow[:, 0], torch.arange(height)[:, None] + flow[:, 1]
    return (x >= -1) & (x < width) & (y >= -1) & (y < height)


def test_links_hold_each_source_once():
    _, flow, _ = _tensors(1, "sum", batch=3, size=(8, 8), scale=1.0)
    head, following = cupy_splat._link(flow, wide=False)
    starts, order = cupy_splat._sort(flow, wide=False)
    for cell, node in enumerate(head.tolist()):
        found = []
        while node >= 0:
            source = cell // 81 * 64 + (node >> 16) * 8 + (node & 0xFFFF)
            found.append(source)
            node = int(following[source])
        assert sorted(found) == order[starts[cell] : starts[cell + 1]].tolist()


def test_deterministic_algorithms_take_the_sorted_form(launches):
    tensors = _tensors(8, "soft", torch.float32)
    forward(*tensors, "soft", "addeps")
    assert "splat_starts" not in launches
    torch.use_deterministic_algorithms(True)
    try:
        output = forward(*tensors, "soft", "addeps")[0]
    finally:
        torch.use_deterministic_algorithms(False)
    assert "splat_starts" in launches
    assert torch.equal(output, forward_with("sorted", *tensors, "soft", "addeps")[0])


# --- what is chosen


def test_few_channels_are_added_many_gathered(launches):
    for channels in (1, 2, 3, 64):
        launches.clear()
        forward(*_tensors(channels, "avg", torch.float32), "avg", "addeps")
        form = "linked" if "splat_gather" in launches else "atomic"
        assert form == cupy_splat.form_for(channels, 70)
    assert cupy_splat.form_for(1, 70) == "atomic" and cupy_splat.form_for(64, 70) == "linked"


@pytest.mark.parametrize(
    "size, form",
    [
        ((2**15, 1), "splat_link"),
        ((2**15 + 1, 1), "splat_scatter"),
        ((1, 2**16), "splat_link"),
        ((1, 2**16 + 1), "splat_scatter"),
    ],
)
def test_rows_and_columns_beyond_16_bits(launches, size, form):
    height, width = size
    input = torch.arange(3.0 * height * width).remainder(251).view(1, 3, height, width)
    flow = torch.zeros(1, 2, height, width)
    flow[:, 0 if height == 1 else 1] = -2  # rows or columns before the last keep their values
    output = forward(input, flow, None, "sum", "addeps")[0]
    assert form in launches
    axis = 3 if height == 1 else 2
    assert torch.equal(output.narrow(axis, 0, 2**15 - 2), input.narrow(axis, 2, 2**15 - 2))
    last = output.narrow(axis, max(size) - 3, 3).flatten(2)
    assert torch.equal(last[..., 0], input.flatten(2)[..., -1]) and last[..., 1:].eq(0).all()
    if form == "splat_scatter":
        with pytest.raises(ValueError, match="linked"):
            forward_with("linked", input, flow, None, "sum", "addeps")


def test_indices_are_wide_where_a_cell_of_any_channel_needs_it():
    def wide(*shape):
        return cupy_splat._is_wide(torch.empty(shape, device="meta"))

    assert not wide(1, 32, 4320, 7680)
    assert wide(1, 8, 2**14, 2**14) and wide(8, 8, 2**12, 2**13)
    assert wide(2**29, 1, 1, 1)  # four cells around each pixel


def test_launches_are_few(launches):
    expected = {
        ("atomic", "sum"): 2,
        ("atomic", "avg"): 3,
        ("atomic", "soft"): 4,
        ("linked", "sum"): 2,
        ("linked", "avg"): 2,
        ("linked", "soft"): 2,
    }
    for (form, mode), count in expected.items():
        launches.clear()
        forward_with(form, *_tensors(8, mode, torch.float32), mode, "addeps")
        assert len(launches) == count, (form, mode, launches)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 16, 17, 33, 128, 1024, 200_000])
@pytest.mark.parametrize("pixels", [1, 35, 448, 114_688, 2_073_600, 2**31])
def test_groups_cover_the_channels(channels, pixels):
    for most in (4, 16, channels):
        groups, size = cupy_splat._groups(channels, pixels, most)
        assert (groups - 1) * size < channels <= groups * size
        assert groups <= 65535
        assert size <= most or groups * most < channels * 2
        if pixels >= cupy_splat.FILL:
            assert groups == -(-channels // most) or channels > 65535
    across, groups = cupy_splat._block(channels, pixels)
    assert 128 <= across * groups <= 256 and across >= 8
    if pixels >= cupy_splat.FILL:
        assert groups == 1
    assert groups == 1 or groups < channels


# --- the gradient


@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
@pytest.mark.parametrize("mode, normalize", WAYS)
def test_gradient_equals_the_definitions(mode, normalize, wide):
    for channels in (1, 33):  # one group of channels, and several that meet in shared memory
        tensors = [x if x is None else x.requires_grad_() for x in _tensors(channels, mode)]
        leaves = [x for x in tensors if x is not None]
        truth = reference(*tensors, mode, normalize)
        grad = torch.randn(truth.shape, dtype=torch.float64)
        wanted = torch.autograd.grad(truth, leaves, grad)
        plain = [x if x is None else x.detach() for x in tensors]
        output, weight, shift = forward_with("sorted", *plain, mode, normalize)
        saved = (None if mode == "sum" else output, weight, shift)
        needs = (True, True, mode in ("linear", "soft"))
        found = backward(grad, *plain, *saved, mode, normalize, needs, wide)
        for a, b in zip(found, wanted):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))


@pytest.mark.parametrize(
    "needs", [(True, False, False), (False, True, False), (False, False, True)]
)
def test_gradient_computes_what_is_asked_for(needs):
    tensors = _tensors(9, "soft")
    saved = forward_with("sorted", *tensors, "soft", "clipeps")
    grad = torch.randn_like(tensors[0])
    everything = backward(grad, *tensors, *saved, "soft", "clipeps", (True, True, True))
    found = backward(grad, *tensors, *saved, "soft", "clipeps", needs)
    for part, whole, need in zip(found, everything, needs):
        assert torch.equal(part, whole) if need else part.numel() == 0


# --- what is compiled


def test_variants_hold_every_kernel_launched(monkeypatch):
    used = set()
    monkeypatch.setattr(launcher, "launch", lambda kernel, *args: used.add(kernel))
    choices = product(FORMS, cupy_splat.MODES, launcher.SCALARS, (3, 6), (False, True))
    for form, mode, dtype, channels, wide in choices:
        tensors = _tensors(channels, mode, dtype, batch=1, size=(2, 3))
        saved = forward_with(form, *tensors, mode, "addeps", wide)
        needs = (True, True, tensors[2] is not None)
        backward(saved[0], *tensors, *saved, mode, "addeps", needs, wide)
    assert used <= set(cupy_splat.variants())
    assert {kernel.file for kernel in used} == {kernel.file for kernel in cupy_splat.variants()}
