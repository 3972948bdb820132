"""Models that call another one: the base of what works by blocks, or makes motion first."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from midframe.models.base import Interpolator, Pad
from midframe.types import Inputs, Prediction

# what says beforehand what a model needs and gives, and how it is called
_FACTS = (
    *("needs", "provides", "trainable", "learns", "casts", "idle", "context", "times", "pad"),
    *("trial_size", "fixed_hints"),
)


class Wrapper(Interpolator):
    """A model around another, which is what it says it is but for what a subclass changes.

    Args:
        model: shared, not copied.
        own: facts that the subclass states itself, such as "context".
    """

    def __init__(self, model: Interpolator, own: Collection[str] = ()) -> None:
        super().__init__()
        self.model = model
        for name in set(_FACTS) - set(own):
            setattr(self, name, getattr(model, name))
        self.train(model.training)

    @property
    def least_context(self) -> int:
        """That of the model."""
        return self.model.least_context

    @property
    def title(self) -> str:
        """That of the model."""
        return self.model.title

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Call the model."""
        return self.model(x, **hints)  # type: ignore[no-any-return]

    def hints(self, height: int, width: int, benchmark: str | None = None) -> dict[str, Any]:
        """Return those of the model."""
        return self.model.hints(height, width, benchmark)

    def reduced_hints(self, height: int, width: int) -> dict[str, Any]:
        """Return those of the model."""
        return self.model.reduced_hints(height, width)

    def padding(self, **hints: Any) -> Pad:
        """Return that of the model."""
        return self.model.padding(**hints)
