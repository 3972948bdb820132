"""Metrics against published codes and against references in float64."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from midframe.benchmark.protocol_file import from_config
from midframe.choices import read_choice
from midframe.metrics import interpolation_error, psnr, ssim
from midframe.paths import config_files


def pair(seed=0, shape=(2, 3, 37, 45), noise=0.05):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(shape, generator=generator)
    return (clean + noise * torch.randn(shape, generator=generator)).clamp(0, 1), clean


@pytest.fixture
def ifrnet(golden):
    with np.load(golden("ifrnet/losses.npz")) as arrays:
        pred, target = (torch.from_numpy(arrays[f"img/{k}"][:1]) for k in ("pred", "gt"))
    facts = json.loads(golden("ifrnet/losses.json").read_text())
    return pred, target, facts["metrics_on_img_pred_vs_gt_first_sample"]


def test_ifrnet_metrics(ifrnet):
    pred, target, expected = ifrnet
    assert psnr(pred, target).item() == pytest.approx(expected["psnr"], abs=1e-4)
    assert ssim(pred, target).item() == pytest.approx(expected["ssim_2d"], abs=1e-5)
    volume = ssim(pred, target, "gaussian_3d").item()
    assert volume == pytest.approx(expected["ssim_matlab_3d"], abs=1e-5)
    assert interpolation_error(pred, target).item() == pytest.approx(expected["ie"], abs=1e-4)


def test_upr_metrics(golden):
    with np.load(golden("upr/losses.npz")) as arrays:
        pred, target = (torch.from_numpy(arrays[f"img/{k}"][:1]) for k in ("pred", "gt"))
    facts = json.loads(golden("upr/losses.json").read_text())
    expected = facts["metrics_on_img_pred_vs_gt_first_sample"]
    assert psnr(pred, target).item() == pytest.approx(expected["psnr"], abs=1e-4)
    volume = ssim(pred, target, "gaussian_3d").item()
    assert volume == pytest.approx(expected["ssim_matlab_3d"], abs=1e-5)


@pytest.mark.parametrize("name", ["noise", "smooth", "identical", "tiny"])
def test_stmfnet_metrics(golden, name):
    with np.load(golden("stmfnet/metrics.npz")) as arrays:
        pred, target, db, similarity = (
            torch.from_numpy(arrays[f"{name}/{k}"]) for k in ("out", "gt", "psnr", "ssim")
        )
    value = psnr(pred, target, rounding="uint8", cap=80)
    torch.testing.assert_close(value, db, atol=1e-4, rtol=0)
    # The published float32 arithmetic on [0, 255] is itself up to 6e-5 off the float64 value.
    value = ssim(pred, target, "gaussian_3d", rounding="uint8")
    torch.testing.assert_close(value, similarity, atol=1e-4, rtol=0)


def measured(benchmark, pred, target):
    """Measure images as a benchmark's protocol does: what the paper's table has, by column."""
    content = read_choice("benchmark", config_files("benchmark")[benchmark])
    protocol = from_config(content["protocol"], benchmark)
    if protocol.quantisation == "uint8":  # the truth of a data set is in 8 bits already
        pred, target = ((255 * x).round().clamp(0, 255) / 255 for x in (pred, target))
    return {name: protocol.measure(name, pred, target).double() for name in ("psnr", "ssim")}


def test_ifrnet_protocol_gives_its_scripts_numbers(ifrnet):
    pred, target, expected = ifrnet
    found = measured("middlebury", pred, target)
    assert found["psnr"].item() == pytest.approx(expected["psnr"], abs=1e-4)
    assert found["ssim"].item() == pytest.approx(expected["ssim_matlab_3d"], abs=1e-5)


def test_upr_protocol_gives_its_scripts_numbers(golden):
    with np.load(golden("upr/losses.npz")) as arrays:
        pred, target = (torch.from_numpy(arrays[f"img/{k}"][:1]) for k in ("pred", "gt"))
    facts = json.loads(golden("upr/losses.json").read_text())
    expected = facts["metrics_on_img_pred_vs_gt_first_sample"]
    found = measured("middlebury_upr", pred, target)
    assert found["psnr"].item() == pytest.approx(expected["psnr"], abs=1e-4)
    assert found["ssim"].item() == pytest.approx(expected["ssim_matlab_3d"], abs=1e-5)


@pytest.mark.parametrize("name", ["noise", "smooth", "identical", "tiny"])
def test_stmfnet_protocol_gives_its_scripts_numbers(golden, name):
    with np.load(golden("stmfnet/metrics.npz")) as arrays:
        pred, target, db, similarity = (
            torch.from_numpy(arrays[f"{name}/{k}"]).double() for k in ("out", "gt", "psnr", "ssim")
        )
    found = measured("ucf101_quintuplet", pred, target)
    torch.testing.assert_close(found["psnr"], db, atol=1e-4, rtol=0)
    torch.testing.assert_close(found["ssim"], similarity, atol=1e-4, rtol=0)


def test_softsplat_protocol_is_numpy_and_scikit_image_on_8_bits(ifrnet):
    """Nobody published its numbers: both formulas in integers of 8 bits, with a peak of 255."""
    pred, target = ifrnet[0][..., :24, :30], ifrnet[1][..., :24, :30]
    found = measured("middlebury_softsplat", pred, target)
    a, b = ((255 * x[0].double().numpy()).round().clip(0, 255) for x in (pred, target))
    assert found["psnr"].item() == pytest.approx(
        20 * math.log10(255) - 10 * math.log10(((a - b) ** 2).mean()), abs=1e-4
    )
    expected = np.mean([windows(x, y, 7, np.full((7, 7), 1 / 49), 255.0) for x, y in zip(a, b)])
    assert found["ssim"].item() == pytest.approx(expected, abs=1e-6)
    # and what a look at the images in float would give is another number
    assert abs(found["ssim"].item() - ssim(pred, target).item()) > 1e-4


def windows(a, b, size, weights, peak):
    """SSIM of one channel, window by window, from means of what is in it and nothing else."""
    sample = size**2 / (size**2 - 1)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for y in range(a.shape[0] - size + 1):
        for x in range(a.shape[1] - size + 1):
            one, two = (z[y : y + size, x : x + size] for z in (a, b))
            mean1, mean2 = (weights * one).sum(), (weights * two).sum()
            spread1 = (weights * (one - mean1) ** 2).sum() * sample
            spread2 = (weights * (two - mean2) ** 2).sum() * sample
            common = (weights * (one - mean1) * (two - mean2)).sum() * sample
            light = (2 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1)
            values.append(light * (2 * common + c2) / (spread1 + spread2 + c2))
    return np.mean(values)


def reference_ssim(pred, target, variant):
    """The definition, by scipy filters in float64, the five maps filtered one by one."""

    def smooth(x):
        if variant == "skimage":
            return ndimage.uniform_filter(x, size=(1, 7, 7), mode="reflect")
        sigma = (1.5 if variant == "gaussian_3d" else 0, 1.5, 1.5)
        return ndimage.gaussian_filter(x, sigma, mode="nearest", radius=5)

    values = []
    for a, b in zip(pred.double().numpy(), target.double().numpy()):
        unbiased = 49 / 48 if variant == "skimage" else 1.0
        mean_a, mean_b = smooth(a), smooth(b)
        var_a = unbiased * (smooth(a * a) - mean_a**2)
        var_b = unbiased * (smooth(b * b) - mean_b**2)
        cov = unbiased * (smooth(a * b) - mean_a * mean_b)
        c1, c2 = 0.01**2, 0.03**2
        top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
        value = top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
        values.append((value[:, 3:-3, 3:-3] if variant == "skimage" else value).mean())
    return torch.tensor(np.array(values))


@pytest.mark.parametrize("variant", ["gaussian_2d", "gaussian_3d", "skimage"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3, 37, 45), (1, 3, 7, 9)])
def test_ssim_is_its_definition(variant, dtype, shape):
    pred, target = (x.to(dtype) for x in pair(shape=shape))
    value = ssim(pred, target, variant)
    assert value.shape == shape[:1] and value.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    expected = reference_ssim(pred, target, variant)
    torch.testing.assert_close(value.double(), expected, atol=tolerance, rtol=0)


def test_ssim_of_flat_pictures_in_float32():
    """Variance as a difference of squares must not drown in rounding on flat pictures."""
    flat = torch.full((1, 3, 32, 32), 0.9)
    value = ssim(flat, flat + 1e-3)
    expected = ssim(flat.double(), flat.double() + 1e-3)
    assert value.item() == pytest.approx(expected.item(), abs=1e-4)


def test_psnr_of_a_known_error():
    target = torch.full((3, 3, 8, 8), 0.5)
    offset = torch.tensor([0.1, 0.01, 0.0]).view(3, 1, 1, 1)
    value = psnr(target + offset, target)
    assert value[:2].tolist() == pytest.approx([20, 40], abs=1e-4)
    assert value[2] == float("inf")
    assert psnr(target + offset, target, cap=80)[2].item() == pytest.approx(80)
    scaled = psnr(255 * (target + offset), 255 * target, max_value=255)
    assert scaled[:2].tolist() == pytest.approx([20, 40], abs=1e-4)


def test_rounding_to_8_bits():
    target = torch.full((1, 3, 4, 4), 100 / 255)
    pred = torch.full((1, 3, 4, 4), 100.4 / 255)
    assert psnr(pred, target, rounding="uint8").item() == float("inf")
    assert psnr(pred, target).item() < 60
    over = torch.full((1, 3, 4, 4), 1.5)
    assert psnr(over, torch.ones_like(over), rounding="uint8").item() == float("inf")
    assert interpolation_error(pred, target).item() == 0
    assert interpolation_error(pred + 2 / 255, target).item() == pytest.approx(2)


@pytest.mark.parametrize("metric", [psnr, ssim, interpolation_error])
def test_one_value_per_image_whatever_the_batch(metric):
    pred, target = pair(shape=(3, 3, 20, 24))
    together = metric(pred, target)
    single = torch.cat([metric(p[None], t[None]) for p, t in zip(pred, target)])
    torch.testing.assert_close(together, single, rtol=1e-6, atol=1e-6)
    low = metric(pred.bfloat16(), target.bfloat16())
    assert low.dtype == torch.float32
    with pytest.raises(ValueError, match="one shape"):
        metric(pred, target[..., 1:])


def test_unknown_options_are_refused():
    pred, target = pair()
    with pytest.raises(ValueError, match="gaussian_2d"):
        ssim(pred, target, "matlab")
    with pytest.raises(ValueError, match="uint8"):
        psnr(pred, target, rounding="int8")
    with pytest.raises(ValueError, match="7x7"):
        ssim(pred[..., :5], target[..., :5], "skimage")
