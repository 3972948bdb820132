"""FloLPIPS against its formula, with flows that are known and with PWC-Net's."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from alexnet_in_numpy import layer_maps

from midframe.benchmark.protocol import Metric
from midframe.errors import UserError
from midframe.metrics import digests, flolpips, lpips
from midframe.models.pwcnet import PWCNet
from midframe.ops import use_backend


@pytest.fixture(autouse=True)
def _without_compiling():
    with use_backend("torch"):
        yield


@pytest.fixture(scope="module")
def files(weight_files, tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("flow") / "pwc.pth"
    network = PWCNet()
    for value in network.parameters():  # as initialised, it sees next to nothing
        torch.nn.init.normal_(value, std=0.05 if value.ndim == 1 else (2 / value[0].numel()) ** 0.5)
    torch.save(network.state_dict(), path)
    return {**weight_files, "flow": path}


def clip(count: int = 1, height: int = 43, width: int = 56) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    ends, target = (torch.rand(n, 3, height, width, generator=generator) for n in (2, count))
    pred = target + 0.2 * torch.randn(target.shape, generator=generator)
    return pred.clamp(0, 1), target, ends


def put(monkeypatch: pytest.MonkeyPatch, estimator: object) -> None:
    module = sys.modules[flolpips.__module__]
    monkeypatch.setattr(module, "_estimator", lambda *_: estimator)


class Known:
    """A flow that is a formula of both images, unlike in every way that it is called."""

    def estimate(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.stack((9 * first[:, 0] - 4 * second[:, 1], first[:, 1] * second[:, 2]), 1)


def resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear in float64, pixels as areas, row by column."""

    def axis(length: int, new: int) -> np.ndarray:
        weights = np.zeros((new, length))
        for i in range(new):
            at = min(max((i + 0.5) * length / new - 0.5, 0), length - 1)
            low = int(at)
            weights[i, low] += 1 - (at - low)
            weights[i, min(low + 1, length - 1)] += at - low
        return weights

    return axis(x.shape[0], size[0]) @ x @ axis(x.shape[1], size[1]).T


def expected(pred, target, ends, files, estimator) -> float:
    """The definition, for one image (3, H, W): ends and layers one by one."""
    total = 0.0
    for end in ends:
        flows = (estimator.estimate(x[None], end[None])[0] for x in (pred, target))
        error = np.subtract(*(flow.detach().double().numpy() for flow in flows))
        for layer in layer_maps(pred, target, files):
            x, y = (resized(part, layer.shape) for part in error)
            weight = np.sqrt(x**2 + y**2)
            total += (layer * weight).sum() / weight.sum() / 2
    return total


def test_it_is_its_formula(files, monkeypatch):
    put(monkeypatch, Known())
    pred, target, ends = clip(2)
    found = flolpips(pred, target, ends=ends, **files)
    wanted = [expected(p, t, ends, files, Known()) for p, t in zip(pred, target)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)
    plain = lpips(pred, target, weights=files["weights"], heads=files["heads"])
    assert (found - plain).abs().max() > 1e-3  # weights do matter here


def test_errors_count_where_the_motion_is_wrong(files, monkeypatch):
    class Left:
        """Motion that differs from the truth's in the left third alone."""

        def estimate(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            flow = torch.zeros_like(first[:, :2])
            flow[0, 0, :, : first.shape[-1] // 3] = 4
            return flow

    put(monkeypatch, Left())
    _, target, ends = clip(1, 96, 192)
    values = []
    for half in (slice(0, 96), slice(96, 192)):
        pred = target.clone()
        pred[..., half] = 1 - pred[..., half]
        values.append(flolpips(pred, target, ends=ends, **files).item())
    assert values[0] > 10 * values[1]


def test_with_pwc_net_and_both_ends_alike(files):
    pred, target, ends = clip()
    network = PWCNet()
    network.load_state_dict(torch.load(files["flow"], weights_only=True))
    found = flolpips(pred, target, ends=ends, **files).item()
    wanted = expected(pred[0], target[0], ends, files, network.eval())
    assert found == pytest.approx(wanted, rel=1e-3)
    turned = flolpips(pred, target, ends=ends.flip(0), **files).item()
    assert turned == pytest.approx(found, rel=1e-6)


def test_values_do_not_depend_on_the_batch(files, monkeypatch):
    put(monkeypatch, Known())
    pred, target, ends = clip(3)
    together = flolpips(pred, target, ends=ends, **files)
    single = [flolpips(p[None], t[None], ends=ends, **files) for p, t in zip(pred, target)]
    assert torch.equal(together, torch.cat(single))
    assert flolpips(target, target, ends=ends, **files).tolist() == [0, 0, 0]


def test_equal_motion_gives_lpips(files, monkeypatch):
    class Still:
        def estimate(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            return torch.ones_like(first[:, :2])

    put(monkeypatch, Still())
    pred, target, ends = clip()
    plain = lpips(pred, target, weights=files["weights"], heads=files["heads"])
    torch.testing.assert_close(flolpips(pred, target, ends=ends, **files), plain)


def test_what_is_missing_is_named(files):
    pred, target, ends = clip()
    with pytest.raises(ValueError, match="needs ends"):
        flolpips(pred, target, **files)
    with pytest.raises(ValueError, match="needs ends"):
        flolpips(pred, target, ends=ends[:1], **files)
    with pytest.raises(UserError, match="flolpips has no weights: .*alexnet-owt-7be5be79"):
        flolpips(pred, target, ends=ends, flow=files["flow"])
    without = {k: p for k, p in files.items() if k != "flow"}
    with pytest.raises(UserError, match="flolpips has no flow: .*sniklaus/pytorch-pwc"):
        flolpips(pred, target, ends=ends, **without)
    with pytest.raises(UserError, match="flow_sha256=12345678 means"):
        flolpips(pred, target, ends=ends, **files, flow_sha256="12345678")
    with pytest.raises(UserError, match="alexnet-owt.pth"):  # another network's
        flolpips(pred, target, ends=ends, **{**files, "flow": files["weights"]})


def test_a_protocol_gives_it_the_ends_and_records_three_files(files):
    pred, target, ends = clip()
    metric = Metric("flolpips", {name: str(path) for name, path in files.items()})
    torch.testing.assert_close(
        metric(pred, target, ends), flolpips(pred, target, ends=ends, **files)
    )
    found = digests(metric)
    assert found == {k: hashlib.sha256(p.read_bytes()).hexdigest() for k, p in files.items()}
    assert set(found) == {"weights", "heads", "flow"}
