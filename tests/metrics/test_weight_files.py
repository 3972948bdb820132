"""Files of metrics: marked, bounded, recorded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from midframe.benchmark.protocol import Metric
from midframe.errors import UserError
from midframe.metrics import digests, weight_files
from midframe.metrics.weight_files import local_file, reads_files

SHIPPED = Path(__file__)


@reads_files("weights", table=lambda: SHIPPED)
def mine(
    pred: Tensor, target: Tensor, *, weights: str | None = None, table: str | None = None
) -> Tensor:
    return torch.zeros(len(pred))


def test_files_of_a_marked_function_are_recorded(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    own, name = tmp_path / "own.bin", "test_weight_files.mine"
    own.write_bytes(b"weights")
    content = hashlib.sha256(b"weights").hexdigest()
    shipped = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert digests(Metric(name)) == {"table": shipped}
    assert digests(Metric(name, {"weights": str(own)})) == {"weights": content, "table": shipped}
    assert digests(Metric(name, {"weights": own, "table": own}))["table"] == content
    own.write_bytes(b"other weights")
    assert digests(Metric(name, {"table": own}))["table"] != content
    with pytest.raises(UserError, match="metric mine, weights: there is no file .*gone"):
        digests(Metric(name, {"weights": tmp_path / "gone"}))


def test_far_too_large_files_are_not_read(tmp_path, monkeypatch):
    file = tmp_path / "large.pth"
    file.write_bytes(bytes(3 << 20))
    assert local_file(str(file), "mine", "table", "X") == file
    monkeypatch.setattr(weight_files, "LARGEST", 1 << 20)
    with pytest.raises(UserError, match="large.pth has 3 MiB, which is not weights of X"):
        local_file(file, "mine", "table", "weights of X")
    for nothing in (None, ""):
        with pytest.raises(
            UserError, match="mine has no table: get weights of X; metrics.mine.options.table="
        ):
            local_file(nothing, "mine", "table", "weights of X")
