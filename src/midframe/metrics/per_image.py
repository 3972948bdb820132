"""Rows of per-image values, and means that do not depend on who measured which image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor


class PerImage:
    """Collects ``{id: {metric: value}}``.

    Each id counts once, whichever rank or padded batch saw it again (the first value stays), and
    sums are exact, so that 1 and 8 devices report the same mean to the last bit.

    Attributes:
        rows: the values of each image.
    """

    def __init__(self, rows: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self.rows: dict[str, dict[str, float]] = {k: dict(v) for k, v in (rows or {}).items()}

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def add(self, key: str, values: Mapping[str, float]) -> None:
        """Add one image's values; an image that is there already stays as it is."""
        self.rows.setdefault(key, {name: float(value) for name, value in values.items()})

    def add_batch(self, keys: Sequence[str], columns: Mapping[str, Tensor]) -> None:
        """Add a batch: ``columns`` holds (N,) values of each metric, one per key."""
        lists = {name: values.tolist() for name, values in columns.items()}
        for name, values in lists.items():
            if len(values) != len(keys):
                raise ValueError(f"{len(values)} values of {name} for {len(keys)} images")
        for i, key in enumerate(keys):
            self.add(key, {name: values[i] for name, values in lists.items()})

    def merge(self, other: PerImage) -> PerImage:
        """Take over the rows of another collection, and return this one."""
        for key, values in other.rows.items():
            self.add(key, values)
        return self

    def means(self, keys: Iterable[str] | None = None) -> dict[str, float]:
        """Return the arithmetic mean of each metric over the images that have it.

        Args:
            keys: only these images, such as those of a subset; None: all.

        Returns:
            Empty without images. One infinite value (PSNR of equal images) makes a mean infinite.
        """
        columns: dict[str, list[float]] = {}
        for row in (self.rows.values()) if keys is None else (self.rows[k] for k in set(keys)):
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        return {name: math.fsum(values) / len(values) for name, values in sorted(columns.items())}
