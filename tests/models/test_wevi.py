"""The event model: sizes, times, options, checkpoints; `test_golden_wevi` has the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from midframe import Inputs, create_model, load_weights
from midframe.errors import UserError
from midframe.models.wevi_attention import RADIUS, chosen, find, fit_matrix, gather
from midframe.models.zoo import build, config_of

SMALL = {"channels": [4, 4, 8, 8, 8]}
REFINE = {**SMALL, "features": [4, 4, 8], "embed": 8, "decoder": [8, 4, 4]}


def _inputs(size: tuple[int, int] = (32, 48), times: int = 1, batch: int = 1) -> Inputs:
    height, width = size
    return Inputs(
        torch.rand(batch, 2, 3, height, width),
        torch.rand(batch, times),
        torch.randn(batch, times, 8, height, width).round(),
        2 * torch.randn(batch, times, 2, 2, height, width),
        torch.randn(batch, 2, 8, height, width).round(),
    )


def _stirred(model: torch.nn.Module) -> torch.nn.Module:
    """Weights that say something: the last layers start at zero, and so does what follows."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_before_training_stage_2_is_stage_1_to_the_bit():
    first = create_model("event", **SMALL)
    second = create_model("event_refine", **REFINE, parts={"generator": first.state_dict()})
    for size in ((32, 48), (37, 50)):
        x = _inputs(size, times=2)
        out = second.interpolate(x)
        assert torch.equal(out.frame, first.interpolate(x).frame)
        assert torch.equal(out.frames_coarse[0].clamp(0, 1), out.frame)


def test_what_the_network_adds_begins_at_the_warped_average_if_asked_to():
    model = create_model("event", **SMALL, base="warped")
    x = _inputs()
    warped = create_model("warped").interpolate(x).frame
    torch.testing.assert_close(model.interpolate(x).frame, warped, atol=1e-6, rtol=0)
    second = create_model("event_refine", **REFINE, base="warped")
    torch.testing.assert_close(second.interpolate(x).frame, warped, atol=1e-6, rtol=0)


def test_what_the_network_sees_is_padded_by_zeros_at_the_bottom_and_right():
    model = _stirred(create_model("event", **SMALL))
    x = _inputs((40, 56))
    grey = torch.nn.functional.pad(x.frames, (0, 8, 0, 8), value=0.5)
    sides = (0, 8, 0, 8)
    beside = Inputs(
        grey, x.t, *(torch.nn.functional.pad(y, sides) for y in (x.events, x.motion, x.events_ends))
    )
    x.motion.zero_()  # so that no pixel moves to the padding
    beside.motion.zero_()
    padded = model.interpolate(beside).frame[..., :40, :56]
    torch.testing.assert_close(model.interpolate(x).frame, padded, atol=1e-5, rtol=0)


def test_features_of_both_frames_are_made_once_for_all_times():
    model = create_model("event_refine", **REFINE)
    calls: list[int] = []
    model.refine.feaExt.register_forward_hook(lambda _, x, __: calls.append(len(x[0])))
    model.interpolate(_inputs(times=3, batch=2))
    assert sorted(calls) == [2, 2, 6]


def test_stage_1_does_not_learn_in_stage_2():
    model = create_model("event_refine", **REFINE).train()
    out = model(_inputs())
    out.frame.mean().backward()
    assert all(p.grad is None for p in model.generator.parameters())
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning and all(n.startswith("refine.") for n in learning)
    assert not learning & model.idle and "refine.subAttnMatC" not in learning


def _checkpoint(model: torch.nn.Module, second: torch.nn.Module | None, wrapped: str) -> dict:
    """A checkpoint as the published code writes it."""

    def named(part: torch.nn.Module) -> dict:
        return {wrapped + key: value for key, value in part.state_dict().items()}

    found = {"epoch": 100, "totalIter": 10800, "Generator": named(model), "bestPSNR": 0.0}
    optimizer = torch.optim.Adam(model.parameters())
    found["optim"] = optimizer.state_dict()
    return found if second is None else {**found, "attnRefine": named(second)}


@pytest.mark.parametrize("wrapped", ["", "module."])
def test_published_checkpoints_load(tmp_path, wrapped):
    first, second = (
        _stirred(create_model(n, **o)) for n, o in (("event", SMALL), ("event_refine", REFINE))
    )
    torch.save(_checkpoint(first, None, wrapped), tmp_path / "one.pth")
    torch.save(_checkpoint(second.generator, second.refine, wrapped), tmp_path / "two.pth")
    x = _inputs()

    def same(model, other):
        assert torch.equal(model.interpolate(x).frame, other.interpolate(x).frame)

    same(create_model("event", weights=tmp_path / "one.pth", **SMALL), first)
    same(create_model("event_refine", weights=tmp_path / "two.pth", **REFINE), second)
    # stage 2 brings its own stage 1, also for the model of stage 1 and as a part
    same(create_model("event", weights=tmp_path / "two.pth", **SMALL), second.generator)
    for name, source in (("one", first), ("two", second.generator)):
        part = {"generator": str(tmp_path / f"{name}.pth")}
        same(create_model("event_refine", parts=part, **REFINE), source)


def test_a_checkpoint_of_stage_1_is_no_stage_2():
    first = create_model("event", **SMALL)
    model = create_model("event_refine", **REFINE)
    with pytest.raises(UserError, match="148 missing: refine.subAttnMatC"):
        load_weights(model, {"Generator": first.state_dict()})


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("event", {"channels": [8, 8]}, "give 5 multiples of 4"),
        ("event", {"channels": [8, 8, 8, 8, 6]}, "give 5 multiples of 4"),
        ("event", {"base": "wrapped"}, "none or warped"),
        ("event_refine", {"features": [4, 4]}, "give three multiples of 4"),
        ("event_refine", {"decoder": [8, 4, 3]}, "the last one even"),
    ],
)
def test_widths_that_cannot_be_are_refused(name, options, words):
    with pytest.raises(UserError, match=words):
        create_model(name, **options)


@pytest.mark.parametrize("field", ["events", "motion", "events_ends"])
def test_what_is_missing_is_named(field):
    model = create_model("event_refine", **REFINE)
    with pytest.raises(UserError, match=f"EventRefine needs {field} beside the frames"):
        model.interpolate(replace(_inputs(), **{field: None}))


def test_events_of_another_number_of_bins_are_refused():
    x = _inputs()
    x.events = x.events[:, :, :5]
    with pytest.raises(ValueError, match="events have 5 bins, the model has 8"):
        create_model("event", **SMALL)(x)


def test_a_config_without_motion_still_builds():
    config = config_of("event")
    del config["motion"]
    config["net"] = {**config["net"], **SMALL}
    assert build(config).needs == {"events", "motion"}


def _described(height: int, width: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(1, 16, height, width))


def test_attention_finds_a_shift_of_whole_places():
    other = _described(12, 40)
    target = other.roll((-3, 5), (2, 3))  # target[y, x] = other[y + 3, x - 5]
    alike, hard, _ = find(target, other, fit_matrix())
    inside = (..., slice(0, 9), slice(8, 32))
    torch.testing.assert_close(alike[inside], torch.ones_like(alike[inside]))
    assert (hard[0, 0][inside[1:]] == -5).all() and (hard[0, 1][inside[1:]] == 3).all()


def test_fractions_of_a_place_are_those_of_a_paraboloid():
    """Distances that are a paraboloid around the best place give its centre."""
    axis = torch.arange(-1.0, 2.0)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    distance = 1.2 * (x - 0.3) ** 2 / 2 + 0.8 * (y + 0.2) ** 2 / 2 + 0.1
    kernels = fit_matrix().reshape(4, 9)
    bend_x, bend_y, slope_x, slope_y = (kernels @ distance.flatten()).tolist()
    assert (bend_x, bend_y) == (pytest.approx(1.2, abs=1e-5), pytest.approx(0.8, abs=1e-5))
    assert -slope_x / bend_x == pytest.approx(0.3, abs=1e-5)
    assert -slope_y / bend_y == pytest.approx(-0.2, abs=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_gathering_moves_features_and_darkens_the_border(scale):
    values = torch.rand(1, 200, 8 * scale, 8 * scale)  # more than are gathered at once
    still = gather(values, torch.zeros(1, 2, 8, 8), scale)
    covered = torch.full((8,), 3.0)
    covered[0] = covered[-1] = 2.0
    share = (covered[:, None] * covered / 9).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    torch.testing.assert_close(still, values * share)
    moved = gather(values, torch.tensor([2.0, -1.0])[None, :, None, None].expand(1, 2, 8, 8), scale)
    wanted = values.roll((scale, -2 * scale), (2, 3))
    inside = (..., slice(2 * scale, 7 * scale), slice(scale, 5 * scale))
    torch.testing.assert_close(moved[inside], wanted[inside])


def test_the_more_alike_neighbour_is_chosen_and_the_first_of_equals():
    ones = tuple(torch.ones(1, 2, 4 * k, 4 * k) for k in (4, 2, 1))
    twos = tuple(2 * y for y in ones)
    alike = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    assert all((y == 1).all() for y in chosen(alike, (ones, twos)))
    alike[1][:] = 0.5
    assert all((y == 3).all() for y in chosen(alike, (ones, twos)))


def test_the_search_ends_at_its_radius():
    other = torch.zeros(1, 4, 3, 40)
    other[0, 0, 1, 20] = 1.0
    target = torch.zeros_like(other)
    target[0, 0, 1, 20 - RADIUS - 1 : 20 + RADIUS + 2] = 1.0
    alike, hard, sub = find(target, other, fit_matrix())
    near = alike[0, 0, 1] > 0.5
    assert near.nonzero().flatten().tolist() == list(range(20 - RADIUS, 20 + RADIUS + 1))
    assert hard[0, 0, 1, 20 - RADIUS] == RADIUS and hard[0, 0, 1, 20 + RADIUS] == -RADIUS
    assert sub.abs().max() <= 1
