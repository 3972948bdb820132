"""A network that chooses from classical flow: it starts there, and what it learns changes it."""

from __future__ import annotations

import torch

from midframe import Inputs, create_model
from midframe.models.dis_candidates import (
    Candidates,
    candidates,
    choice,
    landed,
    mixed,
    moves_of,
    share,
)
from midframe.models.dis_refined import OF_FRAME, DisRefined


def _frames(size=(48, 64)) -> torch.Tensor:
    """A square moves over a texture that moves the other way, (1, 2, 3, H, W)."""
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij")

    def scene(t: float) -> torch.Tensor:
        ground = 0.5 + ((x + 4 * t) / 3).sin() / 5 + ((x + 4 * t + 2 * y) / 7).cos() / 5
        left = 16 + round(8 * t)
        ground[12:32, left : left + 20] = (y / 5).cos()[12:32, left : left + 20] / 4 + 0.3
        return ground.expand(3, *size)

    return torch.stack((scene(0), scene(1)))[None]


def test_untrained_it_is_classical_flow():
    x = Inputs(_frames(), torch.tensor([[0.25, 0.5]]))
    made, classical = (create_model(name).interpolate(x) for name in ("dis_refined", "dis"))
    torch.testing.assert_close(made.frame, classical.frame, atol=2e-4, rtol=0)
    torch.testing.assert_close(made.flow, classical.flow, atol=1e-2, rtol=0)
    torch.testing.assert_close(made.mask, classical.mask, atol=1e-3, rtol=0)


def test_the_ends_of_the_gap_are_the_frames_whatever_it_learnt():
    model = DisRefined((4, 4, 4)).eval()
    torch.nn.init.normal_(model.mender.head.weight)
    frames = _frames()
    with torch.no_grad():
        out = model.interpolate(Inputs(frames, torch.tensor([[0.0, 0.5, 1.0]])))
    torch.testing.assert_close(out.frame[:, [0, 2]], frames, atol=1e-4, rtol=0)
    assert out.residual[:, 1].abs().mean() > 1e-3


def test_what_stands_still_is_kept_whatever_it_learnt():
    model = DisRefined((4, 4, 4)).eval()
    for part in (model.mender.head.weight, model.mender.head.bias):
        torch.nn.init.normal_(part)
    frames = torch.rand((1, 1, 3, 48, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = model.interpolate(Inputs(frames.repeat(1, 2, 1, 1, 1), torch.tensor([[0.3, 0.5]])))
    torch.testing.assert_close(out.frame, frames.expand_as(out.frame), atol=1e-5, rtol=0)
    still = Inputs(frames.repeat(1, 2, 1, 1, 1), torch.tensor([[0.5]]))
    model(still).frame.square().mean().backward()
    gradients = [part.grad for part in model.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


def test_the_network_says_which_frame_and_what_is_added():
    model = DisRefined((4, 4, 4)).eval()
    bias = model.mender.head.bias
    frames = _frames()
    x = Inputs(frames, torch.tensor([[0.5]]))
    with torch.no_grad():
        bias[:8] = 60.0  # of frame 0, on weights' logits at OF_WEIGHTS
        bias[16:] = 0.5
        out = model.interpolate(x)
        found = candidates(*frames[0], moves_of(*frames[0], 2, 25, 5), 0.5)
    assert out.mask.min() > 0.999
    added = 0.5 * OF_FRAME  # where anything moves
    assert (out.residual >= 0).all() and out.residual.median() > 0.98 * added
    left = mixed(choice(found), found.left)
    expected = (left + out.residual[0, 0]).clamp(0, 1)
    torch.testing.assert_close(out.frame[0, 0], expected, atol=1e-3, rtol=0)


def test_it_learns_one_gap():
    torch.manual_seed(0)
    model = DisRefined((8, 8, 8))
    frames = _frames()
    target = 0.7 * frames[:, 0] + 0.3 * frames[:, 1]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    errors = []
    for _ in range(60):
        made = model(Inputs(frames, torch.tensor([[0.5]]))).frame[:, 0]
        errors.append((made - target).square().mean())
        optimizer.zero_grad()
        errors[-1].backward()
        optimizer.step()
    assert errors[-1] < errors[0] / 2


def test_pixels_land_by_their_weight_and_are_counted():
    values = torch.tensor([[[1.0, 3.0, 0.0, 0.0]]])
    flow = torch.zeros(2, 1, 4)
    flow[0, 0, :2] = torch.tensor([2.0, 1.5])  # 0 -> 2, and 1 -> half 2, half 3
    weight = torch.tensor([[1.0, 2.0, 0.0, 0.0]])
    mean, count = landed(values, flow, weight, torch.full((1, 1, 4), 9.0))
    torch.testing.assert_close(mean[0, 0, 2], torch.tensor((1 + 3) / 2.0))
    torch.testing.assert_close(mean[0, 0], torch.tensor([9.0, 9.0, 2.0, 3.0]))
    torch.testing.assert_close(count[0], torch.tensor([0.0, 0.0, 2.5, 1.5]))


def test_frame_0_counts_by_time_and_by_what_it_sees():
    seen = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    found = Candidates(*4 * [torch.zeros(0)], seen)
    for t, weight in ((0.5, 1.1 / 1.2), (0.0, 1.0), (1.0, 0.0)):
        torch.testing.assert_close(share(found, torch.tensor([t])).item(), weight)
