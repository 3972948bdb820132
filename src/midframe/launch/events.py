"""Recordings of event cameras: into shards, in numbers, as pictures, and simulated ones."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from midframe.errors import UserError, did_you_mean, known_names
from midframe.launch import events_simulate, guard
from midframe.launch.commands import advised

KINDS = {
    "prepare": "turn recordings into shards, for training and evaluation",
    "info": "say what is in a recording: sensor, frames, events, rates, gaps",
    "show": "draw frames with their events, and the rate of events over time",
    "simulate": "make a recording from a video, a folder of frames or generated scenes",
}
_FORMS = "*.aedat4, or *.npz of midframe events simulate"
_READERS = "auto, dv_processing, aedat or dv (of *.aedat4; default: the first that is installed)"
RATE = "rate.png"


def main(args: Sequence[str]) -> int:
    """Run `midframe events`; returns the exit code."""
    return guard.guarded(lambda: _run(list(args)))


def _run(args: list[str]) -> int:
    parser, kinds = _parsers()
    if args and not args[0].startswith("-") and args[0] not in KINDS:
        raise UserError(f"midframe events has no '{args[0]}': {known_names(args[0], KINDS)}")
    options, unknown = parser.parse_known_args(args)
    if unknown:
        known = [word for word in kinds[options.kind]._option_string_actions if word != "-h"]
        advice = (
            did_you_mean(unknown[0].partition("=")[0], known) or f"there are {', '.join(known)}"
        )
        raise UserError(f"midframe events {options.kind} does not know {unknown[0]}; {advice}")
    run = {"prepare": _prepare, "info": _info, "show": _show, "simulate": events_simulate.run}
    return run[options.kind](options)


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser("midframe events", description=__doc__, allow_abbrev=False)
    group = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    kinds = {
        name: group.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, text in KINDS.items()
    }
    one = kinds["prepare"]
    one.add_argument("source", type=Path, metavar="SOURCE", help=f"a folder or a file: {_FORMS}")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="where shards go")
    one.add_argument("--reader", default="auto", help=_READERS)
    one.add_argument("--workers", type=int, metavar="N", help="files at a time; default: cores")
    one = kinds["info"]
    one.add_argument("file", type=Path, metavar="FILE", help=_FORMS)
    one.add_argument("--reader", default="auto", help=_READERS)
    one.add_argument("--json", action="store_true", help="for programs")
    one = kinds["show"]
    one.add_argument("file", type=Path, metavar="FILE", help=_FORMS)
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the pictures")
    one.add_argument("--count", type=int, default=8, metavar="N", help="of frames; default: 8")
    one.add_argument(
        "--span", type=float, metavar="MS", help="of events around a frame; default: a frame's time"
    )
    one.add_argument("--reader", default="auto", help=_READERS)
    events_simulate.add_arguments(kinds["simulate"])
    return parser, kinds


def _prepare(options: argparse.Namespace) -> int:
    from midframe.cores import usable_cores
    from midframe.events.prepare import LIST, find_recordings, prepare
    from midframe.launch.progress import Progress

    found = find_recordings(options.source)
    workers = options.workers if options.workers is not None else usable_cores()
    workers = min(workers, len(found))
    with Progress("preparing", len(found), unit="recordings") as progress:
        try:
            outcomes = prepare(
                found,
                options.out,
                reader=options.reader,
                workers=workers,
                advance=progress.advance,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{progress.done} of {len(found)} recordings are prepared; the same command goes "
                "on there"
            ) from None
    good = [one for one in outcomes if one.about]
    for one in good:
        about = one.about or {}
        state = "prepared" if one.made else "was there already"
        print(
            f"{options.out / one.name}: {about['frames']} frames, {about['events']:,} events, "
            f"{about['width']}x{about['height']}, {state}"
        )
        for note in about["notes"]:
            print(f"  note: {note}")
    if good:
        command = advised("train", "data=events", f"data.root={options.out}")
        print(f"{options.out / LIST} lists them; use them:  {command} ...")
    bad = [one for one in outcomes if one.error]
    for one in bad:
        print(f"left out: {one.error}")
    if bad:
        raise UserError(
            f"{len(bad)} of {len(outcomes)} recordings could not be prepared, see above; the "
            "same command tries them again"
        )
    return 0


def _info(options: argparse.Namespace) -> int:
    from midframe.events.process import Process
    from midframe.events.sources import read_source
    from midframe.events.summary import lines, summarize

    with Process() as process:
        about = summarize(read_source(process, options.file, options.reader))
    print(json.dumps(about, indent=1) if options.json else "\n".join(lines(about)))
    return 0


def _show(options: argparse.Namespace) -> int:
    import numpy as np

    from midframe.data.io import write_image
    from midframe.events import draw
    from midframe.events.process import Process
    from midframe.events.sources import read_source

    if options.count < 1:
        raise UserError(f"--count {options.count}: give 1 or more")
    if options.span is not None and not 0.001 <= options.span <= 1e6:
        raise UserError(f"--span {options.span}: give milliseconds, such as 10")
    with Process() as process:
        read = read_source(process, options.file, options.reader)
    for note in read.notes:
        print(f"note: {note}")
    recording = read.recording
    span = None if options.span is None else max(round(options.span * 1000), 1)
    total = len(recording.times) or draw.moments(recording, span)
    chosen = np.unique(np.linspace(0, total - 1, min(options.count, total)).round().astype(int))
    for number in chosen.tolist():
        picture = draw.moment(recording, number, span)
        write_image(options.out / f"frame_{number:05d}.png", picture)
    write_image(options.out / RATE, draw.rate_plot(recording))
    what = "pictures of frames" if len(recording.times) else "pictures of events"
    print(f"{options.out}: {len(chosen)} {what}, and the rate of events in {RATE}")
    return 0
