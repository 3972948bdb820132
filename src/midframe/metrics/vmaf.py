"""VMAF, by the package vmaf-torch."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.metrics.pixel import prepare
from midframe.metrics.weight_files import (
    Identity,
    Name,
    identity,
    local_file,
    reads_files,
    verified,
)

MODEL = "a model of libvmaf, such as model/vmaf_v0.6.1.json of https://github.com/Netflix/vmaf"
FEATURES = ("adm2", "motion2", "vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3")
SMALLEST = 20  # pixels a side that the coarsest scale needs


@reads_files("model")
@torch.no_grad()
def vmaf(
    pred: Tensor,
    target: Tensor,
    *,
    ends: Tensor | None = None,
    model: Name | None = None,
    sha256: str | None = None,
    neg: bool = False,
    luma: Literal["full", "limited"] = "full",
) -> Tensor:
    """Video multi-method assessment fusion (Netflix), one score per image.

    The images of a clip are measured as the video that they are, between its ``ends`` where they
    are known: the one feature that looks at time, motion, is the smaller mean difference of a
    blurred true frame to its two neighbours. Of single images without ends motion is 0, so VMAF
    takes them for a still: equal images then score about 97 instead of 100. Time in VMAF is the
    video's own, so scores of clips at other frame rates don't compare.

    Args:
        pred: (N, 3, H, W) RGB in [0, 1]: images of one clip, in order of time; at least 20 pixels
            a side.
        target: the same shape.
        ends: (2, 3, H, W), the frames before the first and behind the last image.
        model: a model of libvmaf as .json; None takes vmaf_v0.6.1, which the package holds.
        sha256: digest of ``model`` or its first digits (at least 8); None leaves it unchecked.
        neg: whether enhancement gains nothing ("no enhancement gain").
        luma: "full" is 255 (0.299 R + 0.587 G + 0.114 B), as torchmetrics has it; "limited" maps it
            to 16...235, as the luma of most videos is that libvmaf sees.

    Returns:
        (N,) in [0, 100]; higher is better.

    Raises:
        UserError: without the package, or where the model's file is missing or is none.
        ValueError: for images that are too small.

    Source: Li et al., "Toward a practical perceptual video quality metric", Netflix technology
    blog, 2016.
    """
    if luma not in ("full", "limited"):
        raise ValueError(f"luma is 'full' or 'limited', not {luma!r}")
    pred, target = prepare(pred, target)
    if pred.shape[1] != 3 or min(pred.shape[-2:]) < SMALLEST:
        raise ValueError(
            f"VMAF needs RGB of at least {SMALLEST}x{SMALLEST} pixels, got {tuple(pred.shape)}"
        )
    file = None
    if model is not None:
        path = local_file(model, "vmaf", "model", MODEL)
        file = identity(verified(path, sha256, "sha256"))
    network = _network(file, bool(neg), pred.device)
    given, true = _luma(pred, luma), _luma(target, luma)
    motion = _motion(network, true, None if ends is None else _luma(ends.to(target), luma))
    values = [
        network.predict(
            network.compute_adm_score(true[i : i + 1], given[i : i + 1]),
            motion[i : i + 1],
            network.compute_vif_features(true[i : i + 1], given[i : i + 1]),
        )
        for i in range(len(true))  # one by one: features of 4K frames are large
    ]
    return torch.cat(values).flatten() if values else pred.new_zeros(0)


def _luma(images: Tensor, form: str) -> Tensor:
    """Return (N, 1, H, W) in grey levels of 8 bits."""
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    y = (images * weights).sum(1, keepdim=True).float()
    return 255 * y if form == "full" else 16 + 219 * y


def _motion(network: Any, true: Tensor, ends: Tensor | None) -> Tensor:
    """Return the feature of each true image (N, 1), measured among its neighbours."""
    if ends is None:
        motion: Tensor = network.compute_motion2(true)
        return motion
    around: Tensor = network.compute_motion2(torch.cat((ends[:1], true, ends[1:])))
    return around[1:-1]


@functools.lru_cache(maxsize=4)
def _network(file: Identity | None, neg: bool, device: torch.device) -> Any:
    try:
        from vmaf_torch import VMAF
    except ImportError as error:
        raise UserError(
            f"metric vmaf needs the package vmaf-torch ({error}): pip install vmaf-torch"
        ) from error
    if file is not None:
        _check_model(Path(file[0]))
    try:
        path = None if file is None else file[0]
        network = VMAF(NEG=neg, clip_score=True, model_json_path=path)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"({type(error).__name__}: {error})"
        raise UserError(f"{path} is no model that VMAF reads {reason}; get {MODEL}") from error
    return network.eval().to(device)


def _check_model(path: Path) -> None:
    """Raise UserError unless the model is one of VMAF's six features, in their order."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["model_dict"]
        names = [str(name) for name in content["feature_names"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no model of libvmaf; get {MODEL}") from error
    if len(names) != len(FEATURES) or any(f not in n for f, n in zip(FEATURES, names)):
        raise UserError(
            f"{path} is a model of {', '.join(names)}; VMAF reads those of {', '.join(FEATURES)}"
        )
