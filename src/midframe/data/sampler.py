"""Which samples make up which step: a function of the step number alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from midframe.data.records import Ticket
from midframe.errors import UserError


class StepSampler(Sampler[list[Ticket]]):
    """Batch sampler of a run of ``steps`` steps.

    The global batch of step s holds the positions [s*G, (s+1)*G) of the endless row of epochs,
    each a permutation that follows from (seed, epoch). A rank takes its equal slice, each micro
    batch an equal part of that. So the global batches do not depend on the number of devices or
    workers, and a resumed run starts at its step without replay.

    Args:
        length: number of clips.
        global_batch: samples per step over all devices.
        seed: from which the order follows.
        rank: this process.
        world: number of processes.
        start_step: the first step that is yielded; may be set later as an attribute.
        steps: length of the whole run.
        micro_batches: batches per step on each device (gradient accumulation).
    """

    def __init__(
        self,
        length: int,
        global_batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        steps: int = 1,
        micro_batches: int = 1,
    ) -> None:
        if length < 1:
            raise UserError("the data set holds no clip to train on")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not among {world} processes")
        self.length = length
        self.global_batch = global_batch
        self.seed = seed
        self.rank = rank
        self.world = world
        self.start_step = start_step
        self.steps = steps
        self.micro_batches = micro_batches
        self.batch = per_device_batch(global_batch, world, micro_batches)
        self._cached: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Return the number of batches of the whole run, wherever it starts."""
        return self.steps * self.micro_batches

    def __iter__(self) -> Iterator[list[Ticket]]:
        for step in range(self.start_step, self.steps):
            for micro in range(self.micro_batches):
                yield self.tickets(step, micro)

    def tickets(self, step: int, micro: int = 0) -> list[Ticket]:
        """Return what this rank reads for one micro batch of a step."""
        first = step * self.global_batch + (self.rank * self.micro_batches + micro) * self.batch
        return [self._at(position) for position in range(first, first + self.batch)]

    def _at(self, position: int) -> Ticket:
        epoch, offset = divmod(position, self.length)
        if self._cached[0] != epoch:
            # four words: a sample's own stream is (seed, epoch, index), which NumPy fills up with 0
            rng = np.random.default_rng([self.seed, epoch, self.length, 1])
            self._cached = (epoch, rng.permutation(self.length))
        return Ticket(epoch, int(self._cached[1][offset]))


class EvalSampler(Sampler[list[Ticket]]):
    """Batch sampler that visits every clip once over all ranks, in order and without padding.

    Ranks may get different numbers of batches, so nothing may wait for the others between them.
    With fewer clips than ranks, those left empty-handed read clip 0 once more: a rank without any
    batch would not validate, and the others wait for it. Rows are kept by id, so it counts once.

    Args:
        length: number of clips.
        batch: samples per batch; the last one may be smaller.
        rank: this process.
        world: number of processes.
        limit: at most this many clips, spread evenly over the data set.
    """

    def __init__(
        self, length: int, batch: int = 1, rank: int = 0, world: int = 1, limit: int | None = None
    ) -> None:
        if batch < 1 or (limit is not None and limit < 1):
            raise UserError(f"data.val.batch={batch}, data.val.limit={limit}: give positive ones")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not among {world} processes")
        count = length if limit is None else min(limit, length)
        self.indices = [i * length // count for i in range(rank, count, world)]
        if count and not self.indices:
            self.indices = [0]
        self.batch = batch

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch)

    def __iter__(self) -> Iterator[list[Ticket]]:
        for start in range(0, len(self.indices), self.batch):
            yield [Ticket(0, index) for index in self.indices[start : start + self.batch]]


def per_device_batch(global_batch: int, world: int = 1, micro_batches: int = 1) -> int:
    """Return the samples per device and micro batch.

    Raises:
        UserError: if the global batch cannot be shared evenly; it says which values can.
    """
    parts = world * micro_batches
    if global_batch < 1 or global_batch % parts:
        near = max(1, round(global_batch / parts)) * parts
        devices = [n for n in range(1, 65) if global_batch > 0 and global_batch % n == 0]
        raise UserError(
            f"data.global_batch={global_batch} cannot be shared by {world} device(s) with "
            f"{micro_batches} micro batch(es) each; set data.global_batch={near} "
            f"(or {near + parts}), or make devices times micro batches one of {devices}"
        )
    return global_batch // parts
