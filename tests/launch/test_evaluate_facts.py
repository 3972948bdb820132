"""What a result says about its model, whatever the model's yaml tells."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from midframe.launch.evaluate import gather_facts


@pytest.mark.parametrize(
    ("target", "name"), [("ifrnet.IFRNet", "mine (untrained)"), ("average.Average", "mine")]
)
def test_a_model_without_info_is_measured_under_its_right_name(target, name):
    model = {"name": "mine", "net": {"_target_": f"midframe.models.{target}"}, "weights": None}
    cfg = OmegaConf.create({"model": model, "weights": None, "precision": "32-true"})
    assert gather_facts(cfg, torch.device("cpu"))["model"] == name
