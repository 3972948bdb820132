"""Fixtures of the models' tests."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from midframe import create_model
from midframe.models.base import Interpolator


@pytest.fixture(scope="session")
def filled(golden_fill: ModuleType) -> Callable[..., Interpolator]:
    """Build a model by its name, with weights as the reference data says: salt and gain."""

    def build(name: str, salt: int, gain: float) -> Interpolator:
        return golden_fill.fill_(create_model(name), salt, gain)

    return build
