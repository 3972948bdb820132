"""The one record of what a result was made with and on."""

from __future__ import annotations

import platform
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import midframe
from midframe.launch import environment as record
from midframe.launch import machine
from midframe.launch.environment import PLACE, environment
from midframe.launch.facts import run_key


def test_versions_are_of_what_is_installed_imported_or_not() -> None:
    versions = environment()["versions"]
    assert versions["torch"] == torch.__version__ and versions["midframe"] == midframe.__version__
    assert versions["numpy"] == __import__("numpy").__version__
    assert {"lightning", "hydra-core", "opencv-python-headless", "av"} <= versions.keys()


def test_cupy_is_found_under_whichever_name_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "cupy-cuda12x":
            raise record.metadata.PackageNotFoundError(name)
        return "13.4"

    monkeypatch.setattr(record.metadata, "version", version)
    found = environment()["versions"]
    assert found.pop("cupy") == "13.4" and set(found) == {"midframe", "torch"}


@pytest.mark.parametrize("device", ["cpu", "cuda", None])
def test_the_gpu_is_told_where_it_took_part(
    device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(
        is_available=lambda: True,
        current_device=lambda: 0,
        get_device_name=lambda index: "NVIDIA Fake",
        get_device_capability=lambda index: (9, 0),
    )
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(machine, "driver", lambda: "580.1")
    found = environment(device)
    if device == "cpu":
        assert found["gpu"] is None and "driver" not in found
    else:
        gpu = {"gpu": "NVIDIA Fake", "capability": "9.0", "driver": "580.1"}
        assert gpu.items() <= found.items()
    assert {key for key in found if key in PLACE} == set(found) - {"versions", "python", "revision"}


def test_day_and_machine_do_not_keep_an_evaluation_from_going_on() -> None:
    here = environment()
    assert here["python"] == platform.python_version() and here["processor"]
    there = {**here, **dict.fromkeys(PLACE, "another")}
    protocol: Any = SimpleNamespace(digest=lambda: "digest", extra={})
    assert run_key(here, protocol) == run_key(there, protocol)
    assert run_key(here, protocol) != run_key({**here, "python": "2"}, protocol)
