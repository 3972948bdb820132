"""Result folders as `midframe evaluate` writes them, by hand."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from midframe.benchmark.protocol import Metric, Protocol, Published

SOURCE = "A paper, table 1"
VALUES = {"a": (30.0, 0.9), "b": (32.0, 0.95), "c": (28.0, 0.85)}


def protocol(name: str = "tiny", version: int = 1, **more: Any) -> Protocol:
    """Return a protocol of three images in one subset, with published rows."""
    given: dict[str, Any] = {
        "layout": "a.b",
        "subsets": ("test",),
        "expected": {"test": 3},
        "metrics": {"psnr": Metric("psnr", unit="dB"), "ssim": Metric("ssim", digits=4)},
        "published": (
            Published("Net", {"psnr": 30.5, "ssim": 0.9012}, SOURCE, "net"),
            Published("Net L", {"psnr": 31.37, "ssim": 0.9134}, SOURCE, "net_l"),
            Published("Other", {"psnr": 29.99, "ssim": 0.8999}, SOURCE),
        ),
        "note": "What else there is to know.",
        **more,
    }
    return Protocol(name, version, **given)


def write(
    folder: Path,
    model: str = "net",
    values: Mapping[str, Sequence[float]] = VALUES,
    by: Protocol | None = None,
    **facts: Any,
) -> Path:
    """Write summary.json and images.csv of a result.

    Args:
        folder: made.
        model: its name.
        values: those of each metric by the image's id, or by subset/id.
        by: the protocol.
        facts: keys of the summary to add or replace.
    """
    by = by or protocol()
    folder.mkdir(parents=True, exist_ok=True)
    names = list(by.columns)
    rows = []
    for key, numbers in values.items():
        subset, _, name = key.rpartition("/")
        rows.append([subset or by.subsets[0], name, *numbers, 0.1])
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["subset", "id", *names, "seconds"])
        writer.writerows(rows)

    def part(chosen: list[list[Any]]) -> dict[str, Any]:
        means = {n: statistics.fmean(r[2 + i] for r in chosen) for i, n in enumerate(names)}
        means = {n: value if math.isfinite(value) else str(value) for n, value in means.items()}
        return {"images": len(chosen), "mean": means}

    record = {
        "benchmark": by.id,
        "complete": True,
        "problems": [],
        **part(rows),
        "subsets": {
            s: part(found) for s in by.subsets if (found := [r for r in rows if r[0] == s])
        },
        "seconds_per_image": 0.1,
        "model": model,
        "model_config": {"name": model},
        "weights": "runs/best.ckpt",
        "weights_sha256": "ab" * 32,
        "precision": "fp32",
        "device": "cpu",
        "revision": "0123456789ab",
        "protocol_digest": by.digest(),
        "protocol": by.describe(),
        **facts,
    }
    (folder / "summary.json").write_text(json.dumps(record, default=str))
    return folder


def picture(path: Path, seed: int, size: tuple[int, int] = (48, 64), noise: float = 0) -> None:
    """Write a smooth picture (height, width), noisy by so many grey levels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [127 + 90 * np.sin(x / rng.uniform(4, 9) + y / rng.uniform(4, 9)) for _ in range(3)]
    found = np.stack(waves, -1) + np.random.default_rng(1).normal(0, noise, (*size, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.clip(found, 0, 255).astype(np.uint8))


def add_pictures(
    folder: Path,
    names: Sequence[str] = ("a", "b", "c"),
    noise: float = 20,
    truth: bool = True,
    size: tuple[int, int] = (48, 64),
) -> None:
    """Write predictions, true frames and flow of a result's images."""
    for seed, name in enumerate(names):
        picture(folder / "images" / "test" / f"{name}.png", seed, size, noise)
        picture(folder / "flow" / "test" / f"{name}.png", seed + 50, size)
        if truth:
            picture(folder / "truth" / "test" / f"{name}.png", seed, size)


def speed(path: Path, model: str = "net", **more: Any) -> Path:
    """Write what `midframe speed` does."""
    way = {"p50_ms": 12.5, "p90_ms": 14.0, "p99_ms": 20.0, "frames_per_s": 80.0, "peak_bytes": 2e8}
    sizes = [
        {
            "size": size,
            "flops": 2e9,
            "ways": {
                "fp32": way,
                "bf16": {**way, "p50_ms": 6.25},
                "big": {"error": "out of memory"},
            },
        }
        for size in ("448x256", "1280x720")
    ]
    record = {
        "kind": "speed",
        "model": model,
        "parameters": 5_000_000,
        "device": "cpu",
        "threads": 2,
    }
    record |= {"flops_are": "2 a multiply-add", "preset": None, "sizes": sizes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**record, **more}))
    return path
