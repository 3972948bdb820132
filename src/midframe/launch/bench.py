"""Measure speed on this machine: sides taken in turns in one run, as JSON with ratios."""

from __future__ import annotations

import argparse
import json
from typing import Any

from midframe.launch import arguments, bench_anytime, bench_events, bench_ops, bench_video


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe bench`."""
    kinds = parser.add_subparsers(dest="kind", required=True)
    train = kinds.add_parser("train", help="a training step here against a bare loop")
    train.add_argument("--model", default="ifrnet_s")
    train.add_argument("--batch", type=int, default=4)
    train.add_argument("--size", type=int, default=224)
    train.add_argument("--steps", type=int, default=30)
    train.add_argument(
        "--compile", action="store_true", help="instead: the step eager and through torch.compile"
    )
    train.add_argument("--threads", type=int, help="with --compile")
    infer = kinds.add_parser("infer", help="inference in float32, channels_last and bfloat16")
    infer.add_argument("--model", default="ifrnet_s")
    infer.add_argument("--size", default="448x256", help="WIDTHxHEIGHT")
    infer.add_argument("--weights", metavar="FILE", help="trained weights, for PSNR by precision")
    infer.add_argument("--root", metavar="DIR", help="Middlebury's folder: adds PSNR by precision")
    infer.add_argument("--rounds", type=int, default=10)
    infer.add_argument("--threads", type=int)
    infer.add_argument("--compile", action="store_true", help="add torch.compile (minutes more)")
    anytime = kinds.add_parser("anytime", help="one call for many times against a call for each")
    bench_anytime.add_arguments(anytime)
    data = kinds.add_parser("data", help="samples per second from PNG files and from shards")
    data.add_argument("--triplets", type=int, default=120)
    data.add_argument(
        "--need", type=float, metavar="N", help="samples per second: how many cores give them"
    )
    events = kinds.add_parser("events", help="events into bins against the plain form")
    bench_events.add_arguments(events)
    video = kinds.add_parser("video", help="conversions, the bare model, and ffmpeg's filter")
    bench_video.add_arguments(video)
    ops = kinds.add_parser("ops", help="the operators: every backend, the usual forms, the limits")
    bench_ops.add_arguments(ops)


def run(args: argparse.Namespace) -> None:
    """Run one benchmark and print its JSON."""
    if args.kind == "ops":
        bench_ops.run(args)
        return
    if args.kind == "anytime":
        bench_anytime.run(args)
        return
    if args.kind == "video":
        bench_video.run(args)
        return
    if args.kind == "events":
        bench_events.run(args)
        return
    print(json.dumps(_measure(args), indent=1))


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    if args.kind == "train" and args.compile:
        from midframe.speed.compile import bench_compile

        rounds, threads = args.steps, args.threads
        return bench_compile(args.model, args.batch, args.size, rounds=rounds, threads=threads)
    if args.kind == "train":
        from midframe.engine.speed import bench_train
        from midframe.launch.tasks import quiet

        quiet()
        return bench_train(args.model, args.batch, args.size, args.steps)
    if args.kind == "infer":
        from midframe.models.weights import find_weights
        from midframe.speed.infer import bench_infer

        return bench_infer(
            args.model,
            size=arguments.size(args.size),
            weights=find_weights(args.weights),
            rounds=args.rounds,
            threads=args.threads,
            compile=args.compile,
            root=args.root,
        )
    from midframe.speed.data import bench_data

    return bench_data(args.triplets, need=args.need)
