"""Layout of several layouts at once: training clips by shares, validation clips of one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import overload

from midframe.data.records import Clip
from midframe.errors import UserError


class Mixture(Sequence[Clip]):
    """Clips of several parts; a part with fewer clips than its share comes round again.

    A clip that comes round keeps its id but has another index, so its crop and augmentation differ.

    Args:
        parts: the clips of each part.
        counts: how many of the mixture's clips come from each part.
    """

    def __init__(self, parts: Sequence[Sequence[Clip]], counts: Sequence[int]) -> None:
        self.parts, self.counts = list(parts), list(counts)

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def missing(self) -> int:
        """Listed entries of all parts that are not there, see `Listing`."""
        return sum(getattr(part, "missing", 0) for part in self.parts)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        """Return the clip (or clips); a negative index counts from the end."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        position = index % len(self)
        for clips, count in zip(self.parts, self.counts):
            if position < count:
                return clips[position % len(clips)]
            position -= count
        raise AssertionError("unreachable: the counts sum to the length")


def mixed(
    root: Path,
    split: str,
    context: int = 1,
    *,
    parts: Mapping[str, Callable[..., Sequence[Clip]]],
    shares: Mapping[str, float],
    validate: str,
    length: int = 20_000,
) -> Sequence[Clip]:
    """Return training clips of all parts by their shares, or validation clips of one part.

    Args:
        root: handed to every part.
        split: "train" mixes; any other split is that of ``validate`` alone.
        context: frames on each side of the gap.
        parts: layouts by name.
        shares: of the training clips, by part; brought to a sum of 1. 0 leaves a part out.
        validate: the part that validation reads.
        length: training clips in all, an epoch.

    Raises:
        UserError: if names do not fit, or a part with a share has no clip.
    """
    if set(shares) != set(parts) or validate not in parts:
        raise UserError(
            f"data.layout mixes {', '.join(parts)}: give each a share (there are shares of "
            f"{', '.join(shares)}) and validate on one of them (not {validate!r})"
        )
    if split != "train":
        return parts[validate](root, split, context)
    total = sum(shares.values())
    if min(shares.values()) < 0 or not total > 0:
        raise UserError(f"data.layout.shares={dict(shares)}: give numbers from 0 on, not all 0")
    used = [name for name in parts if shares[name] > 0]
    clips = [parts[name](root, split, context) for name in used]
    for name, found in zip(used, clips):
        if not found:
            raise UserError(f"data.layout: the part '{name}' has no clip in {root}")
    ends, running = [0], 0.0
    for name in used:
        running += shares[name] / total
        ends.append(round(running * length))
    return Mixture(clips, [end - start for start, end in zip(ends, ends[1:])])
