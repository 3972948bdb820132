"""Memory of a conversion: what is there, what a model takes, how it fits, what if it does not."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.launch import convert_memory, interpolate, memory_need
from midframe.launch.memory_need import GIB, free, line, measured, room
from midframe.launch.memory_ways import BLOCKS, Fitting, Need, Way, choose, ladder
from midframe.models import zoo
from midframe.models.average import Average
from midframe.models.base import Interpolator, Pad
from midframe.models.ifrnet import IFRNet
from midframe.models.tiles import Tiled
from midframe.types import Inputs

CPU = torch.device("cpu")


class Local(Average):
    """A network by its padding, without one."""

    pad = Pad(64)


class Reduced(Local):
    def reduced_hints(self, height, width):
        return {"scale_factor": 0.5}


def test_ways_go_from_whole_frames_to_small_blocks():
    assert ladder(Average(), 1080, 1920) == [Way(), *map(Way, (1536, 1024, 768, 512, 384, 256))]
    assert ladder(Reduced(), 270, 480) == [
        Way(),
        Way(hints={"scale_factor": 0.5}),
        *map(Way, (384, 256)),
    ]
    assert ladder(Average(), 256, 256) == [Way()]
    fixed = Reduced()
    fixed.fixed_hints = {"scale_factor": 0.8}  # what somebody wrote is not overruled
    assert ladder(fixed, 200, 200) == [Way()]


@pytest.mark.parametrize(
    ("height", "width", "gib", "way"),
    [
        (1080, 1920, 20, Way()),
        (1080, 1920, 6, Way(hints={"scale_factor": 0.5})),
        (2160, 3840, 40, Way()),
        (2160, 3840, 20, Way(hints={"scale_factor": 0.5})),
        (2160, 3840, 10, Way(1536)),
        (2160, 3840, 5, Way(1024)),
        (2160, 3840, 1.8, Way(512)),
    ],
)
def test_the_first_way_that_fits_is_taken(height, width, gib, way):
    model = Reduced()
    needs = {"{}": Need(1e8, 4000.0), '{"scale_factor": 0.5}': Need(1e8, 1500.0)}

    def need(one):
        return needs[json.dumps(dict(one.hints))].of(one, model, height, width)

    ways = ladder(model, height, width)
    at, fits = choose(ways, gib * GIB, need)
    assert (ways[at], fits) == (way, True)
    assert choose(ways, 1e6, need) == (len(ways) - 1, False)


def test_a_need_counts_what_a_network_gets():
    model, need = Local(), Need(1000, 10)
    assert need.of(Way(), model, 100, 130) == 1000 + 10 * 128 * 192
    # of blocks, the whole frames are there as well: two, and what three tensors of one time hold
    assert need.of(Way(64), model, 100, 130) == 1000 + 10 * 64 * 64 + 12 * 5 * 100 * 130
    assert line([(100, 1000), (300, 2000)]) == Need(1.25 * 500, 1.25 * 5)
    assert line([(100, 1000), (300, 900)]) == Need(1.25 * 900, 0)  # noise of small sizes


def _groups(root: Path, limits: dict[str, tuple[str, int, int]]) -> None:
    for name, (limit, used, files) in limits.items():
        group = root / "sys/fs/cgroup" / name
        group.mkdir(parents=True, exist_ok=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")


def test_what_is_free_is_the_least_that_machine_and_groups_leave(tmp_path):
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    assert free(tmp_path) is None
    (proc / "meminfo").write_text("MemTotal: 900 kB\nMemFree: 1 kB\nMemAvailable:   400 kB\n")
    assert free(tmp_path) == 400 * 1024
    (proc / "self/cgroup").write_text("0::/one/two\n")
    _groups(tmp_path, {"one": ("300000", 200_000, 50_000), "one/two": ("max", 10, 0)})
    assert free(tmp_path) == 150_000
    _groups(tmp_path, {"one/two": ("1000", 5000, 10)})
    assert free(tmp_path) == 0
    old = tmp_path / "old"
    (old / "proc/self").mkdir(parents=True)
    (old / "proc/self/cgroup").write_text("9:cpu:/\n4:memory:/where\n")
    group = old / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)  # of a container, which sees its own group as the root
    (group / "memory.limit_in_bytes").write_text("7000")
    (group / "memory.usage_in_bytes").write_text("2000")
    assert free(old) == 5000
    (group / "memory.limit_in_bytes").write_text("9223372036854771712")  # there is none
    assert free(old) is None


def test_room_is_what_was_given_or_most_of_what_is_free(monkeypatch):
    assert room("1.5", CPU) == 1.5 * GIB
    monkeypatch.setattr(memory_need, "free", lambda: 1000)
    assert room("auto", CPU) == 800
    for wrong in ("0", "-1", "much", "nan", "inf"):
        with pytest.raises(UserError, match="--memory .*GiB"):
            room(wrong, CPU)


@pytest.mark.slow
def test_what_a_model_takes_is_measured_once_by_a_process_of_its_own(tmp_path):
    config, cache = zoo.config_of("ifrnet_s"), tmp_path / "cache" / "memory.json"
    model, said = zoo.build(config), []
    arguments = (config, CPU, "fp32", 1)
    whole = measured(model, *arguments, {}, cache, said.append)
    assert said == ["measuring the memory of IFRNet, once"]
    assert 300 < whole.pixel < 3000  # bytes; features at half the size, of two frames
    assert measured(model, *arguments, {}, cache, said.append) == whole and len(said) == 1
    reduced = measured(model, *arguments, {"scale_factor": 0.5}, cache, said.append)
    assert reduced.pixel < 0.6 * whole.pixel and len(said) == 2
    assert len(json.loads(cache.read_text())) == 2


def test_what_is_remembered_is_not_measured(tmp_path, monkeypatch):
    rows = iter([{"peak_bytes": 10**6}, {"peak_bytes": 3 * 10**6}, {"error": "out of memory"}])
    monkeypatch.setattr(memory_need.apart, "run", lambda *_: next(rows))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = zoo.config_of("average")
    found = measured(Average(), config, CPU, "fp32", 1, {})
    assert found.pixel == pytest.approx(1.25 * 2e6 / (512 * 384 - 256 * 192))
    assert measured(Average(), config, CPU, "fp32", 1, {}) == found
    assert measured(Average(), config, CPU, "fp32", 2, {}) is None  # other options, and it failed
    (tmp_path / "midframe/memory.json").write_text("damaged")
    asked = []
    monkeypatch.setattr(
        memory_need.apart, "run", lambda what, _: asked.append(what) or {"peak_bytes": 5}
    )
    assert measured(Average(), config, CPU, "fp32", 1, {}).pixel == 0
    measured(Average(), config, torch.device("cuda"), "bf16", 1, {})
    assert [(w["device"], w["way"]) for w in asked[1:3]] == [
        ("cpu", "fp32_channels_last"),
        ("cuda:0", "bf16"),
    ]


class Greedy(Average):
    """Has no memory for more than some pixels, and says how an allocation fails."""

    def __init__(self, most: int, error: Exception):
        super().__init__()
        self.most, self.error, self.sizes = most, error, []

    def forward(self, x, **hints):
        self.sizes.append(x.frames.shape[-2:])
        if x.frames.shape[-2] * x.frames.shape[-1] > self.most:
            raise self.error
        return super().forward(x)


REFUSED = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    MemoryError(),
)


@pytest.mark.parametrize("error", REFUSED, ids=lambda e: type(e).__name__)
def test_a_model_without_memory_goes_on_in_smaller_blocks(error):
    model, changes = Greedy(300 * 300, error), []
    fitting = Fitting(model, ladder(model, 500, 600), changed=lambda f: changes.append(str(f.way)))
    torch.manual_seed(0)
    x = Inputs(torch.rand(1, 2, 3, 500, 600), torch.tensor([[0.25]]))
    out = fitting.interpolate(x)
    assert torch.allclose(out.frame, Average().interpolate(x).frame, atol=1e-6)
    assert changes == [f"in overlapping blocks of {n} pixels" for n in (384, 256)]
    count = len(model.sizes)
    fitting.interpolate(x)
    assert max(h * w for h, w in model.sizes[count:]) <= 300 * 300  # it is not tried again
    model.most = 10
    with pytest.raises(type(error)):
        fitting.interpolate(x)


def test_other_errors_and_batches_are_for_others_to_handle():
    model = Greedy(10, RuntimeError("sizes do not match"))
    x = Inputs(torch.rand(1, 2, 3, 500, 600), torch.tensor([[0.5]]))
    fitting = Fitting(model, ladder(model, 500, 600))
    with pytest.raises(RuntimeError, match="sizes"):
        fitting.interpolate(x)
    model.error = REFUSED[0]
    with pytest.raises(torch.OutOfMemoryError):  # the timeline halves it
        fitting.interpolate(Inputs(x.frames.repeat(2, 1, 1, 1, 1), x.t.repeat(2, 1)))
    assert fitting.at == 0


def test_flow_at_half_the_size_is_a_hint_of_the_call():
    model = IFRNet("S", init="he").eval()
    ways = ladder(model, 96, 128)
    x = Inputs(torch.rand(1, 2, 3, 96, 128), torch.tensor([[0.5]]))
    half = Fitting(model, ways, at=1)
    assert str(half.way) == "with flow at reduced size (scale_factor 0.5)"
    assert torch.equal(half.interpolate(x).frame, model.interpolate(x, scale_factor=0.5).frame)
    assert torch.equal(Fitting(model, ways).interpolate(x).frame, model.interpolate(x).frame)


def test_blocks_of_smooth_motion_leave_no_seam():
    """Steps across the borders of blocks are no larger than those anywhere else."""
    from midframe.models.dis import Dis

    rows, columns = np.mgrid[0:150, 0:260].astype(np.float32)

    def scene(t: float) -> Tensor:
        x, y = columns - 6 * t + 2 * t * rows / 150, rows + 3 * t * columns / 260
        waves = [np.sin(x / 9) * np.cos(y / 7), np.sin((x + y) / 13), np.cos(x / 17 - y / 8)]
        return torch.from_numpy(0.5 + 0.35 * np.stack(waves)).float()

    x = Inputs(torch.stack([scene(0), scene(1)])[None], torch.tensor([[0.5]]))
    model, size = Dis(estimates=1, iterations=8, refine=2), 160
    whole, tiled = model.interpolate(x).frame[0, 0], Tiled(model, size).interpolate(x).frame[0, 0]
    difference = (tiled - whole).abs().mean(0)
    assert difference.mean() < 0.004
    step = (tiled - whole).diff(dim=-1).abs().mean((0, 1))  # from column to column
    left, right = 260 - size, size  # where the second block begins and the first ends
    for border in (left, right):
        assert step[border - 2 : border + 2].max() <= 1.5 * step[8:-8].max() + 1e-4
        assert step[border - 2 : border + 2].mean() < 3 * step[8:-8].mean() + 1e-4


def options(**changes):
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    args = parser.parse_args(["in", "out"])
    return argparse.Namespace(**{**vars(args), **changes})


class Job:
    """As much of a conversion as counts here."""

    def __init__(self, height, width, frames=20, factor=2):
        self.clip, self.schedule = Frames(height, width, frames), range(frames * factor)


class Frames(list):
    def __init__(self, height, width, count):
        super().__init__(range(count))
        from midframe.video.format import Format

        self.format = Format(width, height)


class Notes:
    def __init__(self):
        self.notes, self.said = [], []

    def note(self, text):
        self.notes.append(text)

    def say(self, text):
        self.said.append(text)


class Heavy(Reduced):
    trainable = True


def fit(monkeypatch, gib, size=(1080, 1920), model=None, needs=None, **changes):
    """Return the way, and what was said of it."""
    found = needs or {"{}": Need(0, 4000.0), '{"scale_factor": 0.5}': Need(0, 1500.0)}
    asked = []

    def measure(model, config, device, precision, times, hints, say):
        asked.append((times, dict(hints)))
        return found[json.dumps(dict(hints))]

    monkeypatch.setattr(memory_need, "measured", measure)
    monkeypatch.setattr(memory_need, "free", lambda: gib * GIB / 0.8)
    report = Notes()
    arguments = (Job(*size, factor=changes.pop("factor", 2)), options(**changes), {"net": {"a": 1}})
    fitted = convert_memory.fitted(model or Heavy(), CPU, *arguments, report)
    return fitted, report, asked


def test_a_conversion_works_as_memory_allows(monkeypatch):
    model, report, asked = fit(monkeypatch, 100)
    assert model.at == 0 and report.notes == [] and asked == []  # any model would fit
    model, report, asked = fit(monkeypatch, 12)
    assert model.way == Way() and asked == [(1, {})] and report.notes == []
    model, report, asked = fit(monkeypatch, 6, factor=4)
    assert model.way == Way(hints={"scale_factor": 0.5}) and asked[0][0] == 3
    assert "on whole frames it would take about 7.8 GiB" in report.notes[0]
    model, _, _ = fit(monkeypatch, 24, devices="2")
    assert model.way == Way()
    model, _, _ = fit(monkeypatch, 12, devices="2")  # which share the memory
    assert model.way == Way(hints={"scale_factor": 0.5})
    model, report, _ = fit(monkeypatch, 100, memory="3")
    assert model.way.block in BLOCKS
    assert f"in overlapping blocks of {model.way.block} pixels" in report.notes[0]
    model, report, _ = fit(monkeypatch, 100, memory="0.5")
    assert model.way.block == 256 and "even so" in report.notes[1]


def test_who_says_blocks_gets_those(monkeypatch):
    bare = Heavy()
    model, _, asked = fit(monkeypatch, 1, model=bare, block=512)
    assert model is bare and not asked
    with pytest.raises(UserError, match="--memory or --block"):
        fit(monkeypatch, 1, block=512, memory="3")


def test_what_cannot_be_measured_is_tried(monkeypatch):
    model, _, _ = fit(monkeypatch, 4, needs={"{}": None})
    assert isinstance(model, Fitting) and model.at == 0
    monkeypatch.setattr(memory_need, "free", lambda: None)
    report = Notes()
    model = convert_memory.fitted(Heavy(), CPU, Job(1080, 1920), options(), {"net": {}}, report)
    assert model.at == 0


def test_later_parts_are_made_as_the_first_ones(tmp_path):
    def model(at: int) -> Interpolator:
        fitting = Fitting(Average(), ladder(Average(), 1080, 1920), at)
        convert_memory.settle(fitting, tmp_path)
        return fitting

    assert model(2).at == 2
    assert model(0).at == 2  # there is more memory now
    assert model(3).at == 3 and model(0).at == 3
    first = model(0)
    first.at = 4
    first.changed(first)  # there was less than expected
    assert model(0).at == 4
    (tmp_path / convert_memory.WAY).write_text("damaged")
    assert model(1).at == 1
    convert_memory.settle(Average(), tmp_path)  # which has no ways
