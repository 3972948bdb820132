"""Checkpoints as files: damage is noticed, and nothing half-written has a final name."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from midframe.engine.checkpoint_files import (
    PREVIOUS,
    CheckpointFiles,
    is_whole,
    put_in_place,
    step_of,
)
from midframe.errors import UserError
from midframe.models.weights import LAST


def state(step: int = 3) -> dict[str, object]:
    return {"global_step": step, "state_dict": {"a": torch.full((100, 100), float(step))}}


@contextmanager
def room_for_files_of(size: int) -> Iterator[None]:
    """Let the system end writes to a file beyond a size, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_flipped_bit_of_a_weight_is_noticed_though_torch_reads_it(tmp_path: Path) -> None:
    path = tmp_path / LAST
    CheckpointFiles().save_checkpoint(state(), path)
    assert is_whole(path) and step_of(path) == 3
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    damaged = torch.load(path, weights_only=True)["state_dict"]["a"]
    assert not torch.equal(damaged, state()["state_dict"]["a"])  # type: ignore[index]
    assert step_of(path) == 3 and not is_whole(path)


@pytest.mark.parametrize("left", [0.0, 0.01, 0.5, 0.999])
def test_a_cut_file_is_noticed(tmp_path: Path, left: float) -> None:
    path = tmp_path / LAST
    CheckpointFiles().save_checkpoint(state(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * left)])
    assert step_of(path) is None and not is_whole(path)


def test_a_write_that_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / LAST
    CheckpointFiles().save_checkpoint(state(3), path)
    size = path.stat().st_size
    with room_for_files_of(size // 2), pytest.raises(UserError, match="cannot write .*make room"):
        CheckpointFiles().save_checkpoint(state(4), path)
    assert is_whole(path) and step_of(path) == 3
    assert [x.name for x in tmp_path.iterdir()] == [LAST]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_last_becomes_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    for step in (1, 2, 3):
        aside = tmp_path / "aside"
        CheckpointFiles().save_checkpoint(state(step), aside)
        put_in_place(aside, tmp_path)
        assert step_of(tmp_path / LAST) == step
    assert step_of(tmp_path / PREVIOUS) == 2
    assert {x.name for x in tmp_path.iterdir()} == {LAST, PREVIOUS}


def test_there_is_a_whole_last_one_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = tmp_path / "aside"
    CheckpointFiles().save_checkpoint(state(1), tmp_path / LAST)
    CheckpointFiles().save_checkpoint(state(2), aside)
    seen = []
    for name in ("hardlink_to", "replace"):
        before = getattr(Path, name)

        def watched(self: Path, other: Path, before=before) -> object:  # type: ignore[no-untyped-def]
            seen.append(step_of(tmp_path / LAST))
            return before(self, other)

        monkeypatch.setattr(Path, name, watched)
    put_in_place(aside, tmp_path)
    assert seen == [1, 1, 1] and step_of(tmp_path / LAST) == 2
