"""Layout of synthetic scenes before an event camera, with the true frames that it misses."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from midframe.data.layouts.events import GIVES, with_ends
from midframe.data.layouts.folders import serves
from midframe.data.layouts.synthetic import check_factor, first_scene
from midframe.data.records import Clip, LazyClips, Source, ends
from midframe.data.scene_events import Camera, Grey, SceneEvents
from midframe.data.synthetic import Rendered, SceneSpec
from midframe.errors import UserError
from midframe.events.bins import Polarity
from midframe.events.simulate import Simulator

_SET_HERE = {"threshold_on", "threshold_off", "seed"}
_WARM_UP = 0.25  # intervals that the camera watches before its first bin, as one that was on


class EventScenes(LazyClips):
    """Clips made when they are asked for.

    Args:
        first: the scene that all share but for the index.
        count: how many there are.
        context: frames on each side of the gap.
        factor: of clips with four input frames, the targets lie at 1 / factor, 2 / factor, ...
        camera: what watches; its times are set for each clip.
        grey: whether frames are grey.
        gives: see `events_synthetic`.
        polarity: of the counts.
    """

    def __init__(
        self,
        first: SceneSpec,
        count: int,
        context: int,
        factor: int,
        camera: Camera,
        grey: bool,
        gives: Sequence[str],
        polarity: Polarity,
    ) -> None:
        super().__init__(count)
        self.first = first
        self.grey, self.polarity = grey, polarity
        # of two input frames: three frames of the camera, the middle one is predicted
        self.times: tuple[float, ...] = (-0.5, 0.5, 1.5)
        self.inputs: tuple[int, ...] = (0, 2)
        self.targets: tuple[int, ...] = (1,)
        if context == 2:
            self.times = tuple(k / factor for k in range(-factor, 2 * factor + 1))
            self.inputs = tuple(range(0, 3 * factor + 1, factor))
            self.targets = tuple(range(factor + 1, 2 * factor))
        self.around = with_ends(gives, self.targets, ends(self.inputs))
        centres = [self.times[i] for i in self.around]
        self.camera = dataclasses.replace(
            camera, start=min(centres) - 1 - _WARM_UP, stop=max(centres) + 1
        )

    def clip(self, index: int) -> Clip:
        """Return the clip of a scene."""
        scene = dataclasses.replace(self.first, index=index)

        def frame(t: float) -> Source:
            return Grey(Rendered(scene, t)) if self.grey else Rendered(scene, t)

        name = f"{scene.split}/{scene.seed}/{scene.index:06d}"
        return Clip(
            id=name,
            frames=tuple(frame(t) for t in self.times),
            inputs=self.inputs,
            targets=self.targets,
            group=name,
            events={
                i: SceneEvents(scene, self.camera, self.times[i], self.polarity)
                for i in self.around
            },
        )


@serves("events_synthetic", (1, 2), "a model of two or four frames")
def events_synthetic(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    size: int | Sequence[int] = 160,
    scenes: int = 20_000,
    val_scenes: int = 64,
    factor: int = 4,
    fps: float = 12.0,
    grey: bool = True,
    gives: Sequence[str] = GIVES,
    polarity: Polarity = "unit",
    threshold: Sequence[float] = (0.1, 0.2),
    noise: Mapping[str, float] | None = None,
    layers: Sequence[int] = (2, 5),
    motion: float = 12.0,
    motion_min: float = 2.0,
    rotation: float = 0.4,
    zoom: float = 0.4,
    acceleration: float = 0.5,
    sway: float = 0.1,
    softness: Sequence[float] = (1.0, 2.5),
    seed: int = 0,
) -> Sequence[Clip]:
    """Return moving textured layers as a camera of few frames and many events sees them.

    A clip of two input frames is three frames of the camera, the middle one to be predicted: what
    can be learnt from without a faster camera. One of four has as targets the true frames between
    the middle two, which no such camera gives.

    Args:
        root: not used; there is no file.
        split: "train", "val" or "test".
        context: frames on each side of the gap: 1 or 2.
        size: of the frames: one side of a square, or (height, width).
        scenes: how many training scenes there are; each costs nothing until it is read.
        val_scenes: how many validation or test scenes.
        factor: with four input frames, targets lie at 1 / factor, 2 / factor, ...
        fps: frames per second of the camera, by which noise is measured.
        grey: whether frames are grey, as those of most event cameras.
        gives: what a model may read beside frames: "events" around the targets, and "events_ends"
            around both ends of the gap, too; without these a training sample takes half the time.
        polarity: "unit" or "released", see `midframe.events.bins.signed_counts`.
        threshold: least and greatest threshold of log intensity, drawn for each scene.
        noise: further options of `midframe.events.simulate.Simulator`, such as {leak_hz: 0.1}.
        layers: least and greatest number of layers over the background.
        motion: greatest way of a layer's centre from frame to frame, in pixels.
        motion_min: least such way.
        rotation: see `SceneSpec`.
        zoom: see `SceneSpec`.
        acceleration: see `SceneSpec`.
        sway: see `SceneSpec`; what four frames do not tell.
        softness: see `SceneSpec`.
        seed: another seed gives other scenes.

    Raises:
        UserError: for an option out of range.
    """
    if polarity not in get_args(Polarity) or not 0 < fps <= 10_000 or not 0 <= sway <= 1:
        raise UserError(
            f"data.layout.polarity={polarity}, fps={fps}, sway={sway}: polarity is unit or "
            "released, fps a positive number, sway from 0 to 1"
        )
    check_factor(factor)
    first = first_scene(
        "events_synthetic",
        split,
        size=size,
        layers=layers,
        motion=motion,
        motion_min=motion_min,
        rotation=rotation,
        zoom=zoom,
        acceleration=acceleration,
        softness=softness,
        seed=seed,
        sway=sway,
    )
    camera = Camera(0.0, 1.0, round(1e6 / fps), *_checked(threshold, noise))
    count = scenes if split == "train" else val_scenes
    return EventScenes(first, count, context, factor, camera, grey, gives, polarity)


def _checked(
    threshold: Sequence[float], noise: Mapping[str, float] | None
) -> tuple[tuple[float, float], tuple[tuple[str, float], ...]]:
    """Return both as a camera keeps them, once a simulator has taken them."""
    low, high = (float(value) for value in threshold)
    given = dict(noise or {})
    known = inspect.signature(Simulator).parameters.keys() - _SET_HERE
    unknown = sorted(given.keys() - known)
    if unknown or low > high:
        raise UserError(
            f"data.layout.threshold={[low, high]}, noise={given}: threshold is [least, greatest], "
            f"noise knows {', '.join(sorted(known))}"
        )
    for value in (low, high):
        Simulator(value, value, **given)  # type: ignore[arg-type]
    return (low, high), tuple(sorted((name, value) for name, value in given.items() if value))
