"""What all operators share on every backend: custom ops, compilers, autocast, strides, memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases import adacof_case, assert_all_near, cast, evaluate, random, splat_case
from torch import Tensor, nn

OPERATORS = ("splat", "correlation", "adacof")
OPTIONS = {"splat": ("soft", "zeroeps"), "correlation": (2,), "adacof": (1,)}

operators = pytest.mark.parametrize("name", OPERATORS)


def _inputs(name: str, height: int = 5, width: int = 6, batch: int = 2) -> list[Tensor]:
    """Return small float32 inputs of an operator, with 3 channels and no whole offsets."""
    if name == "adacof":
        image, weight, alpha, beta = adacof_case(batch, 3, height, width, 2, 1, 2.0)
        return [image, weight, alpha + 1 / 128, beta - 1 / 128]
    first = random(batch, 3, height, width, seed=1)
    if name == "correlation":
        return [first, random(batch, 3, height, width, seed=2)]
    flow = random(batch, 2, height, width, seed=2) + 1 / 128
    return [first, flow, random(batch, 1, height, width, seed=3)]


def _both(run, name: str) -> tuple[Callable[..., Tensor], list[Tensor]]:
    return run.operator(name, *OPTIONS[name]), cast(_inputs(name), run.device)


# --- custom ops and compilers


def _check(custom, op: Callable[..., object], given: tuple[object, ...]) -> None:
    """Hold an operator against its schema and its fake kernel, which every backend has to meet.

    That its gradient is registered, and that tracing with any size gives the same, is no question
    of the backend: one answers it. `test_compiles_whole_and_once_for_all_sizes` traces all.
    """
    every = ("test_schema", "test_faketensor")
    once = ("test_autograd_registration", "test_aot_dispatch_dynamic")
    first = custom.name in ("torch", "torch-cuda")
    torch.library.opcheck(op, given, test_utils=every + once if first else every)


@operators
def test_custom_ops_are_well_formed(custom, name):
    inputs = cast(_inputs(name, 3, 4, 1), custom.device)
    arguments = (*OPTIONS[name], custom.backend)
    leaves = [x.detach().requires_grad_() for x in inputs]
    forward = getattr(torch.ops.midframe, name).default
    backward = getattr(torch.ops.midframe, f"{name}_backward").default
    _check(custom, forward, (*leaves, *arguments))
    found = forward(*inputs, *arguments)
    out, *saved = found if isinstance(found, tuple) else (found,)
    saved = [out, *saved] if name == "splat" else []
    for needs in ([True] * len(inputs), [False] * (len(inputs) - 1) + [True]):
        given = (random(*out.shape).to(out), *inputs, *saved, *arguments, needs)
        _check(custom, backward, given)


def test_custom_ops_of_plain_sums_are_well_formed(custom):
    input, flow, metric = cast(_inputs("splat", 3, 4, 1), custom.device)
    for mode in ("sum", "avg"):
        leaves = input.detach().requires_grad_(), flow.detach().requires_grad_()
        arguments = mode, "addeps", custom.backend
        _check(custom, torch.ops.midframe.splat.default, (*leaves, None, *arguments))
        out, weight, shift = torch.ops.midframe.splat(input, flow, None, *arguments)
        given = out, input, flow, None, None if mode == "sum" else out, weight, shift, *arguments
        _check(custom, torch.ops.midframe.splat_backward.default, (*given, [True, True, False]))


@operators
def test_only_what_is_needed_is_computed(custom, name):
    inputs = cast(_inputs(name), custom.device)
    arguments = (*OPTIONS[name], custom.backend)
    found = getattr(torch.ops.midframe, name)(*inputs, *arguments)
    out, *saved = found if isinstance(found, tuple) else (found,)
    saved = [out, *saved] if name == "splat" else []
    backward = getattr(torch.ops.midframe, f"{name}_backward")
    grad = random(*out.shape, seed=9).to(out)
    _, wanted = evaluate(custom.operator(name, *OPTIONS[name]), inputs, grad)
    for at in range(len(inputs)):
        needs = [i == at for i in range(len(inputs))]
        grads = backward(grad, *inputs, *saved, *arguments, needs)
        assert [g.numel() > 0 for g in grads] == needs
        torch.testing.assert_close(grads[at], wanted[at])


@operators
def test_gradient_of_one_input_alone(run, name):
    function, inputs = _both(run, name)
    _, wanted = evaluate(function, inputs)
    for at in range(len(inputs)):
        leaves = [x.detach().requires_grad_(i == at) for i, x in enumerate(inputs)]
        out = function(*leaves)
        out.backward(random(*out.shape, seed=9).to(out))
        assert [x.grad is not None for x in leaves] == [i == at for i in range(len(inputs))]
        torch.testing.assert_close(leaves[at].grad, wanted[at])


@operators
def test_compiles_whole_and_once_for_all_sizes(custom, name):
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    function = custom.operator(name, *OPTIONS[name])
    compiled = torch.compile(function, backend=counter, fullgraph=True)
    for height, width in ((5, 6), (7, 9), (4, 11), (6, 5)):
        inputs = cast(_inputs(name, height, width), custom.device)
        assert_all_near(evaluate(compiled, inputs), evaluate(function, inputs), 1e-6, 1e-6)
    assert counter.frame_count <= 2  # the first size, then any size
    torch._dynamo.reset()


@operators
def test_exports(run, name):
    function, inputs = _both(run, name)

    class Module(nn.Module):
        def forward(self, *tensors: Tensor) -> Tensor:
            return function(*tensors) + 1

    exported = torch.export.export(Module(), tuple(inputs))
    other = cast(_inputs(name), run.device)
    torch.testing.assert_close(exported.module()(*other), function(*other) + 1)
    kinds = {str(node.target) for node in exported.graph.nodes}
    assert (f"midframe.{name}.default" in kinds) == (run.name != "reference")


@operators
def test_reference_differentiates_twice(reference, name):
    inputs = [x.double().requires_grad_() for x in _inputs(name, 2, 2, 1)]
    options = {"correlation": (1,)}.get(name, OPTIONS[name])  # each value is one more to derive
    assert torch.autograd.gradgradcheck(reference.operator(name, *options), inputs)


# --- precision


@operators
def test_autocast_computes_in_float32(run, name):
    function, inputs = _both(run, name)
    low = cast(inputs, torch.bfloat16)
    wanted = evaluate(function, cast(low, torch.float32))
    with torch.autocast(run.device.type, torch.bfloat16):
        out, grads = evaluate(function, low)
    assert out.dtype == torch.float32
    assert all(g.dtype == torch.bfloat16 for g in grads)
    assert_all_near((out, grads), wanted, 1e-6, torch.finfo(torch.bfloat16).eps)


@pytest.mark.slow
@operators
def test_autocast_leaves_float64(run, name):
    function, inputs = _both(run, name)
    with torch.autocast(run.device.type, torch.bfloat16):
        assert function(*cast(inputs, torch.float64)).dtype == torch.float64


# --- graphs


@operators
def test_gradients_add_up_where_it_is_used_twice(run, name):
    function, inputs = _both(run, name)
    others = [random(*x.shape, seed=20 + at).to(x) for at, x in enumerate(inputs)]
    grad = random(*function(*inputs).shape, seed=9)

    def twice(*tensors: Tensor) -> Tensor:
        return function(*tensors) - 2 * function(others[0], *tensors[1:])

    _, both = evaluate(twice, inputs, grad)
    _, first = evaluate(function, inputs, grad)
    _, second = evaluate(function, [others[0], *inputs[1:]], grad)
    torch.testing.assert_close(both[0], first[0])
    for found, a, b in zip(both[1:], first[1:], second[1:]):
        torch.testing.assert_close(found, a - 2 * b, atol=1e-4, rtol=1e-5)


def test_one_tensor_in_both_places_adds_up(run):
    input = random(1, 3, 5, 6).to(run.device)
    _, (found,) = evaluate(lambda x: run.correlation(x, x, 2), [input])
    _, apart = evaluate(run.operator("correlation", 2), [input, input.clone()])
    torch.testing.assert_close(found, sum(apart))


class _Net(nn.Module):
    def __init__(self, run, name: str) -> None:
        super().__init__()
        self.function = run.operator(name, *OPTIONS[name])
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        return self.function(self.layer(first), *others).square().mean()


@operators
def test_distributed_data_parallel_gives_the_same_gradients(run, name, process_group):
    inputs = cast(_inputs(name), run.device)
    net = _Net(run, name).to(run.device)
    wanted = torch.autograd.grad(net(*inputs), list(net.parameters()))
    wrapped = nn.parallel.DistributedDataParallel(net, process_group=process_group)
    for _ in range(2):
        net.zero_grad()
        wrapped(*inputs).backward()
        for parameter, its in zip(net.parameters(), wanted):
            torch.testing.assert_close(parameter.grad, its)


# --- layouts


def _sliced(x: Tensor) -> Tensor:
    wide = x.new_full((*x.shape[:-1], 2 * x.shape[-1] + 1), 7.0)
    wide[..., 1::2] = x
    return wide[..., 1::2]


def _cropped(x: Tensor) -> Tensor:
    return nn.functional.pad(x, (2, 1, 1, 2), value=7.0)[..., 1:-2, 2:-1]


FORMS = {
    "sliced": _sliced,
    "cropped": _cropped,
    "transposed": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "expanded": lambda x: x[:1, :, :1].expand_as(x),
    "one value": lambda x: x[:1, :1, :1, :1].expand_as(x),
    "every second channel": lambda x: x.repeat_interleave(2, 1)[:, ::2],
}


@pytest.mark.parametrize("form", FORMS)
@operators
def test_strides_change_nothing(run, name, form):
    function, inputs = _both(run, name)
    views = [FORMS[form](x) for x in inputs]
    grad = FORMS[form](random(*function(*inputs).shape, seed=9).to(run.device))
    out, grads = evaluate(function, views, grad)
    wanted = evaluate(function, [x.contiguous() for x in views], grad.contiguous())
    assert out.is_contiguous()
    assert_all_near((out, grads), wanted, 1e-6, 1e-6)
    usual = evaluate(function, inputs)
    for at in range(len(inputs)):  # one strange among the others
        mixed = [view if i == at else x for i, (x, view) in enumerate(zip(inputs, views))]
        same = torch.equal(views[at], inputs[at])
        wanted = usual if same else evaluate(function, [x.contiguous() for x in mixed])
        assert_all_near(evaluate(function, mixed), wanted, 1e-6, 1e-6)


@operators
def test_the_gradient_of_a_sum(run, name):
    function, inputs = _both(run, name)
    leaves = [x.detach().requires_grad_() for x in inputs]
    function(*leaves).sum().backward()  # an expanded one
    _, wanted = evaluate(function, inputs, torch.ones_like(function(*inputs)))
    for leaf, its in zip(leaves, wanted):
        torch.testing.assert_close(leaf.grad, its)


EMPTY = {
    "no samples": {"batch": 0},
    "no rows": {"height": 0},
    "no columns": {"width": 0},
    "nothing": {"batch": 0, "height": 0, "width": 0},
}


@pytest.mark.parametrize("sizes", EMPTY.values(), ids=EMPTY)
@operators
def test_empty_maps_give_empty_maps_and_no_gradient(run, name, sizes):
    function = run.operator(name, *OPTIONS[name])
    inputs = cast(_inputs(name, **sizes), run.device)
    full = {"batch": 2, "height": 5, "width": 6}
    batch, channels, *_ = function(*cast(_inputs(name, **full), run.device)).shape
    assert batch == 2
    out, grads = evaluate(function, inputs)
    whole = full | sizes
    assert out.shape == (whole["batch"], channels, whole["height"], whole["width"])
    assert [g.shape for g in grads] == [x.shape for x in inputs]
    assert all((g == 0).all() for g in grads)  # AdaCoF's padded image may have pixels yet


def test_no_channels(run):
    image, *fields = cast(_inputs("adacof"), run.device)
    out, grads = evaluate(run.operator("adacof", 1), [image[:, :0], *fields])
    assert out.shape == (2, 0, 5, 6)
    assert all((g == 0).all() and g.shape == x.shape for g, x in zip(grads[1:], fields))
    input, flow, metric = cast(splat_case("fractional"), run.device)
    for mode in ("sum", "avg", "soft"):
        used = metric if mode == "soft" else None
        out, grads = evaluate(run.operator("splat", mode), [input[:, :0], flow, used])
        assert out.shape == (2, 0, 7, 9)
        assert [None if g is None else g.shape for g in grads] == [
            None if x is None else x.shape for x in (input[:, :0], flow, used)
        ]
        assert all((g == 0).all() for g in grads if g is not None)


# --- memory


@operators
def test_inputs_stay_and_nothing_is_shared(run, name):
    function, inputs = _both(run, name)
    kept = [x.clone() for x in inputs]
    grad = random(*function(*inputs).shape, seed=9).to(run.device)
    grad_kept = grad.clone()
    out, grads = evaluate(function, inputs, grad)
    assert all(torch.equal(x, y) for x, y in zip([*inputs, grad], [*kept, grad_kept]))
    storages = [x.untyped_storage().data_ptr() for x in (out, *grads, *inputs, grad)]
    assert len(set(storages)) == len(storages)


@pytest.mark.parametrize("forced", [False, True], ids=["usual", "deterministic"])
@operators
def test_runs_are_equal_to_the_last_bit(run, reference, name, forced, deterministic):
    if not forced and run.device.type != "cpu":
        pytest.skip("the order of sums on a GPU is free unless forced")
    function, inputs = _both(run, name)
    deterministic(forced)
    answers = [evaluate(function, inputs) for _ in range(2)]
    deterministic(False)
    assert torch.equal(answers[0][0], answers[1][0])
    assert all(torch.equal(a, b) for a, b in zip(answers[0][1], answers[1][1]))
    exact = cast(_inputs(name), torch.float64)
    assert_all_near(answers[0], evaluate(reference.operator(name, *OPTIONS[name]), exact))


def _saved_bytes(function: Callable[..., Tensor], inputs: list[Tensor]) -> int:
    """Return the bytes kept for the gradient beyond the inputs and the output."""
    saved: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        saved[x.untyped_storage().data_ptr()] = x
        return x

    leaves = [x.detach().requires_grad_() for x in inputs]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = function(*leaves)
    for x in (*leaves, out):
        saved.pop(x.untyped_storage().data_ptr(), None)
    return sum(x.untyped_storage().nbytes() for x in saved.values())


@operators
def test_little_is_kept_for_the_gradient(custom, reference, name):
    inputs = _inputs(name, 16, 17)
    tape = _saved_bytes(reference.operator(name, *OPTIONS[name]), inputs)
    function = custom.operator(name, *OPTIONS[name])
    kept = _saved_bytes(function, cast(inputs, custom.device))
    assert tape > inputs[0].nbytes
    planes = 2 * inputs[-1].nbytes if name == "splat" else 0  # the weight and the shift
    assert kept <= min(planes, tape / 3)
