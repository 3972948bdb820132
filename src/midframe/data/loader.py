"""Loading in processes of their own: how many, and how their errors come back."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset

from midframe.cores import usable_cores
from midframe.data.allocator import keep_freed_memory
from midframe.data.dataset import ClipDataset, collate
from midframe.data.records import Sample, Ticket
from midframe.data.stacks import offer_stacks
from midframe.errors import UserError
from midframe.types import Batch


def worker_count(workers: int | Literal["auto"], world: int = 1) -> int:
    """Return the number of loading processes.

    "auto" leaves the training process a core, and takes none where the cores compute the network
    themselves and there are only two: a loading process would then cost more than it brings.
    """
    if workers != "auto":
        return int(workers)
    share = _cores(world)
    if share <= 2 and not torch.cuda.is_available():
        return 0
    return max(0, min(share - 1, 8))


def _cores(world: int) -> int:
    """Return how many cores a process has that is one of ``world`` in all."""
    env, cores = os.environ, usable_cores()
    if "LOCAL_WORLD_SIZE" in env or env.get("SLURM_STEP_NUM_TASKS") != str(world) or world == 1:
        return cores // int(env.get("LOCAL_WORLD_SIZE", world))
    # of srun, which may show each process its own cores alone
    here = re.match(r"\d+", env.get("SLURM_STEP_TASKS_PER_NODE", ""))  # such as 4(x2)
    own = min(cores, int(env.get("SLURM_CPUS_PER_TASK", 0)))
    return max(own, cores // int(here[0] if here else world))


class Careful(Dataset[Sample]):
    """Hands an error for the person over as a value: raised in a worker, it would lose its form."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitems__(self, tickets: Sequence[Ticket]) -> list[Sample] | UserError:
        try:
            return [self.dataset[ticket] for ticket in tickets]
        except UserError as error:
            return error


def careful_collate(samples: list[Sample] | UserError, dataset: str) -> Batch | UserError:
    """Stack samples, or hand on the error that came instead of them."""
    if isinstance(samples, UserError):
        return samples
    try:
        return collate(samples, dataset)
    except UserError as error:
        return error


class Loader(DataLoader):
    """A loader that raises in the main process what a worker hands over as an error."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield batch

    # A trainer asks loaders that can be resumed for a state; here the position follows from the
    # step that the loader was made for.

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: there is nothing to restore."""


def start_worker(_: int) -> None:
    """Prepare a loading process: one thread, and quiet at ctrl-C."""
    import cv2

    # the main process ends its workers: on ctrl-C they go quietly
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):  # Slurm warns all processes; the main one has to save first
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(60))
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    keep_freed_memory()
    offer_stacks()
