"""Turn a run into weights to pass on: halved numbers, and a record of where they are from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midframe.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midframe.launch.run_records import RunRecord

METRICS_OF = (
    "the checkpoint that the last stage kept (its sha256 is there), before its numbers were "
    "halved; the sha256 above is that of the file beside this record"
)
_STAGES = 16  # trainings that one can begin with another's weights
# Settings that a training's result depends on, besides what a stage names itself.
_RECIPE = (
    "data.layout.",
    "data.augment.",
    "data.times",
    "data.targets",
    "data.global_batch",
    "loss.",
    "optimizer.build.",
    "optimizer.schedule.",
    "teacher.",
    "callbacks.ema.",
    "trainer.precision",
    "trainer.max_steps",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_val",
    "trainer.deterministic",
    "channels_last",
    "compile",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe release`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run directory")
    parser.add_argument(
        "--to", metavar="FOLDER", type=Path, default=Path(), help="default: this folder"
    )
    parser.add_argument("--name", help="of the two files; default: that of the model")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--licence", default="MIT", help="of the weights; default: MIT")
    parser.add_argument(
        "--credit",
        action="append",
        default=[],
        metavar="TEXT",
        help="whom to name for the data; as often as needed",
    )
    parser.add_argument(
        "--results",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="what midframe evaluate wrote of this run, for the record; as often as needed",
    )


def run(args: argparse.Namespace) -> int:
    """Write NAME.safetensors and NAME.json.

    Raises:
        UserError: for what is no run, has no weights, or was measured with other ones; for files
            that are there already, and for a place or a name that takes none.
    """
    import torch
    from safetensors.torch import save

    from midframe.files import sha256_of
    from midframe.launch import output
    from midframe.models import averaged, zoo

    config, path = _run(args.run)
    name = _name(config["name"] if args.name is None else args.name)
    file = args.to.expanduser() / f"{name}.safetensors"
    if not args.overwrite and (file.exists() or file.with_suffix(".json").exists()):
        raise UserError(f"{file} is there already; give another --name, or add --overwrite")
    known = stages(args.run, path)
    model = zoo.build({**config, "weights": path})
    metrics = _measured(args.results, sha256_of(path))
    halved = _halved(model)
    config = {key: config[key] for key in ("name", "net", "hints") if config.get(key)}
    _make_folder(file.parent)
    ema = averaged.is_averaged(path)
    said = {"format": "pt", "midframe": name, averaged.KEY: str(ema).lower()}
    kept = known[-1]["kept"]
    said |= {key: str(kept[key]) for key in ("checkpoint", "step") if kept is not None}
    output.write(file, save(halved, said))
    with torch.no_grad():
        change = _change(model, halved)
    record = {
        "model": config,
        "sha256": sha256_of(file),
        "bytes": file.stat().st_size,
        averaged.KEY: ema,
        "parameters": sum(x.numel() for x in model.parameters()),
        "halving_changes": change,
        "licence": args.licence,
        "credits": args.credit,
        "metrics": metrics,
        "metrics_of": METRICS_OF,
        "stages": known,
    }
    output.write(file.with_suffix(".json"), (json.dumps(record, indent=1) + "\n").encode())
    kept = "the moving average (EMA) that the training kept" if ema else "as trained, not averaged"
    print(f"weights: {kept}; {file.stat().st_size / 1e6:.2f} MB")
    return 0


def _run(folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the model that a run trained, and the checkpoint that counts.

    Raises:
        UserError: for a folder that is none of a run.
    """
    from midframe.models.of_run import model_of_run
    from midframe.models.weights import BEST, LAST, find_weights

    folder = folder.expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is no run directory: there is no such folder")
    if not any((folder / name).is_file() for name in (BEST, LAST)):
        raise UserError(f"{folder} is no run directory: there is no {BEST} or {LAST} in it")
    config, path = model_of_run(folder), find_weights(folder)
    if config is None or path is None:
        raise UserError(f"{folder} is no run directory: there is no config.yaml with a model")
    return config, path


def _name(text: str) -> str:
    """Return what the files are called; `UserError` for what would lie elsewhere."""
    plain = text == Path(text).name and "\\" not in text and text.isprintable()
    if not text or not plain or text.startswith("."):
        raise UserError(f"--name {text!r}: give a name without folders; --to says where it lies")
    return text


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"--to {folder}: it is a file; give a folder") from error
    except OSError as error:
        raise UserError(f"--to {folder}: no folder can be made: {error.strerror}") from error


def _halved(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights with half-precision numbers; `UserError` if one is too large for that."""
    state = model.state_dict()
    halved = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    for key, value in halved.items():
        if not bool(value.isfinite().all()):
            raise UserError(f"{key} holds a number that half precision has not, or is not finite")
    return halved


def _change(model: nn.Module, halved: Mapping[str, Tensor]) -> float | None:
    """Return how far a frame moves at most, range [0, 1], when numbers are halved.

    None of models that need more than frames.
    """
    import torch

    from midframe.models.base import Interpolator
    from midframe.types import Inputs

    assert isinstance(model, Interpolator)
    model.eval()
    noise = torch.rand(1, 2 * model.context, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    frames = torch.nn.functional.interpolate(noise.flatten(0, 1), (128, 128), mode="bicubic")
    x = Inputs(frames.clamp(0, 1)[None], torch.tensor([[0.5]]))
    if model.needs:
        return None
    before = model.interpolate(x).frame
    model.load_state_dict(halved)
    return float((model.interpolate(x).frame - before).abs().max())


def stages(folder: Path, kept: Path | None) -> list[dict[str, Any]]:
    """Return what is known of a run and of those that it began with, the first one first.

    Args:
        folder: of the run; the next one is that of the weights it was given.
        kept: its checkpoint whose weights are released; None where that is not known.
    """
    from midframe.files import sha256_of
    from midframe.launch.run_records import RunRecord

    found: list[dict[str, Any]] = []
    while len(found) < _STAGES:
        one = RunRecord.read(folder)
        found.insert(0, _stage(one, kept))
        config = one.config()
        weights = config.get("weights") or config.get("model.weights")
        before = Path(str(weights)).expanduser() if weights else None
        if before is not None and before.is_file():
            before = before.parent
        if before is None or not (before / "run.json").is_file():
            return found
        folder, began = before, one.record.get("weights_sha256")
        # which of its checkpoints the next one began with; another file is there by now, or none
        there = (path for path in sorted(folder.glob("*.ckpt")) if path.is_file())
        kept = next((path for path in there if sha256_of(path) == began), None)
    return found


def _kept(path: Path | None, batch: int) -> dict[str, Any] | None:
    """Return where in its training a checkpoint is from; None where nobody knows any more."""
    import torch

    from midframe.files import sha256_of

    if path is None:
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        step = int(content["global_step"])
    except Exception:  # as many types as there are kinds of damage; who loads weights tells of it
        return None
    return {
        "checkpoint": path.name,
        "step": step,
        "samples": step * batch,
        "sha256": sha256_of(path),
    }


def _stage(one: RunRecord, kept: Path | None) -> dict[str, Any]:
    """Return what is known of one training: all of it, and in ``kept`` how far its weights went."""
    record, config = one.record, one.config()
    batch = int(config.get("data.global_batch") or 0)
    steps = int(record.get("steps") or 0)
    hardware = record.get("hardware") or {}
    return {
        "command": _command(record.get("command") or []),
        "data": config.get("data.name"),
        "data_fingerprint": record.get("data"),
        "steps": steps,
        "samples": steps * batch,
        "kept": _kept(kept, batch),
        "crop": config.get("data.crop"),
        "hours": round(sum(map(_hours, record.get("starts") or [])), 4),
        "hardware": {key: hardware.get(key) for key in ("processor", "usable_cores", "gpus")},
        "threads": config.get("trainer.threads"),
        "revision": record.get("revision"),
        "versions": record.get("versions"),
        "seeds": record.get("seeds"),
        "started": record.get("started"),
        "ended": record.get("ended"),
        "curve": {name: _by_steps(one.curves.get(name, {})) for name in ("val/psnr", "val/ssim")},
        "average": (record.get("metrics") or {}).get("val/psnr_average"),
        "recipe": {
            key: _elsewhere(value) if isinstance(value, str) else value
            for key, value in config.items()
            if key.startswith(_RECIPE)
        },
    }


def _command(words: Sequence[object]) -> str:
    """Return a command line as it is on another machine: where runs lie there is its own matter."""
    kept = (str(word) for word in words if not str(word).startswith("paths."))
    return " ".join("=".join(map(_elsewhere, word.split("=", 1))) for word in kept)


def _elsewhere(text: str) -> str:
    """Return a path of this machine as DIR and its last part, and any other text as it is."""
    path = Path(text).expanduser()
    return f"DIR/{path.name}" if path.is_absolute() else text


def _by_steps(curve: Mapping[int, float]) -> dict[int, float]:
    """Return a curve by the number of steps that were taken; metrics.csv counts from 0."""
    return {step + 1: round(value, 4) for step, value in curve.items()}


def _hours(start: Mapping[str, Any]) -> float:
    """Return how long one start of a run lasted; 0 where its end is not known."""
    try:
        began, ended = (datetime.fromisoformat(start[key]) for key in ("time", "ended"))
    except (KeyError, TypeError, ValueError):
        return 0.0
    return (ended - began).total_seconds() / 3600


def _measured(folders: list[Path], sha256: str) -> dict[str, Any]:
    """Return by protocol the means that were measured with these weights."""
    from midframe.report.finding import read

    found: dict[str, Any] = {}
    for entry in read(folders)[0] if folders else []:
        if entry.facts.get("weights_sha256") == sha256:
            found[entry.rules.id] = {"images": entry.total.images, **entry.total.mean}
    if folders and not found:
        raise UserError(
            f"{', '.join(map(str, folders))}: nothing there was measured with the weights of this "
            "run (their SHA-256 differs); evaluate it again"
        )
    return found
