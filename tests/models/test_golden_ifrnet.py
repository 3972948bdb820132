"""IFRNet gives the numbers of the published code."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from midframe import Inputs, create_model
from midframe.models.base import Pad

MODELS = {"ifrnet_s": "IFRNet_S", "ifrnet": "IFRNet", "ifrnet_l": "IFRNet_L"}
CASES = ("t050", "t025", "demo8x", "snufilm", "middlebury_like")
TOLERANCE = 1e-4
SMALLEST, *_ = MODELS
SIZES_AND_CASES = [  # one case tells that a larger size has the right weights in the right places
    pytest.param(name, case, marks=[pytest.mark.slow] * (name != SMALLEST and case != CASES[0]))
    for name in MODELS
    for case in CASES
]


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def _case(golden, name: str, case: str) -> tuple[dict, dict[str, np.ndarray]]:
    entries = json.loads(golden(f"ifrnet/{MODELS[name]}.json").read_text())["cases"]
    entry = next(e for e in entries if e["name"] == case)
    with np.load(golden(f"ifrnet/{MODELS[name]}.npz")) as arrays:
        values = {k.split("/")[1]: arrays[k] for k in arrays if k.startswith(f"{case}/")}
    return entry, values


def _levels(prediction) -> list[torch.Tensor]:
    return [prediction.flow, *prediction.flows_coarse]


@pytest.mark.parametrize(("name", "case"), SIZES_AND_CASES)
def test_predictions_flows_mask_and_residual_are_the_published_ones(golden, filled, name, case):
    entry, expected = _case(golden, name, case)
    model = filled(name, entry["weights"]["salt"], entry["weights"]["gain"])
    frames = torch.stack((_tensor(expected["frame0"]), _tensor(expected["frame1"])))[None]
    times = torch.tensor(entry["time"]).reshape(1, -1)
    pads = {"middlebury_like": Pad(16, "zeros", "after", (128, 160))}
    out = model.interpolate(Inputs(frames, times), pad=pads.get(case), **entry["call"]["kwargs"])

    got = {"pred": out.frame[0]}
    for level, flow in enumerate(_levels(out), start=1):
        got[f"flow0_{level}"], got[f"flow1_{level}"] = flow[0, :, 0], flow[0, :, 1]
    got["mask_logit"] = out.mask[0]
    got["residual"] = out.residual[0]
    compared = 0
    for key, value in expected.items():
        if key in ("frame0", "frame1", "gt"):
            continue
        reference = torch.from_numpy(value)
        reference = reference.sigmoid() if key == "mask_logit" else reference
        torch.testing.assert_close(got[key], reference, atol=TOLERANCE, rtol=0, msg=key)
        compared += 1
    assert compared == len(entry["outputs"])


@pytest.mark.parametrize("name", MODELS)
def test_state_dict_has_exactly_the_official_keys_and_shapes(golden, name):
    facts = json.loads(golden(f"ifrnet/{MODELS[name]}.keys.json").read_text())
    model = create_model(name)
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == facts["keys"]
    assert sum(p.numel() for p in model.parameters()) == facts["num_parameters"]


def test_times_in_one_call_equal_single_calls(golden, filled):
    _, expected = _case(golden, "ifrnet_s", "demo8x")
    model = filled("ifrnet_s", 0, 1.2)
    frames = torch.stack((_tensor(expected["frame0"]), _tensor(expected["frame1"])))[None]
    for k in range(7):
        out = model.interpolate(Inputs(frames, torch.tensor([[(k + 1) / 8]])))
        torch.testing.assert_close(
            out.frame[0, 0], torch.from_numpy(expected["pred"][k]), atol=TOLERANCE, rtol=0
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_middlebury_protocol_gives_the_published_codes_numbers(golden, shared_data, filled, name):
    from midframe.metrics import interpolation_error, psnr, ssim

    facts = json.loads(golden("ifrnet/middlebury_full.json").read_text())
    model = filled(name, facts["weights"]["salt"], facts["weights"]["gain"])
    canvas = Pad(1, "zeros", "after", (480, 640))
    for scene, numbers in facts["results"][MODELS[name]].items():
        folder = shared_data("middlebury_other") / scene
        first, second, truth = (
            _tensor(cv2.imread(str(folder / file))[..., ::-1].copy())
            for file in ("frame10.png", "frame11.png", "frame10i11.png")
        )
        frames = torch.stack((first, second))[None]
        out = model.interpolate(Inputs(frames, torch.tensor([[0.5]])), pad=canvas).frame[0]
        truth = truth[None]
        assert psnr(out, truth).item() == pytest.approx(numbers["psnr"], abs=1e-3), scene
        measured = ssim(out, truth, variant="gaussian_3d").item()
        assert measured == pytest.approx(numbers["ssim_matlab_3d"], abs=1e-4), scene
        assert interpolation_error(out, truth).item() == pytest.approx(numbers["ie"], abs=1e-2)
