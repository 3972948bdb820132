"""How fast samples are read: the same crops of the same triplets from PNG files and from shards.

Shards are read by memory mapping, with flow labels as well, and as if they lay elsewhere, through
the cache of `midframe.data.remote`.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

from midframe.data.allocator import keep_freed_memory
from midframe.data.dataset import ClipDataset, collate
from midframe.data.flow_files import open_flow, write_flow
from midframe.data.io import ImageFile, write_image
from midframe.data.pack import pack_clips
from midframe.data.records import Clip, Ticket
from midframe.data.remote import CacheOptions, open_remote
from midframe.data.shards import open_packed
from midframe.data.transforms import Augment
from midframe.errors import UserError

_SIZE = (256, 448)  # Vimeo-90K's
_BATCH = 8
# IFRNet's recipe for Vimeo-90K
_AUGMENT = Augment(
    crop=224,
    resize=0.1,
    channel_order=0.5,
    vertical_flip=0.3,
    horizontal_flip=0.5,
    transpose=0.05,
    time_reversal=0.5,
)


def bench_data(
    triplets: int = 120, rounds: int = 5, seed: int = 0, need: float | None = None
) -> dict[str, Any]:
    """Return samples per second of a core from PNG files and from shards, and their ratios.

    All sides read the same samples (checked) into batches of 8, with the crop and augmentation
    of IFRNet's recipe, in turns, from files that the system has in its cache. Time is the
    processor's, so other work on the machine does not count; the median of the rounds is given.

    Args:
        triplets: noisy 448x256 triplets that are made for it in a temporary folder.
        rounds: turns of each side.
        seed: of the pictures and of the augmentation.
        need: samples per second that a training takes; the result says how many cores give them.

    Raises:
        UserError: for a need that is none.
    """
    if need is not None and not need > 0:
        raise UserError(f"--need {need:g}: give samples per second, such as 200")
    threads, torch_threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)  # as in a loading process
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        with TemporaryDirectory(prefix="midframe-bench-") as folder:
            files = _write_triplets(Path(folder, "png"), triplets, seed)
            png_bytes = sum(p.stat().st_size for p in Path(folder, "png").rglob("*.png"))
            clips = _sides(Path(folder), files, seed)
            sides = {n: ClipDataset(c, augment=_AUGMENT, seed=seed) for n, c in clips.items()}
            for other in sides.values():
                _check_equal(sides["png"], other, min(triplets, 16))
                _rate(other, rounds)  # what is kept is there before the first round
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for epoch in range(rounds):
                for name, dataset in sides.items():
                    rates[name].append(_rate(dataset, epoch))
    finally:
        cv2.setNumThreads(threads)
        torch.set_num_threads(torch_threads)
    middle = {name: float(np.median(values)) for name, values in rates.items()}
    cores = {name: math.ceil(need / rate) for name, rate in middle.items()} if need else {}
    return {
        "benchmark": "data",
        "samples_per_second_per_core": {name: round(rate, 1) for name, rate in middle.items()},
        "ratio_shards_to_png": round(middle["shards"] / middle["png"], 2),
        "ratio_remote_to_shards": round(middle["remote"] / middle["shards"], 2),
        **({"cores_that_feed": {"samples_per_second": need, **cores}} if need else {}),
        "rounds": {name: [round(v, 1) for v in values] for name, values in rates.items()},
        "triplets": triplets,
        "frame": list(_SIZE),
        "crop": _AUGMENT.crop,
        "png_bytes_per_frame": round(png_bytes / (3 * triplets)),
        "machine": {"python": platform.python_version(), "cores": os.cpu_count()},
    }


def _sides(folder: Path, files: Sequence[Clip], seed: int) -> dict[str, Sequence[Clip]]:
    """Pack the clips, without and with flow labels, and return the same ones by how they lie."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(8):  # the time of reading does not depend on how many there are
        paths = [folder / f"flow-{number}-{side}.flo" for side in range(2)]
        for path in paths:
            write_flow(path, rng.normal(0, 8, (*_SIZE, 2)).astype(np.float32))
        pairs.append((open_flow(str(paths[0])), open_flow(str(paths[1]))))
    labelled = [replace(c, flow={1: pairs[i % len(pairs)]}) for i, c in enumerate(files)]
    pack_clips({"train": files}, folder / "packed", context=1, name="bench")
    pack_clips({"train": labelled}, folder / "labelled", context=1, name="bench")
    cache = CacheOptions(folder / "cache", gb=100)
    return {
        "png": files,
        "shards": open_packed(folder / "packed", "train"),
        "shards_with_flow": open_packed(folder / "labelled", "train"),
        "remote": open_remote(f"file://{folder}/packed", "train", 1, cache),
    }


def _rate(dataset: ClipDataset, epoch: int) -> float:
    count = len(dataset)
    begin = time.process_time()
    for start in range(0, count, _BATCH):
        indices = range(start, min(start + _BATCH, count))
        collate([dataset[Ticket(epoch, index)] for index in indices])
    return count / (time.process_time() - begin)


def _check_equal(one: ClipDataset, other: ClipDataset, count: int) -> None:
    for index in range(count):
        a, b = one[Ticket(0, index)], other[Ticket(0, index)]
        assert a.target is not None and b.target is not None
        if not (np.array_equal(a.frames, b.frames) and np.array_equal(a.target, b.target)):
            raise RuntimeError(f"sample {index} differs between PNG files and shards")


def _write_triplets(folder: Path, count: int, seed: int) -> Sequence[Clip]:
    """Write triplets that compress like photographs: smooth shapes, texture and sensor noise."""
    rng = np.random.default_rng(seed)
    height, width = _SIZE
    clips = []
    for number in range(count):
        place = folder / f"{number:05d}"
        place.mkdir(parents=True)
        wide = _scene(rng, height + 32, width + 32)
        frames = []
        for i in range(3):
            moved = wide[8 * i : 8 * i + height, 4 * i : 4 * i + width]
            noisy = moved + rng.normal(0, 1.0, moved.shape)
            path = place / f"im{i + 1}.png"
            write_image(path, np.clip(noisy, 0, 255).astype(np.uint8))
            frames.append(ImageFile(str(path)))
        clips.append(Clip(place.name, tuple(frames), (0, 2), (1,), group=place.name))
    return clips


def _scene(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return (h, w, 3) float32: noise whose spectrum falls as that of natural pictures does."""
    scene = np.full((height, width, 3), 120, np.float32)
    cells = 4
    while cells < height:
        grid = rng.normal(0, 200 / cells**0.85, (cells, cells * width // height, 3))
        size = (width, height)
        scene += cv2.resize(grid.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        cells *= 2
    return scene
