"""Losses against values and gradients of the published codes."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from midframe.losses import (
    L1,
    L2,
    Against,
    Census,
    Charbonnier,
    FlowDistillation,
    LaplacianPyramid,
    WeightedSum,
)
from midframe.losses.flow import adaptive_charbonnier
from midframe.losses.pixel import charbonnier
from midframe.losses.structure import geometry
from midframe.types import Batch, Inputs, Prediction


class Golden:
    """Arrays of an npz file as tensors, and the values of the json file beside it."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = {k: arrays[k] for k in arrays.files if k != "meta"}
        beside = path.with_suffix(".json")
        self.values = json.loads(beside.read_text())["terms"] if beside.exists() else {}

    def __getitem__(self, key) -> Tensor:
        return torch.from_numpy(np.array(self.arrays[key]))

    def leaf(self, key) -> Tensor:
        return self[key].requires_grad_()


def assert_gradient(actual, expected):
    """Within 1e-4 of the largest entry: a mean's gradient is far below 1e-4 itself."""
    assert actual is not None
    scale = expected.abs().max()
    torch.testing.assert_close(actual / scale, expected / scale, atol=1e-4, rtol=0)


def assert_value(actual, expected):
    torch.testing.assert_close(
        actual.detach().double(), torch.tensor(expected).double(), atol=1e-5, rtol=1e-5
    )


def run_term(term, pred: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
    """A term's value on frames (N, 3, H, W); they become batch and time, which must not matter."""
    batch = Batch(
        Inputs(torch.zeros(1, 2, 3, 1, 1), torch.full((1, len(pred)), 0.5)),
        target=target[None],
        teacher=None if teacher is None else Prediction(teacher[None]),
    )
    return term(Prediction(pred[None]), batch, None)


@pytest.fixture(scope="module")
def ifrnet(golden):
    return Golden(golden("ifrnet/losses.npz"))


@pytest.fixture(scope="module")
def upr(golden):
    return Golden(golden("upr/losses.npz"))


@pytest.fixture(scope="module")
def stmfnet(golden):
    return Golden(golden("stmfnet/losses.npz"))


@pytest.fixture(scope="module")
def softsplat(golden):
    return Golden(golden("softsplat/losses_full.npz"))


@pytest.mark.parametrize(
    ("name", "term"), [("charbonnier_l1", Charbonnier()), ("ternary7", Census())]
)
def test_ifrnet_frame_terms(ifrnet, name, term):
    pred = ifrnet.leaf("img/pred")
    value = run_term(term, pred, ifrnet["img/gt"])
    value.backward()
    assert_value(value, ifrnet.values[name])
    assert_gradient(pred.grad, ifrnet[f"{name}/grad_pred"])


def test_ifrnet_masked_charbonnier(ifrnet):
    pred = ifrnet.leaf("img/pred")
    value = charbonnier(pred - ifrnet["img/gt"], ifrnet["img/mask"])
    value.backward()
    assert_value(value, ifrnet.values["charbonnier_l1_masked"])
    assert_gradient(pred.grad, ifrnet["charbonnier_l1_masked/grad_pred"])


def test_ifrnet_geometry_reaches_both_sides(ifrnet):
    x, y = ifrnet.leaf("feat/x"), ifrnet.leaf("feat/y")
    value = geometry(x, y)
    value.backward()
    assert_value(value, ifrnet.values["geometry3"])
    assert_gradient(x.grad, ifrnet["geometry3/grad_x"])
    assert_gradient(y.grad, ifrnet["geometry3/grad_y"])


@pytest.mark.parametrize("weight", [None, 0.0, 0.5, 1.0])
def test_ifrnet_adaptive_charbonnier(ifrnet, weight):
    name = "charbonnier_ada" if weight is None else f"charbonnier_ada_w{weight}"
    pred = ifrnet.leaf("flow/pred")
    robust = ifrnet["flow/robust_weight"] if weight is None else weight
    value = adaptive_charbonnier(pred - ifrnet["flow/gt"], robust).mean()
    value.backward()
    assert_value(value, ifrnet.values[name])
    expected = ifrnet[f"{name}/grad_pred"]
    if weight == 0.0:
        assert not pred.grad.any() and not expected.any()
    else:
        assert_gradient(pred.grad, expected)


def test_ifrnet_distillation(ifrnet):
    levels = {
        level: [ifrnet.leaf(f"distill/flow{side}_{level}") for side in (0, 1)]
        for level in (1, 2, 3, 4)
    }
    finest, *coarse = (torch.stack(pair, 1)[:, None] for pair in levels.values())
    label = ifrnet["distill/pseudo_flow"].unflatten(1, (1, 2, 2))
    pred = Prediction(torch.zeros(2, 1, 3, 64, 48), finest, "backward", flows_coarse=tuple(coarse))
    batch = Batch(Inputs(torch.zeros(2, 2, 3, 64, 48), torch.full((2, 1), 0.5)), flow=label)
    value = FlowDistillation()(pred, batch, None)
    value.backward()
    assert_value(0.01 * value, ifrnet.values["distill"])
    for level in (2, 3, 4):
        for side in (0, 1):
            expected = ifrnet[f"distill/grad_flow{side}_{level}"]
            assert_gradient(0.01 * levels[level][side].grad, expected)
    assert levels[1][0].grad is None, "the finest flow only gives the weight"


def test_upr_charbonnier_and_l1(upr):
    for term, name in ((L1(), "l1"), (Charbonnier(), "l2")):
        pred = upr.leaf("img/pred")
        value = run_term(term, pred, upr["img/gt"])
        value.backward()
        assert_value(value, upr.values[name])
        assert_gradient(pred.grad, upr[f"{name}/grad_pred"])


def test_upr_census_on_rgb(upr):
    """UPR-Net works on BGR pictures; ours are RGB, so its census is held against flipped ones."""
    pred, target = (upr[f"img/{name}"].flip(1).requires_grad_() for name in ("pred", "gt"))
    value = run_term(Census(border=1, grey="luma_bgr"), pred, target)
    value.backward()
    assert_value(value, upr.values["ternary"])
    assert_gradient(pred.grad.flip(1), upr["ternary/grad_pred"])
    assert_gradient(target.grad.flip(1), upr["ternary/grad_gt_"])


def test_upr_sum(upr):
    pred = upr.leaf("img/pred")
    batch = Batch(
        Inputs(torch.zeros(2, 2, 3, 1, 1), torch.full((2, 1), 0.5)), target=upr["img/gt"][:, None]
    )
    loss = WeightedSum({"charbonnier": (1, Charbonnier()), "c": (1, Census(7, 1, "luma"))})
    out = loss(Prediction(pred[:, None]), batch, None)
    out.total.backward()
    assert_value(out.total, upr.values["l2+census"])
    assert_gradient(pred.grad, upr["l2+census/grad_pred"])


def test_upr_laplacian(upr):
    pred = upr.leaf("lap/pred")
    term = LaplacianPyramid(5, reduction="mean", down="pick", residue=False, growth=1)
    value = run_term(term, pred, upr["lap/gt"])
    value.backward()
    assert_value(value, upr.values["laplacian"])
    assert_gradient(pred.grad, upr["laplacian/grad_pred"])


@pytest.mark.parametrize("name", ["laplacian5", "laplacian3", "census"])
def test_softsplat_reproduction(softsplat, name):
    if name == "census":
        term = Census(border=1, grey="luma")
    else:
        term = LaplacianPyramid(
            int(name[-1]), reduction="mean", down="pick", residue=False, growth=1
        )
    pred = softsplat.leaf("a")
    value = run_term(term, pred, softsplat["b"])
    value.backward()
    assert_value(value, float(softsplat[name]))
    assert_gradient(pred.grad, softsplat[f"{name}_ga"])


def test_softsplat_by_a_single_author(golden):
    arrays = Golden(golden("softsplat/losses_personal.npz"))
    term = LaplacianPyramid(6, reduction="mean", kernel="gaussians", band="blur")
    torch.testing.assert_close(term.kernel, arrays["kernel"][0, 0], atol=1e-7, rtol=0)
    pred = arrays.leaf("a")
    value = run_term(term, pred, arrays["b"])
    value.backward()
    assert_value(value, float(arrays["laploss"]))
    assert_gradient(pred.grad, arrays["laploss_ga"])


STMFNET_SUMS = [
    {"lap": 1},
    {"charb": 1},
    {"l1": 1},
    {"mse": 1},
    {"lap": 0.5, "charb": 2},
    {"l1": 0.1, "mse": 0.3, "charb": 1},
]
TERMS = {"lap": LaplacianPyramid, "charb": Charbonnier, "l1": L1, "mse": L2}


@pytest.mark.parametrize("index", range(len(STMFNET_SUMS)))
def test_stmfnet_sums(stmfnet, index):
    loss = WeightedSum({k: (w, TERMS[k]()) for k, w in STMFNET_SUMS[index].items()})
    student = stmfnet.leaf("student")
    total = run_term(loss, student, stmfnet["gt"]).total
    total.backward()
    assert_value(total, float(stmfnet[f"loss{index}/value"]))
    assert_gradient(student.grad, stmfnet[f"loss{index}/grad"])


@pytest.mark.parametrize(
    ("index", "distilled", "learnt", "alpha"),
    [(0, "lap", "lap", 0.1), (1, "lap", "charb", 0.1), (2, "l1", "lap", 0.7)],
)
def test_stmfnet_distillation(stmfnet, index, distilled, learnt, alpha):
    """ST-MFNet Mini: alpha * L(student, target) + L(student, teacher)."""
    loss = WeightedSum(
        {
            "learnt": (alpha, TERMS[learnt]()),
            "distilled": (1, Against("teacher", TERMS[distilled]())),
        }
    )
    student, teacher = stmfnet.leaf("student"), stmfnet.leaf("teacher")
    total = run_term(loss, student, stmfnet["gt"], teacher).total
    total.backward()
    assert_value(total, float(stmfnet[f"distill{index}/value"]))
    assert_gradient(student.grad, stmfnet[f"distill{index}/grad"])
    assert teacher.grad is None


def test_softsplat_bands(softsplat):
    term = LaplacianPyramid(5, "mean", "pick", residue=False, growth=1)
    bands = term.pyramid(softsplat["a"])
    torch.testing.assert_close(bands[1], softsplat["pyr1"], atol=1e-6, rtol=0)
    for level, band in enumerate(bands):
        expected = softsplat[f"pyr{level}_absmean"]
        torch.testing.assert_close(band.abs().mean(), expected, atol=1e-6, rtol=0)


def test_laplacian_bands(stmfnet):
    bands = LaplacianPyramid(5).pyramid(stmfnet["student"])
    for level, band in enumerate(bands):
        expected = stmfnet[f"laplacian_pyramid_of_student/{level}"]
        torch.testing.assert_close(band, expected, atol=1e-6, rtol=0)
