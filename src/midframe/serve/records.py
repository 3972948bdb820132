"""What `midframe serve` keeps of clips and jobs, and what it tells the page of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from midframe.serve.uploads import MEGABYTE, MP4, WEBM, Kind

# H.264 of 8 bits and 4:2:0 plays in every browser. Its deeper forms do not, and its encoder would
# keep the depth of the input; VP9 is written with 8 bits.
PLAIN = (MP4, ("--codec", "h264", "--output-chroma", "420"))
DEEP = (WEBM, ("--codec", "vp9", "--output-chroma", "420", "--speed", "fast"))
_USUAL_RATE = Fraction(25)


@dataclass(frozen=True)
class Limits:
    """What the page takes.

    Attributes:
        bytes: of a clip.
        seconds: that a clip lasts.
        job: seconds that a process may take.
        at_once: processes that compute.
        looks: processes, beside these, that look at new clips.
        waiting: jobs that wait for these.
        clips: that are kept.
        results: that are kept.
        age: seconds after which what nobody looks at is removed.
        connections: at once.
        patience: seconds for the head of a request, and for a small body.
    """

    bytes: int = 500 * MEGABYTE
    seconds: float = 600.0
    job: float = 1800.0
    at_once: int = 1
    looks: int = 2
    waiting: int = 8
    clips: int = 16
    results: int = 32
    age: float = 3600.0
    connections: int = 64
    patience: float = 30.0


@dataclass(frozen=True)
class Choice:
    """A model that the page offers.

    Attributes:
        title: for people.
        note: a line about it.
        words: that the command line takes for it.
    """

    title: str
    note: str
    words: Sequence[str]


@dataclass
class Clip:
    """A clip that was sent.

    Attributes:
        id: that the page calls it by.
        name: that its owner calls it by, to be shown only.
        path: where it is, in a folder of its own with all that is made of it.
        kind: of file.
        plan: what the command line says of it.
        notes: the same, for people.
        touched: when somebody last asked for it, on the monotonic clock.
    """

    id: str
    name: str
    path: Path
    kind: Kind
    plan: Mapping[str, Any]
    notes: Sequence[str] = ()
    touched: float = field(default_factory=time.monotonic)

    @property
    def form(self) -> tuple[Kind, Sequence[str]]:
        """What is written of it, so that every browser plays it."""
        return DEEP if self.plan["depth"] > 8 else PLAIN

    @property
    def rate(self) -> Fraction:
        """Frames a second, on average where they vary."""
        if self.plan.get("fps_in"):
            return Fraction(str(self.plan["fps_in"]))
        seconds = Fraction(str(self.plan.get("seconds") or 0))
        mean = int(self.plan["frames_in"]) / seconds if seconds else _USUAL_RATE
        return mean.limit_denominator(100)

    def told(self) -> dict[str, Any]:
        """Return what the page shows."""
        return {
            "id": self.id,
            "name": self.name,
            "width": self.plan["width"],
            "height": self.plan["height"],
            "frames": self.plan["frames_in"],
            "seconds": self.plan["seconds"],
            "fps": float(self.rate),
            "even": bool(self.plan.get("fps_in")),
            "notes": list(self.notes),
        }


@dataclass
class Job:
    """Something that is made of a clip.

    Attributes:
        id: that the page calls it by.
        clip: what it is made of.
        choice: the model.
        factor: frames for each.
        slow: whether it lasts longer by the factor instead of having more frames a second.
        preview: whether browsers need a copy of the clip to show it.
        state: "waiting", "running", "done", "failed" or "cancelled".
        step: what is being made, "preview" or "frames".
        said: the last of what the process told of its progress.
        plan: what it told beforehand.
        notes: for people.
        error: why it failed, for people.
        took: seconds, of all processes.
        task: that does it.
    """

    id: str
    clip: Clip
    choice: Choice
    factor: int
    slow: bool
    preview: bool
    state: str = "waiting"
    step: str = "frames"
    said: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    took: float = 0.0
    task: asyncio.Task[None] | None = None

    @property
    def after(self) -> Path:
        """Where the result is once it is done."""
        return self.clip.path.with_name(f"after-{self.id}{self.clip.form[0].suffix}")

    @property
    def before(self) -> tuple[Path, Kind]:
        """The clip as browsers can show it."""
        if not self.preview:
            return self.clip.path, self.clip.kind
        kind = self.clip.form[0]
        return self.clip.path.with_name(f"before-{self.id}{kind.suffix}"), kind

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ("done", "failed", "cancelled")

    def told(self) -> dict[str, Any]:
        """Return what the page shows."""
        fps = self.plan.get("fps")
        rate = self.clip.rate * (1 if self.slow else self.factor)
        return {
            "id": self.id,
            "clip": self.clip.told(),
            "model": self.choice.title,
            "factor": self.factor,
            "slow": self.slow,
            "state": self.state,
            "step": self.step,
            "done": self.said.get("done", 0),
            "total": self.said.get("total", 0),
            "speed": self.said.get("fps"),
            "left": self.said.get("seconds_left"),
            "frames": self.plan.get("frames", 0),
            "fps": float(Fraction(str(fps)) if fps else rate),
            "notes": self.notes,
            "error": self.error,
            "took": round(self.took, 1),
        }
