"""Motion of models that need it: who makes it, from which frames, and where it is put in."""

from __future__ import annotations

import copy

import pytest
import torch

import midframe
from midframe.errors import UserError
from midframe.models.base import Interpolator, Pad
from midframe.models.motion import Guided, Motion, check_motion, guided, motion_of
from midframe.models.warped import Warped, warped_average
from midframe.models.zoo import config_of
from midframe.types import Inputs, Prediction

SIZE = 48


def _path(*places: float) -> torch.Tensor:
    """Frames (1, N, 3, H, W) of a texture whose place in x is given for each."""
    noise = torch.rand(1, 3, SIZE + 16, 4 * SIZE)
    smooth = torch.nn.functional.avg_pool2d(noise, 7, 1, 3)[..., 8 : 8 + SIZE, :]
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    frames = []
    for place in places:
        whole = int(place // 1)
        start = SIZE - whole
        near, far = smooth[..., start : start + SIZE], smooth[..., start - 1 : start - 1 + SIZE]
        share = place - whole
        frames.append((1 - share) * near + share * far)
    return torch.stack(frames, 1)


def _inside(flow: torch.Tensor) -> torch.Tensor:
    """Median flow of the middle, (..., 2)."""
    return flow[..., 14:-14, 14:-14].flatten(-2).median(-1).values


class Known(Motion):
    """Flow by the mean brightness of frames: place 0.01 k is at k pixels in x."""

    def __init__(self) -> None:
        def flow(first, second):
            way = 100 * (second - first).mean((1, 2, 3))
            way = torch.stack((way, torch.zeros_like(way)), 1)
            return way[:, :, None, None].expand(-1, -1, *first.shape[-2:])

        self.estimator = flow


def _at(*places: float) -> torch.Tensor:
    return torch.stack([torch.full((1, 3, 8, 8), place / 100) for place in places], 1)


def _x(flow: torch.Tensor) -> list[list[float]]:
    """Return 0->t and 1->t in x for each time."""
    return [[round(v, 4) for v in way] for way in flow[0, :, :, 0, 0, 0].tolist()]


def test_motion_at_constant_acceleration_is_exact_from_four_frames():
    def place(t):
        return 3 * t * t + 5 * t + 40

    frames, t = _at(*map(place, (-1, 0, 1, 2))), torch.tensor([[0.25, 0.5, 0.9]])
    wanted = [[place(s) - place(0), place(s) - place(1)] for s in (0.25, 0.5, 0.9)]
    for got, want in zip(_x(Known().quadratic(frames, t)), wanted):
        assert got == pytest.approx(want, abs=1e-2)


def test_motion_between_two_frames_is_even():
    got = _x(Known().linear(_at(10, 18), torch.tensor([[0.25, 0.5]])))
    assert got == [pytest.approx([2, -6], abs=1e-3), pytest.approx([4, -4], abs=1e-3)]


@pytest.mark.parametrize("places", [(10, 10, 18, 18), (10, 10, 18, 30), (2, 10, 18, 18)])
def test_a_repeated_frame_at_the_end_says_nothing_of_acceleration(places):
    even = _x(Known().linear(_at(10, 18), torch.tensor([[0.25]])))[0]
    got = _x(Known().quadratic(_at(*places), torch.tensor([[0.25]])))[0]
    for side, (outer, inner) in enumerate(((0, 1), (3, 2))):
        if places[outer] == places[inner]:
            assert got[side] == pytest.approx(even[side], abs=1e-3)
    assert got == pytest.approx(even, abs=1e-3) or places != (10, 10, 18, 18)


def test_a_frame_that_is_repeated_counts_by_sample():
    both = torch.cat((_at(10, 10, 18, 30), _at(0, 10, 18, 30)))
    got = Known().quadratic(both, torch.tensor([[0.5], [0.5]]))
    singles = [Known().quadratic(x[None], torch.tensor([[0.5]])) for x in both]
    torch.testing.assert_close(got, torch.cat(singles))


def test_motion_to_a_target_is_from_each_frame_to_it():
    pair, target = _at(10, 18), _at(11, 17, 18)
    got = _x(Known().to_target((pair[:, 0], pair[:, 1]), target))
    assert got == [pytest.approx(w, abs=1e-3) for w in ([1, -7], [7, -1], [8, 0])]


def test_more_frames_than_four_are_narrowed():
    six = Inputs(_at(90, 2, 10, 18, 26, 90), torch.tensor([[0.5]]))
    torch.testing.assert_close(
        Known().between(six), Known().between(Inputs(_at(2, 10, 18, 26), six.t))
    )


def test_dis_finds_motion_without_weights():
    frames = _path(0, 4, 8, 12)
    t = torch.tensor([[0.5, 0.75]])
    got = _inside(Motion().between(Inputs(frames, t)))
    wanted = torch.tensor([[[[2.0, 0.0], [-2.0, 0.0]], [[3.0, 0.0], [-1.0, 0.0]]]])
    torch.testing.assert_close(got, wanted, atol=0.3, rtol=0)
    got = _inside(Motion(preset="fast").to_target((frames[:, 1], frames[:, 2]), frames[:, 1:2]))
    torch.testing.assert_close(got[0, 0], torch.tensor([[0.0, 0.0], [-4.0, 0.0]]), atol=0.3, rtol=0)


def test_a_network_makes_motion_where_it_has_weights(tmp_path):
    net = midframe.create_flow("pwcnet_event", init="he")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    motion = Motion("pwcnet_event", str(tmp_path / "net.pth"))
    pair = _path(0, 4)
    got = motion.linear(pair, torch.tensor([[0.5]]))
    with torch.no_grad():
        wanted = 0.5 * net.estimate(pair[:, 0], pair[:, 1])
    torch.testing.assert_close(got[:, 0, 0], wanted, atol=1e-4, rtol=0)
    assert (
        motion.settings["name"] == "pwcnet_event" and len(motion.settings["weights_sha256"]) == 64
    )
    assert copy.deepcopy(motion) is motion


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"network": "pwcnet"}, "model.motion=pwcnet has no weights, .*model.motion.weights=FILE"),
        ({"network": "pwcnt"}, "no model 'pwcnt'; did you mean pwcnet"),
        ({"network": "ifrnet_s", "weights": __file__}, "."),
        ({"weights": "some.pth"}, "dis takes neither weights nor options"),
        ({"preset": "slow"}, "no preset 'slow'"),
        ({"netwrk": "dis"}, "model event: motion has no option netwrk; did you mean network"),
        ({"_target_": "midframe.losses.L1"}, "L1 is no Motion class"),
        ("dis", "motion=dis must hold options, such as motion.network=dis"),
    ],
)
def test_what_cannot_make_motion_is_refused(node, words):
    with pytest.raises(UserError, match=words) as caught:
        motion_of({"name": "event", "motion": node})
    assert "\n" not in str(caught.value)


def test_names_are_checked_without_weights():
    check_motion({"name": "event", "motion": {"network": "pwcnet", "weights": None}})


class Echo(Interpolator):
    """Shows the motion that it is given, and how many frames."""

    needs = frozenset({"motion"})
    pad = Pad(16)

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        self.check_size(x)
        self.check_given(x)
        level = x.motion[:, :, :1, 0].expand(-1, -1, 3, -1, -1) / 100
        return Prediction(level + 0.1 * x.frames.shape[1])


def test_guided_fills_the_motion_before_padding_and_hands_on_as_many_frames_as_are_read():
    model = Guided(Echo(), Known())
    assert model.context == 2 and model.needs == set() and model.trainable
    t = torch.tensor([[0.25, 0.5]])
    for frames in (_at(2, 10, 18, 26), _at(10, 18)):  # even motion either way
        frame = model.interpolate(Inputs(frames, t)).frame
        assert frame.shape == (1, 2, 3, 8, 8)
        torch.testing.assert_close(frame[0, :, 0, 0, 0], torch.tensor([0.22, 0.24]))
    ready = Inputs(_at(10, 18), t, motion=torch.full((1, 2, 2, 2, 8, 8), 9.0))
    torch.testing.assert_close(model.interpolate(ready).frame, torch.full((1, 2, 3, 8, 8), 0.29))


def test_only_models_that_need_motion_are_wrapped():
    plain = midframe.create_model("average")
    assert guided(plain, config_of("average")) is plain
    wrapped = guided(midframe.create_model("event", channels=[4] * 5), config_of("event"))
    assert isinstance(wrapped, Guided) and wrapped.needs == {"events"} and not wrapped.training
    assert guided(wrapped) is wrapped  # it needs no motion any more


def test_warped_frames_are_the_middle_of_even_motion():
    frames = _path(0, 3, 6)
    x = Inputs(frames[:, [0, 2]], torch.tensor([[0.5]]))
    got = guided(Warped()).interpolate(x).frame[:, 0]
    error = (got - frames[:, 1]).abs()[..., 10:-10, 10:-10].mean()
    blended = (x.frames.mean(1) - frames[:, 1]).abs()[..., 10:-10, 10:-10].mean()
    assert error < 0.25 * blended


def test_holes_are_filled_from_the_other_frame_and_else_from_the_average():
    first, second = torch.full((1, 3, 8, 8), 0.2), torch.full((1, 3, 8, 8), 0.6)
    x = Inputs(torch.stack((first, second), 1), torch.tensor([[0.25]]))
    motion = torch.zeros(1, 1, 2, 2, 8, 8)
    motion[:, :, 0, 0, :, :4] = 100.0  # the left half of frame 0 leaves the frame,
    motion[:, :, 1, 0, :4] = 100.0  # the upper half of frame 1 too
    x.motion = motion
    got = warped_average(x)[0, 0, 0]
    for rows, columns, value in (
        (slice(4, 8), slice(4, 8), 0.3),
        (slice(4, 8), slice(0, 4), 0.6),
        (slice(0, 4), slice(4, 8), 0.2),
        (slice(0, 4), slice(0, 4), 0.3),
    ):
        torch.testing.assert_close(got[rows, columns], torch.full((4, 4), value))


def test_without_motion_a_person_is_told_who_makes_it():
    with pytest.raises(UserError, match="Warped needs motion .*midframe.models.motion.guided"):
        Warped()(Inputs(_at(10, 18), torch.tensor([[0.5]])))
    frame = midframe.interpolate("warped", *_path(0, 6)[0])
    assert frame.shape == (3, SIZE, SIZE)
