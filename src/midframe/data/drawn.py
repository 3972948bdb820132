"""A data set of which an epoch is a number of draws, and not each of its clips once."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from midframe.data.dataset import ClipDataset
from midframe.data.module import Data
from midframe.data.records import Layout, Sample, Ticket
from midframe.errors import UserError


class DrawnDataset(ClipDataset):
    """Samples of clips drawn with replacement, by (seed, epoch, index) like all that is random.

    Of several data sets one after the other this draws one by its size and then one of its clips.

    Args:
        *args: see `ClipDataset`.
        draws: how many are an epoch.
        **options: see `ClipDataset`.
    """

    def __init__(self, *args: Any, draws: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.draws = draws

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, ticket: Ticket | int) -> Sample:
        """Return a sample as uint8; a plain index means epoch 0."""
        epoch, index = ticket if isinstance(ticket, tuple) else (0, int(ticket))
        if not 0 <= index < self.draws:
            raise IndexError(f"{index} is not among {self.draws} draws")
        # four words, as no other stream of this seed has them: see `StepSampler`
        rng = np.random.default_rng([self.seed, epoch, index, 2])
        drawn = int(rng.integers(len(self.clips)))
        # an epoch of its own for every draw: a clip drawn twice is cropped and turned anew
        return super().__getitem__(Ticket(epoch * self.draws + index, drawn))


class DrawnData(Data):
    """A data set whose training clips may be drawn; validation reads each of its clips once.

    Args:
        name: see `Data`.
        layout: see `Data`.
        root: see `Data`.
        draws: training samples that are an epoch, each of a clip drawn anew; None for every clip
            once an epoch.
        **options: see `Data`.
    """

    def __init__(
        self,
        name: str,
        layout: Layout,
        root: str | Path | None = None,
        *,
        draws: int | None = None,
        **options: Any,
    ) -> None:
        if draws is not None and (not isinstance(draws, int) or draws < 1):
            raise UserError(f"data.draws={draws}: give a positive number, or null for each once")
        super().__init__(name, layout, root, **options)
        self.draws = draws

    @cached_property
    def train_set(self) -> ClipDataset:
        """The training clips, cropped at random and augmented."""
        if self.draws is None:
            return super().train_set
        return self._training(partial(DrawnDataset, draws=self.draws))
