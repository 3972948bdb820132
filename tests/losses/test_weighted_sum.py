"""The sum of terms: weights, schedules, configuration, and its messages."""

from functools import cache

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.utils import get_class, instantiate

from midframe.choices import read_file
from midframe.engine.compose import compose, losses_of_models, register
from midframe.errors import UserError
from midframe.losses import (
    L1,
    L2,
    Against,
    Census,
    Charbonnier,
    Constant,
    Geometry,
    LaplacianPyramid,
    Linear,
    Term,
    WeightedSum,
)
from midframe.losses.structure import soft_census
from midframe.paths import config_files
from midframe.types import Batch, Inputs, Prediction

LINEAR = "{_target_: midframe.losses.Linear, start: 1, end: 0, begin_step: 10, end_step: 20}"


def example(size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frame, target, teacher = torch.rand(3, 2, 2, 3, size, size, generator=generator)
    batch = Batch(
        Inputs(torch.zeros(2, 2, 3, size, size), torch.tensor([[0.25, 0.75]] * 2)),
        target=target,
        teacher=Prediction(teacher),
    )
    return Prediction(frame.requires_grad_()), batch


@cache
def composed(*overrides):
    """Return the loss of a command line, without groups that have no say in it."""
    return compose([*overrides, "callbacks=[]", "logger=[]"]).loss


def build(*overrides):
    return instantiate(composed(*overrides))


class Broken(Term):
    def forward(self, pred, batch, model):
        raise AssertionError("a term of weight 0 must not be computed")


def test_total_is_the_sum_of_its_parts():
    pred, batch = example()
    out = WeightedSum({"a": {"weight": 2.0, "term": L1()}, "b": (0.5, L2())})(pred, batch, None)
    difference = pred.frame - batch.target
    assert out.terms.keys() == {"a", "b"}
    torch.testing.assert_close(out.terms["a"], 2 * difference.abs().mean().detach())
    torch.testing.assert_close(out.terms["b"], 0.5 * difference.square().mean().detach())
    torch.testing.assert_close(out.total.detach(), out.terms["a"] + out.terms["b"])
    assert out.total.requires_grad and not out.terms["a"].requires_grad


def test_weight_zero_is_not_computed():
    pred, batch = example()
    out = WeightedSum({"a": (1, L1()), "off": (0, Broken()), "gone": None})(pred, batch, None)
    assert out.terms.keys() == {"a"}


def test_schedule_follows_the_step():
    pred, batch = example()
    loss = WeightedSum({"a": (Linear(1, 0, 10, 20), L1()), "b": (Constant(1), L2())})
    full = loss(pred, batch, None, 0).terms["a"]
    torch.testing.assert_close(loss(pred, batch, None, 10).terms["a"], full)
    torch.testing.assert_close(loss(pred, batch, None, 15).terms["a"], full / 2)
    assert "a" not in loss(pred, batch, None, 20).terms
    assert Linear(0.0, 0.3, 0, 3)(100) == 0.3


def test_no_term_is_an_error():
    pred, batch = example()
    for terms in ({}, {"a": (0, L1())}, {"a": None}):
        with pytest.raises(UserError, match="no term"):
            WeightedSum(terms)
    with pytest.raises(UserError, match="step 5"):
        WeightedSum({"a": (Linear(1, 0, 0, 5), L1())})(pred, batch, None, 5)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ((1.0, "Charbonnier"), "no loss term"),
        (("much", L1()), "number or a schedule"),
        ((float("nan"), L1()), "number or a schedule"),
    ],
)
def test_bad_entries_are_named(entry, message):
    with pytest.raises(UserError, match=f"loss.terms.mine.*{message}"):
        WeightedSum({"mine": entry})


class Bare(L1):
    def __init__(self):
        self.edge = 1


def test_a_term_that_forgets_super_is_told_so():
    said = r"^loss.terms.mine.term: Bare.__init__ must begin with super\(\).__init__\(\)$"
    with pytest.raises(UserError, match=said):
        WeightedSum({"mine": (1.0, Bare())})


def test_missing_fields_are_named():
    pred, batch = example()
    with pytest.raises(UserError, match=r"shape needs pred\.features, which Linear.*~loss\.terms"):
        WeightedSum({"shape": (1, Geometry())})(pred, batch, torch.nn.Linear(1, 1))
    batch.target = None
    with pytest.raises(UserError, match="needs target, which the batch"):
        WeightedSum({"a": (1, L1())})(pred, batch, None)


def test_against_the_teacher_ignores_the_target():
    pred, batch = example()
    value = Against("teacher", L1())(pred, batch, None)
    torch.testing.assert_close(value, (pred.frame - batch.teacher.frame).abs().mean())
    with pytest.raises(UserError, match="not 'student'"):
        Against("student", L1())


def test_needs_are_known_without_building():
    node = {"_target_": "midframe.losses.Against", "source": "teacher"}
    node["term"] = {"_target_": "midframe.losses.Geometry"}
    found = get_class(node["_target_"]).needs_of(node, get_class)
    assert found == {"teacher", "pred.features"} == Against("teacher", Geometry()).needs
    assert Charbonnier.needs_of({}, get_class) == {"target"}


NEED_WEIGHTS = {"softsplat_lf"}  # see test_perceptual.py
CONFIGS = [name for name in config_files("loss") if name not in NEED_WEIGHTS]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_builds(name):
    content = read_file(config_files("loss")[name])  # what others are built upon, Hydra adds
    loss = build(f"loss={name}") if "defaults" in content else instantiate(content)
    assert loss.terms and loss.state_dict() == {}


def test_every_model_has_a_loss():
    """The first model of each loss on a command line, the others by what Hydra is told of them."""
    register()
    files, seen = config_files("loss"), set()
    for model, loss in losses_of_models().items():
        if (loss, model in files) not in seen:
            seen.add((loss, model in files))
            assert composed(f"model={model}") == composed(f"loss={loss}"), model
        elif model not in files:
            node = ConfigStore.instance().load(f"loss/{model}.yaml").node
            assert node == {"defaults": [loss, "_self_"]}, model
        else:
            assert loss == model


def test_command_line_changes_and_drops_terms():
    everything = build("loss=ifrnet_s")
    assert {k: w(0) for k, w in everything.weights.items()} == {
        "charbonnier": 1,
        "census": 1,
        "geometry": 0.01,
        "distillation": 0.01,
    }
    assert build("loss=ifrnet", "loss.terms.geometry.weight=0").weights["geometry"](7) == 0
    assert "geometry" not in build("loss=ifrnet", "~loss.terms.geometry").terms
    assert "geometry" not in build("loss=ifrnet", "loss.terms.geometry=null").terms
    assert build("loss=ifrnet", "loss.terms.census.term.border=1").terms["census"].border == 1
    more = "+loss.terms.l1={weight: 2, term: {_target_: midframe.losses.L1}}"
    assert build("loss=ifrnet", more).weights["l1"](0) == 2
    faded = build("loss=ifrnet", f"loss.terms.census.weight={LINEAR}")
    assert faded.weights["census"] == Linear(1, 0, 10, 20)


TERMS = [
    Charbonnier(),
    L1(),
    L2(),
    Census(),
    LaplacianPyramid(),
    LaplacianPyramid(reduction="mean"),
]


@pytest.mark.parametrize("term", TERMS, ids=lambda t: type(t).__name__)
def test_half_precision_is_summed_in_float32(term):
    pred, batch = example()
    low = Prediction(pred.frame.detach().bfloat16().requires_grad_())
    batch.target = batch.target.bfloat16()
    wide = Batch(batch.inputs, target=batch.target.float())
    reference = term(Prediction(low.frame.detach().float()), wide, None)
    with torch.autocast("cpu", torch.bfloat16):
        value = term(low, batch, None)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, reference, rtol=1e-5, atol=0)
    value.backward()
    assert low.frame.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("term", TERMS, ids=lambda t: type(t).__name__)
def test_equal_frames_have_no_gradient(term):
    _, batch = example()
    frame = batch.target.clone().requires_grad_()
    value = term(Prediction(frame), batch, None)
    value.backward()
    assert float(value.detach()) <= 1.01e-3
    assert float(frame.grad.abs().max()) == 0


def test_sizes_that_a_pyramid_cannot_take():
    pred, batch = example(size=24)
    with pytest.raises(UserError, match="multiples of 16"):
        LaplacianPyramid()(pred, batch, None)


@pytest.mark.parametrize(("patch", "border", "size"), [(7, 3, 9), (7, 1, 9), (3, 1, 5), (7, 0, 6)])
def test_census_gradient(patch, border, size):
    first, second = torch.rand(2, 2, 2, size, size + 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: soft_census(a, b, patch, border),
        (first.requires_grad_(), second.requires_grad_()),
        fast_mode=True,
    )


def test_census_of_a_picture_that_is_all_border():
    first = torch.rand(1, 1, 2, 2, requires_grad=True)
    value = soft_census(first, torch.rand(1, 1, 2, 2), 3, 1)
    value.backward()
    assert float(value.detach()) == 0 and not first.grad.any()


class CutOff(Term):
    needs = frozenset({"target"})

    def forward(self, pred, batch, model):
        return (pred.frame.detach() - batch.target).abs().mean()


def test_a_term_without_gradient_is_told_once_by_name(caplog):
    pred, batch = example()
    loss = WeightedSum({"l1": (1.0, L1()), "mine": (1.0, CutOff())})
    for _ in range(2):
        loss(pred, batch, None)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the loss term mine gives no gradient") and "~loss.terms.mine" in line


def test_nothing_is_told_of_terms_in_validation(caplog):
    pred, batch = example()
    WeightedSum({"mine": (1.0, CutOff())})(Prediction(pred.frame.detach()), batch, None)
    assert not caplog.records
