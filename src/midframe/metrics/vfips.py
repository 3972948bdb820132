"""VFIPS, or any other video metric that is a network: run as an exported program."""

from __future__ import annotations

import functools
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

EXPORT = (
    "an ONNX file, exported from the network that its authors publish as code "
    "(https://github.com/hqqxyy/VFIPS; docs/metrics.md tells how)"
)
SIZES = ("batch", "frames", "channels", "height", "width")


@reads_files("weights")
@torch.no_grad()
def vfips(
    pred: Tensor,
    target: Tensor,
    *,
    ends: Tensor | None = None,
    weights: Name | None = None,
    sha256: str | None = None,
    first: Literal["prediction", "truth"] = "prediction",
) -> Tensor:
    """Learned perceptual distance of two clips, by an exported network (ONNX).

    Both clips are the frame at 0, the images in order of time, and the frame at 1; where the
    network takes more frames than that, the last one is repeated. One clip gives one value, which
    all its images then have, so a mean over images weighs clips by their length. The file is a
    graph of ONNX's own operators, in one file; no library of others is loaded.

    Args:
        pred: (N, 3, H, W) RGB in [0, 1]: images of one clip, in order of time.
        target: the same shape.
        ends: (2, 3, H, W), the frames at times 0 and 1.
        weights: the ONNX file: two inputs (1, frames, 3, H, W) in [0, 1] of float32, any of whose
            sizes may be fixed, and one output with a single value.
        sha256: digest of the file or its first digits (at least 8); None leaves it unchecked.
        first: which clip the first input is.

    Returns:
        (N,), N times the same; lower is better, as of VFIPS.

    Raises:
        UserError: where the package or the file is missing, or the file is no such graph.
        ValueError: without ``ends``.

    Source: Hou et al., "A Perceptual Quality Metric for Video Frame Interpolation", ECCV 2022,
    arXiv 2210.01879.
    """
    if first not in ("prediction", "truth"):
        raise ValueError(f"first is 'prediction' or 'truth', not {first!r}")
    file = local_file(weights, "vfips", "weights", EXPORT)
    session = _session(identity(verified(file, sha256, "sha256")), pred.device.type)
    pred, target = prepare(pred, target)
    if ends is None or ends.shape != (2, *pred.shape[1:]):
        raise ValueError("VFIPS needs ends (2, 3, H, W), the frames at times 0 and 1")
    inputs = {}
    clips = (pred, target) if first == "prediction" else (target, pred)
    for node, images in zip(session.get_inputs(), clips):
        clip = torch.cat((ends[:1].to(images), images, ends[1:].to(images))).float()
        clip = _fitting(clip[None], node.shape, str(file))
        inputs[node.name] = clip.contiguous().cpu().numpy()
    try:
        (value,) = session.run(None, inputs)
    except Exception as error:  # whatever the graph stumbles over; its classes are compiled ones
        reason = str(error).strip().splitlines()[:1]
        raise UserError(f"{file} failed on clips of {_shape(clip)}: {reason}") from error
    if value.size != 1:
        raise UserError(f"{file} returned {value.shape}, not one value for two clips")
    return torch.full((len(pred),), float(value.reshape(())), device=pred.device)


def _fitting(clip: Tensor, shape: list[Any], file: str) -> Tensor:
    """Repeat the last frame as often as the network asks for; UserError where it does not fit."""
    fixed = dict(zip(SIZES, shape))
    frames = fixed["frames"]
    if isinstance(frames, int) and frames > clip.shape[1]:
        last = clip[:, -1:].expand(-1, frames - clip.shape[1], -1, -1, -1)
        clip = torch.cat((clip, last), 1)
    for (name, size), found in zip(fixed.items(), clip.shape):
        if isinstance(size, int) and size != found:
            raise UserError(
                f"{file} takes {size} as its {name}, the clip has {found}; export the network "
                f"for clips (1, frames, 3, height, width) of this size, or of any"
            )
    return clip


@functools.lru_cache(maxsize=2)
def _session(file: Identity, device: str) -> Any:
    """Load the graph, on the GPU where the images are on one and the package can use it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"metric vfips needs the package onnxruntime ({error}): pip install onnxruntime, or "
            "onnxruntime-gpu"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else []
    there = onnxruntime.get_available_providers()
    providers = [name for name in wanted if name in there] + ["CPUExecutionProvider"]
    try:
        graph = Path(file[0]).read_bytes()  # nothing that lies beside it is read
        session = onnxruntime.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # its classes are compiled ones without a common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file[0]} is no graph that onnxruntime runs: {reason[:200]}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    kinds = [node.type for node in inputs]
    if kinds != ["tensor(float)"] * 2 or len(outputs) != 1:
        raise UserError(
            f"{file[0]} has inputs {', '.join(kinds)} and {len(outputs)} outputs; needed are two "
            "clips of float32 and one value"
        )
    if any(len(node.shape) != len(SIZES) for node in inputs):
        raise UserError(f"{file[0]} must take clips (1, frames, 3, height, width)")
    return session


def _shape(clip: Tensor) -> str:
    return "x".join(map(str, clip.shape))
