"""Write a model as a file that runs without midframe: ONNX, torch.export's .pt2, or ncnn.

What was written is run and compared with PyTorch before it gets its name.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midframe.errors import UserError
from midframe.plain_text import in_words

if TYPE_CHECKING:
    from midframe.export.make import Made, Wanted

_FORMATS = ("onnx", "pt2", "ncnn")  # `midframe.export.facts.FORMATS`, without importing PyTorch
_DYNAMIC = "dynamic"
_ROUNDS = 10
_SIDE, _PIXELS = 1 << 14, 1 << 26  # of a size: twice and more than any film has


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe export`."""
    forms = ("MODEL [options]", "--table FILE [MODEL ...]")
    parser.usage = "\n       ".join(f"%(prog)s {form}" for form in forms)
    parser.add_argument("model", nargs="*", metavar="MODEL", help="see `midframe models`")
    parser.add_argument("--format", choices=_FORMATS, default="onnx", help="default: onnx")
    parser.add_argument(
        "--size",
        metavar="HxW|dynamic",
        default=_DYNAMIC,
        help="height and width of the frames it takes, as tensors have them, such as 256x448; "
        "default: dynamic, any size (not of ncnn)",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="a checkpoint, a run directory, or none for untrained"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: MODEL-SIZE.FORMAT, of averaged weights (EMA) MODEL-SIZE.ema.FORMAT; of ncnn "
        "a folder",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-3,
        help="largest difference to PyTorch, of values in [0, 1]; default: 0.001",
    )
    parser.add_argument(
        "--hint",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option that every call shall have, such as pyr_level=5; as often as needed",
    )
    parser.add_argument(
        "--bench",
        action="store_true",
        help="time the file against PyTorch afterwards, in turns",
    )
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="export every MODEL, or all, in every format, and rewrite the table in this text",
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="with --table: keep its rows, and go on with them"
    )


def run(args: argparse.Namespace) -> int:
    """Export as the options say; `UserError` for what the user can mend."""
    if args.table is not None:
        return _table(args)
    if len(args.model) != 1:
        raise UserError("name one model: midframe export MODEL --weights FILE")
    size = _size(args.size)
    out = args.out or _default_name(args)
    if out.suffix != f".{args.format}":
        raise UserError(f"--out {out}: the name ends with .{args.format}, by which it is read")
    if out.exists() and not args.overwrite:
        raise UserError(f"{out} is there already; give another name, or add --overwrite")
    if not args.tolerance > 0:
        raise UserError(f"--tolerance {args.tolerance}: give a number above 0, such as 0.001")
    from midframe.export.make import make

    wanted = _wanted(args, size)
    try:
        made = make(wanted, out, _tell)
    except BrokenPipeError:  # of what is told meanwhile
        raise
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from error
    _show(wanted, made, out)
    if args.bench:
        _bench(wanted, made, out)
    return 0


def _default_name(args: argparse.Namespace) -> Path:
    from midframe.models import zoo
    from midframe.models.averaged import AVERAGED, is_averaged
    from midframe.models.weights import weights_to_use

    path = weights_to_use(args.weights, zoo.config_of(args.model[0]))
    ema = AVERAGED if path is not None and is_averaged(path) else ""
    return Path(f"{args.model[0]}-{args.size.lower()}{ema}.{args.format}")


def _size(text: str) -> tuple[int, int] | None:
    from midframe.launch.arguments import size

    if text.lower() == _DYNAMIC:
        return None
    height, width = size(text, form="HEIGHTxWIDTH, such as 256x448")
    if max(height, width) > _SIDE or height * width > _PIXELS:
        raise UserError(
            f"--size {text[:40]}: give a height and a width of {_SIDE} at most, and no more than "
            f"{_PIXELS // 10**6} million pixels"
        )
    return width, height


def _wanted(args: argparse.Namespace, size: tuple[int, int] | None) -> Wanted:
    import torch

    from midframe.export.make import USUAL, Wanted, network
    from midframe.files import sha256_of
    from midframe.launch.inference import as_trained, load_model
    from midframe.models import zoo
    from midframe.models.averaged import is_averaged
    from midframe.models.weights import weights_to_use

    (name,) = args.model
    config = as_trained(args.weights, name) or zoo.config_of(name)
    hints = _hints(args.hint, config)
    # its graph reads motion, so who makes it does not matter
    config = {key: value for key, value in config.items() if key != "motion"}
    words = {"option": "--weights ", "mend": f"export the model of the run, not {name}"}
    model = load_model(config, args.weights, torch.device("cpu"), **words)
    path = weights_to_use(args.weights, config)
    options = {key: value for key, value in config["net"].items() if key != "_target_"}
    wanted = Wanted(
        network(model),
        name,
        args.format,
        size,
        hints,
        args.tolerance,
        options,
        None if path is None else sha256_of(path),
        path is not None and is_averaged(path),
    )
    _check_values(wanted)
    usual, large = wanted.model.hints_for(256, 448), wanted.model.hints_for(2160, 4096)
    if size is None and usual != large and not hints:
        told = ", ".join(f"{key}={value}" for key, value in usual.items())
        usual_size = in_words(USUAL)
        print(f"note: {told} at every size, as for {usual_size}; --hint gives another choice")
    return wanted


def _hints(words: Sequence[str], config: dict[str, Any]) -> dict[str, Any]:
    import yaml

    from midframe.models import zoo
    from midframe.nodes import check_hints

    found = {}
    for word in words:
        key, mark, value = word.partition("=")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            mark = ""
        if not mark or not key or not isinstance(found.get(key), (int, float, str, bool)):
            raise UserError(f"--hint {word}: give NAME=VALUE, such as pyr_level=5")
    check_hints(zoo.check_config(config), found, f"--hint: model {config['name']}")
    return found


def _check_values(wanted: Wanted) -> None:
    """Raise `UserError` for values of --hint that the model cannot take."""
    try:
        wanted.model.padding(**wanted.all_hints)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"--hint: {error}") from error


def _show(wanted: Wanted, made: Made, out: Path) -> None:
    facts = made.facts
    for one in made.differences:
        print(f"{in_words(one.size)}, t = {one.t:g}: max {one.greatest:.2g}, mean {one.mean:.2g}")
    size = "any size" if facts.size is None else in_words(facts.size)
    print(
        f"{out}: {wanted.name} for {size}; it differs from PyTorch by {facts.error:.2g} at most "
        f"(allowed: {facts.tolerance:g}), {facts.mean_error:.2g} on average"
    )
    print(f"inputs {', '.join(facts.inputs)}; frames are padded to multiples of {facts.multiple}")
    if facts.averaged:
        print("weights: the moving average (EMA) that the training kept, not its last ones")
    elif facts.weights_sha256 is not None:
        print("weights: as they stand in the file, which keeps no average (EMA) of a training")


def _bench(wanted: Wanted, made: Made, out: Path) -> None:
    """Print how long a frame takes in both, and the ratio by turns."""
    from statistics import median

    from midframe.export.engine import load_engine
    from midframe.export.make import USUAL
    from midframe.export.verify import moving
    from midframe.speed.turns import ratio, turns

    size, hints = wanted.size or USUAL, dict(made.facts.hints)
    model, engine = wanted.model, load_engine(out)
    x = moving(model, size)
    calls = {
        "PyTorch": lambda: model.interpolate(x, **hints),
        wanted.format: lambda: engine.interpolate(x),
    }
    turns(calls, 2)
    wall, _ = turns(calls, _ROUNDS)
    told = ", ".join(f"{name} {1000 * median(times):.1f} ms" for name, times in wall.items())
    faster = ratio(wall, "PyTorch", wanted.format)
    print(f"{in_words(size)} on the CPU: {told}; {wanted.format} is {faster:.2f} times as fast")


def _tell(line: str) -> None:
    print(line, flush=True)


def _table(args: argparse.Namespace) -> int:
    from midframe.export import table
    from midframe.launch.output import put_table
    from midframe.models import zoo

    names = args.model or zoo.list_models()
    for name in names:
        zoo.config_of(name)  # tells of unknown ones before the work
    rows = table.measured(names, args.save, args.tolerance, _tell)
    put_table(args.table, table.MARKERS, table.markdown(rows), table.HEADING)
    return 0
