"""Tell Lightning which process of a training this is, where others started them all."""

from __future__ import annotations

import os

from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment


class Started(ClusterEnvironment):
    """One of several processes that torchrun or srun started, whatever Slurm's variables say.

    Args:
        rank: of this process among all.
        size: number of processes.
        local_rank: of this process on its machine.
        node: number of its machine.
        address: of the machine of rank 0.
        port: where rank 0 is met there.
    """

    def __init__(
        self, rank: int, size: int, local_rank: int, node: int, address: str, port: int
    ) -> None:
        super().__init__()
        self.rank, self.size, self.local, self.node = rank, size, local_rank, node
        self.address, self.port = address, port

    @property
    def creates_processes_externally(self) -> bool:
        """Whether others start the processes."""
        return True

    @property
    def main_address(self) -> str:
        """Where rank 0 is."""
        return self.address

    @property
    def main_port(self) -> int:
        """Where rank 0 listens."""
        return self.port

    @staticmethod
    def detect() -> bool:
        """Never: who builds it knows."""
        return False

    def world_size(self) -> int:
        """Return the number of processes."""
        return self.size

    def set_world_size(self, size: int) -> None:
        """Do nothing: it is as it was started."""

    def global_rank(self) -> int:
        """Return the rank among all."""
        return self.rank

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: it is as it was started."""

    def local_rank(self) -> int:
        """Return the rank on this machine."""
        return self.local

    def node_rank(self) -> int:
        """Return the number of the machine."""
        return self.node


def alone() -> ClusterEnvironment | None:
    """Return what a process needs that starts its ranks itself; None where Lightning finds out.

    In a batch script, or in a shell of salloc, Slurm's variables speak of tasks that are not this
    process; Lightning would wait for them.
    """
    return LightningEnvironment() if "SLURM_NTASKS" in os.environ else None
