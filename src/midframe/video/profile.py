"""Where the time of a conversion goes: what each of its threads works, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter

STAGES = ("decode", "model", "round", "encode", "join")


@dataclass
class Stage:
    """One kind of work.

    Attributes:
        busy: seconds of work.
        waited: seconds that its thread waited for another.
        frames: how many it dealt with.
    """

    busy: float = 0.0
    waited: float = 0.0
    frames: int = 0

    @property
    def rate(self) -> float:
        """Frames a second while it works; 0 without any."""
        return self.frames / self.busy if self.busy > 0 else 0.0


@dataclass
class Profile:
    """Time by stage; several conversions may add to one.

    Attributes:
        wall: seconds in all.
        stages: by their names, see `STAGES`: decoding with the conversion to RGB and the search for
            cuts, the model, rounding to the form of the output, encoding, and joining.
    """

    wall: float = 0.0
    stages: dict[str, Stage] = field(default_factory=lambda: {name: Stage() for name in STAGES})
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, name: str, busy: float, waited: float = 0.0, frames: int = 0) -> None:
        """Count work, from any thread."""
        with self._lock:
            stage = self.stages[name]
            stage.busy += busy
            stage.waited += waited
            stage.frames += frames

    @contextmanager
    def timing(self, name: str, frames: int = 0) -> Iterator[None]:
        """Count what is done meanwhile as work."""
        begun = perf_counter()
        yield
        self.add(name, perf_counter() - begun, 0.0, frames)

    @property
    def slowest(self) -> str:
        """The stage that the others wait for."""
        return max(self.stages, key=lambda name: self.stages[name].busy)
