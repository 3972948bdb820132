"""`midframe bench ops`: peers compute what they should, the record is complete, tables are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pytest
import torch

from midframe import cli
from midframe.launch import bench_ops
from midframe.ops import reference
from midframe.ops.backends import launcher
from midframe.speed import ops as speed_ops
from midframe.speed import ops_cases, ops_peers, ops_peers_cuda, ops_table
from midframe.speed import ops_cuda as speed_ops_cuda
from midframe.speed.marked import placed

CPU = torch.device("cpu")
SMALL = (20, 16)


def small_cases() -> list[ops_cases.Case]:
    return [
        *(ops_cases.splat(mode, 4, SMALL, CPU) for mode in ("soft", "avg", "sum")),
        ops_cases.adacof(SMALL, CPU),
    ]


def silent(_: str) -> None:
    pass


# --- peers


@pytest.mark.parametrize("mode", ["soft", "avg", "sum"])
def test_the_taped_splat_is_the_definition(mode):
    case = ops_cases.splat(mode, 4, SMALL, CPU)
    tensors = [x.double() for x in case.make()]
    torch.testing.assert_close(case.usual[1](*tensors), case.truth(*tensors), atol=1e-6, rtol=0)


def test_the_shift_loop_is_the_definition():
    first, second = (torch.rand(2, 3, 7, 9, dtype=torch.float64) for _ in range(2))
    found = ops_peers.shift_loop(first, second, 4)
    torch.testing.assert_close(found, reference.correlation(first, second, 4))


def test_grid_samples_are_adacof_for_offsets_that_are_not_negative():
    image, weight, alpha, beta = (x.double() for x in ops_cases.adacof(SMALL, CPU).make())
    alpha, beta = alpha.abs().clamp(max=0.9), beta.abs().clamp(max=0.9)
    found = ops_peers.grid_samples(image, weight, alpha, beta, 1)
    wanted = reference.adacof(image, weight, alpha, beta, 1)
    torch.testing.assert_close(found, wanted)


@pytest.fixture
def per_element(monkeypatch):
    """The per-element kernels on the CPU."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "ops"))
    shim = pytest.importorskip("cuda_on_cpu")
    if shim.why_not():
        pytest.skip(shim.why_not())
    text = Path(f"{ops_peers_cuda.KERNEL_FILE}.cu").read_text()
    real = launcher.source
    named = {"per_element": "\n".join([real("probe"), text])}
    monkeypatch.setattr(launcher, "source", lambda file: named.get(file) or real(file))
    monkeypatch.setattr(ops_peers_cuda, "KERNEL_FILE", "per_element")
    with shim.kernels_on_cpu():
        yield


def test_the_per_element_kernels_are_the_definition_with_gradients(per_element):
    case = ops_cases.splat("soft", 3, (11, 9), CPU, batch=2)
    inputs = case.make()
    inputs[1][0, 0, 2, 3] = torch.nan
    grad = torch.rand(inputs[0].shape)

    def run(function, tensors):
        leaves = [x.clone().requires_grad_() for x in tensors]
        out = function(*leaves)
        return out, *torch.autograd.grad(out, leaves, grad.to(out))

    peer = lambda *x: ops_peers_cuda.soft(ops_peers_cuda.PerElement.apply, *x)  # noqa: E731
    found = run(peer, inputs)
    wanted = run(case.truth, [x.double() for x in inputs])
    for mine, its in zip(found, wanted):
        torch.testing.assert_close(mine.double(), its, atol=2e-5, rtol=1e-4)


def test_the_launcher_reads_the_peers_file():
    text = launcher.kernel(ops_peers_cuda.KERNEL_FILE, "splat_out", torch.float32).source
    assert "half_t" in text and "void splat_out" in text


# --- cases


@pytest.mark.parametrize("case", small_cases(), ids=lambda c: f"{c.op} {c.label}")
def test_useful_bytes_are_those_of_inputs_output_and_gradients(case):
    inputs = case.make()
    out = case.truth(*inputs)
    border = 0  # the frame around AdaCoF's picture is not counted
    if case.op == "adacof":
        border = inputs[0].nbytes - out.nbytes
    size = sum(x.nbytes for x in inputs) - border
    assert case.forward_bytes == size + out.nbytes
    gradients = sum(x.nbytes for x, need in zip(inputs, case.needs) if need)
    assert case.backward_bytes == size + out.nbytes + gradients


def test_positions_are_exact_and_never_whole():
    flow = ops_cases.splat("sum", 1, (448, 256), CPU).make()[1]
    column = torch.arange(448) + flow[:, 0]
    assert torch.equal(column.double(), torch.arange(448) + flow[:, 0].double())
    assert (column != column.round()).all()
    assert 4 < flow.abs().max() < 64


def test_inputs_are_the_same_each_time():
    case = small_cases()[0]
    assert all(torch.equal(a, b) for a, b in zip(case.make(), case.make()))


# --- measuring


@pytest.mark.parametrize("kind", ops_cases.PASSES)
def test_a_case_is_measured(kind):
    lines: list[str] = []
    out = speed_ops.measure_cpu(small_cases()[0], kind, rounds=2, say=lines.append)
    sides = out["sides"]
    assert list(sides)[:3] == ["copy", "taped", "torch"]
    for name in ("taped", "torch"):
        assert sides[name]["ms"] > 0 and sides[name]["max_difference"] < 1e-4
    if kind == ops_cases.BOTH:
        assert sides["torch"]["saved_mb"] < sides["taped"]["saved_mb"] / 3
    assert out["ratios"]["torch over taped"] > 0
    assert any("torch over taped" in line for line in lines)
    assert json.loads(json.dumps(out)) == out


def test_saved_bytes_count_what_the_graph_keeps_once():
    x, y = torch.rand(10), torch.rand(10)

    def keeps_two(x, y):
        a = x.exp()  # kept by exp and by the product
        return (a * y).tanh() + 0  # tanh keeps its result, which is not the output

    assert speed_ops.saved_bytes(keeps_two, (x, y), (True, True)) == 2 * x.nbytes
    assert speed_ops.saved_bytes(lambda x, y: x * y, (x, y), (True, True)) == 0


def test_a_side_that_fails_costs_the_others_nothing():
    case = small_cases()[2]

    def broken(*_):
        raise RuntimeError("first\nsecond")

    results, calls = speed_ops.prepare(case, "forward", {"bad": broken, "good": case.truth})
    assert results["bad"] == {"error": "RuntimeError: first"}
    assert list(calls) == ["good"]


def test_targets_hold_either_way():
    assert speed_ops.target("x", 2.2, 2.2)["met"] and not speed_ops.target("x", 2.1, 2.2)["met"]
    assert speed_ops.target("x", 14, 15, least=False)["met"]
    assert not speed_ops.target("x", None, 1)["met"]


# --- the GPU's side, its kernels and clock replaced


class Clock:
    """Stands in for the timer: the host's clock on the CPU."""

    buffer = torch.zeros(1)

    def __init__(self, device: torch.device) -> None:
        del device

    def host_time(self, call) -> float:
        call()
        return 0.0

    def __call__(self, call, host: float) -> float:
        start = perf_counter()
        call()
        return perf_counter() - start


@pytest.fixture
def pretended_gpu(per_element, monkeypatch):
    def on_cuda(only, device):
        cases = [ops_cases.splat("soft", 32, (5, 4), CPU), ops_cases.adacof((5, 4), CPU)]
        return [replace(case, label=_large(case.label)) for case in cases if case.op in only]

    def _large(label: str) -> str:
        return label.replace("5x4", "1920x1080")

    monkeypatch.setattr(ops_cases, "on_cuda", on_cuda)
    monkeypatch.setattr(speed_ops_cuda, "Timer", Clock)
    for name, value in {
        "is_available": True,
        "current_device": 0,
        "get_device_name": "NVIDIA Fake",
        "empty_cache": None,
        "synchronize": None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    small = speed_ops_cuda.small_call
    monkeypatch.setattr(
        speed_ops_cuda, "small_call", lambda op, shape, device, grad: small(op, shape, CPU, grad)
    )
    monkeypatch.setattr(speed_ops_cuda, "SHAPES", ((2, 3, 6, 5),))
    monkeypatch.setattr(speed_ops_cuda, "HOST_CALLS", 1)


@pytest.mark.slow
def test_all_sides_run_and_targets_are_told(pretended_gpu):
    found = speed_ops.bench_ops("cuda", only=("splat", "adacof"), rounds=1, say=silent)
    splat = found["cases"][0]["sides"]
    peers = {"copy", "taped", "torch", "per-element atomic", "cupy"}
    assert set(splat) == peers | {"cupy atomic", "cupy linked", "cupy sorted"}
    for name, side in splat.items():
        assert "error" not in side and side["us"] > 0, (name, side)
        assert name == "copy" or side["max_difference"] < 1e-4
    assert set(found["cases"][1]["sides"]) == {
        "copy",
        "taped",
        "torch",
        "per-element atomic",
        "cupy",
    }
    assert found["recompiles"]["splat"] == {"new": 0, "shapes": 1}
    told = {one["what"]: one for one in found["targets"]}
    assert told["splat soft C=32 1920x1080: percent of copy"]["value"] > 0
    assert told["splat soft C=32 1920x1080: cupy over per-element atomic"]["value"] > 0
    assert told["adacof 5x5 C=3 1920x1080: percent of copy"]["value"] > 0
    assert "cupy linked" in ops_table.markdown(found)
    json.dumps(found)


# --- the command


@pytest.fixture
def tiny(monkeypatch):
    def on_cpu(only):
        return [case for case in small_cases() if case.op in only]

    monkeypatch.setattr(ops_cases, "on_cpu", on_cpu)


def test_the_command_prints_json_and_keeps_file_and_table(tiny, tmp_path, capsys):
    text = tmp_path / "text.md"
    text.write_text("# Title\n\nwords\n")
    save = str(tmp_path / "deep" / "ops-{device}.json")
    command = ["bench", "ops", "--rounds", "1", "--only", "adacof", "--save", save]
    for _ in range(2):
        assert cli.main([*command, "--table", str(text)]) == 0
    shown = capsys.readouterr()
    kept = json.loads((tmp_path / "deep" / "ops-cpu.json").read_text())
    assert kept["environment"]["versions"]["torch"] == torch.__version__
    assert [case["op"] for case in kept["cases"]] == ["adacof", "adacof"]
    assert shown.out.startswith("{") and "25 grid_samples" in shown.err
    after = text.read_text()
    assert after.startswith("# Title\n\nwords\n\n## Operators")
    assert after.count("<!-- bench ops: cpu -->") == 1 and after.count("| 25 grid_samples |") == 2
    assert not list(tmp_path.glob(".*.new"))


def test_a_machine_without_gpu_is_told_in_one_line(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert cli.main(["bench", "ops", "--device", "cuda"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_it_needs_neither_hydra_nor_lightning(tmp_path):
    code = (
        "import sys\n"
        "for name in ('hydra', 'omegaconf', 'lightning', 'wandb', 'av', 'cv2', 'yaml', 'rich',"
        " 'torchmetrics', 'tensorboard', 'numba', 'scipy'): sys.modules[name] = None\n"
        "from midframe import cli\n"
        "from midframe.speed import ops_cases, ops, ops_cuda\n"
        "case = ops_cases.adacof((8, 8), ops_cases.torch.device('cpu'))\n"
        "ops_cases.on_cpu = lambda only: [case]\n"
        "sys.exit(cli.main(['bench', 'ops', '--rounds', '1', *sys.argv[1:]]))\n"
    )
    files = ["--save", str(tmp_path / "ops.json"), "--table", str(tmp_path / "text.md")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "ops.json").read_text()) == json.loads(done.stdout)
    assert "| copy |" in (tmp_path / "text.md").read_text()
    assert set(json.loads(done.stdout)["cases"][0]["sides"]) == {"copy", "25 grid_samples", "torch"}


# --- the table


def test_each_device_has_its_own_table_and_the_rest_stays():
    def put(text, device, table):
        markers = ops_table.markers(device)
        return placed(text.encode(), *markers, table, "it", ops_table.HEADING).decode()

    text = put("intro\n", "cpu", "first")
    text = put(text, "nvidia-h200", "gpu \\1 table")
    text = put(text + "\nend\n", "cpu", "second")
    assert "first" not in text and text.startswith("intro\n") and text.endswith("end\n")
    assert text.index("second") < text.index("gpu \\1 table")
    assert text.count("## Operators") == 1


def test_a_gpu_table_names_the_device_and_its_figures():
    found = {
        "device": "cuda",
        "environment": {"gpu": "NVIDIA X", "driver": "1.2", "versions": {"torch": "2", "av": "3"}},
        "cases": [
            {"op": "splat", "case": "soft", "dtype": "float32", "pass": "forward"}
            | {"sides": {"copy": {"us": 1.5, "gbps": 4000.0}, "bad": {"error": "x"}}, "ratios": {}}
        ],
        "host_us": {"splat": {"inference": 9.5}},
        "targets": [speed_ops.target("copy", None, 60)],
    }
    table = ops_table.markdown(found)
    assert "**NVIDIA X**, driver 1.2. torch 2. " in table and "| copy | 1.5 | 4000.0 |" in table
    assert "bad" not in table and "inference 9.5" in table and "| missed |" in table


def test_a_device_name_becomes_a_file_name():
    assert bench_ops.slug("NVIDIA H200 (80GB)") == "nvidia-h200-80gb"
