"""Layout of the synthetic scenes: a lazy sequence of clips; only photographs would be files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from midframe.data.flow_files import NoMotion
from midframe.data.records import Clip, LazyClips, Source
from midframe.data.synthetic import SPLITS, Rendered, RenderedFlow, SceneSpec
from midframe.data.textures import find_photographs
from midframe.errors import UserError

Learns = Literal["frames", "flow"]


class Scenes(LazyClips):
    """Clips made when they are asked for, so that a hundred thousand scenes cost nothing.

    Args:
        first: the scene that all share but for the index.
        count: how many there are.
        context: frames on each side of the gap.
        factor: frames lie at multiples of 1 / factor.
        flow: whether the clips carry the exact flow from their targets to both inputs.
        learns: "frames": the targets lie between the two middle inputs; "flow": they are these
            inputs, with the flow from each to the other.
    """

    def __init__(
        self,
        first: SceneSpec,
        count: int,
        context: int,
        factor: int,
        flow: bool,
        learns: Learns = "frames",
    ) -> None:
        super().__init__(count)
        self.first = first
        self.context, self.factor, self.flow, self.learns = context, factor, flow, learns

    @property
    def made_of(self) -> Mapping[str, str]:
        """The photographs that the scenes show: SHA-256 by name."""
        photographs = self.first.photographs
        return {} if photographs is None else dict(photographs.files)

    def clip(self, index: int) -> Clip:
        """Return the clip of a scene."""
        scene = SceneSpec(**{**self.first.__dict__, "index": index})
        factor = 1 if self.learns == "flow" else self.factor
        start = (self.context - 1) * factor
        steps = (2 * self.context - 1) * factor + 1
        targets = tuple(range(start + 1, start + factor)) or (start, start + 1)
        times = [(i - start) / factor for i in range(steps)]
        flow: dict[int, tuple[Source, Source]] = {}
        if self.flow:
            flow = {i: (_flow(scene, times[i], 0.0), _flow(scene, times[i], 1.0)) for i in targets}
        shown = scene.photographs
        # labels, and the record of a run, tell by the name which frames these were
        which = f"{scene.seed}" if shown is None else f"{scene.seed}-{shown.digest}"
        name = f"{scene.split}/{which}/{index:06d}"
        return Clip(
            id=name,
            frames=tuple(Rendered(scene, t) for t in times),
            inputs=tuple(range(0, steps, factor)),
            targets=targets,
            flow=flow,
            group=name,
        )


def _flow(scene: SceneSpec, start: float, end: float) -> Source:
    if start == end:
        return NoMotion(scene.height, scene.width)
    return RenderedFlow(scene, start, end)


def synthetic(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    size: int | Sequence[int] = 160,
    scenes: int = 100_000,
    val_scenes: int = 64,
    factor: int = 2,
    flow: bool = True,
    learns: Learns = "frames",
    layers: Sequence[int] = (2, 5),
    motion: float = 16.0,
    motion_min: float = 1.0,
    rotation: float = 0.4,
    zoom: float = 0.4,
    acceleration: float = 0.0,
    softness: Sequence[float] = (1.0, 2.5),
    photographs: str | None = None,
    photograph_share: float = 0.5,
    seed: int = 0,
) -> Sequence[Clip]:
    """Return moving textured layers with exact frames and flow; see `SceneSpec` for the options.

    Args:
        root: not used; there is no file but photographs.
        split: "train", "val" or "test".
        context: frames on each side of the gap.
        size: of the frames: one side of a square, or (height, width).
        scenes: how many training scenes there are; each costs nothing until it is read.
        val_scenes: how many validation or test scenes.
        factor: the middle frames lie at 1 / factor, 2 / factor, ...; all are targets.
        flow: whether to give the exact flow.
        learns: what a model learns from: "frames" between the inputs, or "flow" from each input
            to the other, exact in both directions; see `Scenes`.
        layers: least and greatest number of layers over the background.
        motion: greatest way of a layer's centre between the two frames, in pixels.
        motion_min: least such way.
        rotation: see `SceneSpec`.
        zoom: see `SceneSpec`.
        acceleration: see `SceneSpec`.
        softness: see `SceneSpec`.
        photographs: a folder of PNG and JPEG pictures that are textures too; see
            `midframe.data.textures.find_photographs` for which split shows which.
        photograph_share: of the layers and backgrounds that show one.
        seed: another seed gives other scenes.

    Raises:
        UserError: for an option out of range, and for photographs that are missing or damaged.
    """
    if not 0 < photograph_share <= 1:
        raise UserError(
            f"data.layout.photograph_share={photograph_share}: give more than 0 and at most 1; "
            "data.layout.photographs=null shows none"
        )
    if learns not in ("frames", "flow"):
        raise UserError(f"data.layout.learns={learns}: give frames or flow")
    if learns == "flow" and not flow:
        raise UserError("data.layout.flow=false leaves a flow network nothing to learn from")
    check_factor(factor)
    first = first_scene(
        "synthetic",
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
    )
    if photographs is not None:
        shown = find_photographs(photographs, SPLITS[split], photograph_share)
        first = replace(first, photographs=shown)
    count = scenes if split == "train" else val_scenes
    return Scenes(first, count, context, factor, flow, learns)


def check_factor(factor: int) -> None:
    """Raise `UserError` where nothing lies between two frames."""
    if factor < 2:
        raise UserError(f"data.layout.factor={factor} leaves no frame in between; use 2 or more")


def first_scene(
    name: str,
    split: str,
    *,
    size: int | Sequence[int],
    layers: Sequence[int],
    motion: float,
    motion_min: float,
    rotation: float,
    zoom: float,
    acceleration: float,
    softness: Sequence[float],
    seed: int,
    sway: float = 0.0,
) -> SceneSpec:
    """Return the scene that all of a data set share but for the index.

    Args:
        name: of the data set, for messages.
        split: "train", "val" or "test".
        size: see `synthetic`, as are the other options.
        layers: see above.
        motion: see above.
        motion_min: see above.
        rotation: see above.
        zoom: see above.
        acceleration: see above.
        softness: see above.
        seed: see above.
        sway: see `SceneSpec`.

    Raises:
        UserError: for an option out of range.
    """
    if split not in SPLITS:
        raise UserError(f"data={name} has splits {', '.join(SPLITS)}, not {split!r}")
    if motion < 0 or (motion > 0 and motion_min <= 0):
        raise UserError(
            f"data.layout.motion={motion}, data.layout.motion_min={motion_min}: give positive "
            "numbers; motion may be 0"
        )
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    if min(height, width) < 16:
        raise UserError(f"data.layout.size={size} is too small; use 16 or more")
    return SceneSpec(
        seed=seed,
        split=split,
        index=0,
        height=height,
        width=width,
        layers=(int(layers[0]), int(layers[1])),
        motion=(min(motion_min, motion), motion),
        rotation=rotation,
        zoom=zoom,
        acceleration=acceleration,
        softness=(float(softness[0]), float(softness[1])),
        sway=sway,
    )
