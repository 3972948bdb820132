"""ST-MFNet and its Mini form give the numbers of the published code, in inference and training."""

from __future__ import annotations

import copy
import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from midframe import Inputs, create_model
from midframe.losses import LaplacianPyramid
from midframe.models import stmfnet
from midframe.types import Batch

FILES = {"stmfnet": "stmfnet", "stmfnet_mini": "student"}
# Of the largest error, of 99.9 % and of the mean: a jump of AdaCoF's may sit on any pixel.
LARGEST, MOST, MEAN = 1e-3, 3e-4, 2e-5
# Of a gradient's norm: float32 differs from float64 by up to 0.035, by the processor; the
# reference, which was recorded in float32, by 0.018.
GRADIENT = 0.05


@pytest.fixture(scope="module")
def case(golden):
    """Return a case of the reference data: its arrays, inputs, and the model with its weights."""
    spec = importlib.util.spec_from_file_location("golden_fill", golden("fill.py"))
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)

    built: dict[str, torch.nn.Module] = {}

    def build(name: str, salt: int, gains: list[tuple[str, float]]) -> torch.nn.Module:
        model = create_model(name)
        state = {
            key: recipe.filled(key, value, salt, next(g for p, g in gains if key.startswith(p)))
            for key, value in model.state_dict().items()
        }
        model.load_state_dict(state)
        return model

    def read(name: str, suffix: str = "") -> SimpleNamespace:
        with np.load(golden(f"stmfnet/{FILES[name]}{suffix}.npz")) as arrays:
            data = {key: arrays[key] for key in arrays.files}
        facts = json.loads(str(data["meta"]))
        gains = facts["weights"]["gains_first_matching_prefix"]
        told = json.dumps((name, facts["weights"]), sort_keys=True)
        if told not in built:
            built[told] = build(name, facts["weights"]["salt"], gains)
        model = copy.deepcopy(built[told])
        frames = torch.stack([_frames(data[f"I{i}"]) for i in range(4)], 1)
        x = Inputs(frames, torch.full((len(frames), 1), 0.5))
        return SimpleNamespace(data=data, facts=facts, model=model, x=x)

    return read


def _frames(pictures: np.ndarray) -> torch.Tensor:
    pictures = pictures if pictures.ndim == 4 else pictures[None]
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def _assert_close(got: torch.Tensor, wanted: np.ndarray, name: str) -> None:
    assert got.shape == wanted.shape, name
    error = np.abs(got.detach().numpy() - wanted)
    found = error.max(), np.percentile(error, 99.9), error.mean()
    assert found[0] < LARGEST and found[1] < MOST and found[2] < MEAN, (name, *found)


def _part(key: str) -> tuple[str, tuple[slice, ...]]:
    """Split "mid/NAME[:,:,24:40,24:40]" into the name and the crop."""
    name, _, crop = key.removeprefix("mid/").rstrip("]").partition("[")
    bounds = [part.partition(":")[::2] for part in crop.split(",")] if crop else []
    return name, tuple(slice(*(int(b) if b else None for b in ends)) for ends in bounds)


def _watched(model, x: Inputs, monkeypatch) -> dict[str, torch.Tensor]:
    """Run the model and return its parts under the names of the reference data."""
    seen: dict[str, torch.Tensor] = {}

    def watch(module: torch.nn.Module, *names: str) -> None:
        def keep(_, __, out):
            parts = [out] if len(names) == 1 else out.chunk(len(names))
            seen.update(zip(names, parts))

        module.register_forward_hook(keep)

    order = iter([f"{side}{scale}" for scale in ("_us", "", "_ds") for side in (1, 2)])

    def warped(frame, kernels):
        name = next(order)
        for kind, value in zip(("Weight", "Alpha", "Beta"), kernels):
            seen[f"{kind}{name}"] = value
        seen[f"I{name}"] = frame
        seen[f"adacof_{name}"] = out = warp(frame, kernels)
        return out

    def splatted(*args):
        out = splat(*args)
        seen.update(zip(("softsplat_1", "softsplat_2"), out.chunk(2)))
        return out

    warp, splat = stmfnet.warp, stmfnet.splat
    monkeypatch.setattr(stmfnet, "warp", warped)
    monkeypatch.setattr(stmfnet, "splat", splatted)
    watch(model.feature_extractor, "features")
    watch(model.dyntex_generator, "dyntex")
    watch(model.scale_synthesis, "output_tilde")
    if model.metric is not None:
        watch(model.metric, "metric_1_2", "metric_2_1")
        flows = model.flow_estimator.both_ways(*x.pair)[0]
        seen.update(zip(("pwc_1_2", "pwc_2_1"), flows.chunk(2)))
    seen["output"] = model(x).frame[:, 0]
    return seen


@pytest.mark.parametrize("name", FILES)
def test_the_frame_and_all_on_its_way_are_the_published_ones(case, name, monkeypatch):
    case = case(name)
    with torch.no_grad():
        got = _watched(case.model, case.x, monkeypatch)
    keys = [key for key in case.data if key.startswith("mid/")]
    assert len(keys) >= 20
    for key in keys:
        part, crop = _part(key)
        _assert_close(got[part][crop], case.data[key], key)
    _assert_close(got["output"], case.data["output"], "output")
    _assert_close(got["output"], case.data["output64"], "output64")


@pytest.mark.parametrize("name", FILES)
def test_frames_of_other_sizes_are_padded_and_cropped_as_published(case, name):
    case = case(name, "_padded")
    frame = case.model.interpolate(case.x).frame[:, 0]
    _assert_close(frame, case.data["output"].clip(0, 1), "output")


@pytest.mark.parametrize("name", FILES)
def test_keys_counts_and_filters_are_the_published_ones(golden, name):
    facts = json.loads(golden(f"stmfnet/{FILES[name]}.keys.json").read_text())
    model = create_model(name)
    state = model.state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == facts["keys"]
    assert sum(p.numel() for p in model.parameters()) == facts["parameters"]
    learning = {key for key, p in model.named_parameters() if p.requires_grad}
    frozen = set(facts["not_trainable"])
    assert learning == {key for key, _ in model.named_parameters()} - frozen - model.idle
    for key, value in facts["default_values"].items():
        torch.testing.assert_close(state[key], torch.tensor(value), atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", [pytest.param("stmfnet", marks=pytest.mark.slow), "stmfnet_mini"])
def test_loss_gradients_and_statistics_of_a_training_step(case, name):
    case = case(name, "_train")
    model, data = case.model.train(), case.data
    batch = Batch(case.x, target=_frames(data["gt"])[:, None])
    pred = model(batch.inputs)
    loss = LaplacianPyramid()(pred, batch, model)
    loss.backward()

    _assert_close(pred.frame[:, 0], data["output"], "output")
    assert loss.item() == pytest.approx(float(data["loss"]), rel=1e-5)
    wanted = dict(zip(data["grad_names"].tolist(), data["grad_norms"].tolist()))
    floor = max(wanted.values()) / 1000
    for key, norm in wanted.items():
        gradient = model.get_parameter(key).grad
        got = 0.0 if gradient is None else gradient.norm().item()
        assert abs(got - norm) <= GRADIENT * max(norm, floor), key
        assert (gradient is None) == (key in case.facts["without_gradient"]), key
    assert model.idle == set(case.facts["without_gradient"])
    state = model.state_dict()
    for key, value in data.items():
        kind, _, inside = key.partition("/")
        if kind == "grad":
            difference = (model.get_parameter(inside).grad.numpy() - value).ravel()
            scale = max(np.linalg.norm(value), floor)
            assert np.linalg.norm(difference) <= GRADIENT * scale, key
        elif kind == "state":
            np.testing.assert_allclose(state[inside].numpy(), value, atol=1e-4, err_msg=key)
