"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

if "MIDFRAME_PROJECT" not in os.environ:  # contracts hold for the examples as well
    os.environ["MIDFRAME_PROJECT"] = str(Path(__file__).resolve().parents[1] / "examples")
if "PYTEST_XDIST_WORKER" in os.environ:  # programs that tests start share the processor too
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs that tests stop inherit it

import torch
from composing import composed_once
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig

ROOT = Path(__file__).resolve().parent.parent


def _finder(variable: str, default: str) -> Callable[[str], Path]:
    base = Path(os.environ.get(variable, ROOT.parent / "shared" / default))

    def find(name: str) -> Path:
        path = base / name
        if not path.exists():
            pytest.skip(f"{path.name} is not in {variable} (default ../shared/{default})")
        return path

    return find


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Find reference data of the published code; skips where it is absent."""
    return _finder("MIDFRAME_GOLDEN", "golden")


@pytest.fixture(scope="session")
def golden_fill(golden: Callable[[str], Path]) -> ModuleType:
    """Return the recipe of the reference data's weights.

    ``filled(key, like, salt, gain)`` gives a tensor, ``fill_(model, salt, gain)`` fills a model.
    """
    spec = importlib.util.spec_from_file_location("golden_fill", golden("fill.py"))
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Find real test data; skips where it is absent."""
    return _finder("MIDFRAME_TESTDATA", "data")


@pytest.fixture(autouse=True)
def _steady() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.default_generator.manual_seed(0)  # manual_seed asks for devices, which takes longer
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before  # the command line of one test is not the next one's


@pytest.fixture(scope="session", autouse=True)
def _quickly_started() -> Iterator[None]:
    """Let programs that tests start find tests/starting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).with_name("starting")), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session", autouse=True)
def _composed_once() -> Iterator[None]:
    """Let Hydra compose the same choices once, see `composing`, and once for every command.

    By the first of a command's two compositions Hydra learns whether ``hydra.mode`` is set, which
    no config and no test does; the answer is then None.
    """
    with composed_once(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        yield
