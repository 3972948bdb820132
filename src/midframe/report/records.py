"""What a report is made of: results by a protocol, and what models cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Interval = tuple[float, float]


@dataclass(frozen=True)
class Column:
    """A metric as a column.

    Attributes:
        name: in the files.
        unit: such as "dB", or empty.
        digits: decimals shown.
        better: "higher" or "lower".
    """

    name: str
    unit: str = ""
    digits: int = 2
    better: str = "higher"

    @property
    def title(self) -> str:
        """The name as tables show it."""
        return self.name.upper() if len(self.name) <= 5 else self.name

    def best(self, values: list[float]) -> float:
        """Return the best of some values."""
        return max(values) if self.better == "higher" else min(values)


@dataclass(frozen=True)
class Published:
    """A row of a paper: see `midframe.benchmark.protocol.Published`."""

    model: str
    values: Mapping[str, float]
    source: str
    name: str | None = None
    subset: str | None = None


@dataclass(frozen=True)
class Rules:
    """The protocol that a result was made by.

    Attributes:
        id: name@version.
        digest: of all that may move a number.
        content: everything, as it was written.
        columns: its metrics, then the extra ones.
        subsets: their names in order.
        reduction: what the overall mean is taken over.
        published: rows of papers.
        note: what else there is to know.
        submission: where frames are handed in, empty where they are measured.
    """

    id: str
    digest: str
    content: Mapping[str, Any]
    columns: tuple[Column, ...]
    subsets: tuple[str, ...]
    reduction: str
    published: tuple[Published, ...] = ()
    note: str = ""
    submission: str = ""


@dataclass(frozen=True)
class Part:
    """The means of a subset, of a time, or of all.

    Attributes:
        images: how many were measured.
        mean: by metric.
        interval: 95 % of each mean, where it is known.
    """

    images: int
    mean: Mapping[str, float]
    interval: Mapping[str, Interval] = field(default_factory=dict)


@dataclass
class Entry:
    """One model's result by one protocol.

    Attributes:
        title: of the model; no two entries of a group share one.
        name: of the model in conf/model, by which published rows are found.
        file: the summary that it was read from, for errors.
        rules: the protocol.
        total: overall.
        subsets: by name.
        times: by the target time, where there are several.
        images: the values of each image by subset/id, in the order of the data.
        complete: whether everything that the protocol counts was measured.
        problems: what is missing.
        seconds: median of one prediction as it was run.
        parameters: of the model.
        facts: how it was made.
        folder: of its pictures, None where there are none.
        groups: by image, what is drawn together for an interval: its sequence, where these are
            averaged, or its clip, where each has several images; empty: each by itself.
        beside: whether it was measured beside another model.
    """

    title: str
    name: str | None
    file: Path
    rules: Rules
    total: Part
    subsets: dict[str, Part] = field(default_factory=dict)
    times: dict[str, Part] = field(default_factory=dict)
    images: dict[str, dict[str, float]] = field(default_factory=dict)
    complete: bool = True
    problems: tuple[str, ...] = ()
    seconds: float | None = None
    parameters: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    beside: bool = False

    @property
    def several_times(self) -> bool:
        """Whether a clip has several images."""
        times = self.rules.content.get("times")
        return isinstance(times, list) and len(times) > 1

    @property
    def marks(self) -> tuple[str, ...]:
        """What a reader must know before he compares this result with another."""
        found = [] if self.complete else ["incomplete"]
        if any(problem.startswith("limited") for problem in self.problems):
            found.append("limited")
        precision = str(self.facts.get("precision") or "fp32")
        if precision not in ("fp32", "32"):
            found.append(precision[:20])
        if self.facts.get("blocks"):
            found.append("in blocks")
        if self.facts.get("weights") == "untrained" and "untrained" not in self.title:
            found.append("untrained")
        return tuple(found)


@dataclass
class Group:
    """All results by one protocol: what may stand in one column.

    Attributes:
        rules: the protocol, with the columns of all entries.
        entries: complete ones first, the best first.
        differs: what tells this protocol from others of the same name, a line each.
        notes: what else readers must know about the columns.
    """

    rules: Rules
    entries: list[Entry]
    differs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The metrics."""
        return self.rules.columns

    @property
    def keys(self) -> list[str]:
        """The images of any entry as subset/id, in the order of the data."""
        return list(dict.fromkeys(key for entry in self.entries for key in entry.images))


@dataclass(frozen=True)
class Way:
    """How fast a model is in one way of running it, such as "fp32 channels_last"."""

    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    frames_per_s: float | None
    peak_bytes: float | None
    error: str = ""


@dataclass(frozen=True)
class Size:
    """What one size of frames costs: "448x256", operations, and each way."""

    size: str
    flops: float | None
    ways: Mapping[str, Way]


@dataclass(frozen=True)
class Speed:
    """What a model costs on one device.

    Attributes:
        model: its name.
        file: that it was read from.
        parameters: of the model.
        setting: machine, PyTorch, threads and preset: only costs of one setting share a column.
        flops_are: what is counted.
        sizes: those measured.
        notes: what must be said beside the figures.
        apart: tells it from another of the same model and setting, else empty.
    """

    model: str
    file: Path
    parameters: int | None
    setting: str
    flops_are: str
    sizes: tuple[Size, ...]
    notes: tuple[str, ...] = ()
    apart: str = ""

    @property
    def title(self) -> str:
        """The model as tables show it."""
        return f"{self.model} [{self.apart}]" if self.apart else self.model
