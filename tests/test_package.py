"""The installed package works outside a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
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

    # An environment of its own; what midframe needs comes from this one, midframe itself does not:
    # folders that a .pth names are searched for packages, not for editable ones.
    venv.create(tmp_path / "fresh", with_pip=False)
    scripts = tmp_path / "fresh" / Path(sysconfig.get_path("scripts")).name
    python, folder = scripts / "python", "import sysconfig; print(sysconfig.get_path('purelib'))"
    asked = subprocess.run([python, "-c", folder], capture_output=True, text=True, check=True)
    site = Path(asked.stdout.strip())
    needed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (site / "needed.pth").write_text("\n".join(sorted(needed)) + "\n")
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True)
    work = tmp_path / "work"
    work.mkdir()
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MIDFRAME_PROJECT")}
    env = {**kept, "OMP_NUM_THREADS": "1"}
    asked = subprocess.run(
        [python, "-c", "import midframe.paths as p, hydra_plugins.midframe_launcher as l; "
         "print(p.config_dir(), l.__file__)"],
        cwd=work, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    config, plugin = map(Path, asked.stdout.split())
    assert config == site / "midframe" / "conf" and plugin.parent == site / "hydra_plugins"
    tiny = ["experiment=smoke", "trainer.max_steps=2", "data.crop=32", "data.val.limit=1"]
    tiny += ["trainer.val_check_interval=2", "logger=csv"]
    command = [str(scripts / "midframe"), "train"]
    subprocess.run([*command, *tiny], cwd=work, env=env, check=True, timeout=300)
    assert list(work.glob("runs/smoke-*/last.ckpt"))
    sweep = subprocess.run(
        [*command, "-m", *tiny, "seed=1,2"],
        cwd=work, env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert sweep.returncode == 0, sweep.stdout + sweep.stderr
    assert "2 jobs: 2 finished" in sweep.stdout and len(list(work.glob("runs/smoke-*"))) == 3
