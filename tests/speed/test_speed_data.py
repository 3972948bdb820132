"""`midframe bench data`: both sides read the same samples, and the record is complete."""

from __future__ import annotations

import json

import torch

from midframe import cli
from midframe.speed.data import bench_data


def test_both_sides_are_measured_and_the_threads_left_as_they_were() -> None:
    torch.set_num_threads(2)
    found = bench_data(triplets=8, rounds=1)
    rates = found["samples_per_second_per_core"]
    assert set(rates) == {"png", "shards", "shards_with_flow", "remote"} and min(rates.values()) > 0
    assert found["triplets"] == 8 and found["png_bytes_per_frame"] > 0
    assert torch.get_num_threads() == 2


def test_the_command_prints_json(capsys) -> None:
    assert cli.main(["bench", "data", "--triplets", "8", "--need", "1000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ratio_shards_to_png"] > 0 and found["ratio_remote_to_shards"] > 0
    rates, cores = found["samples_per_second_per_core"], found["cores_that_feed"]
    for name, rate in rates.items():
        assert (cores[name] - 1) * rate < 1000.5 and cores[name] * rate > 999.5
    assert cli.main(["bench", "data", "--need", "0"]) == 2
