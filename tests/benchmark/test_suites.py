"""The suites of the package: how many images, at what times, called how, beside which rows."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path

import fakes
import pytest
import yaml

from midframe.benchmark.protocol import Protocol
from midframe.benchmark.runner import Predictor
from midframe.data.records import Clip, check_clips
from midframe.engine.compose import compose
from midframe.launch import evaluate
from midframe.models.base import Pad
from midframe.models.zoo import create_model, list_models
from midframe.paths import config_dir

NAMES = sorted(path.stem for path in (config_dir() / "benchmark").glob("*.yaml"))
EIGHTHS = tuple(k / 8 for k in range(1, 8))
MODES = ("easy", "medium", "hard", "extreme")
# images of each subset: of the fake data set, and of the true one (None: not known beforehand)
COUNTS: dict[str, tuple[dict[str, int], dict[str, int] | None]] = {
    "vimeo": ({"test": 2}, {"test": 3782}),
    "vimeo_softsplat": ({"test": 2}, {"test": 3782}),
    "vimeo_septuplet": ({"test": 2}, {"test": 7824}),
    "ucf101": ({"test": 3}, {"test": 379}),
    "ucf101_softsplat": ({"test": 3}, {"test": 379}),
    "ucf101_quintuplet": ({"test": 3}, {"test": 100}),
    "ucf101_middle": ({"test": 3}, {"test": 100}),
    "snufilm": (dict.fromkeys(MODES, 3), dict.fromkeys(MODES, 310)),
    "snufilm_quintuplet": (dict.fromkeys(MODES, 2), None),
    "snufilm_middle": (dict.fromkeys(MODES, 3), dict.fromkeys(MODES, 310)),
    "middlebury": ({"test": 12}, {"test": 12}),
    "middlebury_softsplat": ({"test": 12}, {"test": 12}),
    "middlebury_upr": ({"test": 12}, {"test": 12}),
    "middlebury_eval": ({"test": 8}, {"test": 8}),
    "x4k_4k": ({"test": 3 * 7}, {"test": 15 * 7}),
    "x4k_2k": ({"test": 3 * 7}, {"test": 15 * 7}),
    "xiph_2k": ({"test": 8 * 2}, {"test": 8 * 49}),
    "xiph_4k": ({"test": 8 * 2}, {"test": 8 * 49}),
    "gopro": ({"test": 12 * 7}, None),
    "adobe240": ({"test": 9 * 7}, None),
    "davis90": ({"test": 4}, {"test": 2849}),
    "davis90_middle": ({"test": 4}, {"test": 2849}),
    "vfitex": ({"test": 4}, {"test": 934}),
    "vfitex_middle": ({"test": 4}, {"test": 934}),
    "hd": ({"544p": 8, "720p": 6, "1080p": 8}, None),
    "events": ({}, None),  # written and counted by the layout's own tests
    "events_x4": ({}, None),
    "events_synthetic": ({"test": 96}, {"test": 96}),
}


@cache
def _protocols() -> dict[str, Protocol]:
    return evaluate.suites(compose([f"benchmark=[{','.join(NAMES)}]"], "evaluate"))[0]


def _protocol(name: str) -> Protocol:
    return _protocols()[name]


def _stem(name: str) -> tuple[str, str]:
    module, _, function = _protocol(name).layout.rpartition(".")
    return module.rpartition(".")[2], function


def _clips(name: str, root: Path | None, **options: object) -> dict[str, list[Clip]]:
    """Return what a suite's layout finds, with its own options and these."""
    protocol = _protocol(name)
    module, _, function = protocol.layout.rpartition(".")
    read = getattr(import_module(module), function)
    given = {**protocol.layout_options, **options}
    return {s: read(root, s, protocol.context, **given) for s in protocol.subsets}


def _small(name: str, root: Path) -> dict[str, list[Clip]]:
    """Write a suite's tiny data set and return its clips."""
    stem, function = _stem(name)
    if name == "events_synthetic":
        return _clips(name, None)
    write = getattr(fakes, f"{stem}_{function}", None) or getattr(fakes, stem)
    return _clips(name, write(root), **fakes.SMALL.get(f"{stem}.{function}", {}))


def test_every_suite_is_counted_here():
    assert sorted(COUNTS) == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if COUNTS[name][0]])
def test_the_example_has_as_many_images_as_were_written_at_the_protocols_times(name, tmp_path):
    protocol, found = _protocol(name), _small(name, tmp_path)
    assert {s: sum(len(c.targets) for c in clips) for s, clips in found.items()} == COUNTS[name][0]
    for clips in found.values():
        check_clips(clips, protocol.context, name, every=True)
        times = {clip.time(i) for clip in clips for i in clip.targets}
        assert times == set(protocol.times)
        assert getattr(clips, "missing", 0) == 0


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [  # of files of 96x64 pixels in place of 4096x2160
        ("x4k_4k", (64, 96), {}),
        ("x4k_2k", (32, 48), {"halved": True}),
        ("xiph_2k", (32, 48), {"mode": "2k"}),
        ("xiph_4k", (32, 48), {"mode": "4k"}),
    ],
)
def test_large_frames_are_made_half_as_large_or_left(name, size, options, tmp_path):
    (clips,) = _small(name, tmp_path).values()
    assert {frame.read().shape[:2] for frame in clips[0].frames} == {size}
    given = _protocol(name).layout_options
    assert given["size"] == [2160, 4096] and options.items() <= given.items()


@pytest.mark.parametrize("name", NAMES)
def test_the_protocol_expects_the_official_counts(name):
    assert dict(_protocol(name).expected) == (COUNTS[name][1] or {})


def test_eight_times_the_frames_are_seven_between():
    found = {name for name in NAMES if _protocol(name).times == EIGHTHS}
    assert found == {"gopro", "adobe240", "x4k_4k", "x4k_2k"}


def _listed(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("name", "list_file"), [("vimeo", "tri_testlist.txt"), ("vimeo_septuplet", "sep_testlist.txt")]
)
def test_vimeo_counts_by_the_official_list(name, list_file, shared_data, tmp_path):
    source = shared_data(f"lists/{list_file}")
    (tmp_path / list_file).write_bytes(source.read_bytes())
    for entry in _listed(source):
        (tmp_path / "sequences" / entry).mkdir(parents=True)
    (clips,) = _clips(name, tmp_path).values()
    assert {"test": sum(len(c.targets) for c in clips)} == _protocol(name).expected
    first, frames = clips[0], 4 if name == "vimeo_septuplet" else 2
    read = [Path(first.frames[i].path).stem for i in (*first.inputs, *first.targets)]
    assert read == (["im1", "im3", "im5", "im7", "im4"] if frames == 4 else ["im1", "im3", "im2"])


def test_snufilm_counts_by_the_official_lists(shared_data, tmp_path):
    for mode in MODES:
        source = shared_data(f"lists/test-{mode}.txt")
        (tmp_path / source.name).write_bytes(source.read_bytes())
        for path in (tmp_path / one for line in _listed(source) for one in line.split()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for name in ("snufilm", "snufilm_middle"):
        assert {s: len(c) for s, c in _clips(name, tmp_path).items()} == dict.fromkeys(MODES, 310)
    found = _clips("snufilm", tmp_path)["hard"]
    numbers = [int(Path(frame.path).stem) for frame in found[0].frames]
    assert numbers == [13, 17, 21]


def test_gopro_is_measured_on_the_official_videos(shared_data, tmp_path):
    names = [Path(line).name for line in _listed(shared_data("lists/GoPro_test.txt"))]
    assert len(names) == 11
    for name in names:
        (tmp_path / name).mkdir()
        for i in range(25):
            (tmp_path / name / f"{i:06d}.png").touch()
    (clips,) = _clips("gopro", tmp_path).values()
    assert clips.missing == 0
    assert Counter(clip.group for clip in clips) == dict.fromkeys(names, 3)


def _call(model: str, name: str, height: int, width: int):
    return Predictor(create_model(model), _protocol(name)).call(height, width)


@pytest.mark.parametrize(
    ("name", "size", "hints", "amounts"),
    [
        ("vimeo", (256, 448), {}, (0, 0, 0, 0)),
        ("ucf101", (256, 256), {}, (0, 0, 0, 0)),
        ("snufilm", (720, 1280), {"scale_factor": 0.8}, (0, 0, 0, 0)),
        ("snufilm", (725, 1279), {"scale_factor": 0.8}, (0, 1, 7, 8)),
        ("snufilm_quintuplet", (725, 1279), {"scale_factor": 0.8}, (0, 1, 7, 8)),
        ("x4k_4k", (2160, 4096), {}, (0, 0, 0, 0)),
        ("x4k_2k", (1080, 2048), {}, (0, 0, 4, 4)),
        ("gopro", (720, 1280), {}, (0, 0, 0, 0)),
        ("middlebury", (380, 420), {}, (0, 220, 0, 100)),
    ],
)
def test_ifrnet_is_called_as_its_scripts_call_it(name, size, hints, amounts):
    found, pad = _call("ifrnet_s", name, *size)
    assert found == hints and pad.amounts(*size) == amounts
    if name.startswith("snufilm"):
        assert pad == Pad(20, "replicate", "both")
    if name == "middlebury":
        assert (pad.mode, pad.side, pad.least) == ("zeros", "after", (480, 640))


@pytest.mark.parametrize(
    ("name", "size", "hints", "amounts"),
    [
        ("vimeo", (256, 448), {"pyr_level": 3}, (0, 0, 0, 0)),
        ("vimeo_septuplet", (256, 448), {"pyr_level": 3}, (0, 0, 0, 0)),
        ("ucf101", (256, 256), {"pyr_level": 3}, (0, 0, 0, 0)),
        ("snufilm", (720, 1280), {"pyr_level": 5}, (0, 0, 0, 48)),
        ("snufilm_middle", (720, 1280), {"pyr_level": 5}, (0, 0, 0, 48)),
        ("x4k_4k", (2160, 4096), {"pyr_level": 7, "nr_lvl_skipped": 2}, (0, 0, 0, 144)),
        ("x4k_2k", (1080, 2048), {"pyr_level": 6}, (0, 0, 0, 72)),  # as its demo has it
        ("xiph_4k", (1080, 2048), {"pyr_level": 6}, (0, 0, 0, 72)),
    ],
)
def test_upr_is_called_as_its_scripts_call_it(name, size, hints, amounts):
    found, pad = _call("upr", name, *size)
    assert found == hints and pad.amounts(*size) == amounts
    assert pad == Pad(2 ** (hints["pyr_level"] + 1), "half", "after")


@pytest.mark.parametrize("name", NAMES)
def test_models_keep_their_own_padding_but_on_ifrnets_middlebury(name):
    assert (_protocol(name).pad is None) is (name != "middlebury")
    assert not _protocol(name).hints


def test_what_is_rounded_and_by_which_ssim():
    how: dict[tuple[str, str, bool], set[str]] = {}
    for name in NAMES:
        protocol = _protocol(name)
        if protocol.metrics and not name.startswith("events"):
            ssim, psnr = protocol.metrics["ssim"].options, protocol.metrics["psnr"].options
            key = protocol.quantisation, str(ssim["variant"]), "cap" in psnr
            how.setdefault(key, set()).add(name)
    pairs = {"ucf101_quintuplet", "ucf101_middle", "snufilm_quintuplet", "snufilm_middle"}
    pairs |= {"davis90", "davis90_middle", "vfitex", "vfitex_middle", "vimeo_septuplet"}
    of_softsplat = {"vimeo_softsplat", "ucf101_softsplat", "middlebury_softsplat"}
    plain = {"vimeo", "ucf101", "snufilm", "middlebury", "middlebury_upr", "gopro", "adobe240"}
    assert how == {
        ("uint8", "gaussian_3d", True): pairs,
        ("uint8", "skimage", False): of_softsplat | {"xiph_2k", "xiph_4k"},
        ("none", "gaussian_3d", False): plain | {"x4k_4k", "x4k_2k"},
        ("uint8", "gaussian_3d", False): {"hd"},
    }


def test_means_are_over_sequences_where_the_protocol_says_so():
    found = {name for name in NAMES if _protocol(name).reduction == "sequences"}
    four = {"davis90", "davis90_middle", "vfitex", "vfitex_middle"}
    assert found == four | {"hd", "events", "events_x4"}
    assert {_protocol(name).reduction for name in set(NAMES) - found} == {"images"}


@pytest.mark.parametrize("name", NAMES)
def test_published_rows_are_of_columns_subsets_and_models_that_there_are(name):
    protocol = _protocol(name)
    for row in protocol.published:
        assert row.values and set(row.values) <= set(protocol.metrics)
        assert row.subset in (None, *protocol.subsets) and row.name in (None, *list_models())
        assert all(0 < row.values.get(key, 0.5) < 1 for key in ("ssim",))
        assert all(20 < row.values.get(key, 30) < 50 for key in ("psnr",))
    whole = [(row.model, row.subset) for row in protocol.published]
    assert len(whole) == len(set(whole))


def _row(name: str, model: str, subset: str | None = None) -> dict[str, float]:
    rows = [r for r in _protocol(name).published if (r.name, r.subset) == (model, subset)]
    assert len(rows) == 1, f"{len(rows)} rows of {model} in {name}"
    return dict(rows[0].values)


def test_published_rows_of_the_packages_models():
    assert _row("vimeo", "ifrnet") == {"psnr": 35.80, "ssim": 0.9794}
    assert _row("vimeo", "upr_llarge") == {"psnr": 36.42, "ssim": 0.9815}
    assert _row("vimeo_softsplat", "softsplat") == {"psnr": 36.10, "ssim": 0.970}
    assert _row("vimeo_septuplet", "stmfnet") == {"psnr": 36.507}
    assert _row("ucf101", "upr") == {"psnr": 35.41, "ssim": 0.9698}
    assert _row("snufilm", "upr_large", "hard") == {"psnr": 30.81, "ssim": 0.9370}
    assert _row("snufilm", "ifrnet_l", "extreme") == {"psnr": 25.27, "ssim": 0.8609}
    assert _row("snufilm_quintuplet", "stmfnet", "medium") == {"psnr": 37.111}
    assert _row("x4k_4k", "upr_large") == {"psnr": 30.68, "ssim": 0.9086}
    assert _row("x4k_2k", "ifrnet") == {"psnr": 31.53}
    assert _row("xiph_2k", "softsplat") == {"psnr": 36.62, "ssim": 0.944}
    assert _row("xiph_4k", "softsplat") == {"psnr": 33.60, "ssim": 0.901}
    assert _row("gopro", "ifrnet") == {"psnr": 29.84, "ssim": 0.920}
    assert _row("adobe240", "ifrnet") == {"psnr": 31.93, "ssim": 0.943}
    for name in ("davis90_middle", "ucf101_middle", "snufilm_middle", "vfitex", "hd"):
        assert not _protocol(name).published


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_a_floor_that_can_take_part(name):
    protocol = _protocol(name)
    if protocol.submission:
        assert protocol.beside == () and not protocol.metrics
        return
    assert {"average", "dis"} <= set(protocol.beside)
    for model in ("average", "dis"):
        Predictor(create_model(model), protocol)


@pytest.mark.parametrize("name", NAMES)
def test_a_note_says_what_a_reader_has_to_know(name):
    note = _protocol(name).note
    assert len(note) > 100 and "http" not in note
    words = (word.strip(".,;:()") for word in note.split())
    named = {word.removeprefix("benchmark=") for word in words if word.startswith("benchmark=")}
    assert named <= set(NAMES)


def test_the_frames_of_middleburys_evaluation_are_named_as_its_website_wants():
    assert _protocol("middlebury_eval").submission == "{id}/frame10i11.png"


def test_files_say_the_name_that_they_have():
    for name in NAMES:
        text = (config_dir() / "benchmark" / f"{name}.yaml").read_text()
        node = yaml.safe_load(text)
        assert node["protocol"].get("name", name) == name
