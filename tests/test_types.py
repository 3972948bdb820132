"""Records travel as pytrees, with nothing lost."""

from __future__ import annotations

import io

import pytest
import torch
from torch.utils import _pytree as pytree

from midframe.types import Batch, Inputs, LossOutput, Prediction, SampleMeta


def _prediction() -> Prediction:
    return Prediction(
        frame=torch.rand(1, 2, 3, 4, 4),
        flow=torch.rand(1, 2, 2, 2, 4, 4),
        flow_kind="backward",
        flows_coarse=(torch.rand(1, 2, 2, 2, 2, 2), torch.rand(1, 2, 2, 2, 1, 1)),
    )


def _batch() -> Batch:
    return Batch(
        inputs=Inputs(torch.rand(1, 2, 3, 4, 4), torch.tensor([[0.25, 0.5]])),
        target=torch.rand(1, 2, 3, 4, 4),
        teacher=_prediction(),
        ids=("a/b",),
        meta=SampleMeta("vimeo", ("a",), ((4, 4),)),
    )


RECORDS = {
    "inputs": lambda: Inputs(torch.rand(1, 2, 3, 4, 4), torch.rand(1, 1)),
    "prediction": _prediction,
    "batch": _batch,
    "loss": lambda: LossOutput(torch.tensor(1.0), {"census": torch.tensor(0.5)}),
}


@pytest.mark.parametrize("name", RECORDS)
def test_flatten_and_unflatten_return_the_record(name):
    record = RECORDS[name]()
    leaves, spec = pytree.tree_flatten(record)
    assert all(x is None or isinstance(x, torch.Tensor) for x in leaves)
    assert pytree.tree_unflatten(leaves, spec) == record
    keyed, _ = pytree.tree_flatten_with_path(record)
    assert [value for _, value in keyed] == leaves
    spec = pytree.tree_structure(record)
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec


@pytest.mark.parametrize("name", RECORDS)
def test_two_of_the_same_make_have_the_same_structure(name):
    assert pytree.tree_structure(RECORDS[name]()) == pytree.tree_structure(RECORDS[name]())


def test_map_and_to_reach_every_tensor_and_keep_the_rest():
    batch = _batch()
    half = batch.to(torch.float16)
    tensors = [x for x in pytree.tree_leaves(half) if isinstance(x, torch.Tensor)]
    assert len(tensors) == 7
    assert {x.dtype for x in tensors} == {torch.float16}
    assert (half.ids, half.meta, half.teacher.flow_kind) == (batch.ids, batch.meta, "backward")
    assert batch.inputs.frames.dtype == torch.float32


def test_lightning_moves_a_batch_to_its_device():
    move = pytest.importorskip("lightning.fabric.utilities.apply_func").move_data_to_device
    moved = move(_batch(), torch.device("meta"))
    assert moved.inputs.frames.device.type == "meta"
    assert moved.teacher.flows_coarse[1].device.type == "meta"
    assert moved.ids == ("a/b",)


def test_pair_is_the_two_frames_around_the_gap():
    four = torch.arange(4.0).reshape(1, 4, 1, 1, 1)
    first, second = Inputs(four, torch.tensor([[0.5]])).pair
    assert (first.item(), second.item()) == (1, 2)


@pytest.mark.parametrize(
    ("kind", "forward"), [("forward", True), ("backward", False), (None, False)]
)
def test_flow_of_no_said_kind_is_taken_as_backward(kind, forward):
    assert Prediction(torch.zeros(1), flow_kind=kind).goes_forward is forward


def test_float_turns_bytes_into_unit_range():
    frames = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 3, 1, 1)
    batch = Batch(Inputs(frames, torch.tensor([[0.5]])), target=frames).float()
    assert batch.target.flatten().tolist() == pytest.approx([0, 0.2, 1])
    assert batch.inputs.t.item() == 0.5
    assert len(batch) == 1


def test_records_pass_an_exported_programs_file():
    class Double(torch.nn.Module):
        def forward(self, x: Inputs) -> Prediction:
            return Prediction(x.frames * 2, flow_kind="forward")

    x = RECORDS["inputs"]()
    file = io.BytesIO()
    torch.export.save(torch.export.export(Double(), (x,)), file)
    file.seek(0)
    with torch.serialization.safe_globals([Inputs]):  # the example input is stored too
        out = torch.export.load(file).module()(x)
    assert out.flow_kind == "forward"
    assert torch.equal(out.frame, x.frames * 2)


def test_a_name_that_begins_another_comes_behind_it() -> None:
    """As torch.export needs it, which replaces names of inputs as text."""
    x = Inputs(torch.zeros(1), torch.zeros(1), torch.zeros(2), None, torch.zeros(3))
    paths = [pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(x)[0]]
    assert paths.index(".events_ends") < paths.index(".events")
