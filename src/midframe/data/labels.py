"""Flow labels in files: where each lies, what a folder says of its labels, and who has which.

A labels folder holds one folder per clip, by the clip's id, with two fields per target: the flow
to the frames before and after it. `midframe labels` writes one and describes it in labels.json; a
folder without that file is taken as published ones are: whoever has a folder in it has labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np

from midframe.data.io import FloFile, check_box, cut, write_flow
from midframe.data.manifest import digest, read_manifest, tell
from midframe.data.records import Box, Clip, Listing, Source
from midframe.errors import UserError

SUFFIXES = {"float32": ".flo", "float16": ".npy"}
BYTES = {"float32": 8, "float16": 4}  # per pixel
# options of a layout that leave a clip of the same id the same
_FREE = {"on_error", "cache", "flow"}


@dataclass(frozen=True, slots=True)
class HalfFlow:
    """A flow field (h, w, 2) in a .npy file: float16 there, read as float32, x then y, in pixels.

    Half precision rounds a flow of 16 to 32 pixels to 1/64 pixel.
    """

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        height, width = self._open().shape[:2]
        return height, width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 2) float32; raises `UserError` naming a missing or damaged file."""
        field = self._open()
        if box is not None:
            check_box(box, field.shape[:2], self.path)
            field = cut(field, box)
        return np.ascontiguousarray(field, dtype=np.float32)

    def _open(self) -> np.ndarray:
        try:
            field = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise UserError(f"{self.path}: no such file") from error
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{self.path}: cannot be read ({error}); write it again") from error
        if field.ndim != 3 or field.shape[2] != 2 or field.dtype != np.float16:
            raise UserError(f"{self.path}: not a flow field in half precision; write it again")
        return field


def label_path(folder: str | Path, clip: Clip, target: int, side: int, suffix: str = ".flo") -> str:
    """Return where the flow from a target to the frame before (side 0) or after it (1) lies.

    A triplet's are named as published, ``<id>/flow_t0.flo``; all others by the numbers of the two
    frames in the clip, ``<id>/flow_3_0.flo``.
    """
    middle = len(clip.inputs) // 2
    end = clip.inputs[middle - 1 + side]
    triplet = clip.inputs == (0, 2) and clip.targets == (1,)
    name = f"t{side}" if triplet else f"{target}_{end}"
    if any(part in ("", ".", "..") for part in clip.id.split("/")):
        raise UserError(f"clip {clip.id!r}: labels are kept by the clip's id, this is no path")
    # plain strings: there are 100,000 of them
    return f"{folder}/{clip.id}/flow_{name}{suffix}"


def label_file(path: str) -> Source:
    """Return the field in a file of a labels folder."""
    return HalfFlow(path) if path.endswith(".npy") else FloFile(path)


def write_label(path: str | Path, flow: np.ndarray) -> None:
    """Write (h, w, 2) flow in pixels in the format of the path's suffix."""
    if not str(path).endswith(".npy"):
        write_flow(path, flow)
        return
    limit = float(np.finfo(np.float16).max)
    with Path(path).open("wb") as file:
        np.save(file, np.clip(flow, -limit, limit).astype(np.float16), allow_pickle=False)


def is_whole(folder: Path, clip: Clip, target: int, suffix: str) -> bool:
    """Return whether both fields of a target are there in full, by their sizes on disk."""
    try:
        for side in range(2):
            label_file(label_path(folder, clip, target, side, suffix)).size()
    except UserError:
        return False
    return True


def with_labels(
    clips: Sequence[Clip],
    folder: str | Path,
    split: str,
    options: Mapping[str, Any] | None = None,
) -> Sequence[Clip]:
    """Return the clips with the labels that a folder has for them, in place of their own.

    Args:
        clips: of a layout; a lazy sequence stays lazy.
        folder: a labels folder.
        split: the layout's name of the split.
        options: of the layout; labels made with other values of them are refused.

    Raises:
        UserError: if the folder's description is damaged, or tells of other layout options.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    suffix = ".flo"
    if manifest is not None:
        suffix = SUFFIXES[manifest["dtype"]]
        _check_options(folder, manifest, options or {})
    attach = _Attach(str(folder), suffix, *_present(folder, manifest, clips, split, suffix))
    return _mapped(clips, attach)


def without_labels(clips: Sequence[Clip]) -> Sequence[Clip]:
    """Return the clips without flow labels."""
    return _mapped(clips, _bare)


def _bare(clip: Clip) -> Clip:
    return replace(clip, flow={}) if clip.flow else clip


@dataclass(frozen=True)
class _Attach:
    """Gives a clip its labels: for ``some`` clips of these targets, else of all or of none."""

    folder: str
    suffix: str
    every: bool
    some: Mapping[str, tuple[int, ...]]

    def __call__(self, clip: Clip) -> Clip:
        flow: dict[int, tuple[Source, Source]] = {}
        for target in self.some.get(clip.id, clip.targets if self.every else ()):
            ends = (label_path(self.folder, clip, target, s, self.suffix) for s in range(2))
            before, after = map(label_file, ends)
            flow[target] = (before, after)
        return replace(clip, flow=flow)


def _mapped(clips: Sequence[Clip], change: Callable[[Clip], Clip]) -> Sequence[Clip]:
    if isinstance(clips, list):
        return Listing(map(change, clips), getattr(clips, "missing", 0))
    return _Mapped(clips, change)


class _Mapped(Sequence[Clip]):
    """A lazy sequence whose clips pass through a function when they are asked for."""

    def __init__(self, clips: Sequence[Clip], change: Callable[[Clip], Clip]) -> None:
        self.clips, self.change = clips, change
        self.missing: int = getattr(clips, "missing", 0)

    def __len__(self) -> int:
        return len(self.clips)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self.change(clip) for clip in self.clips[index]]
        return self.change(self.clips[index])


def _present(
    folder: Path,
    manifest: Mapping[str, Any] | None,
    clips: Sequence[Clip],
    split: str,
    suffix: str,
) -> tuple[bool, dict[str, tuple[int, ...]]]:
    """Return whether all clips have labels, and the clips that differ with what they have."""
    if manifest is None:
        siblings = lru_cache(maxsize=64)(_names)  # one listing for the clips side by side
        split_ids = ((clip, *clip.id.rpartition("/")[::2]) for clip in clips)
        return False, {
            c.id: c.targets for c, up, name in split_ids if name in siblings(folder / up)
        }
    part = manifest["splits"].get(split) or {}
    if part.get("complete") and part.get("digest") == digest(clips):
        left_out: Mapping[str, list[int]] = part["left_out"]
        affected = (clip for clip in clips if clip.id in left_out) if left_out else ()
        return True, {
            clip.id: tuple(t for t in clip.targets if t not in left_out[clip.id])
            for clip in affected
        }
    return False, {c.id: targets for c in clips if (targets := written(folder, c, suffix))}


def written(folder: Path, clip: Clip, suffix: str) -> tuple[int, ...]:
    """Return the targets of a clip both of whose fields are there."""
    place = Path(label_path(folder, clip, 0, 0, suffix)).parent
    names = _names(place)
    if not names:
        return ()

    def name(target: int, side: int) -> str:
        return label_path(folder, clip, target, side, suffix).rpartition("/")[2]

    return tuple(t for t in clip.targets if name(t, 0) in names and name(t, 1) in names)


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208  50,000 times
    except OSError:
        return frozenset()


def layout_options(layout: Any) -> dict[str, Any]:
    """Return the options of a layout (a function with some bound) that decide what clips hold."""
    bound = getattr(layout, "keywords", None) or {}
    return {k: _plain(v) for k, v in bound.items() if k not in _FREE}


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _check_options(folder: Path, manifest: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    made = manifest["options"]
    for key in made.keys() & options.keys():
        if made[key] != options[key]:
            raise UserError(
                f"data.labels={folder}: made with data.layout.{key}={tell(made[key])}, but this "
                f"is {tell(options[key])}; use that, or make other labels with out=DIR"
            )
