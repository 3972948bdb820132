"""A page on this machine: drop a clip, choose a model and a factor, watch before and after.

It is for this machine alone, and only under the address that is printed. Over SSH, forward its
port: ssh -L 8420:127.0.0.1:8420 HOST.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from midframe.errors import UserError

LOOPBACK = "127.0.0.1"
PORT = 8420
_PREFIX = "midframe-serve-"
_SETTLED = 60.0  # seconds after which the folder of a server is locked, if that is alive
_PARTING = 1.0  # seconds for what is being sent at the end
_TITLES = {
    "dis": "DIS optical flow",
    "dis_refined": "DIS optical flow, refined",
    "average": "Average of both frames",
}
_NOTES = {
    "dis": "Classical optical flow, on the processor; needs no weights.",
    "dis_refined": "A small network chooses from what classical flow gives; runs on the processor.",
    "average": "A blend without motion: to see what the others are worth.",
}
_FIRST = ("dis_refined", "dis")  # of those that need no weights to be given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe serve`."""
    parser.add_argument(
        "--port", type=int, metavar="N", help=f"default: {PORT}, or any free one if it is taken"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[MODEL=]RUN",
        help="also offer a trained model: a run directory, or MODEL=CHECKPOINT; several times",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=500,
        metavar="MB",
        help="that a clip may have (default %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=30,
        metavar="N",
        help="that one job may take (default %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; `UserError` for what the user can mend."""
    for name in ("limit", "minutes"):
        if not 0 < getattr(args, name) < 1e6:
            raise UserError(f"--{name} {getattr(args, name):g}: give a number above 0")
    if args.port is not None and not 0 <= args.port < 1 << 16:
        raise UserError(f"--port {args.port}: give a number from 1 to 65535, or 0 for any free one")
    _look_for_server()
    from midframe.launch.inference import resolve_device

    resolve_device(args.device)  # an unknown one is told now
    offered = choices(args.weights, args.device)
    with _listening(args.port) as listening, _folder() as folder:
        asyncio.run(_serve(args, offered, listening, folder))
    return 0


def choices(weights: list[str], device: str) -> dict[str, Any]:
    """Return the models that can be offered: given with weights, shipped with them, without any.

    Args:
        weights: run directories, or MODEL=FILE.
        device: where those run that learn.

    Raises:
        UserError: for weights that are not there, of no known model, or of one that needs more
            than frames, or that do not load.
    """
    from midframe.models import shipped, zoo
    from midframe.serve.records import Choice

    found: dict[str, Any] = {}
    for number, text in enumerate(weights):
        name, path, config = _trained(text)
        _check_needs(name, zoo.check_config(config).needs, text)
        _check_weights(config, path)
        words = ["--weights", str(path.absolute()), "--device", device]
        words += ["--model", name] if text.startswith(f"{name}=") else []
        found[f"weights-{number}"] = Choice(name, f"Weights: {path.name or path}.", words)
    rest = (name for name in sorted(zoo.list_models()) if name not in _FIRST)
    for name in (*_FIRST, *rest):
        with suppress(UserError):  # of what is broken `midframe models` tells
            config = zoo.config_of(name)
            model = zoo.check_config(config)
            if not model.needs and (not model.trainable or shipped.record_for(config)):
                _check_weights(config, None)
                note = _NOTES.get(name, str((config.get("info") or {}).get("paper", "")))
                words = ["--device", device] if model.trainable else []
                found[name] = Choice(_TITLES.get(name, name), note, ["--model", name, *words])
    return found


def _trained(text: str) -> tuple[str, Path, dict[str, Any]]:
    """Return the name, the weights and the config of a model that was given with weights."""
    from midframe.launch.inference import as_trained
    from midframe.models import zoo

    name, mark, rest = text.partition("=")
    named = bool(mark) and name in zoo.list_models()
    path = Path(rest if named else text).expanduser()
    if not path.exists():
        raise UserError(f"--weights {text}: no such file or folder")
    if named:
        return name, path, zoo.config_of(name)
    with redirect_stdout(sys.stderr):
        config = as_trained(path, None)
    if config is None:
        raise UserError(
            f"--weights {text}: only a run directory knows its model; give MODEL={text}"
        )
    return config["name"], path, config


def _check_needs(name: str, needs: frozenset[str], text: str) -> None:
    lacking = sorted(set(needs) - {"motion"})
    if lacking:
        raise UserError(f"--weights {text}: model {name} needs {', '.join(lacking)}, not a clip")


def _check_weights(config: dict[str, Any], path: Path | None) -> None:
    """Load a model as its jobs will, but for the device: what does not fit is told now."""
    import torch

    from midframe.launch.inference import load_model

    with redirect_stdout(sys.stderr):
        weights, device = None if path is None else str(path), torch.device("cpu")
        load_model(config, weights, device, option="--weights ", mend="give its run alone")


def _look_for_server() -> None:
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        raise UserError("midframe serve needs aiohttp: pip install aiohttp") from error


@contextmanager
def _listening(port: int | None) -> Iterator[socket.socket]:
    """Give a socket that listens on this machine alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((LOOPBACK, PORT if port is None else port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            if port is not None:
                raise UserError(f"--port {port}: {error.strerror}; give another") from error
            one.bind((LOOPBACK, 0))
        one.listen(64)
        yield one


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder for clips, which is gone afterwards; those of killed servers go as well."""
    from midframe.launch import locks

    top = Path(tempfile.gettempdir())
    for old in top.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = old.lstat()
            mine = status.st_uid == os.getuid() and old.is_dir() and not old.is_symlink()
            if mine and time.time() - status.st_mtime > _SETTLED and not locks.is_held(old):
                shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = locks.take(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.close()


async def _serve(
    args: argparse.Namespace, offered: dict[str, Any], listening: socket.socket, folder: Path
) -> None:
    import secrets

    from midframe.serve.app import build
    from midframe.serve.connections import answered
    from midframe.serve.jobs import Desk
    from midframe.serve.records import Limits
    from midframe.serve.uploads import MEGABYTE

    limits = Limits(bytes=round(args.limit * MEGABYTE), job=args.minutes * 60)
    command = [sys.executable, "-m", "midframe.launch.serve_job"]
    token = secrets.token_urlsafe(24)
    ended = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) is not signal.SIG_IGN:  # as nohup has it
            asyncio.get_running_loop().add_signal_handler(one, ended.set)
    app = build(Desk(folder, command, offered, limits), token)
    async with answered(app, listening, limits, _PARTING):
        print(f"http://{LOOPBACK}:{listening.getsockname()[1]}/{token}/")
        print("open this address in a browser on this machine; Ctrl-C ends it", flush=True)
        await ended.wait()
        print("ending", flush=True)
