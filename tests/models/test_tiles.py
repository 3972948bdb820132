"""Blocks: the same as the whole frame where a model is local, no seams, no more than a block."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from midframe.errors import UserError
from midframe.models.average import Average, blend
from midframe.models.base import Interpolator, Pad
from midframe.models.tiles import BLENDS, Tiled, _weights
from midframe.models.zoo import create_model
from midframe.types import Inputs, Prediction


class Local(Interpolator):
    """Looks 2 pixels around, takes multiples of 8, and knows the largest frame it was shown."""

    pad = Pad(8)
    trainable = False

    def __init__(self, context=1):
        super().__init__()
        self.context, self.largest = context, 0

    def forward(self, x, **hints):
        self.check_size(x)
        self.largest = max(self.largest, x.frames.shape[-2] * x.frames.shape[-1])
        assert x.frames.shape[1] == 2 * self.context
        mean = x.frames.mean(1)
        near = F.avg_pool2d(F.pad(mean, (2, 2, 2, 2), mode="replicate"), 5, 1)
        frame = torch.stack([near * t.view(-1, 1, 1, 1) for t in x.t.unbind(1)], 1)
        flow = frame[:, :, None, :2].expand(-1, -1, 2, -1, -1, -1)
        return Prediction(frame, flow, "backward", frame[:, :, :1], features=(near,))


def inputs(height, width, context=1, times=(0.5,), batch=1):
    torch.manual_seed(0)
    frames = torch.rand(batch, 2 * context, 3, height, width)
    return Inputs(frames, torch.tensor([times] * batch))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0, 1),
    st.sampled_from(BLENDS),
)
def test_what_looks_at_a_pixel_alone_gives_the_whole_frame(height, width, block, share, blend):
    x = inputs(height, width, times=(0.25, 0.5, 1.0), batch=2)
    tiled = Tiled(Average(), block, int(share * (min(block) // 2)), blend)
    out, whole = tiled.interpolate(x), Average().interpolate(x)
    assert out.flow_kind == "backward" and out.residual is None
    for name in ("frame", "flow", "mask"):
        assert torch.allclose(getattr(out, name), getattr(whole, name), atol=1e-6, rtol=0)


def test_a_still_scene_stays_as_it_is_to_the_bit():
    x = inputs(50, 60)
    x.frames[:, 1] = x.frames[:, 0]
    assert torch.equal(Tiled(Average(), 16, 7).interpolate(x).frame[:, 0], x.frames[:, 0])


@pytest.mark.parametrize("context", [1, 2])
def test_no_more_than_a_block_and_no_seam(context):
    x = inputs(90, 121, context, (0.5, 1.0))
    model = Local(context)
    whole = model.interpolate(x)
    model.largest = 0
    tiled = Tiled(model, 30, 15)
    out = tiled.interpolate(x)
    assert model.largest == 32 * 32  # raised to what the model takes
    assert torch.equal(out.frame, Tiled(model, 32, 15).interpolate(x).frame)
    assert tiled.context == context
    assert out.frame.shape == (1, 2, 3, 90, 121) and not out.features
    # where blocks end, the model lacks 2 pixels of what is around: their weights are small there
    worst = (out.frame - whole.frame).abs().max()
    bare = Tiled(model, 32, 0).interpolate(x)
    assert worst < 0.1 * (bare.frame - whole.frame).abs().max()


def test_frames_smaller_than_a_block_are_not_cut():
    x, model = inputs(20, 200), Local()
    out = Tiled(model, 64, 8).interpolate(x)
    assert out.frame.shape[-2:] == (20, 200) and model.largest == 24 * 64
    small = inputs(20, 30)
    assert torch.equal(Tiled(model, 64).interpolate(small).frame, model.interpolate(small).frame)


@pytest.mark.parametrize("blend", ["cosine", "linear", "mean"])
@pytest.mark.parametrize(("size", "block", "overlap"), [(100, 32, 8), (65, 64, 32), (97, 48, 24)])
def test_weights_cover_everything_and_fade_at_inner_ends(size, block, overlap, blend):
    parts = _weights(size, block, overlap, blend)
    total = torch.zeros(size)
    for start, weight in parts:
        assert len(weight) == block and (weight > 0).all()
        total[start : start + block] += weight
    assert parts[0][0] == 0 and parts[-1][0] + block == size
    for (one, _), (other, _) in zip(parts, parts[1:]):
        assert one + block - other >= overlap
    if blend != "mean":
        shares = [weight / total[start : start + block] for start, weight in parts]
        assert all(share[0] < 0.1 for share in shares[1:])
        assert all(share[-1] < 0.1 for share in shares[:-1])
        assert shares[0][0] == shares[-1][-1] == 1


def test_published_blocks(golden):
    """Which blocks the published code cuts, and how it puts them together."""

    class Nth(Average):
        """Gives its first frame times how often it was called, in parts that stay below 1."""

        seen = ()

        def forward(self, x, **hints):
            self.seen += (x.frames[0, 0],)
            return Prediction(x.frames[:, :1] * (len(self.seen) / 16))

    data = np.load(golden("stmfnet/yuv.npz"))
    frame = torch.from_numpy(data["fold/frame"])
    model = Nth()
    out = Tiled(model, 32, 8, "published").interpolate(
        Inputs(torch.stack((frame, 1 - frame), 1), torch.tensor([[0.5]]))
    )
    assert (len(model.seen), *model.seen[0].shape) == tuple(data["fold/patches_shape"])
    assert torch.equal(model.seen[0], torch.from_numpy(data["fold/first_patch"]))
    expected = torch.from_numpy(data["fold/unfolded_scaled"])
    assert torch.allclose(16 * out.frame[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(49, 71), (32, 33), (5, 2)])
def test_published_blocks_of_any_frame(height, width):
    x, model = inputs(height, width), Local()
    out = Tiled(model, 20, 7, "published").interpolate(x)  # the model pads blocks to 24
    assert model.largest == 24 * 24 and out.frame.shape[-2:] == (height, width)
    assert out.flow.shape[-2:] == (height, width) and torch.isfinite(out.frame).all()


def test_hints_and_padding_are_those_of_the_whole_frame():
    class Hinted(Average):
        seen = ()

        def hints(self, height, width, benchmark=None):
            return {"level": height, "of": benchmark}

        def forward(self, x, **hints):
            self.seen += (hints,)
            return Prediction(blend(x))

    model = Hinted()
    model.fixed_hints = {"scale": 2}
    x = inputs(40, 20)
    Tiled(model, 16, 4).interpolate(x, benchmark="snufilm", scale=3)
    assert all(h == {"level": 40, "of": "snufilm", "scale": 3} for h in model.seen)
    assert len(model.seen) > 1
    pads = Tiled(Local(), 10, 2).interpolate(x, pad=Pad(12))
    assert pads.frame.shape[-2:] == (40, 20)


def test_events_and_motion_are_cut_along():
    class Reads(Average):
        def forward(self, x, **hints):
            return Prediction(x.events + x.motion.sum((2, 3))[:, :, None])

    x = inputs(40, 33)
    x.events, x.motion = torch.rand(1, 1, 3, 40, 33) / 2, torch.rand(1, 1, 2, 2, 40, 33) / 8
    whole = Reads().interpolate(x).frame
    assert torch.allclose(Tiled(Reads(), 16, 4).interpolate(x).frame, whole, atol=1e-6)


def test_a_network_by_blocks():
    net = create_model("ifrnet_s")
    tiled = Tiled(net, 64, 16)
    assert tiled.times == net.times and tiled.pad == net.pad and tiled.trainable
    x = inputs(100, 130, times=(0.25, 0.75))
    x.frames = F.avg_pool2d(x.frames[0], 9, 1, 4)[None]
    out = tiled.interpolate(x)
    assert out.frame.shape == (1, 2, 3, 100, 130)
    assert out.flow is not None and out.mask is not None and torch.isfinite(out.frame).all()


def test_what_does_not_fit_is_refused():
    for args, said in (
        ((0,), "block 0"),
        ((32, 17), "from 0 to 16"),
        ((32, -1), "from 0 to 16"),
        ((32, 8, "wavy"), "cosine, linear, mean, published"),
    ):
        with pytest.raises(UserError, match=said):
            Tiled(Average(), *args)
    assert Tiled(Average(), 256).overlap == 64 and Tiled(Average(), 20).overlap == 10
