"""A model or a term that breaks its contract is named, with what it gave and what is wanted."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import get_class

from midframe.errors import UserError
from midframe.losses import L1, Against, FlowDistillation, FlowSupervision, Term, WeightedSum
from midframe.types import Batch, Inputs, Prediction


class Cascade(torch.nn.Module):
    """Stands for the model, of which only the name is read."""


class Typo(Term):
    needs = frozenset({"target", "pred.flw"})


class Elsewhere(Term):
    needs = frozenset({"teacher.flow"})


class PerSample(Term):
    def forward(self, pred, batch, model):
        return pred.frame.mean((1, 2, 3, 4))


class Number(Term):
    def forward(self, pred, batch, model):
        return 0.5


def example(**fields):
    inputs = Inputs(torch.rand(2, 2, 3, 16, 24), torch.full((2, 1), 0.5))
    pred = Prediction(torch.rand(2, 1, 3, 16, 24), **fields)
    return pred, Batch(inputs, target=torch.rand(2, 1, 3, 16, 24))


def said(pred, batch, term=None):
    with pytest.raises(UserError) as error:
        WeightedSum({"mine": (1.0, term or L1())})(pred, batch, Cascade())
    return str(error.value)


@pytest.mark.parametrize("target", [True, False])
@pytest.mark.parametrize(
    "shape", [(2, 1, 6, 16, 24), (2, 3, 16, 24), (2, 1, 3, 16, 20), (2, 2, 3, 16, 24)]
)
def test_a_frame_of_another_shape_names_the_model_and_both_shapes(shape, target):
    pred, batch = example()
    pred.frame = torch.rand(shape)
    batch.target = batch.target if target else None
    message = said(pred, batch)
    assert "Cascade predicts" in message
    assert str(shape) in message and "(2, 1, 3, 16, 24)" in message


@pytest.mark.parametrize(
    ("field", "shape", "wanted"),
    [
        ("flow", (2, 1, 4, 16, 24), "(2, 1, 2, 2, 16, 24)"),
        ("flow", (2, 1, 2, 2, 8, 12), "(2, 1, 2, 2, 16, 24)"),
        ("mask", (2, 1, 16, 24), "(2, 1, 1, 16, 24)"),
        ("residual", (2, 1, 1, 16, 24), "(2, 1, 3, 16, 24)"),
        ("flows_coarse", (2, 2, 2, 8, 12), "(2, 1, 2, 2, any, any)"),
        ("frames_coarse", (2, 3, 8, 12), "(2, 1, 3, any, any)"),
    ],
)
def test_other_fields_of_another_shape_are_named(field, shape, wanted):
    value = torch.rand(shape)
    given = {field: (value,) if field.endswith("coarse") else value, "flow_kind": "backward"}
    message = said(*example(**given))
    assert message == f"Cascade predicts {field} of shape {shape}, wanted is {wanted}"


def test_what_is_of_the_right_form_passes():
    pred, batch = example(
        flow=torch.rand(2, 1, 2, 2, 16, 24),
        flow_kind="forward",
        mask=torch.rand(2, 1, 1, 16, 24),
        flows_coarse=(torch.rand(2, 1, 2, 2, 7, 3),),
        frames_coarse=(torch.rand(2, 1, 3, 8, 12),),
    )
    assert WeightedSum({"a": (1.0, L1())})(pred, batch, Cascade()).total.isfinite()


@pytest.mark.parametrize("field", ["flows_coarse", "frames_coarse", "features"])
@pytest.mark.parametrize(
    ("wrap", "got"),
    [
        (lambda x: [x], "a list"),
        (lambda x: x, "a Tensor"),
        (lambda x: (x, [x]), "a tuple with a list in it"),
    ],
)
def test_levels_are_a_tuple_of_tensors(field, wrap, got):
    level = torch.rand(2, 1, 2, 2, 8, 12) if field == "flows_coarse" else torch.rand(2, 1, 3, 8, 12)
    message = said(*example(**{field: wrap(level)}))
    wanted = "give a tuple of tensors, finest first"
    assert message == f"Cascade predicts {field} as {got}; {wanted}"


@pytest.mark.parametrize("field", ["frame", "flow", "mask"])
def test_all_else_is_a_tensor(field):
    pred, batch = example(flow_kind="backward")
    setattr(pred, field, [torch.rand(2, 1, 3, 16, 24)])
    assert said(pred, batch) == f"Cascade predicts {field} as a list; give a tensor"


@pytest.mark.parametrize("kind", [None, "both"])
def test_flow_without_its_kind_is_refused_whatever_the_terms(kind):
    pred, batch = example(flow=torch.zeros(2, 1, 2, 2, 16, 24), flow_kind=kind)
    message = said(pred, batch)
    assert f"Cascade predicts flow with flow_kind={kind!r}" in message
    assert '"backward" (t->0 and t->1) or "forward"' in message


@pytest.mark.parametrize("term", [FlowDistillation, FlowSupervision])
def test_terms_on_flow_by_themselves_take_no_other_kind(term):
    pred, batch = example(flow=torch.zeros(2, 1, 2, 2, 16, 24))
    pred.flows_coarse = (pred.flow,)
    batch.flow = torch.zeros_like(pred.flow)
    with pytest.raises(UserError, match=f"{term.__name__} needs flow t->0 .* flow_kind=None"):
        term()(pred, batch, Cascade())


@pytest.mark.parametrize(
    ("term", "got"), [(PerSample(), r"the shape (2,)"), (Number(), "returns float")]
)
def test_a_term_that_gives_no_scalar_is_named(term, got):
    message = said(*example(), term)
    assert "the loss term mine returns" in message and got in message and "scalar" in message


def test_a_need_that_there_is_not_blames_the_term_and_names_the_nearest():
    with pytest.raises(UserError, match=r"loss.terms.a.term \(Typo\) needs pred.flw.*pred.flow"):
        WeightedSum({"a": (1.0, Typo())})
    with pytest.raises(UserError, match=r"Elsewhere\) needs teacher.flow, which is no field"):
        WeightedSum({"a": (1.0, Elsewhere())})
    with pytest.raises(UserError, match=r"pred.flw"):
        WeightedSum({"a": (1.0, Against("teacher", Typo()))})


def test_such_a_need_is_found_before_anything_is_built():
    """As `midframe check` asks."""
    with pytest.raises(UserError, match=r"Typo needs pred.flw, which .* did you mean pred.flow"):
        Typo.needs_of({}, get_class)
    node = {"source": "teacher", "term": {"_target_": f"{__name__}.Typo"}}
    with pytest.raises(UserError, match="Typo needs pred.flw"):
        Against.needs_of(node, lambda target: Typo)


@pytest.mark.parametrize("field", ["flows_coarse", "frames_coarse"])
def test_levels_come_finest_first(field):
    axes = (2, 2) if field == "flows_coarse" else (3,)
    fine, coarse = torch.rand(2, 1, *axes, 8, 12), torch.rand(2, 1, *axes, 4, 6)
    WeightedSum({"mine": (1.0, L1())})(*example(**{field: (fine, coarse)}), Cascade())
    message = said(*example(**{field: (coarse, fine)}))
    assert message == f"Cascade predicts {field} with heights of 4, 8; give the finest level first"
