"""SoftSplat that is to learn from scratch begins at the average of the frames."""

from __future__ import annotations

import pytest
import torch

from midframe import Inputs, create_model
from midframe.errors import UserError


def textured(*shape: int) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(torch.rand(*shape), 5, 1, 2)


@pytest.mark.parametrize("options", [{}, {"metric": "alpha"}, {"flow": "pwcnet"}])
def test_it_starts_at_no_motion_and_at_the_average(options):
    network = create_model("softsplat", init="he", **options)
    frames = textured(2, 3, 64, 96)
    out = network.interpolate(Inputs(frames[None], torch.tensor([[0.5]])))
    assert float(out.flow.abs().max()) == 0.0
    torch.testing.assert_close(out.frame[0, 0], frames.mean(0), atol=1e-5, rtol=0)


class ToTheRight(torch.nn.Module):
    """Stands for the flow network: everything moves by eight pixels from frame to frame."""

    def forward(self, both):
        return torch.tensor([8.0, 0.0]).reshape(1, 2, 1, 1).expand(2, 2, *both.shape[-2:])


def test_its_frame_follows_the_flow():
    network = create_model("softsplat", init="he")
    network.netFlow = ToTheRight()
    frames = textured(1, 3, 32, 32).expand(2, -1, -1, -1)
    with torch.no_grad():
        out = network(Inputs(frames[None], torch.tensor([[0.5]]))).frame[:, 0]
    torch.testing.assert_close(out[..., 4:], frames[:1, ..., :-4], atol=1e-5, rtol=0)


def test_the_flow_learns_from_frames_within_a_few_steps():
    network = create_model("softsplat", init="he").train()
    x = Inputs(textured(2, 3, 64, 64)[None], torch.tensor([[0.5]]))
    target = textured(1, 3, 64, 64)[None]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        (network(x).frame - target).abs().mean().backward()
        optimizer.step()
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    for part in ("netFlow.netExtractor", "netFlow.netFirst", "netSynthesis.netEncode"):
        assert any(name.startswith(part) for name in moved), part


def test_an_unknown_start_is_told():
    with pytest.raises(UserError, match="init default and he"):
        create_model("softsplat", init="zeros")
