"""Synthetic scenes: textured layers that move and hide one another, rendered at any time.

A scene is a function of (seed, split, index). Its background and layers are textures on similarity
transforms that are closed functions of time, so a frame at any t and the flow between any two times
are exact. Textures (see `midframe.data.textures`) and shapes come from small tables that each
process builds when it first needs them; those of the splits differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from midframe.data.records import Box
from midframe.data.textures import STRIDES, TABLES, Photographs, Surface, draw_surface, similarity

SPLITS = {"train": 0, "val": 1, "test": 2}
SHAPE = 128  # side of a shape's distance table; its unit circle has radius SHAPE / 2.5


@dataclass(frozen=True)
class SceneSpec:
    """Everything that a scene follows from.

    Attributes:
        seed: the data set's seed.
        split: "train", "val" or "test"; no two splits share a texture, a shape or a scene.
        index: the scene's number.
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        layers: least and greatest number of layers over the background.
        motion: least and greatest way that a layer's centre goes from t = 0 to 1, in pixels;
            drawn log-uniformly per layer.
        rotation: greatest way of a layer's rim by rotation, as a part of that way.
        zoom: the same by zoom.
        acceleration: greatest acceleration over the gap, as a part of that way; the middle is then
            up to an eighth of it off the straight line.
        softness: least and greatest width of a layer's edge, in pixels.
        sway: greatest amplitude of an oscillation about that path, as a part of that way; between
            a half and one and a half periods from t = 0 to 1, so that frames do not tell it.
        photographs: where a part of the textures comes from. Nothing else of a scene depends on
            them: all moves as it does without.
    """

    seed: int
    split: str
    index: int
    height: int = 160
    width: int = 160
    layers: tuple[int, int] = (2, 5)
    motion: tuple[float, float] = (1.0, 16.0)
    rotation: float = 0.4
    zoom: float = 0.4
    acceleration: float = 0.0
    softness: tuple[float, float] = (1.0, 2.5)
    sway: float = 0.0
    photographs: Photographs | None = None


@dataclass(frozen=True)
class Layer:
    """One textured layer; ``shape`` is None for the background. Matrices are 3x3, homogeneous.

    A point u of the layer, in pixels from its centre, lies at
    ``centre + path(t) + exp(zoom * (t - 1/2)) * R(turn * (t - 1/2)) @ u``.
    """

    centre: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    turn: float
    zoom: float
    reach: float
    surface: Surface
    shape: np.ndarray | None = None
    shape_from_layer: np.ndarray | None = None
    slope: float = 1.0
    sway: np.ndarray | None = None  # amplitude
    pace: tuple[float, float] = (0.0, 0.0)  # of the sway: radians per unit of time, and at t = 1/2

    def place(self, t: float) -> np.ndarray:
        """Return the matrix from the layer's to the frame's coordinates at time t."""
        s = t - 0.5
        at = self.centre + self.velocity * s + 0.5 * self.acceleration * (s * s - 0.25)
        if self.sway is not None:
            at = at + self.sway * np.sin(self.pace[0] * s + self.pace[1])
        return similarity(float(np.exp(self.zoom * s)), self.turn * s, at)

    def bounds(self, t: float, box: Box) -> Box:
        """Return the part of ``box`` that the layer may touch at time t (perhaps empty)."""
        if self.shape is None:
            return box
        place = self.place(t)
        reach = self.reach * float(np.hypot(place[0, 0], place[1, 0])) + 2.0
        left = max(int(np.floor(place[0, 2] - reach)), box.left)
        top = max(int(np.floor(place[1, 2] - reach)), box.top)
        right = min(int(np.ceil(place[0, 2] + reach)) + 1, box.left + box.width)
        bottom = min(int(np.ceil(place[1, 2] + reach)) + 1, box.top + box.height)
        return Box(top, left, max(bottom - top, 0), max(right - left, 0))

    def colours(self, t: float, box: Box) -> np.ndarray:
        """Return the texture (h, w, 3) uint8 as it lies in ``box`` at time t."""
        import cv2

        look = self.surface
        mapped = look.from_layer @ np.linalg.inv(self.place(t)) @ _corner(box)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        beyond = cv2.BORDER_REFLECT_101 if look.mirrored else cv2.BORDER_WRAP
        raw = cv2.warpAffine(look.texture, mapped[:2], box[:1:-1], flags=flags, borderMode=beyond)
        return cv2.transform(raw, look.colour)

    def alpha(self, t: float, box: Box) -> np.ndarray:
        """Return the layer's opacity (h, w) float32 in ``box`` at time t."""
        import cv2

        if self.shape is None or self.shape_from_layer is None:
            return np.ones((box.height, box.width), np.float32)
        place = self.place(t)
        mapped = self.shape_from_layer @ np.linalg.inv(place) @ _corner(box)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        inside = cv2.warpAffine(
            self.shape,
            mapped[:2],
            box[:1:-1],
            flags=flags,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=-1e3,
        )
        slope = self.slope * float(np.hypot(place[0, 0], place[1, 0]))
        return np.clip(inside * slope + 0.5, 0.0, 1.0)


@dataclass(frozen=True)
class Rendered:
    """The frame of a scene at time t: a `Source` of (h, w, 3) uint8 RGB."""

    scene: SceneSpec
    t: float

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.scene.height, self.scene.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Render the frame, or the part inside ``box``."""
        import cv2

        box = box or Box(0, 0, *self.size())
        layers = build(self.scene)
        frame = layers[0].colours(self.t, box)
        for layer in layers[1:]:
            part = layer.bounds(self.t, box)
            if part.height == 0 or part.width == 0:
                continue
            view = frame[_slices(part, box)]
            alpha = layer.alpha(self.t, part)
            over = layer.colours(self.t, part)
            view[:] = cv2.blendLinear(over, np.ascontiguousarray(view), alpha, 1.0 - alpha)
        return frame


@dataclass(frozen=True)
class RenderedFlow:
    """The flow of what is visible at time ``start``, to time ``end``: (h, w, 2) float32, x, y.

    Where a layer's edge is soft, the layer that makes up at least half of the pixel counts.
    """

    scene: SceneSpec
    start: float
    end: float

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.scene.height, self.scene.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the flow field, or the part inside ``box``."""
        box = box or Box(0, 0, *self.size())
        flow = np.empty((box.height, box.width, 2), np.float32)
        top = visible(self.scene, self.start, box)
        for number, layer in enumerate(build(self.scene)):
            part = layer.bounds(self.start, box)
            if part.height == 0 or part.width == 0:
                continue
            here = _slices(part, box)
            mine = top[here] == number
            if mine.any():
                moved = layer.place(self.end) @ np.linalg.inv(layer.place(self.start)) - np.eye(3)
                field = (moved @ _corner(part)).astype(np.float32)
                x = np.arange(part.width, dtype=np.float32)
                y = np.arange(part.height, dtype=np.float32)[:, None]
                for axis in (0, 1):
                    a, b, c = field[axis]
                    np.copyto(flow[here][..., axis], a * x + (b * y + c), where=mine)
        return flow


@lru_cache(maxsize=4)
def visible(scene: SceneSpec, t: float, box: Box) -> np.ndarray:
    """Return the number of the visible layer, (h, w) uint8, 0 for the background."""
    top = np.zeros((box.height, box.width), np.uint8)
    for number, layer in enumerate(build(scene)[1:], start=1):
        part = layer.bounds(t, box)
        if part.height and part.width:
            top[_slices(part, box)][layer.alpha(t, part) >= 0.5] = number
    top.flags.writeable = False
    return top


def occluded(scene: SceneSpec, start: float, end: float, box: Box | None = None) -> np.ndarray:
    """Return (h, w) bool: what is visible at ``start`` but hidden or out of frame at ``end``."""
    whole = Box(0, 0, scene.height, scene.width)
    box = box or whole
    flow = RenderedFlow(scene, start, end).read(box)
    column = np.rint(np.arange(box.width) + box.left + flow[..., 0]).astype(int)
    row = np.rint(np.arange(box.height)[:, None] + box.top + flow[..., 1]).astype(int)
    outside = (column < 0) | (column >= scene.width) | (row < 0) | (row >= scene.height)
    row, column = row.clip(0, scene.height - 1), column.clip(0, scene.width - 1)
    return outside | (visible(scene, end, whole)[row, column] != visible(scene, start, box))


@lru_cache(maxsize=16)
def build(scene: SceneSpec) -> tuple[Layer, ...]:
    """Return the scene's background and layers, rearmost first."""
    split = SPLITS[scene.split]
    rng = np.random.default_rng((scene.seed, split, scene.index))
    size = np.array([scene.width, scene.height], float)
    middle = (size - 1) / 2
    # which photographs are shown is drawn apart, so that all else is what it is without
    chance = np.random.default_rng((scene.seed, split, 5, scene.index))
    count = int(rng.integers(scene.layers[0], scene.layers[1] + 1))
    layers = [_layer(rng, chance, scene, middle, float(np.hypot(*size)) / 2, shaped=False)]
    for _ in range(count):
        reach = float(size.min()) * float(np.exp(rng.uniform(np.log(0.12), np.log(0.45))))
        centre = rng.uniform(0, 1, 2) * (size - 1)
        layers.append(_layer(rng, chance, scene, centre, reach, shaped=True))
    return tuple(layers)


def _layer(
    rng: np.random.Generator,
    chance: np.random.Generator,
    scene: SceneSpec,
    centre: np.ndarray,
    reach: float,
    shaped: bool,
) -> Layer:
    split = SPLITS[scene.split]
    low, high = scene.motion
    way = low * float(np.exp(rng.uniform() * np.log(high / low))) if high > 0 else 0.0
    heading, bend = rng.uniform(0, 2 * np.pi, 2)
    unit = np.array([np.cos(heading), np.sin(heading)])
    bent = np.array([np.cos(bend), np.sin(bend)]) * way * scene.acceleration * rng.uniform()
    stride = float(np.exp(rng.uniform(*np.log(STRIDES))))
    shape = shape_from_layer = None
    slope = 1.0
    if shaped:
        shape = shape_table(scene.seed, split, int(rng.integers(TABLES)))
        aspect = float(np.exp(rng.uniform(-0.7, 0.0)))
        unit_px = SHAPE / 2.5 / reach
        turned = similarity(unit_px, rng.uniform(0, 2 * np.pi), np.zeros(2))
        squeeze = np.diag([1.0, 1.0 / aspect, 1.0])
        to_middle = np.array([[1.0, 0, SHAPE / 2], [0, 1.0, SHAPE / 2], [0, 0, 1.0]])
        shape_from_layer = to_middle @ squeeze @ turned
        slope = aspect / unit_px / float(rng.uniform(*scene.softness))
    layer = Layer(
        centre=centre,
        velocity=unit * way,
        acceleration=bent,
        turn=float(rng.uniform(-1, 1)) * scene.rotation * way / reach,
        zoom=float(rng.uniform(-1, 1)) * scene.zoom * way / reach,
        reach=reach,
        surface=draw_surface(rng, chance, scene.seed, split, stride, scene.photographs),
        shape=shape,
        shape_from_layer=shape_from_layer,
        slope=slope,
    )
    if not scene.sway:  # nothing more is drawn: such scenes are what they always were
        return layer
    direction, phase = rng.uniform(0, 2 * np.pi, 2)
    amplitude = way * scene.sway * rng.uniform()
    sway = amplitude * np.array([np.cos(direction), np.sin(direction)])
    return replace(layer, sway=sway, pace=(2 * np.pi * rng.uniform(0.5, 1.5), phase))


def _corner(box: Box) -> np.ndarray:
    return np.array([[1.0, 0, box.left], [0, 1.0, box.top], [0, 0, 1.0]])


def _slices(part: Box, box: Box) -> tuple[slice, slice]:
    top, left = part.top - box.top, part.left - box.left
    return slice(top, top + part.height), slice(left, left + part.width)


@lru_cache(maxsize=TABLES * len(SPLITS))
def shape_table(seed: int, split: int, number: int) -> np.ndarray:
    """Return a shape as signed distance to its edge (SHAPE, SHAPE) float32, inside positive.

    In table pixels. Shapes lie in the circle of radius SHAPE / 2.5: lobed blobs, polygons, rings
    and bars.
    """
    import cv2

    rng = np.random.default_rng((seed, split, 2, number))
    fine = 4 * SHAPE
    kind = ("blob", "polygon", "ring", "bar")[number % 4]
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = np.ones_like(angle)
    if kind in ("blob", "ring"):
        for order in range(2, 6):
            radius += rng.uniform(-0.5, 0.5) / order * np.cos(order * angle + rng.uniform(0, 6.28))
    elif kind == "polygon":
        angle = np.sort(rng.uniform(0, 2 * np.pi, 3) + np.array([0, 2.1, 4.2]))
        angle = np.concatenate([angle, angle + rng.uniform(0.3, 0.9, 3)])
        angle.sort()
        radius = rng.uniform(0.5, 1.0, angle.shape)
    points = np.stack([np.cos(angle), np.sin(angle)], -1) * radius[:, None]
    if kind == "bar":
        thin = rng.uniform(0.06, 0.3)
        points = np.array([[-1, -thin], [1, -thin], [1, thin], [-1, thin]])
    points *= fine / 2.5 / np.linalg.norm(points, axis=1).max()
    mask = np.zeros((fine, fine), np.uint8)
    cv2.fillPoly(mask, [np.rint(points + fine / 2).astype(np.int32)], 1)
    if kind == "ring":
        inner = np.rint(points * rng.uniform(0.4, 0.75) + fine / 2).astype(np.int32)
        cv2.fillPoly(mask, [inner], 0)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    signed = inside - cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return cv2.resize(signed, (SHAPE, SHAPE), interpolation=cv2.INTER_AREA) / 4.0
