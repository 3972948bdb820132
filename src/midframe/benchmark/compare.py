"""Two models on the same images: differences by metric, and whether two results may be compared."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from midframe.benchmark.journal import Row
from midframe.benchmark.protocol import digest_of
from midframe.errors import UserError
from midframe.metrics import statistics

CSV, JSON = "images.csv", "summary.json"
_MOST = 128 << 20  # bytes of a file that are read
_DIGITS = 12  # of a column, at most
# Parts of a protocol that move no number, or are compared by themselves.
_APART = {"published", "beside", "note", "extra", "submission"}


@dataclass(frozen=True)
class Difference:
    """One model minus another on the same images.

    Attributes:
        difference: of the means.
        interval: its 95 % bootstrap interval.
        better: how many images (or sequences) the first model does better.
        worse: how many worse.
        ties: how many the same.
        p: of the exact two-sided sign test.
    """

    difference: float
    interval: tuple[float, float]
    better: int
    worse: int
    ties: int
    p: float


def compared(
    ours: Iterable[Row],
    theirs: Iterable[Row],
    better: Mapping[str, str],
    *,
    groups: Mapping[str, str] | None = None,
    by_subset: bool = False,
) -> dict[str, Difference]:
    """Return the differences by metric, over the images that both have.

    Args:
        ours: rows of the first model.
        theirs: rows of the second.
        better: "higher" or "lower" by metric; only these are compared.
        groups: by the key of a row, what it is drawn and counted together with.
        by_subset: the mean is one over the means of subsets.
    """
    other = {row.key: row for row in theirs}
    rows = [row for row in ours if row.key in other]
    labels = None if groups is None else tuple(groups[row.key] for row in rows)
    subsets = tuple(row.subset for row in rows) if by_subset else None
    found = {}
    for name, way in better.items() if rows else ():
        first = tuple(row.values[name] for row in rows)
        second = tuple(other[row.key].values[name] for row in rows)
        one = _paired(first, second, labels, subsets)
        counts = (one.more, one.less) if way == "higher" else (one.less, one.more)
        found[name] = Difference(one.difference, one.interval, *counts, one.ties, one.p)
    return found


@lru_cache(maxsize=256)
def _paired(
    first: tuple[float, ...],
    second: tuple[float, ...],
    groups: tuple[str, ...] | None,
    subsets: tuple[str, ...] | None,
) -> statistics.Paired:
    """Resample once, however often it is shown."""
    return statistics.paired(first, second, groups, subsets=subsets)


@dataclass(frozen=True)
class Result:
    """A folder that an evaluation wrote.

    Attributes:
        folder: it.
        record: content of its summary.
        rows: of its images, in the order of the data.
    """

    folder: Path
    record: Mapping[str, Any]
    rows: list[Row]

    @property
    def title(self) -> str:
        """The model, and with which weights."""
        sha = self.record.get("weights_sha256")
        return str(self.record.get("model", "model")) + (f" ({str(sha)[:8]})" if sha else "")

    @property
    def columns(self) -> dict[str, dict[str, Any]]:
        """How each metric was called, its unit and digits; files of weights by their digests."""
        protocol = self.record["protocol"]
        found = {**protocol["metrics"], **(protocol.get("extra") or {})}
        for name, digests in (self.record.get("metric_weights") or {}).items():
            if name in found:
                found[name] = {**found[name], "options": {**found[name]["options"], **digests}}
        return found

    @property
    def groups(self) -> dict[str, str] | None:
        """By the key of a row, the sequence that it is of; None where images count."""
        found = self.record.get("groups")
        if found is not None:
            return {key: name for name, keys in found.items() for key in keys}
        if len(self.record["protocol"]["times"]) > 1:
            counts: dict[str, int] = {}
            names = {row.key: row.key.rpartition("@")[0] for row in self.rows}
            for name in names.values():
                counts[name] = counts.get(name, 0) + 1
            return names if len(set(counts.values())) == 1 else None
        return None


def load(folder: Path) -> Result:
    """Read a result.

    Raises:
        UserError: if the folder holds none, or naming the file that is damaged.
    """
    path = folder / JSON
    record = json_file(path)
    try:
        _check_record(record)
        _check_digest(record, path)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    path = folder / CSV
    try:
        lines = csv.DictReader(io.StringIO(_bytes(path).decode()))
        protocol = record["protocol"]
        names = {*protocol["metrics"], *(protocol.get("extra") or {})}
        rows = [
            Row(line["id"], line["subset"], {n: float(line[n]) for n in names}) for line in lines
        ]
        _check_rows(rows, record)
    except (LookupError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise _damaged(path, error) from error
    return Result(folder, record, rows)


def json_file(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises as `load` does."""
    try:
        found = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if not isinstance(found, dict):
        raise _damaged(path, ValueError("no object"))
    return found


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a device or a pipe never ends
            raise UserError(f"{path} is no file")
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except FileNotFoundError as error:
        raise UserError(
            f"{path.parent} holds no result: there is no {path.name}; give a folder that "
            "evaluate.py wrote"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST:
        raise UserError(f"{path} is larger than {_MOST >> 20} MiB, which no result is")
    return data


def _damaged(path: Path, error: Exception) -> UserError:
    what = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return UserError(
        f"{path} is of a damaged result, or one of another version ({what[:200]}); evaluate it "
        "again"
    )


def _check_record(record: Mapping[str, Any]) -> None:
    """Raise `LookupError`, `TypeError` or `ValueError` for what a comparison cannot use."""
    protocol = record["protocol"]
    _must(isinstance(record["benchmark"], str), "benchmark is no text")
    _must(isinstance(protocol["reduction"], str), "protocol.reduction is no text")
    _must(isinstance(protocol["times"], list), "protocol.times is no list")
    digests = record.get("metric_weights") or {}
    _must(all(isinstance(one, dict) for one in digests.values()), "metric_weights is no mapping")
    for kind in (protocol["metrics"], protocol.get("extra") or {}):
        for name, column in kind.items():
            digits = column["digits"]
            _must(column["better"] in ("higher", "lower"), f"better of {name}: {column['better']}")
            _must(isinstance(digits, int) and 0 <= digits <= _DIGITS, f"digits of {name}: {digits}")
            _must(isinstance(column["unit"], str), f"unit of {name} is no text")
            _must(isinstance(column["options"], dict), f"options of {name} are no mapping")


def _check_digest(record: Mapping[str, Any], path: Path) -> None:
    stated, true = record["protocol_digest"], digest_of(record["protocol"])
    if stated != true:
        raise UserError(
            f"{path}: its protocol is not the one that its digest is of ({stated}, not {true}), "
            "so it compares with nothing; evaluate it again"
        )


def _check_rows(rows: list[Row], record: Mapping[str, Any]) -> None:
    """Raise `ValueError` or `LookupError` where rows are not those of the summary."""
    keys = {row.key for row in rows}
    if len(keys) < len(rows):
        ((twice, _),) = Counter(row.key for row in rows).most_common(1)
        raise ValueError(f"{twice} is there twice")
    _must(len(rows) == record["images"], f"{len(rows)} images, {JSON} has {record['images']}")
    if record.get("groups") is not None:
        grouped = {key for names in record["groups"].values() for key in names}
        lacking = sorted(keys - grouped)
        _must(not lacking, f"{', '.join(lacking[:1])} is in no group of {JSON}")


def _must(right: bool, otherwise: str) -> None:
    if not right:
        raise ValueError(otherwise)


def check_same_protocol(a: Result, b: Result) -> None:
    """Raise `UserError` for results of different protocols, naming what differs."""
    for key in ("benchmark", "protocol_digest"):
        one, other = a.record.get(key), b.record.get(key)
        if one != other:
            what = [f"{key}: {one} and {other}", *_unlike(a, b)]
            raise UserError(
                f"{a.folder} and {b.folder} are of different protocols, whose numbers do not "
                f"compare: {'; '.join(what)}"
            )


def _unlike(a: Result, b: Result) -> list[str]:
    ours, theirs = a.record["protocol"], b.record["protocol"]
    return [
        f"{key}: {_brief(ours.get(key))} and {_brief(theirs.get(key))}"
        for key in {**ours, **theirs}
        if key not in _APART | {"name", "version"} and ours.get(key) != theirs.get(key)
    ]


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def common_images(a: Result, b: Result, allow: bool) -> int:
    """Return how many images both have.

    Args:
        a: a result.
        b: another one.
        allow: each may have images that the other lacks.

    Raises:
        UserError: if there are none, or some are not common and that is not allowed.
    """
    ours, theirs = ({row.key for row in one.rows} for one in (a, b))
    common = len(ours & theirs)
    if not common:
        raise UserError(f"{a.folder} and {b.folder} have no image in common")
    if ours != theirs and not allow:
        raise UserError(
            f"{a.folder} has {len(ours)} images and {b.folder} {len(theirs)}, {common} are common; "
            "--common compares these"
        )
    return common


def common_columns(a: Result, b: Result) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the metrics that both were measured by in the same way, and the names of others."""
    ours, theirs = a.columns, b.columns
    alike = {name: one for name, one in ours.items() if theirs.get(name) == one}
    return alike, [name for name in {**ours, **theirs} if name not in alike]
