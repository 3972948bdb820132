"""The ``midframe`` command. Each subcommand imports only what it needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple


def _train(args: list[str]) -> int:
    from midframe.engine import stopping

    stopping.hold()  # until the imports are done
    from midframe.launch.tasks import train_main

    return train_main(args)


def _evaluate(args: list[str]) -> int:
    from midframe.launch.evaluate import main

    return main(args)


def _check(args: list[str]) -> int:
    from midframe.launch.check import main

    return main(args)


def _pack(args: list[str]) -> int:
    from midframe.launch.pack import run

    return run(args)


def _labels(args: list[str]) -> int:
    from midframe.launch.labels import run

    return run(args)


def _interpolate(args: list[str]) -> int:
    from midframe.launch import entry, interpolate

    return _parsed("interpolate", interpolate, args, entry.guarded, mixed=True)


def _serve(args: list[str]) -> int:
    from midframe.launch import guard, serve

    return _parsed("serve", serve, args, guard.guarded)


def _events(args: list[str]) -> int:
    from midframe.launch import events

    return events.main(args)


def _models(args: list[str]) -> int:
    from midframe.launch import entry
    from midframe.launch.models import show

    return entry.guarded(lambda: show(args))


def _compress(args: list[str]) -> int:
    from midframe.launch import compress, entry

    return _parsed("compress", compress, args, entry.guarded)


def _export(args: list[str]) -> int:
    from midframe.launch import entry, export

    return _parsed("export", export, args, entry.guarded)


def _fetch(args: list[str]) -> int:
    from midframe.launch import entry, fetch

    return _parsed("fetch", fetch, args, entry.guarded)


def _release(args: list[str]) -> int:
    from midframe.launch import entry, release

    return _parsed("release", release, args, entry.guarded)


def _options(args: list[str]) -> int:
    from midframe.launch import guard, options

    return _parsed("options", options, args, guard.guarded)


def _bench(args: list[str]) -> int:
    from midframe.launch import bench, guard

    guarded = guard.guarded
    if args[:1] == ["train"]:  # the only one that composes; PyTorch may be all there is
        from midframe.launch.entry import guarded
    return _parsed("bench", bench, args, guarded)


def _doctor(args: list[str]) -> int:
    from midframe.launch import doctor, guard

    return _parsed("doctor", doctor, args, guard.guarded)


def _compare(args: list[str]) -> int:
    from midframe.launch.compare import main

    return main(args)


def _speed(args: list[str]) -> int:
    from midframe.launch.speed import main

    return main(args)


def _report(args: list[str]) -> int:
    from midframe.launch.report import main

    return main(args)


def _runs(args: list[str]) -> int:
    from midframe.launch import guard, runs_command

    return _parsed("runs", runs_command, args, guard.guarded)


def _parsed(
    name: str,
    module: ModuleType,
    args: Sequence[str],
    guarded: Callable[[Callable[[], object]], int],
    mixed: bool = False,
) -> int:
    """Run a command that declares its options with argparse; ``mixed``: between its words too."""
    parser = argparse.ArgumentParser(f"midframe {name}", description=module.__doc__)
    module.add_arguments(parser)
    options = parser.parse_intermixed_args(args) if mixed else parser.parse_args(args)
    return guarded(lambda: module.run(options))


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        run: takes the words behind its name and returns the exit code.
        arguments: what may follow its name.
        purpose: a line or two for the usage.
    """

    run: Callable[[list[str]], int]
    arguments: str
    purpose: str


OVERRIDES = "[OVERRIDES]"
COMMANDS = {
    "train": Command(
        _train,
        OVERRIDES,
        "train a model: midframe train model=ifrnet data=vimeo data.root=DIR",
    ),
    "evaluate": Command(
        _evaluate,
        OVERRIDES,
        "measure a model: midframe evaluate model=dis benchmark=middlebury",
    ),
    "compare": Command(
        _compare,
        "A B",
        "is one model really better? two results of evaluate, image by image",
    ),
    "report": Command(
        _report,
        "RESULTS ... --out DIR",
        "results as one page: tables, paper against measured, plots, pictures",
    ),
    "speed": Command(
        _speed,
        OVERRIDES,
        "what a model costs: midframe speed model=upr size=[448x256,1280x720]",
    ),
    "check": Command(
        _check,
        OVERRIDES,
        "find config errors of a training run without running it",
    ),
    "runs": Command(
        _runs,
        "[DIR]",
        "list runs and sweeps: state, best metric, duration; or compare A B",
    ),
    "interpolate": Command(
        _interpolate,
        "INPUT OUTPUT",
        "put frames into a video, or between two pictures (A B --out DIR):\n"
        "[--factor 8] [--fps 60] [--slow-motion 4] [--weights FILE]",
    ),
    "serve": Command(
        _serve,
        "[--port N]",
        "a page on this machine: drop a clip, watch before and after",
    ),
    "fetch": Command(
        _fetch,
        "open",
        "download films and photographs that anyone can get, for data=open\nand data=synthetic",
    ),
    "pack": Command(
        _pack,
        OVERRIDES,
        "turn a data set into shards: midframe pack data=vimeo",
    ),
    "labels": Command(
        _labels,
        OVERRIDES,
        "write flow labels: midframe labels data=vimeo teacher=liteflownet\nteacher.weights=FILE",
    ),
    "events": Command(
        _events,
        "KIND",
        "recordings of event cameras: prepare, info, show, simulate",
    ),
    "compress": Command(
        _compress,
        "RUN --out FILE",
        "derive a narrower network from a sparse one: conf/model/NAME.yaml\n[--transfer FILE]",
    ),
    "export": Command(
        _export,
        "MODEL",
        "a model for other programs: midframe export ifrnet --weights FILE\n"
        "[--format onnx|pt2|ncnn] [--size HxW|dynamic]",
    ),
    "release": Command(
        _release,
        "RUN",
        "weights to pass on, with a record: midframe release RUN [--to FOLDER]",
    ),
    "models": Command(
        _models,
        "[NAME ...]",
        "list the models and what is known about them; --measure what they cost",
    ),
    "options": Command(
        _options,
        "[GROUP]",
        "list every choice of every config group: midframe options experiment",
    ),
    "bench": Command(
        _bench,
        "KIND",
        "measure speed: train, infer, data, ops, video ...; JSON with ratios",
    ),
    "doctor": Command(
        _doctor,
        "[--json]",
        "what is installed, which code runs the operators, what to mend",
    ),
}


def _usage() -> str:
    lines = ["usage: midframe COMMAND ...", ""]
    for name, command in COMMANDS.items():
        first, *more = command.purpose.split("\n")
        lines.append(f"  {f'{name} {command.arguments}':<26}  {first}")
        lines += [f"{'':30}{line}" for line in more]
    about = "OVERRIDES are Hydra's: group=choice, key=value, ~key;"
    return "\n".join([*lines, "", f"{about} `midframe train --help` shows the groups."])


USAGE = _usage()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if args[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"midframe {version('midframe')}")
        return 0
    if args[0] not in COMMANDS and "LOCAL_RANK" in os.environ:
        args.insert(0, "train")  # the trainer starts its other ranks with the overrides alone
    if args[0] not in COMMANDS:
        print(f"error: no command {args[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return COMMANDS[args[0]].run(args[1:])


if __name__ == "__main__":
    sys.exit(main())
