"""When a conversion measures its model and works on blocks, and when it need not."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch

from midframe.launch import memory_need
from midframe.launch.convert_memory import fitted
from midframe.launch.convert_plan import picture_bytes
from midframe.launch.memory_ways import Need
from midframe.models.average import Average
from midframe.video.format import Format

GIB = 2**30


class Clip(list):
    format = Format(3000, 2000)


JOB = SimpleNamespace(clip=Clip(range(5)), schedule=range(9), spacings={1, 2}, preview=False)
CONFIG = {"name": "average", "net": {"_target_": "midframe.models.average.Average"}}


def fit(monkeypatch, device: str, room: float, pixel: float):
    """Return the notes, and how often was measured, where a pixel takes so many bytes."""
    notes, measured = [], []

    def measure(*given, **said):
        measured.append(given)
        return Need(0, pixel)

    monkeypatch.setattr(memory_need, "measured", measure)
    monkeypatch.setattr(memory_need, "room", lambda memory, where: room)
    args = Namespace(block=None, memory=None, precision="fp32", devices="1")
    report = SimpleNamespace(note=notes.append, say=notes.append)
    model = fitted(Average(), torch.device(device), JOB, args, CONFIG, report)
    return bool(model.at), notes, len(measured)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_decides_between_whole_frames_and_blocks(monkeypatch, device):
    pixels = 6_000_000
    assert fit(monkeypatch, device, 100 * GIB, 1e9) == (False, [], 0)  # enough for any model
    assert fit(monkeypatch, device, 4 * GIB, 50) == (False, [], 1)
    blocks, notes, measured = fit(monkeypatch, device, 4 * GIB, 8 * GIB / pixels)
    assert blocks and measured == 1 and len(notes) == 1 and "works in overlapping" in notes[0]
    blocks, notes, _ = fit(monkeypatch, device, 4 * GIB, 9000 * GIB / pixels)
    assert blocks and "even so it may take" in notes[-1]


def test_pictures_on_their_way_take_of_a_processors_memory_and_not_of_a_gpus(monkeypatch):
    room = picture_bytes(JOB) + GIB / 2
    for device, blocks in (("cpu", True), ("cuda", False)):
        assert fit(monkeypatch, device, room, GIB / 6_000_000)[0] == blocks
