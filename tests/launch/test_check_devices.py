"""Devices that are not there, and BatchNorm over several."""

from __future__ import annotations

import pytest
import torch
from normed import Normed
from omegaconf import OmegaConf

from midframe.errors import UserError
from midframe.launch.check_devices import check_devices, norm_note


def config(accelerator: str, devices: object) -> object:
    return OmegaConf.create({"trainer": {"accelerator": accelerator, "devices": devices}})


@pytest.mark.parametrize(
    ("there", "accelerator", "devices", "message"),
    [
        (0, "gpu", 1, "there is no GPU here.*trainer=cpu, or trainer=ddp_cpu"),
        (2, "gpu", 4, "trainer.devices=4: there are 2 GPUs here; give trainer.devices=2"),
        (2, "auto", 3, "there are 2 GPUs"),
        (2, "gpu", [0, 2], r"there is no GPU 2 here; they are numbered 0 to 1"),
        (2, "gpu", 2, None),
        (2, "gpu", [1], None),
        (2, "gpu", "auto", None),
        (2, "gpu", -1, None),
        (2, "cpu", 4, None),
        (0, "auto", 1, None),
    ],
)
def test_gpus_that_are_not_there_are_named(
    monkeypatch: pytest.MonkeyPatch,
    there: int,
    accelerator: str,
    devices: object,
    message: str | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    cfg = config(accelerator, devices)
    if message is None:
        check_devices(cfg)  # type: ignore[arg-type]
        return
    with pytest.raises(UserError, match=message):
        check_devices(cfg)  # type: ignore[arg-type]


def test_it_is_said_where_devices_normalise_apart() -> None:
    note = norm_note(Normed().train(), 4, False)
    assert note is not None and "1 BatchNorm" in note and "trainer.sync_batchnorm=true" in note
    assert norm_note(Normed().train(), 1, False) is None
    assert norm_note(Normed().train(), 4, True) is None
    assert norm_note(Normed().eval(), 4, False) is None  # frozen: the means are those it has
    assert norm_note(torch.nn.Conv2d(1, 1, 1), 4, False) is None
