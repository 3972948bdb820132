"""What a result says about its model, whatever the model's yaml tells."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from midframe.benchmark.protocol import Metric, Protocol
from midframe.launch.evaluate import gather_facts
from midframe.launch.facts import run_key


@pytest.mark.parametrize(
    ("target", "name"), [("ifrnet.IFRNet", "mine (untrained)"), ("average.Average", "mine")]
)
def test_a_model_without_info_is_measured_under_its_right_name(target, name):
    model = {"name": "mine", "net": {"_target_": f"midframe.models.{target}"}, "weights": None}
    cfg = OmegaConf.create({"model": model, "weights": None, "precision": "32-true"})
    assert gather_facts(cfg, torch.device("cpu"))["model"] == name


def test_threads_tell_runs_apart_where_a_cpu_computes():
    protocol = Protocol("tiny", 1, "a.b", ("test",), {}, {"psnr": Metric("psnr")})

    def key(device, threads):
        return run_key({"device": device, "threads": threads}, protocol)

    assert key("cpu", 1) != key("cpu", 2) == key("cpu", 2)
    assert key("NVIDIA H200", 1) == key("NVIDIA H200", 16)
