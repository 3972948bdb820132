"""The ``midframe`` command. Each subcommand imports only what it needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

USAGE = """usage: midframe COMMAND ...

  train [OVERRIDES]           train a model: midframe train model=ifrnet data=vimeo data.root=DIR
  evaluate [OVERRIDES]        measure a model: midframe evaluate model=dis benchmark=middlebury
  check [OVERRIDES]           find config errors of a training run without running it
  interpolate A.png B.png --out DIR [--factor 8] [--model NAME] [--weights FILE]
  pack [OVERRIDES]            turn a data set into shards: midframe pack data=vimeo
  labels [OVERRIDES]          write flow labels: midframe labels data=vimeo teacher=liteflownet
                              teacher.weights=FILE
  models                      list the models and what is known about them
  options [GROUP]             list every choice of every config group: midframe options experiment
  bench train|infer|data|ops  measure speed; prints JSON with ratios
  doctor [--json]             what is installed, which code runs the operators, what to mend

OVERRIDES are Hydra's: group=choice, key=value, ~key; `midframe train --help` shows the groups."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": _train,
        "evaluate": _evaluate,
        "check": _check,
        "interpolate": _interpolate,
        "pack": _pack,
        "labels": _labels,
        "models": _models,
        "options": _options,
        "bench": _bench,
        "doctor": _doctor,
    }
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if args[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"midframe {version('midframe')}")
        return 0
    if args[0] not in commands and "LOCAL_RANK" in os.environ:
        args.insert(0, "train")  # the trainer starts its other ranks with the overrides alone
    if args[0] not in commands:
        print(f"error: no command {args[0]!r}; there are {', '.join(commands)}", file=sys.stderr)
        return 2
    return commands[args[0]](args[1:])


def _train(args: list[str]) -> int:
    from midframe.launch.tasks import train_main

    return train_main(args)


def _evaluate(args: list[str]) -> int:
    from midframe.launch.evaluate import main as evaluate

    return evaluate(args)


def _check(args: list[str]) -> int:
    from midframe.launch.check import main as check

    return check(args)


def _pack(args: list[str]) -> int:
    from midframe.launch.pack import run as pack

    return pack(args)


def _labels(args: list[str]) -> int:
    from midframe.launch.labels import run as labels

    return labels(args)


def _interpolate(args: list[str]) -> int:
    from midframe.launch import entry, interpolate

    parser = argparse.ArgumentParser("midframe interpolate", description=interpolate.__doc__)
    interpolate.add_arguments(parser)
    options = parser.parse_args(args)
    return entry.guarded(lambda: interpolate.run(options))


def _models(args: list[str]) -> int:
    from midframe.launch import entry
    from midframe.launch.models import show

    return entry.guarded(lambda: show(args))


def _options(args: list[str]) -> int:
    from midframe.launch import guard, options

    parser = argparse.ArgumentParser("midframe options", description=options.__doc__)
    options.add_arguments(parser)
    chosen = parser.parse_args(args)
    return guard.guarded(lambda: options.run(chosen))


def _bench(args: list[str]) -> int:
    from midframe.launch import bench, guard

    parser = argparse.ArgumentParser("midframe bench", description=bench.__doc__)
    bench.add_arguments(parser)
    options = parser.parse_args(args)
    if options.kind == "ops":  # where PyTorch is all there is, as on a borrowed GPU
        return guard.guarded(lambda: bench.run(options))
    from midframe.launch import entry

    return entry.guarded(lambda: bench.run(options))


def _doctor(args: list[str]) -> int:
    from midframe.launch import doctor, guard

    parser = argparse.ArgumentParser("midframe doctor", description=doctor.__doc__)
    doctor.add_arguments(parser)
    options = parser.parse_args(args)
    return guard.guarded(lambda: doctor.run(options))


if __name__ == "__main__":
    sys.exit(main())
