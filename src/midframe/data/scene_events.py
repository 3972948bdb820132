"""Synthetic scenes before an event camera: their events, and frames as grey as such cameras'.

A scene can be rendered at any time, so the camera sees it in steps of at most a pixel. Time 1 of a
scene is one frame interval of the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from midframe.data.records import Box
from midframe.data.synthetic import SPLITS, Layer, Rendered, SceneSpec, build
from midframe.events.bins import Polarity, edges, signed_counts
from midframe.events.records import Events
from midframe.events.simulate import Simulator, concatenate, to_grey

_LOOKS = 8  # per interval, at which speeds are taken


@dataclass(frozen=True)
class Camera:
    """How a scene's events are simulated.

    Attributes:
        start: the scene's time from which on the camera watches.
        stop: the time until which it does.
        interval: microseconds from time 0 of the scene to time 1.
        threshold: least and greatest; one is drawn for each scene, for ON and OFF.
        noise: further options of `midframe.events.simulate.Simulator`, by name.
    """

    start: float
    stop: float
    interval: int
    threshold: tuple[float, float]
    noise: tuple[tuple[str, float], ...] = ()

    def microseconds(self, t: float) -> int:
        """Return a time of the scene in microseconds."""
        return round(t * self.interval)

    def simulator(self, scene: SceneSpec) -> Simulator:
        """Return the simulator for a scene: all that is random about it follows from the scene."""
        rng = np.random.default_rng((scene.seed, SPLITS[scene.split], 3, scene.index))
        threshold, seed = float(rng.uniform(*self.threshold)), int(rng.integers(2**31))
        return Simulator(threshold, threshold, seed=seed, **dict(self.noise))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Grey:
    """The frame of a scene in grey: a `Source` of (h, w, 3) uint8 with equal channels."""

    frame: Rendered

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.frame.size()

    def read(self, box: Box | None = None) -> np.ndarray:
        """Render the frame, or the part inside ``box``."""
        import cv2

        return cv2.cvtColor(to_grey(self.frame.read(box)), cv2.COLOR_GRAY2RGB)


@dataclass(frozen=True)
class SceneEvents:
    """Signed counts around a moment of a scene, one interval to each side: (h, w, 8) int8."""

    scene: SceneSpec
    camera: Camera
    t: float
    polarity: Polarity = "unit"

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.scene.height, self.scene.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the counts, or those inside ``box``."""
        whole = Box(0, 0, *self.size())
        box = box or whole
        # noise is drawn for all pixels, so that a crop has what the frame has there
        seen = whole if self.camera.noise else box
        events = watch(self.scene, self.camera, seen)
        around = edges(*(self.camera.microseconds(self.t + way) for way in (-1, 0, 1)))
        counts = signed_counts(events, around, seen.height, seen.width, self.polarity)
        if seen != box:
            rows = slice(box.top, box.top + box.height)
            counts = counts[:, rows, box.left : box.left + box.width]
        return np.moveaxis(counts, 0, -1)


@lru_cache(maxsize=4)  # a sample reads the bins around its target and both ends
def watch(scene: SceneSpec, camera: Camera, box: Box) -> Events:
    """Return the events of a scene inside ``box``, whose corner is their origin."""
    simulator = camera.simulator(scene)
    times = watched(scene, camera)
    frames = (to_grey(Rendered(scene, t).read(box)) for t in times)
    moments = (camera.microseconds(t) for t in times)
    return concatenate(simulator.step(f, moment) for f, moment in zip(frames, moments))


def watched(scene: SceneSpec, camera: Camera) -> np.ndarray:
    """Return the times at which the scene is rendered: nothing moves a pixel from one to the next.

    Raises no error for a scene at rest: it is looked at some times an interval.
    """
    looks = max(1, int(np.ceil((camera.stop - camera.start) * _LOOKS)))
    times = np.linspace(camera.start, camera.stop, looks + 1)
    ways = np.max([_ways(layer, times) for layer in build(scene)], axis=0)
    counts = np.maximum(np.ceil(1.1 * ways), 1).astype(int)  # a curve is longer than its chord
    parts = [
        np.linspace(first, last, count, endpoint=False)
        for first, last, count in zip(times, times[1:], counts)
    ]
    return np.append(np.concatenate(parts), times[-1])


def _ways(layer: Layer, times: np.ndarray) -> np.ndarray:
    """Return how far the point of a layer that moves most comes from each time to the next."""
    rim = layer.reach * np.array([[0, 1, -1, 0, 0], [0, 0, 0, 1, -1]])
    points = np.stack([layer.place(t) @ np.vstack([rim, np.ones(5)]) for t in times])[:, :2]
    return np.linalg.norm(np.diff(points, axis=0), axis=1).max(axis=1)
