"""Imports point one way, and heavy packages wait until they are needed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "midframe"
PLAIN = ("ops", "models", "losses", "metrics", "data", "video", "events")
ROOT = ("types", "errors", "files", "cores", "paths", "choices", "nodes", "plain_text")
FRAMEWORKS = {"hydra", "omegaconf", "lightning", "pytorch_lightning", "wandb"}
OWNERS = {
    "av": ("video/",),
    "cupy": ("ops/backends/launcher.py",),
    "dv_processing": ("events/libraries.py",),
    "aedat": ("events/libraries.py",),
    "dv": ("events/libraries.py",),
    "aiohttp": ("serve/", "launch/serve.py"),
    "onnxruntime": ("metrics/vfips.py", "export/onnx.py"),
    "onnx": ("export/onnx.py",),
    "onnxscript": ("export/onnx.py",),
    "ncnn": ("export/ncnn.py",),
    "pnnx": ("export/ncnn.py",),
    "vmaf_torch": ("metrics/vmaf.py",),
}
LAZY = {
    *("av", "wandb", "cupy", "safetensors", "triton", "numba", "llvmlite"),
    *("dv_processing", "aedat", "dv", "onnxruntime", "onnx", "vmaf_torch", "pandas"),
    *("onnxscript", "ncnn", "pnnx"),
}
# Compiled loops have to stand at a file's top; these files are themselves imported lazily.
COMPILED = re.compile(r"ops/backends/numba_(compiler|vectors|\w+_kernels|\w+_gradients)\.py")

# Which parts of midframe each part may import, besides itself; others may import everything.
MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "cores": set(),
    "paths": {"errors"},
    "choices": {"errors"},
    "nodes": {"errors", "paths"},
    "plain_text": set(),
    "types": {"errors"},
    "ops": {"types", "errors"},
    "models": {"types", "ops", "errors", "files", "paths", "choices", "nodes"},
    "video": {"types", "errors", "files", "plain_text"},
    "losses": {"types", "ops", "errors", "files", "models"},
    "metrics": {"types", "errors", "files", "models"},
    "events": {"types", "errors", "files", "cores", "video"},
    "data": {"types", "errors", "files", "cores", "video", "ops", "paths", "events"},
    "picture": {"types", "errors", "ops"},
    "benchmark": {
        *("types", "errors", "files", "paths", "nodes", "models", "data", "metrics", "ops"),
        *("picture", "video", "cores", "plain_text"),
    },
    "speed": {
        *("types", "errors", "paths", "models", "data", "metrics", "ops", "benchmark", "events"),
    },
    "export": {
        *("types", "errors", "files", "plain_text", "ops", "models", "data", "__version__"),
    },
    "serve": {"plain_text"},
    "report": {"errors", "plain_text", "benchmark", "data", "metrics", "picture"},
    "engine": {
        *("types", "errors", "files", "paths", "choices", "models", "losses", "metrics", "data"),
        *("nodes", "picture"),
    },
}


def _files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@cache
def _imports(path: Path) -> list[tuple[str, bool]]:
    """Return each imported module's dotted name and whether it is imported with the file."""
    return list(_found(ast.parse(path.read_text(encoding="utf-8")), path, with_file=True))


def _found(node: ast.AST, path: Path, with_file: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, with_file) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{path}: write the import from the top, midframe..."
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        within = node.module == "midframe"
        yield from ((name, with_file) for name in (names if within else [str(node.module)]))
    elif not isinstance(node, ast.expr):  # which holds no import
        waits = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        waits |= isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.iter_child_nodes(node):
            yield from _found(child, path, with_file and not waits)


def _part(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_direction_of_imports(path):
    part = _part(path)
    for name, _ in _imports(path):
        top, *rest = name.split(".")
        if part in PLAIN or part in ROOT:
            assert top not in FRAMEWORKS, f"{path.name} imports {name}"
        if top == "midframe" and rest and part in MAY_IMPORT:
            assert rest[0] in MAY_IMPORT[part] | {part}, f"{part} must not import {name}"
        if top == "midframe" and rest and part not in ("cli", "launch", "__init__", "__main__"):
            assert rest[0] not in ("launch", "cli"), f"{part} must not import {name}"


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_heavy_packages_are_lazy_and_owned_by_one_file(path):
    relative = path.relative_to(SOURCE).as_posix()
    for name, with_file in _imports(path):
        top = name.split(".")[0]
        if COMPILED.fullmatch(relative) and top in ("numba", "llvmlite"):
            continue
        assert not (top in LAZY and with_file), f"{relative} imports {name} at its top"
        if with_file and not COMPILED.fullmatch(relative):
            assert not COMPILED.search(name.replace(".", "/") + ".py"), f"{relative}: {name}"
        if top in OWNERS:
            assert relative.startswith(OWNERS[top]), f"{relative} imports {name}"


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy():
    loaded = _loaded_by("import midframe; midframe.__version__; dir(midframe)")
    assert not loaded & (FRAMEWORKS | LAZY | {"torch", "numpy", "cv2", "yaml", "torchmetrics"})


def test_the_command_is_a_module_of_python_too():
    words = [sys.executable, "-m", "midframe"]
    run = subprocess.run([*words, "--help"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("usage: midframe COMMAND")
    assert subprocess.run([*words, "nonsense"], capture_output=True).returncode == 2


def test_using_a_model_and_listing_all_loads_no_framework():
    loaded = _loaded_by(
        "import midframe; midframe.create_model('ifrnet_s'); "
        "from midframe.launch.models import show; show([])"  # which builds every one, emptily
    )
    assert "torch" in loaded
    assert not loaded & (FRAMEWORKS | LAZY | {"cv2", "torchmetrics", "tensorboard"})
    assert not {x for x in loaded if x.startswith(("midframe.benchmark", "midframe.speed"))}


def test_every_public_name_is_there():
    import midframe

    for name in midframe.__all__:
        assert getattr(midframe, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = midframe.nonsense
