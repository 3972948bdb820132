"""Result folders of `midframe evaluate` and files of `midframe speed`, read into records."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from midframe.benchmark.compare import CSV, JSON
from midframe.benchmark.pictures import folder_name
from midframe.errors import UserError
from midframe.report import reading
from midframe.report.records import (
    Column,
    Entry,
    Interval,
    Part,
    Published,
    Rules,
    Size,
    Speed,
    Way,
)

# What moves no number: see `midframe.benchmark.protocol.Protocol.digest`.
ASIDE = ("published", "beside", "note", "extra")


def read_folder(folder: Path) -> list[Entry]:
    """Return the result in a folder, then those of the models measured beside it.

    Raises:
        UserError: naming the file that is missing or wrong.
    """
    path = folder / JSON
    record = reading.json_file(path)
    own = _entry(record, path, rules_of(record, path))
    own.images = _images(folder / CSV, own)
    own.groups = _groups(record, own)
    own.folder = folder
    return [own, *_beside(record, own)]


def _entry(record: Mapping[str, Any], path: Path, rules: Rules) -> Entry:
    config = reading.mapping(record.get("model_config"), f"{path}: model_config")
    given = record.get("model") or config.get("name") or path.parent.name
    known = {"protocol", "mean", "subsets", "times", "beside", "paired", "sequences", "interval"}
    known |= {"groups"}
    problems = reading.listing(record.get("problems"), f"{path}: problems")
    return Entry(
        title=reading.name(given, f"{path}: model"),
        name=reading.text(config.get("name"), f"{path}: model_config.name") or None,
        file=path,
        rules=rules,
        total=_part(dict(record), str(path)),
        complete=record.get("complete") is True and not problems,
        problems=tuple(reading.text(p, f"{path}: problems", 20_000)[:500] for p in problems),
        seconds=reading.amount(record.get("seconds_per_image"), f"{path}: seconds_per_image"),
        parameters=reading.whole(record.get("parameters"), f"{path}: parameters"),
        facts={str(k): v for k, v in record.items() if k not in known},
        subsets=reading.each(record.get("subsets"), f"{path}: subsets", _part),
        times=reading.each(record.get("times"), f"{path}: times", _part),
    )


def _part(record: dict[str, Any], where: str) -> Part:
    found: dict[str, Interval] = {}
    for metric, ends in reading.mapping(record.get("interval"), f"{where}: interval").items():
        spot = f"{where}: interval.{metric}"
        pair = [reading.number(end, spot) for end in reading.listing(ends, spot)]
        if len(pair) != 2:
            raise UserError(f"{spot}: must be [low, high]")
        found[metric] = (pair[0], pair[1])
    return Part(
        reading.whole(record.get("images"), f"{where}: images") or 0,
        reading.numbers(record.get("mean"), f"{where}: mean"),
        found,
    )


def _beside(record: Mapping[str, Any], own: Entry) -> Iterator[Entry]:
    """Yield what was measured beside: folders of their own, else the means in the summary."""
    assert own.folder is not None
    means = reading.each(record.get("beside"), f"{own.file}: beside", lambda part, _: part)
    parent = own.folder / "beside"
    folders = sorted(p for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []
    for folder in folders:
        path = folder / JSON
        if path.is_file():
            theirs = reading.json_file(path)
            rules = rules_of(theirs, path) if theirs.get("protocol") else own.rules
            entry = _entry({"model": folder.name, **theirs}, path, rules)
        elif title := next((t for t in means if folder_name(t) == folder.name), None):
            entry = _of_means(title, means[title], own)
        else:
            continue
        means = {t: p for t, p in means.items() if folder_name(t) != folder.name}
        means.pop(entry.title, None)
        entry.images = _images(folder / CSV, entry)
        entry.folder, entry.beside = folder, True
        entry.groups = own.groups
        yield entry
    for title, part in means.items():
        yield _of_means(title, part, own)


def _of_means(title: str, part: dict[str, Any], own: Entry) -> Entry:
    """Return an entry of a model beside, of whom the summary has only means."""
    shared = ("device", "processor", "gpu", "revision", "versions", "date", "host", "root")
    record = {"images": own.total.images, **part, "model": title, "model_config": {"name": title}}
    record |= {"complete": own.complete, "problems": list(own.problems)}
    record |= {key: own.facts[key] for key in shared if key in own.facts}
    entry = _entry(record, own.file, own.rules)
    entry.beside = True
    return entry


def _groups(record: Mapping[str, Any], own: Entry) -> dict[str, str]:
    """Return what is drawn together with each image, as `midframe.benchmark.outcome` has it."""
    where = f"{own.file}: groups"
    found = {}
    for group, keys in reading.mapping(record.get("groups"), where).items():
        for key in reading.listing(keys, f"{where}.{group}"):
            found[reading.text(key, where)] = group
    if found or own.rules.reduction == "sequences" or not own.several_times:
        return found
    clips = {key: key.rpartition("@")[0] for key in own.images}
    return clips if len(set(Counter(clips.values()).values())) == 1 else {}


def _images(path: Path, entry: Entry) -> dict[str, dict[str, float]]:
    """Return the values of each image, {} without a file; as many as the summary counts."""
    if not path.is_file():
        return {}
    found = reading.image_rows(path, [c.name for c in entry.rules.columns])
    if len(found) != entry.total.images:
        raise UserError(
            f"{path}: {len(found)} rows, the summary has {entry.total.images}; was the file cut "
            "off or changed? Evaluate again"
        )
    return found


def rules_of(record: Mapping[str, Any], path: Path) -> Rules:
    """Return the protocol that a summary holds.

    Raises:
        UserError: if it holds none, naming the key that is wrong, or if the digest that is stated
            is not the protocol's own: what was measured by it is not known then.
    """
    where = f"{path}: protocol"
    content = reading.mapping(record.get("protocol"), where)
    if not content:
        raise UserError(f"{path}: has no protocol; is it a summary of midframe evaluate?")
    title = reading.name(content.get("name"), f"{where}.name")
    version = reading.whole(content.get("version"), f"{where}.version")
    if version is None:
        raise UserError(f"{where}.version: is missing")
    stated = reading.text(record.get("protocol_digest"), f"{path}: protocol_digest", 64)
    own = digest(content)
    if stated and stated != own:
        raise UserError(
            f"{path}: its protocol_digest {stated} is not that of its protocol ({own}); one of "
            "them was changed. Evaluate again"
        )
    subsets = reading.listing(content.get("subsets"), f"{where}.subsets")
    return Rules(
        id=f"{title}@{version}",
        digest=own,
        content=content,
        columns=tuple(_columns(content, where)),
        subsets=tuple(reading.name(s, f"{where}.subsets") for s in subsets),
        reduction=reading.text(content.get("reduction"), f"{where}.reduction") or "images",
        published=tuple(_published(content, where)),
        note=reading.text(content.get("note"), f"{where}.note", 20_000),
        submission=reading.text(content.get("submission"), f"{where}.submission"),
    )


def digest(content: Mapping[str, Any]) -> str:
    """Return the digest of a protocol that was written down, as `Protocol.digest` makes it."""
    text = json.dumps(moving(content), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def moving(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a protocol that may move a number."""
    found = {key: value for key, value in content.items() if key not in ASIDE}
    if not found.get("submission"):
        found.pop("submission", None)
    options = found.pop("layout_options", None)
    if isinstance(options, dict) and (rest := {k: options[k] for k in options if k != "on_error"}):
        found["layout_options"] = rest
    return found


def _columns(content: Mapping[str, Any], where: str) -> Iterator[Column]:
    for kind in ("metrics", "extra"):
        found = reading.mapping(content.get(kind), f"{where}.{kind}")
        for name, value in found.items():
            spot = f"{where}.{kind}.{name}"
            metric = reading.mapping(value, spot)
            digits = reading.whole(metric.get("digits", 2), f"{spot}.digits") or 0
            better = "lower" if metric.get("better") == "lower" else "higher"
            unit = reading.text(metric.get("unit"), f"{spot}.unit", 40)
            yield Column(name, unit, min(digits, 8), better)


def _published(content: Mapping[str, Any], where: str) -> Iterator[Published]:
    for i, value in enumerate(reading.listing(content.get("published"), f"{where}.published")):
        spot = f"{where}.published[{i}]"
        row = reading.mapping(value, spot)
        yield Published(
            reading.name(row.get("model"), f"{spot}.model"),
            reading.numbers(row.get("values"), f"{spot}.values"),
            reading.text(row.get("source"), f"{spot}.source"),
            reading.text(row.get("name"), f"{spot}.name") or None,
            reading.text(row.get("subset"), f"{spot}.subset") or None,
        )


def read_speed(path: Path) -> Speed:
    """Return what `midframe speed` has measured.

    Raises:
        UserError: naming the file, if it is none of these.
    """
    record = reading.json_file(path)
    if record.get("kind") != "speed":
        raise UserError(f'{path}: no result of midframe speed (its "kind" is not "speed")')
    notes = reading.listing(record.get("notes"), f"{path}: notes")
    notes = [reading.text(note, f"{path}: notes") for note in notes]
    sizes = reading.listing(record.get("sizes"), f"{path}: sizes")
    return Speed(
        model=reading.name(record.get("model"), f"{path}: model"),
        file=path,
        parameters=reading.whole(record.get("parameters"), f"{path}: parameters"),
        setting=_setting(record, path, notes),
        flops_are=reading.text(record.get("flops_are"), f"{path}: flops_are"),
        sizes=tuple(_size(value, f"{path}: sizes[{i}]") for i, value in enumerate(sizes)),
        notes=tuple(_speed_notes(record, path, notes)),
    )


def _setting(record: Mapping[str, Any], path: Path, notes: Iterable[str]) -> str:
    """Return what times depend on beside the model: machine, PyTorch, threads, call, preset."""
    device = reading.text(record.get("device"), f"{path}: device", 200) or "unknown device"
    environment = reading.mapping(record.get("environment"), f"{path}: environment")
    on_cpu = device == "cpu"
    # cuda:0 is another GPU on each machine
    key = "processor" if on_cpu else "gpu" if device.startswith("cuda") else ""
    setting = reading.text(environment.get(key), f"{path}: environment.{key}")[:200] or device
    threads = reading.whole(record.get("threads"), f"{path}: threads")
    if threads and on_cpu:
        setting += f", {threads} thread{'s' * (threads > 1)}"
    versions = reading.mapping(environment.get("versions"), f"{path}: environment.versions")
    if torch := reading.text(versions.get("torch"), f"{path}: environment.versions.torch", 80):
        setting += f", torch {torch}"
    batch = reading.whole(record.get("batch"), f"{path}: batch") or 1
    times = reading.listing(record.get("times"), f"{path}: times")
    setting += f", batch of {batch}" * (batch > 1) + f", {len(times)} times" * (len(times) > 1)
    setting += ", cuDNN searches" * (record.get("cudnn_benchmark") is True)
    preset = reading.text(record.get("preset"), f"{path}: preset", 80)
    if preset:
        changed = any(note.startswith(f"preset {preset} ") for note in notes)
        setting += f", preset {preset}" + ", changed" * changed
    return setting


def _speed_notes(record: Mapping[str, Any], path: Path, notes: Iterable[str]) -> Iterator[str]:
    """Yield what must be said beside the figures, as `midframe speed` says it."""
    rounds, warmup = (reading.whole(record.get(k), f"{path}: {k}") for k in ("rounds", "warmup"))
    if rounds is not None:
        told = f"{rounds} call{'s' * (rounds != 1)} after {warmup or 0}"
        frames = reading.text(record.get("frames"), f"{path}: frames", 80)
        load = reading.amount(record.get("load_before"), f"{path}: load_before")
        told += f", frames: {frames}" if frames else ""
        yield told + (f", load average {load:g} when it began" if load else "")
    yield from notes
    left_out = reading.mapping(record.get("left_out"), f"{path}: left_out")
    for way, why in left_out.items():
        yield f"{way} is left out: {reading.text(why, f'{path}: left_out.{way}')}"
    listed = reading.listing(record.get("published"), f"{path}: published")
    for i, value in enumerate(listed):
        spot = f"{path}: published[{i}]"
        one = reading.mapping(value, spot)
        seconds = reading.amount(one.get("seconds"), f"{spot}.seconds")
        size, gpu, source = (
            reading.text(one.get(key), f"{spot}.{key}") for key in ("size", "gpu", "source")
        )
        if seconds is not None:
            yield (
                f"published, not measured here: {1e3 * seconds:g} ms at {size} on "
                f"{gpu or 'a GPU that is not named'} ({source})"
            )


def _size(value: Any, where: str) -> Size:
    record = reading.mapping(value, where)
    ways = reading.each(record.get("ways"), f"{where}.ways", _way)
    flops = reading.amount(record.get("flops"), f"{where}.flops")
    return Size(reading.name(record.get("size"), f"{where}.size"), flops, ways)


def _way(record: dict[str, Any], where: str) -> Way:
    def read(key: str) -> float | None:
        return reading.amount(record.get(key), f"{where}.{key}")

    error = reading.text(record.get("error"), f"{where}.error", 20_000)[:80]
    times = read("p50_ms"), read("p90_ms"), read("p99_ms")
    return Way(*times, read("frames_per_s"), read("peak_bytes"), error)
