"""Averaged weights (EMA) that are exported can be told from those that a training ended with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from tiny_network import wanted
from torch.utils.data import DataLoader

from midframe import create_model
from midframe.cli import main
from midframe.export import make as making
from midframe.export.engine import load_engine
from midframe.models.averaged import is_averaged


class Saved(Callback):
    """Saves a checkpoint at the third step: at the end, Lightning makes the average the weights."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step == 3:
            trainer.save_checkpoint(self.path)


class Falling(L.LightningModule):
    """Moves every weight of a model by the same amount at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.model = create_model("ifrnet_s")

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return sum(weight.sum() for weight in self.model.parameters())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), lr=0.01)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """What Lightning writes of a training with and without its EMA callback."""
    found = {}
    for kind, callbacks in (("ema", [EMAWeightAveraging(decay=0.5)]), ("raw", [])):
        off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
        off["enable_model_summary"] = False
        found[kind] = tmp_path_factory.mktemp(kind) / "last.ckpt"
        callbacks.append(Saved(found[kind]))
        trainer = L.Trainer(accelerator="cpu", max_steps=3, callbacks=callbacks, **off)
        trainer.fit(Falling(), DataLoader(torch.zeros(3)))
    return found


@pytest.mark.parametrize(
    ("kind", "name"), [("ema", "ifrnet_s-16x16.ema.pt2"), ("raw", "ifrnet_s-16x16.pt2")]
)
def test_an_export_says_whether_its_weights_are_averaged(
    kind, name, checkpoints, tmp_path, monkeypatch, capsys
):
    asked, really = [], making.make

    def make_less(one, path, tell):
        """Record a network of one layer with what is known of the weights, which is faster."""
        asked.append(one)
        small = wanted("plain", one.format, one.size, averaged=one.averaged, weights_sha256="0")
        return really(small, path, tell)

    monkeypatch.setattr(making, "make", make_less)
    monkeypatch.chdir(tmp_path)
    words = ["--weights", str(checkpoints[kind]), "--format", "pt2", "--size", "16x16"]
    assert main(["export", "ifrnet_s", *words]) == 0

    told = capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == [name] and name in told
    assert load_engine(name).facts.averaged is (kind == "ema")
    assert ("the moving average (EMA)" in told) is (kind == "ema")

    # it is true: Lightning keeps the last weights of a training beside the average
    saved = torch.load(checkpoints[kind], weights_only=True)
    key = "decoder1.convblock.2.bias"
    value = dict(asked[0].model.named_parameters())[key]
    last = saved.get("current_model_state", saved["state_dict"])[f"model.{key}"]
    assert torch.equal(value, saved["state_dict"][f"model.{key}"])
    assert torch.equal(value, last) is (kind == "raw")


def test_a_file_says_it_by_its_name_or_not_at_all(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "model.pth")
    (tmp_path / "damaged.ckpt").write_bytes(b"no weights")
    for name in ("model.pth", "damaged.ckpt", "missing.safetensors"):
        assert not is_averaged(tmp_path / name)
    assert is_averaged(tmp_path / "model.ema.safetensors")
