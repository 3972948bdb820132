"""`--profile`: where the time of a conversion went, in lines and as an event."""

from __future__ import annotations

from typing import Any

import torch

from midframe.launch.convert_report import Report
from midframe.speed import memory
from midframe.video.profile import Profile

_WORDS = {
    "decode": "decoding, with RGB and cuts",
    "model": "the model",
    "round": "rounding to the output's form",
    "encode": "encoding",
    "join": "joining the parts",
}


def tell(profile: Profile, device: torch.device, report: Report) -> None:
    """Say what each stage took.

    Args:
        profile: of the conversion, of this process.
        device: where the model is.
        report: takes lines and the event "profile".
    """
    report.say(f"{'':30}{'worked':>10}{'waited':>10}{'frames':>8}{'frames/s':>10}")
    for name, stage in profile.stages.items():
        numbers = f"{stage.busy:8.2f} s{stage.waited:8.2f} s{stage.frames:8d}"
        report.say(f"{_WORDS[name]:30}{numbers}{stage.rate:10.2f}".rstrip())
    found = facts(profile, device)
    report.say(
        f"{profile.wall:.2f} s in all, most of it {_WORDS[profile.slowest]}; peak memory "
        + ", ".join(
            f"{found[key] / 2**30:.2f} GiB{words}"
            for key, words in (("peak_bytes", ""), ("peak_bytes_gpu", " on the GPU"))
            if key in found
        )
    )
    report.event("profile", **found)


def facts(profile: Profile, device: torch.device) -> dict[str, Any]:
    """Return the same as plain data."""
    found: dict[str, Any] = {
        "seconds": round(profile.wall, 3),
        "stages": {
            name: {
                "seconds": round(stage.busy, 3),
                "waited": round(stage.waited, 3),
                "frames": stage.frames,
                "fps": round(stage.rate, 3),
            }
            for name, stage in profile.stages.items()
        },
        "slowest": profile.slowest,
        "peak_bytes": memory.peak(),
    }
    if device.type == "cuda":
        found["peak_bytes_gpu"] = torch.cuda.max_memory_allocated(device)
    return found
