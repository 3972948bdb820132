"""Pictures for the page: which images are worth a look, within a bound on their bytes."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from midframe.data.io import ImageFile, header_size
from midframe.picture import ERROR_FULL, error_map
from midframe.report.records import Entry, Group

PIXELS_MOST = 64_000_000  # of a picture that is decoded
LOSSLESS = 101  # a quality above 100 is what OpenCV calls it
# How large and how well pictures are kept: the first that fits is taken.
_RUNGS = ((1280, LOSSLESS), (1280, 92), (960, 85), (640, 82), (480, 75), (320, 70))
_WORST, _BEST, _APART = "worst", "best", "most different"


@dataclass(frozen=True)
class Chosen:
    """An image to look at, and why."""

    key: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """One picture of an image: a prediction, an error map, flow, or the truth.

    Attributes:
        label: what it is and of whom.
        kind: "prediction", "error", "flow" or "truth".
        source: a data URI.
    """

    label: str
    kind: str
    source: str


@dataclass(frozen=True)
class Shown:
    """All pictures of an image; sizes in pixels, as they are kept."""

    key: str
    reasons: tuple[str, ...]
    width: int
    height: int
    full: tuple[int, int]
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Bytes of the page that it takes."""
        return sum(len(layer.source) for layer in self.layers)


@dataclass
class Album:
    """The pictures of a group, and what is to be said of them."""

    shown: list[Shown] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the page that they take."""
        return sum(one.size for one in self.shown)


@dataclass(frozen=True)
class _Source:
    label: str
    kind: str
    path: Path
    against: Path | None = None


def has_any(group: Group) -> bool:
    """Return whether any result has a folder of predictions."""
    return any(e.folder is not None and (e.folder / "images").is_dir() for e in group.entries)


def album(group: Group, count: int, budget: int) -> Album:
    """Return pictures of the images most worth a look.

    Args:
        group: whose entries have folders of pictures.
        count: images at most.
        budget: bytes of the page at most; pictures are made smaller, then fewer, to keep to it.

    Raises:
        UserError: naming a picture that is damaged.
    """
    found = Album()
    if count == 0:
        found.notes.append("Pictures were not asked for.")
        return found
    sources = {key: list(_sources(group.entries, key)) for key in group.keys}
    there = [key for key in sources if any(s.kind == "prediction" for s in sources[key])]
    if not there:
        found.notes.append(
            "No pictures: these results were made without save_images=true, or their folders "
            "have moved."
        )
        return found
    chosen = select(group, there, count)
    if chosen and budget > 0:
        _fill(found, chosen, sources, budget)
    kept = {layer.label for one in found.shown for layer in one.layers}
    flows = (s.label for one in found.shown for s in sources[one.key] if s.kind == "flow")
    if empty := [label for label in dict.fromkeys(flows) if label not in kept]:
        found.notes.append(f"Left out, since it is zero everywhere: {', '.join(empty)}.")
    left = len(there) - len(found.shown)
    if left:
        bound = "--pictures" if len(found.shown) == count else "--max-mb"
        found.notes.append(
            f"{len(found.shown)} of {len(there)} images with pictures are shown ({bound} bounds "
            "them): the worst, the best, and those on which models differ most."
        )
    if any(s.kind == "prediction" for s in sources[there[0]]) and not any(
        s.kind == "truth" for key in there for s in sources[key]
    ):
        found.notes.append("There are no true frames among the results, so no error maps.")
    return found


def _fill(
    found: Album, chosen: list[Chosen], sources: dict[str, list[_Source]], budget: int
) -> None:
    for side, quality in _RUNGS:
        # the first image foretells the others, which spares the time to encode them all
        first = encode(chosen[0], sources[chosen[0].key], side, quality)
        if first.size * len(chosen) > 2 * budget:
            continue
        shown = [first, *(encode(c, sources[c.key], side, quality) for c in chosen[1:])]
        if sum(one.size for one in shown) <= budget:
            found.shown = shown
            break
    else:  # fewer of the smallest, those before first
        for one in chosen:
            shown_one = encode(one, sources[one.key], *_RUNGS[-1])
            if found.size + shown_one.size > budget:
                break
            found.shown.append(shown_one)
        side, quality = _RUNGS[-1]
    if not found.shown:
        return
    smaller = sum(max(one.full) > side for one in found.shown)
    if smaller:
        found.notes.append(f"{smaller} images are shown at a longer side of {side} pixels.")
    if quality != LOSSLESS:
        found.notes.append(
            f"Pictures are compressed (WebP, quality {quality}); numbers are of the originals."
        )
    if not all(one.layers for one in found.shown):
        found.notes.append("Pictures of more than 64 million pixels are left out.")


def select(group: Group, keys: Sequence[str], count: int) -> list[Chosen]:
    """Return the worst, the best and the most different images in turns, each with its reasons.

    Args:
        group: with its entries' values; the first metric decides.
        keys: images to choose from.
        count: at most.
    """
    values: dict[str, list[float]] = {}
    if group.columns:
        metric = group.columns[0].name
        for key in keys:
            row = [e.images.get(key, {}).get(metric) for e in group.entries if e.complete]
            finite = [v for v in row if v is not None and np.isfinite(v)]
            if finite:
                values[key] = finite
    if not values:
        return [Chosen(key, ()) for key in keys[:count]]
    sign = 1 if group.columns[0].better == "higher" else -1
    rising = sorted(values, key=lambda k: sign * statistics.fmean(values[k]))
    spread = {k: max(v) - min(v) for k, v in values.items()}
    orders = {_WORST: rising, _BEST: rising[::-1]}
    if any(spread.values()):
        orders[_APART] = sorted(spread, key=lambda k: -spread[k])
    first = {order[0]: () for order in orders.values()}
    reasons = {k: tuple(r for r, o in orders.items() if o[0] == k) for k in first}
    taken: dict[str, None] = {}
    for rank in range(len(rising)):
        for order in orders.values():
            taken.setdefault(order[rank])
    rest = [key for key in keys if key not in taken]
    return [Chosen(key, reasons.get(key, ())) for key in [*taken, *rest][:count]]


def _sources(entries: Sequence[Entry], key: str) -> Iterator[_Source]:
    """Yield the files of an image: the truth once, then what each model made."""
    truth = next((p for e in entries if (p := _file(e.folder, "truth", key))), None)
    if truth:
        yield _Source("Ground truth", "truth", truth)
    for entry in entries:
        if path := _file(entry.folder, "images", key):
            yield _Source(entry.title, "prediction", path)
            if truth:
                yield _Source(f"Error of {entry.title}", "error", path, truth)
        if path := _file(entry.folder, "flow", key):
            yield _Source(f"Flow of {entry.title}", "flow", path)


def _file(folder: Path | None, kind: str, key: str) -> Path | None:
    """Return a picture of an image, which must really lie in its folder."""
    if folder is None or "\0" in key:
        return None
    top = folder / kind
    path = top / f"{key}.png"
    try:
        if not path.is_file() or not path.resolve().is_relative_to(top.resolve()):
            return None
    except OSError:  # a name that is too long, for example
        return None
    return path


def encode(chosen: Chosen, sources: Sequence[_Source], side: int, quality: int) -> Shown:
    """Return an image's pictures as data URIs, none of them larger than ``side``.

    Raises:
        UserError: naming the picture that cannot be read.
    """
    result = Shown(chosen.key, chosen.reasons, 0, 0, (0, 0), ())
    layers: list[Layer] = []
    for source in sources:
        size = header_size(str(source.path))
        if size is not None and size[0] * size[1] > PIXELS_MOST:
            continue
        picture = ImageFile(str(source.path)).read()
        if source.kind == "flow" and (picture == 255).all():  # white: zero everywhere
            continue
        if source.against is not None:
            truth = ImageFile(str(source.against)).read()
            if truth.shape != picture.shape:
                continue
            picture = error_map(picture, truth)
        height, width = picture.shape[:2]
        small = _shrunk(picture, side)
        if not layers:
            result = replace(
                result, width=small.shape[1], height=small.shape[0], full=(width, height)
            )
        drawn = source.kind in ("error", "flow")  # pictures of numbers, not what is judged
        layers.append(Layer(source.label, source.kind, _uri(small, 85 if drawn else quality)))
    return replace(result, layers=tuple(layers))


def _shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    import cv2

    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _uri(picture: np.ndarray, quality: int) -> str:
    import cv2

    options = [cv2.IMWRITE_WEBP_QUALITY, min(quality, LOSSLESS)]
    done, data = cv2.imencode(".webp", np.ascontiguousarray(picture[..., ::-1]), options)
    assert done, "OpenCV writes WebP"
    return f"data:image/webp;base64,{base64.b64encode(data.tobytes()).decode()}"


ERROR_NOTE = f"Error maps: mean absolute error over RGB, white from {ERROR_FULL:g} grey levels on."
