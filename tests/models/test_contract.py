"""What every model of conf/model has to keep, whatever it is."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace

import pytest
import torch
from bfloat16 import bfloat16_units

from midframe import Inputs, create_model, list_models
from midframe.engine.compress import Change, narrowed
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.flow import FlowNetwork
from midframe.models.inference import for_inference
from midframe.models.zoo import build, config_of
from midframe.types import Prediction


def _target(name: str) -> str:
    """What a model's file names; of a file that is none its name: that model's tests tell why."""
    try:
        return str(config_of(name)["net"]["_target_"])
    except UserError:
        return name


NAMES = list_models()
ONE_OF_EACH_CLASS = set({_target(name): name for name in reversed(NAMES)}.values())
CORE_FIELDS = {"flow": "flow", "mask": "mask", "residual": "residual"}
TUPLES = ("flows_coarse", "features", "frames_coarse")
LONG = {"stmfnet"}  # in the slow group; the fast one looks at its student, of the same class
SIZE = 21, 37  # of what most tests look at: odd, and padded to no square
CHANNELS = 16  # at most, of layers of the networks that most tests look at
DRAWS = 8  # in which each ReLU is on at least once
CLASS_SAYS = Interpolator.__annotations__.keys() - {"fixed_hints"}


def _textured(batch: int, count: int, height: int, width: int) -> torch.Tensor:
    """Smooth random frames, moved by two pixels a step, so that flow has something to find."""
    noise = torch.rand(batch, 3, height + 16, width + 16)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)
    steps = [smooth[..., 4 : 4 + height, 2 * i : 2 * i + width] for i in range(count)]
    return torch.stack(steps, 1)


def _inputs(model: Interpolator, height: int, width: int, batch: int = 1, t=(0.5,)) -> Inputs:
    if model.times == "half":
        t = (0.5,)
    x = Inputs(_textured(batch, 2 * model.context, height, width), torch.tensor([list(t)] * batch))
    bins = getattr(model, "bins", 8)
    fields = {  # beyond the frames: counts of events, which are few, and motion of some pixels
        "events": ((batch, len(t), bins, height, width), lambda shape: torch.randn(shape).round()),
        "events_ends": ((batch, 2, bins, height, width), lambda shape: torch.randn(shape).round()),
        "motion": ((batch, len(t), 2, 2, height, width), lambda shape: 3 * torch.randn(shape)),
    }
    assert model.needs <= fields.keys(), "say here what inputs of the new kind look like"
    return replace(x, **{name: fields[name][1](fields[name][0]) for name in model.needs})


def _flipped(x: Inputs) -> Inputs:
    """The same sample with its times in the reverse order."""
    of_times = {n: getattr(x, n) for n in ("t", "events", "motion")}
    return replace(x, **{name: y if y is None else y.flip(1) for name, y in of_times.items()})


def _batch(*samples: Inputs) -> Inputs:
    """Samples as one batch."""
    names = [field.name for field in fields(Inputs) if getattr(samples[0], field.name) is not None]
    return Inputs(**{name: torch.cat([getattr(x, name) for x in samples]) for name in names})


def _each(value: torch.Tensor | tuple[torch.Tensor, ...] | None) -> tuple[torch.Tensor, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _multiple(model: Interpolator, least: int = 32) -> int:
    """The smallest size that passes through every scale of the network."""
    step = model.padding().multiple
    return -(-least // step) * step


def _with_group(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.slow) if name in LONG else name


@pytest.fixture(scope="module", params=map(_with_group, NAMES))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(name) -> Interpolator:
    """The model as its file says it."""
    torch.manual_seed(0)
    return create_model(name)


@pytest.fixture(scope="module")
def model(whole, name) -> Interpolator:
    """The same graph in fewer channels, of a model that says how: see `Interpolator.widths`."""
    changes = []
    for width in whole.widths():
        fitting = CHANNELS - CHANNELS % width.multiple
        changes.append(Change(width, 1.0, min(width.channels, max(width.least, fitting))))
    config = {**config_of(name), "weights": None, "parts": {}}
    torch.manual_seed(0)
    return build(narrowed(config, changes)) if changes else whole


def _predict(model: Interpolator, x: Inputs) -> Prediction:
    """Interpolate as papers do on Vimeo90K, by which pyramids have several levels at any size."""
    return model.interpolate(x, benchmark="vimeo")


@dataclass(frozen=True)
class Seen:
    """One call of `interpolate`, at which many tests look: what went in, and what came out.

    Attributes:
        x: one sample; with two times where the model takes any.
        beside: another sample, at other times.
        out: the prediction for ``x``.
    """

    x: Inputs
    beside: Inputs
    out: Prediction


@pytest.fixture(scope="module")
def seen(model) -> Seen:
    torch.manual_seed(0)
    x = _inputs(model, *SIZE, t=(0.25, 0.75))
    other = _inputs(model, *SIZE, t=(0.6, 0.1))
    return Seen(x, other, _predict(model, x))


@pytest.fixture
def trainable(model):
    if not model.trainable:
        pytest.skip("nothing to train")
    return copy.deepcopy(model)


@pytest.fixture
def traced(trainable, name):
    """For tests of the graph, which takes seconds to record; sizes of a network share theirs."""
    if name not in ONE_OF_EACH_CLASS:
        pytest.skip("another size of this class is traced")
    return trainable


def test_all_that_a_run_must_know_is_said_by_the_class(whole):
    """What a run is checked by; an instance with other options must not say something else."""
    assert {"provides", "times", "pad", "idle"} <= CLASS_SAYS
    said = sorted(CLASS_SAYS & vars(whole).keys())
    assert not said, f"__init__ sets {said}; say it in the class (a pad by options: def padding)"


def _check_fields(model: Interpolator, out: Prediction, times: int, size: tuple[int, int]) -> None:
    assert out.frame.shape == (1, times, 3, *size)
    assert out.frame.isfinite().all()
    assert out.frame.min() >= 0 and out.frame.max() <= 1
    if "flow" in model.provides:
        assert out.flow.shape == (1, times, 2, 2, *size)
    if "mask" in model.provides:
        assert out.mask.shape == (1, times, 1, *size)
        assert out.mask.min() >= 0 and out.mask.max() <= 1
    if "residual" in model.provides:
        assert out.residual.shape == (1, times, 3, *size)


@pytest.mark.parametrize("size", [SIZE, (64, 9)])
def test_interpolate_takes_any_size(model, seen, size):
    x = seen.x if size == SIZE else _inputs(model, *size)
    out = seen.out if size == SIZE else model.interpolate(x)
    _check_fields(model, out, x.t.shape[1], size)


def test_what_its_file_says_runs_and_loads_its_own_state(whole, name):
    """In all its channels, which other tests leave out, and on the smallest frames."""
    x = _inputs(whole, 5, 7)
    out = _predict(whole, x)
    _check_fields(whole, out, 1, (5, 7))
    other = create_model(name, weights=whole.state_dict())
    assert torch.equal(_predict(other, x).frame, out.frame)
    assert not other.training


def test_forward_provides_exactly_what_it_says(model, seen):
    out = seen.out
    given = {name for name in CORE_FIELDS if getattr(out, name) is not None}
    given |= {name for name in TUPLES if getattr(out, name)}
    assert all(isinstance(getattr(out, name), tuple) for name in TUPLES)
    assert given == set(model.provides)
    assert out.flow_kind in (("backward", "forward") if "flow" in given else (None,))


@pytest.mark.parametrize("benchmark", [None, "vimeo", "snufilm_hard", "x4k", "no_such_set"])
def test_hints_of_any_benchmark_are_hints_it_takes(model, benchmark):
    hints = model.hints(37, 53, benchmark)
    assert model.hints_for(37, 53, benchmark) == {**hints, **model.fixed_hints}
    assert model.hints_for(37, 53, benchmark, other=1)["other"] == 1
    pad = model.padding(**hints)
    assert pad.multiple >= 1 and model.padding(**hints, other=1) == pad
    assert model.hints(37, 53) == model.hints(37, 53, "no_such_set")


def test_interpolate_pads_for_the_benchmarks_hints_and_leaves_the_mode(model, seen):
    chosen, expected = model.hints(*SIZE, "snufilm_hard"), seen.out
    if chosen != model.hints(*SIZE, "vimeo"):
        expected = model.interpolate(seen.x, pad=model.padding(**chosen), **chosen)
    model.train()
    try:
        frame = model.interpolate(seen.x, benchmark="snufilm_hard").frame
        assert torch.equal(frame, expected.frame) and not frame.requires_grad
        assert model.training
    finally:
        model.eval()


@pytest.mark.parametrize("benchmark", [None, "snufilm_hard"])
@pytest.mark.parametrize("extra", [(1, 0), (0, 1)])
def test_forward_names_the_multiple_to_who_brings_another_size(model, benchmark, extra):
    hints = model.hints(48, 48, benchmark)
    multiple = model.padding(**hints).multiple
    if multiple == 1:
        pytest.skip("takes any size")
    height, width = (multiple + pixels for pixels in extra)
    with pytest.raises(ValueError, match=f"multiples of {multiple}, not {height}x{width}"):
        model(_inputs(model, height, width), **hints)


def test_samples_and_times_are_axes_and_their_order_does_not_matter(model, seen):
    """The first sample and its own with the times reversed, and another one between."""
    together = _predict(model, _batch(seen.x, seen.beside, _flipped(seen.x))).frame
    torch.testing.assert_close(together[:1], seen.out.frame, atol=1e-5, rtol=0)
    torch.testing.assert_close(together[2:].flip(1), seen.out.frame, atol=1e-5, rtol=0)


def test_bfloat16_autocast_stays_close(model, seen):
    exact = seen.out.frame
    with torch.autocast("cpu", torch.bfloat16), bfloat16_units():
        rough = _predict(model, seen.x).frame
    assert rough.dtype == exact.dtype
    assert (rough - exact).abs().mean() < 5e-3
    assert (rough - exact).abs().max() < 5e-2


def test_bfloat16_weights_keep_frames_and_flow_in_float32(model, seen):
    """As `casts` promises: in bfloat16 a flow of 32 px would move in steps of 1/8 px."""
    if not (model.casts and model.trainable):
        pytest.skip("has no weights in bfloat16")
    exact, fast = seen.out, for_inference(model, "bf16")
    with bfloat16_units():
        rough = _predict(fast, seen.x)
    assert fast.dtype == torch.bfloat16
    for name in ("frame", *CORE_FIELDS, "flows_coarse", "frames_coarse"):
        for value in _each(getattr(rough, name)):
            assert value.dtype == torch.float32, name
    assert (rough.frame - exact.frame).abs().mean() < 1e-2
    if "flow" in model.provides:
        assert (rough.flow - exact.flow).abs().max() < 0.1
    if isinstance(fast, FlowNetwork):
        with bfloat16_units():
            levels = fast.flows(*torch.rand(2, 1, 3, fast.multiple, fast.multiple))
        assert {level.dtype for level in levels} == {torch.float32}


def test_inputs_are_not_changed(model):
    size = _multiple(model)  # nothing is padded: `forward` gets these very tensors
    x = _inputs(model, size, size)
    given = x.map(torch.clone)
    model.interpolate(x)
    for name, before in vars(given).items():
        assert before is None or torch.equal(getattr(x, name), before), name


def _problems_of_gradients(model: Interpolator) -> list[str]:
    """Say whose gradient is not what the class says, once all parameters have moved a little.

    What counts is the graph and not the initialisation: layers may start at zero, behind which
    nothing gets a gradient to begin with, and a narrow layer's ReLUs may all be off. So who has got
    none is looked at again with other signs. Frozen parameters stay and are not looked at.
    """
    size, idle = _multiple(model), model.idle
    names = {name: p for name, p in model.train().named_parameters() if p.requires_grad}
    unknown = idle - {name for name, _ in model.named_parameters()}
    found = [f"{name} of `idle` is no parameter" for name in sorted(unknown)]
    lost = names.keys() - idle
    for attempt in range(DRAWS):
        with torch.no_grad():
            for parameter in names.values():
                parameter.add_(1e-3 * torch.randn_like(parameter))
                if attempt:
                    parameter.mul_(torch.randint_like(parameter, 2) * 2 - 1)
        x = _inputs(model, size, size)
        x.frames.sub_(0.5 if attempt else 0)  # a slope below zero may see frames that overshoot
        out = model(x)
        heads = [out.frame.mean()] + [f.square().mean() for f in (*out.flows_coarse, *out.features)]
        model.zero_grad()
        sum(heads).backward()
        grads = {name: p.grad for name, p in names.items() if p.grad is not None}
        for name in sorted(names.keys() - grads.keys() - lost):
            found.append(f"{name} is not in the graph, which several devices need; freeze it")
        for name in sorted(name for name, grad in grads.items() if not grad.isfinite().all()):
            found.append(f"{name} gets a gradient that is not finite")
        reached = {name for name, grad in grads.items() if grad.any()}
        for name in sorted(reached & idle):
            found.append(f"{name} is named in `idle` but gets a gradient")
        lost -= reached
        if found or not lost:
            break
    told = "gets no gradient; name it in `idle` if that is meant"
    return found + [f"{name} {told}" for name in names if name in lost]


def test_every_parameter_gets_a_finite_gradient(trainable):
    assert _problems_of_gradients(trainable) == []


class _ZeroHead(Interpolator):
    """Starts at the average of the frames: its last layer is zero."""

    def __init__(self, uses: bool = True) -> None:
        super().__init__()
        self.encoder, self.head = torch.nn.Conv2d(6, 4, 3, padding=1), torch.nn.Conv2d(4, 3, 1)
        self.lost = torch.nn.Parameter(torch.ones(1))
        self.uses = uses
        torch.nn.init.zeros_(self.head.weight)

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        seen = self.encoder(torch.cat(x.pair, 1))
        out = self.head(seen if self.uses else seen.detach()) * self.lost
        return Prediction((x.frames.mean(1) + out)[:, None].expand(-1, x.t.shape[1], -1, -1, -1))


def test_a_head_that_starts_at_zero_keeps_the_contract():
    assert _problems_of_gradients(_ZeroHead()) == []


def test_what_gets_no_gradient_is_named(monkeypatch):
    told = "gets no gradient; name it in `idle` if that is meant"
    lost = ["encoder.weight", "encoder.bias"]
    assert _problems_of_gradients(_ZeroHead(False)) == [f"{name} {told}" for name in lost]
    monkeypatch.setattr(_ZeroHead, "idle", frozenset({"head.bias", "tail"}))
    assert _problems_of_gradients(_ZeroHead()) == [
        "tail of `idle` is no parameter",
        "head.bias is named in `idle` but gets a gradient",
    ]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_compiles_as_one_graph(traced):
    size = _multiple(traced)
    x = _inputs(traced, size, size)
    with torch.no_grad():
        expected = traced(x)
        torch._dynamo.reset()
        got = torch.compile(traced, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(got.frame, expected.frame, atol=1e-5, rtol=0)
    assert got.flow_kind == expected.flow_kind


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_exports(traced):
    size = _multiple(traced)
    x = _inputs(traced, size, size)
    with torch.no_grad():
        program = torch.export.export(traced, (x,))
        torch.testing.assert_close(program.module()(x).frame, traced(x).frame, atol=1e-5, rtol=0)
