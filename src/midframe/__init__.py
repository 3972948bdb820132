"""midframe: an experiment platform for video frame interpolation.

    model = midframe.create_model("ifrnet_s", weights="IFRNet_S_Vimeo90K.pth")
    middle = midframe.interpolate(model, frame0, frame1, t=0.5)

The names below are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midframe.models.arrays import interpolate
    from midframe.models.inference import for_inference
    from midframe.models.weights import load_weights
    from midframe.models.zoo import create_flow, create_model, describe, list_models
    from midframe.types import Inputs, Prediction

__version__ = "0.1.0"

__all__ = [
    "Inputs",
    "Prediction",
    "create_flow",
    "create_model",
    "describe",
    "for_inference",
    "interpolate",
    "list_models",
    "load_weights",
]

_OWNERS = {
    "Inputs": "midframe.types",
    "Prediction": "midframe.types",
    "create_flow": "midframe.models.zoo",
    "create_model": "midframe.models.zoo",
    "describe": "midframe.models.zoo",
    "for_inference": "midframe.models.inference",
    "interpolate": "midframe.models.arrays",
    "list_models": "midframe.models.zoo",
    "load_weights": "midframe.models.weights",
}


def __getattr__(name: str) -> Any:
    if name not in _OWNERS:
        raise AttributeError(f"module 'midframe' has no attribute {name!r}")
    value = getattr(import_module(_OWNERS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
