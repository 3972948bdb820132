"""Flow labels in files: where each lies, what a folder says of its labels, and who has which.

A labels folder holds one folder per clip, by the clip's id, with two fields per target: the flow
to the frames before and after it. `midframe labels` writes one and describes it in labels.json; a
folder without that file is taken as published ones are: whoever has a folder in it has labels, in
the format (of `flow_files`) of the first. No layout looks for labels: `attach` does for all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from midframe.data.flow_files import FORMATS, open_flow
from midframe.data.manifest import digest, read_manifest, tell
from midframe.data.records import Clip, LazyClips, PartialClips, Source, is_lazy
from midframe.errors import UserError

_log = logging.getLogger(__name__)
NO_LABELS = "none"  # data.labels=none
SUFFIXES = {"float32": ".flo", "float16": ".npy"}
BYTES = {"float32": 8, "float16": 4}  # per pixel
# options of a layout that leave a clip of the same id the same
_FREE = {"on_error", "cache", "flow"}


class OtherLabels(UserError):
    """Labels that are of a layout with other options; ``what`` is wrong, without what to do."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; use that, make other labels with out=DIR, or leave them out with "
            "data.labels=none"
        )
        self.what = what


def label_path(folder: str | Path, clip: Clip, target: int, side: int, suffix: str = ".flo") -> str:
    """Return where the flow from a target to the frame before (side 0) or after it (1) lies.

    A triplet's are named as published, ``<id>/flow_t0.flo``; all others by the numbers of the two
    frames in the clip, ``<id>/flow_3_0.flo``.
    """
    end = clip.ends[side]
    triplet = clip.inputs == (0, 2) and clip.targets == (1,)
    name = f"t{side}" if triplet else f"{target}_{end}"
    # plain strings: there are 100,000 of them
    return f"{folder}/{clip.id}/flow_{name}{suffix}"


def is_whole(folder: Path, clip: Clip, target: int, suffix: str) -> bool:
    """Return whether both fields of a target are there in full, by their sizes on disk."""
    try:
        for side in range(2):
            open_flow(label_path(folder, clip, target, side, suffix)).size()
    except UserError:
        return False
    return True


def attach(
    clips: Sequence[Clip],
    asked: str | Path | None,
    root: Path | None,
    split: str,
    options: Mapping[str, Any],
) -> Sequence[Clip]:
    """Return the clips with the labels that are asked for.

    Args:
        clips: of a layout; a lazy sequence stays lazy.
        asked: a labels folder; "none" for no labels at all; None for those that the layout gave,
            else those of ``<root>/flow`` where that folder is there.
        root: the data set's folder, if it has one.
        split: the layout's name of the split.
        options: of the layout, see `with_labels`.

    Raises:
        UserError: if there is no such folder, or (`OtherLabels`) its labels were made with other
            options.
    """
    if asked is None:
        own = any(clip.flow for clip in (clips[:1] if is_lazy(clips) else clips))
        folder = None if own or root is None else root / "flow"
        if folder is None or not folder.is_dir():
            return clips
    elif str(asked) == NO_LABELS:
        return _mapped(clips, _bare)
    else:
        folder = Path(asked).expanduser()
        if not folder.is_dir():
            raise UserError(f"data.labels={folder}: no such folder; midframe labels makes one")
    return with_labels(clips, folder, split, options)


def tell_lacking(
    clips: Sequence[Clip], asked: str | Path | None, root: Path | None, name: str
) -> None:
    """Log how many training clips of data ``name`` lack labels, where only some have them.

    Raises:
        UserError: if a folder was asked for and no clip has labels there.
    """
    if asked is None and is_lazy(clips):
        return  # it would make every clip
    count = sum(len(clip.flow) >= len(clip.targets) for clip in clips)
    if count == 0 and asked is not None and str(asked) != NO_LABELS:
        raise UserError(
            f"data.labels={asked}: no labels for any of the {len(clips)} training clips of data "
            f"{name}"
        )
    if 0 < count < len(clips):
        _log.warning(
            "data %s: %d of %d training clips have flow labels in %s; midframe labels makes "
            "and completes them",
            *(name, count, len(clips), asked or root),
        )


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
        UserError: if the folder's description is damaged, or (`OtherLabels`) tells of other layout
            options.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        some = _published(folder, clips)
        suffix = _format_of(folder, some)
        change = _Attach(str(folder), suffix, False, some if suffix else {})
    else:
        _check_options(folder, manifest, options or {})
        suffix = SUFFIXES[manifest["dtype"]]
        change = _Attach(str(folder), suffix, *_present(folder, manifest, clips, split, suffix))
    return _mapped(clips, change)


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
            before, after = map(open_flow, ends)
            flow[target] = (before, after)
        return replace(clip, flow=flow)


def _mapped(clips: Sequence[Clip], change: Callable[[Clip], Clip]) -> Sequence[Clip]:
    if not is_lazy(clips):
        return PartialClips(map(change, clips), getattr(clips, "missing", 0))
    return _Mapped(clips, change)


class _Mapped(LazyClips):
    """A lazy sequence whose clips pass through a function when they are asked for."""

    def __init__(self, clips: Sequence[Clip], change: Callable[[Clip], Clip]) -> None:
        super().__init__(len(clips))
        self.clips, self.change = clips, change
        self.missing: int = getattr(clips, "missing", 0)

    @property
    def made_of(self) -> Mapping[str, str]:
        """See `LazyClips.made_of`."""
        return getattr(self.clips, "made_of", {})

    def clip(self, index: int) -> Clip:
        """Return the changed clip."""
        return self.change(self.clips[index])


def _published(folder: Path, clips: Sequence[Clip]) -> dict[str, tuple[int, ...]]:
    """Return the clips that have a folder, with all of their targets."""
    siblings = lru_cache(maxsize=64)(_names)  # one listing for the clips side by side
    split_ids = ((clip, *clip.id.rpartition("/")[::2]) for clip in clips)
    return {c.id: c.targets for c, up, name in split_ids if name in siblings(folder / up)}


def _format_of(folder: Path, ids: Iterable[str]) -> str:
    """Return the suffix of published labels, by the first folder that has any; "" for none."""
    for name in ids:
        files = [file for file in _names(folder / name) if file.startswith("flow_")]
        for suffix in FORMATS:
            if any(file.endswith(suffix) for file in files):
                return suffix
    return ""


def _present(
    folder: Path,
    manifest: Mapping[str, Any],
    clips: Sequence[Clip],
    split: str,
    suffix: str,
) -> tuple[bool, dict[str, tuple[int, ...]]]:
    """Return whether all clips have labels, and the clips that differ with what they have."""
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
            raise OtherLabels(
                f"data.labels={folder}: made with data.layout.{key}={tell(made[key])}, but this "
                f"is {tell(options[key])}"
            )
