"""The installed package works outside a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "midframe"


@pytest.mark.slow
def test_wheel_carries_its_configs_and_trains(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)],
        check=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("midframe-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"midframe/conf/train.yaml", "midframe/conf/model/ifrnet_s.yaml"} <= names
    shipped = {name for name in names if name.startswith("midframe/conf/")}
    groups = [p for p in (ROOT / "conf").iterdir() if p.name != "local"]
    files = [f for p in groups for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()]
    assert shipped == {f"midframe/{f.relative_to(ROOT)}" for f in files}
    kernels = {f"midframe/{p.relative_to(SOURCE)}" for p in SOURCE.rglob("*.cu*")}
    assert kernels == {name for name in names if Path(name).suffix in (".cu", ".cuh")}
    assert "midframe/speed/per_element.cu" in kernels
    assert not any("__pycache__" in name or name.startswith("tests") for name in names)

    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "-t", str(site), str(wheel)], check=True)
    work = tmp_path / "work"
    work.mkdir()
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import midframe.paths as p; print(p.config_dir())"],
        cwd=work, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()) == site / "midframe" / "conf"
    command = [sys.executable, "-m", "midframe.cli", "train", "experiment=smoke"]
    tiny = ["trainer.max_steps=2", "data.crop=32", "data.val.limit=1"]
    tiny.append("trainer.val_check_interval=2")
    subprocess.run([*command, *tiny], cwd=work, env=env, check=True, timeout=300)
    assert list(work.glob("runs/smoke-*/last.ckpt"))
