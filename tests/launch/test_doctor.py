"""What `midframe doctor` says on sound, poor and broken machines; it never crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from midframe import cli
from midframe.launch import doctor, machine, probes

SOURCE = Path(doctor.__file__).resolve().parents[2]


def ask(
    *arguments: str, packages: dict[str, str] | None = None, folder: Path | None = None, **variables
) -> subprocess.CompletedProcess[str]:
    """Run the doctor in a process of its own, with packages of this text before the real ones.

    Given arguments, it runs a second time with them; the exit codes are shown at the end.
    """
    for name, text in (packages or {}).items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(text)
    path = os.pathsep.join([*([str(folder)] if folder else []), str(SOURCE)])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MIDFRAME")}
    code = "import sys; from midframe.cli import main; codes = [main(['doctor'])]\n"
    code += "if sys.argv[1:]: codes.append(main(['doctor', *sys.argv[1:]]))\n"
    code += "print('CODES', *codes)\n"
    code += "print('LOADED', *sorted(m for m in sys.modules if '.' not in m)); sys.exit(codes[0])"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**kept, "PYTHONPATH": path, **variables},
    )


def line(text: str, start: str) -> str:
    """Return the line that begins so, behind its mark."""
    found = [x for x in text.splitlines() if x[2:].startswith(start)]
    assert found, f"no line {start!r} in\n{text}"
    return found[0]


def test_a_sound_machine(tmp_path):
    done = ask(MIDFRAME_RUNS=str(tmp_path / "a" / "b"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    for name in ("Python", "PyTorch", "GPU", "CuPy", "NumPy", "PyAV", "OpenCV", "g++", "memory"):
        assert line(done.stdout, name)
    assert str(tmp_path / "a" / "b") in line(done.stdout, "disk")
    for name in ("splat", "correlation", "adacof"):
        assert line(done.stdout, name)[2:].split()[1] == "cpu"
    loaded = done.stdout.splitlines()[-1].split()
    assert not {"lightning", "hydra", "omegaconf", "wandb"} & set(loaded)


def test_broken_packages_show_their_first_line(tmp_path):
    packages = {
        "av": "raise OSError('libavcodec is gone\\nand more')",
        "cv2": "import sys; print('noise'); sys.exit(3)",
        "numba": "raise ImportError('Numba needs another NumPy')",
    }
    done = ask(packages=packages, folder=tmp_path)
    assert done.returncode == 1
    assert "OSError: libavcodec is gone" in line(done.stdout, "PyAV")
    assert "and more" not in done.stdout and "noise" not in done.stdout
    assert line(done.stdout, "OpenCV").startswith("!")
    row = line(done.stdout, "splat")
    assert row[2:].split()[2] == "torch" and "needs another NumPy" in row
    assert "pip install -U --force-reinstall av" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise OSError('libc10.so: undefined symbol')", "OSError: libc10.so"),
        ("raise ModuleNotFoundError('No module', name='torch')", "not installed"),
    ],
    ids=["broken", "missing"],
)
def test_without_pytorch_it_says_so(text, said, tmp_path):
    done = ask(packages={"torch": text}, folder=tmp_path)
    assert done.returncode == 1 and not done.stderr
    assert said in line(done.stdout, "PyTorch")
    assert "none" in line(done.stdout, "operators")


def test_a_wrong_variable_is_told_with_the_way_out(monkeypatch, capsys):
    monkeypatch.setenv("MIDFRAME_OPS", "wrong")
    assert cli.main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "there is auto, cupy" in line(text, "MIDFRAME_OPS")
    assert "unset MIDFRAME_OPS" in text
    assert line(text, "splat")[2:].split()[2] == "none"


def test_a_forced_backend_is_told(monkeypatch, capsys):
    monkeypatch.setenv("MIDFRAME_OPS", "torch")
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    row = line(text, "adacof")
    assert row[2:].split()[2] == "torch" and "MIDFRAME_OPS=torch" in row


def test_json(capsys, monkeypatch):
    monkeypatch.delenv("MIDFRAME_OPS", raising=False)
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert {"name", "value", "state", "remedy", "needed"} == set(found["checks"][0])
    assert [x["operator"] for x in found["operators"]][:3] == ["splat", "correlation", "adacof"]


def test_require(capsys):
    import torch

    assert cli.main(["doctor", "--require", "torch"]) == 0
    assert cli.main(["doctor", "--require", "nonsense"]) == 2
    if not torch.cuda.is_available():
        capsys.readouterr()
        assert cli.main(["doctor", "--require", "cupy"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "cupy can't run here" in said


# --- a GPU, as far as the doctor can see


@pytest.fixture
def gpu(tmp_path, monkeypatch) -> Path:
    """A process's start that pretends PyTorch has a GPU; returns a folder to put a cupy into."""
    (tmp_path / "sitecustomize.py").write_text(
        "import torch\n"
        "torch.version.cuda = '12.8'\n"
        "torch.cuda.is_available = lambda: True\n"
        "torch.cuda.device_count = lambda: 1\n"
        "torch.cuda.current_device = lambda: 0\n"
    )
    return tmp_path


@pytest.mark.slow
def test_a_gpu_without_cupy_gets_the_wheel_that_fits(gpu):
    text = "raise ModuleNotFoundError('No module', name='cupy')"
    done = ask(packages={"cupy": text}, folder=gpu)
    row = [x for x in done.stdout.splitlines() if x[2:].startswith("splat") and "cuda" in x][0]
    assert "torch" in row.split() and "CuPy is not installed" in row
    assert "pip install cupy-cuda12x" in done.stdout
    assert done.returncode == 0, "slower, but all runs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ImportError('libcuda.so.1: no such file\\nmore')", "libcuda.so.1: no such file"),
        ("__version__ = '14.2.0'", "can't run a kernel"),
    ],
    ids=["import", "kernel"],
)
def test_a_gpu_with_a_broken_cupy(text, said, gpu):
    done = ask(packages={"cupy": text}, folder=gpu)
    assert said in line(done.stdout, "CuPy") and "pip install cupy-cuda12x" in done.stdout
    assert not done.stderr


def test_another_cupy_goes_before_the_right_one_comes(monkeypatch):
    from midframe.ops.backends import launcher

    monkeypatch.setattr(probes, "cupy_wheels", lambda: ["cupy-cuda12x"])
    monkeypatch.setattr(launcher, "wheel", lambda: "cupy-cuda13x")
    wanted = "pip uninstall -y cupy-cuda12x && pip install cupy-cuda13x"
    assert probes.cupy_remedy("CuPy does not import") == wanted
    assert "'cupy-cuda13x[ctk]'" in probes.cupy_remedy("libnvrtc.so.13 not found")


# --- the machine


def test_no_compiler(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert machine.compiler() == ""
    assert machine.driver() == "" or Path("/proc/driver/nvidia/version").exists()
    (check,) = probes._compiler()
    assert check.state == probes.NOTE and "torch.compile" in check.value


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("MIDFRAME_RUNS", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    words, enough = machine.disk()
    assert not enough and "can't be written" in words


def test_what_a_probe_raises_becomes_its_line():
    def broken() -> list[probes.Check]:
        raise ZeroDivisionError("first\nsecond")

    assert probes.guarded("x", broken) == [
        probes.Check("x", "ZeroDivisionError: first", probes.BROKEN)
    ]


def test_it_runs_where_only_pytorch_and_numpy_are(tmp_path):
    """As on a machine that is only lent: what is missing is told, and backends are asked for."""
    absent = ("hydra", "omegaconf", "lightning", "yaml", "cv2", "av", "wandb", "rich")
    text = "raise ModuleNotFoundError(f'No module named {__name__!r}', name=__name__)"
    packages = dict.fromkeys((*absent, "torchmetrics", "tensorboard"), text)
    done = ask("--require", "torch", packages=packages, folder=tmp_path)
    assert "CODES 1 0" in done.stdout and not done.stderr
    for name in ("PyAV", "OpenCV"):
        assert line(done.stdout, name).endswith("not installed")
    assert line(done.stdout, "splat")
    assert "backend torch runs here" in done.stdout
    assert not {*absent} & set(done.stdout.splitlines()[-1].split())
