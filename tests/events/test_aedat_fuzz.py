"""Damaged files end in a recording or in a line for the user, never in a crash or a hang."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from recordings import drawn

from midframe.errors import UserError
from midframe.events.aedat import read_with
from midframe.events.check import check_recording
from midframe.events.libraries import READERS, is_installed
from midframe.events.process import Process
from midframe.events.write import write_recording

PATIENCE = 0.1  # seconds; some damage sends a library into an endless loop


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if not is_installed("dv_processing"):
        pytest.skip("dv-processing, which writes the files, is not installed")
    path = tmp_path_factory.mktemp("good") / "good.aedat4"
    write_recording(drawn(), path)
    return path.read_bytes()


def damaged(good: bytes, number: int, rng: np.random.Generator) -> bytes:
    """Cut a file, or flip bits or change bytes in all of it, its head, or where packets are."""
    if number % 4 == 0:
        return good[: int(rng.integers(len(good)))]
    low, high = [(0, len(good)), (0, 1600), (1480, len(good))][number % 4 - 1]
    data = bytearray(good)
    for place in rng.integers(low, min(high, len(good)), int(rng.choice([1, 1, 2, 8, 64]))):
        bit = data[place] ^ 1 << int(rng.integers(8))
        data[place] = bit if rng.integers(2) else int(rng.integers(256))
    return bytes(data)


def attack(reader: str, tries: int, good: bytes, folder: Path, seed: int) -> Counter[str]:
    if not is_installed(reader):
        pytest.skip(f"the reader {reader} is not installed")
    rng = np.random.default_rng(seed)
    path = folder / "damaged.aedat4"
    ends: Counter[str] = Counter()
    handles = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: PTH208
    with Process(seconds=PATIENCE) as process:
        for number in range(tries):
            path.write_bytes(damaged(good, number, rng))
            try:
                read = read_with(process, path, reader)
                check_recording(read.recording, "read")
                ends["read"] += 1
            except UserError as error:
                assert str(path) in str(error) and "\n" not in str(error)
                ends["refused"] += 1
    assert [p.name for p in folder.iterdir()] == ["damaged.aedat4"]
    if handles:
        assert len(os.listdir("/proc/self/fd")) == handles  # noqa: PTH208
    return ends


@pytest.mark.parametrize("reader", READERS)
def test_some_damaged_files(reader: str, good: bytes, tmp_path: Path) -> None:
    ends = attack(reader, 40, good, tmp_path, seed=1)
    assert ends["read"] and ends["refused"]


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_thousands_of_damaged_files(reader: str, good: bytes, tmp_path: Path) -> None:
    ends = attack(reader, 1200, good, tmp_path, seed=2)
    assert ends["read"] > 50 and ends["refused"] > 400


def test_every_cut_of_the_head_and_of_a_packet(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.aedat4"
    with Process() as process:
        for end in [*range(40), *range(1400, 1700), len(good) - 700]:
            path.write_bytes(good[:end])
            with pytest.raises(UserError, match=f"empty|cut short at byte {end}"):
                read_with(process, path, "auto")
        assert process._process is None  # no library saw any of them
