"""Write the config of a narrower network, with widths from what is zero in a trained one."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midframe.errors import UserError

if TYPE_CHECKING:
    from midframe.engine.compress import Change
    from midframe.models.base import Interpolator

_NAME = re.compile(r"[A-Za-z]\w*")
_SUFFIXES = (".pth", ".pt", ".safetensors")
_ALIKE = 1e-5  # mean difference of two frames in [0, 1] that compute the same
# of another network's info: what does not hold of a narrower one
_OF_ITS_OWN = ("parameters", "official_weights", "notes", "compressed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe compress`."""
    parser.add_argument(
        "run", metavar="RUN", help="a run directory (its last checkpoint counts) or a weights file"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="conf/model/NAME.yaml, to be written",
    )
    parser.add_argument(
        "--model", help="what RUN's weights are for, where it is no run of midframe"
    )
    parser.add_argument(
        "--rule",
        default="density",
        choices=("density", "root"),
        help="channels times the density of their weights, or times its square root",
    )
    parser.add_argument(
        "--threshold", type=float, default=0.0, help="magnitudes up to it count as zero; default 0"
    )
    parser.add_argument("--least", type=int, default=1, help="no width falls below it")
    parser.add_argument(
        *("--set", "-s"),
        action="append",
        default=[],
        metavar="OPTION=N",
        help="a width chosen by hand, such as texture.2=32; as often as needed",
    )
    parser.add_argument(
        "--transfer",
        type=Path,
        metavar="FILE",
        help="write the weights of the channels that survive, for weights=FILE: .pth, .safetensors",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(args: argparse.Namespace) -> int:
    """Compress as the options say; `UserError` for what the user can mend."""
    from midframe.engine import compress

    name = _check_outputs(args)
    path = _checkpoint(args.run)
    config = _config(args.model, path)
    model = _build(config, path)
    changes = compress.derive(
        model,
        threshold=args.threshold,
        rule=args.rule,
        least=args.least,
        given=_given(args.set),
    )
    share = compress.describe(model, args.threshold)
    if all(change.channels == change.width.channels for change in changes):
        raise UserError(
            f"{path}: nothing to narrow, {share:.3f} of its weights are not zero; train it with "
            "optimizer=obproxsg first, or give a --threshold or --set OPTION=N"
        )
    wanted, changes = changes, compress.keep_structure(config, model, changes)
    for old, new in zip(wanted, changes):
        if old.channels != new.channels:
            print(
                f"note: {new.width.option} becomes {new.channels}: with {old.channels} the network "
                "would have other layers"
            )
    smaller = compress.narrowed(config, changes)
    narrow = _build(smaller, None)
    before, after = (compress.parameters_of(one) for one in (model, narrow))
    print(f"{config['name']}, {path}: density {share:.3f}")
    print(compress.table(changes, before, after))
    if args.transfer:
        _transfer(model, narrow, args.transfer)
    _write(args, name, smaller, changes, {"density": round(share, 6), "parameters": after})
    return 0


def _check_outputs(args: argparse.Namespace) -> str:
    """Return the new model's name; refuse what would be lost, or could not be read back."""
    from midframe.paths import config_files

    name = args.out.stem
    if args.out.suffix != ".yaml" or not _NAME.fullmatch(name):
        raise UserError(
            f"--out {args.out}: give conf/model/NAME.yaml, NAME of letters, digits and underscores"
        )
    there = config_files("model").get(name)
    if there is not None and there.resolve() != args.out.resolve():
        raise UserError(f"--out {args.out}: there is a model {name} already, {there}")
    if args.transfer and args.transfer.suffix not in _SUFFIXES:
        raise UserError(f"--transfer {args.transfer}: give a file *{' or *'.join(_SUFFIXES)}")
    for path in filter(None, (args.out, args.transfer)):
        if path.exists() and not args.overwrite:
            raise UserError(f"{path} is there already; give another name, or add --overwrite")
    return name


def _checkpoint(run: str) -> Path:
    """Return the weights that count: of a run the last, since the best may be from its start."""
    from midframe.models.weights import LAST, find_weights

    last = Path(run).expanduser() / LAST
    path = last if last.is_file() else find_weights(run)
    if path is None:
        raise UserError(f"{run!r} names no weights; give a run directory or a weights file")
    if not path.is_file():
        raise UserError(f"there is no weights file {path}")
    return path


def _config(name: str | None, path: Path) -> dict[str, Any]:
    """Return the config of the network that the weights are of."""
    from midframe.launch.inference import as_trained
    from midframe.models import zoo

    of_run = as_trained(path, name)
    if of_run is not None:
        known = of_run["name"] in zoo.list_models()
        return {**(zoo.config_of(of_run["name"]) if known else {}), **of_run}
    if name is None:
        raise UserError(f"{path} is of no run of midframe: say what it is for by --model NAME")
    return zoo.config_of(name)


def _build(config: Mapping[str, Any], weights: Path | None) -> Interpolator:
    import torch

    from midframe.models import zoo
    from midframe.models.weights import UNTRAINED

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what is new in a narrow network is the same every time
        return zoo.build({**config, "weights": weights or UNTRAINED, "parts": {}})


def _given(words: Sequence[str]) -> dict[str, int]:
    found = {}
    for word in words:
        match = re.fullmatch(r"([\w.]+)=(\d+)", word)
        if match is None:
            raise UserError(f"--set {word}: give OPTION=N, such as texture.2=32")
        found[match[1]] = int(match[2])
    return found


def _transfer(wide: Interpolator, narrow: Interpolator, path: Path) -> None:
    """Write the weights of the channels that survive, once it is sure that they fit together."""
    import torch

    from midframe.engine.compress_transfer import Channels, check_transfer, transfer
    from midframe.files import aside_of

    channels = Channels(wide, narrow)
    narrow.load_state_dict(transfer(wide, narrow, channels), strict=True)
    difference = check_transfer(wide, narrow, channels)
    if not difference < _ALIKE:
        raise UserError(
            f"the channels of {type(wide).__name__} cannot be transferred: without those that go, "
            f"the network and its narrow copy differ by {difference:.2g}; leave out --transfer"
        )
    state = {key: value.contiguous() for key, value in narrow.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        if path.suffix == ".safetensors":
            _write_safetensors(state, aside)
        else:
            torch.save({"state_dict": state}, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    print(f"{path}: the channels that survive, checked to compute what they did (to {_ALIKE:g})")


def _write_safetensors(state: Mapping[str, Any], path: Path) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise UserError(f"{path} needs the package safetensors: pip install safetensors") from error
    save_file(dict(state), path)


def _write(
    args: argparse.Namespace,
    name: str,
    config: Mapping[str, Any],
    changes: Sequence[Change],
    numbers: Mapping[str, Any],
) -> None:
    import yaml

    from midframe.engine.compose import losses_of_models
    from midframe.files import write_text
    from midframe.paths import config_dirs

    source = config["name"]
    loss = config.get("loss") or losses_of_models().get(source)
    known = {k: v for k, v in (config.get("info") or {}).items() if k not in _OF_ITS_OWN}
    compressed = {
        "from": source,
        "weights": str(args.run),
        "rule": args.rule,
        "threshold": args.threshold,
        "density": numbers["density"],
        "densities": {c.width.option: round(c.density, 6) for c in changes},
    }
    node = {
        "name": name,
        "net": config["net"],
        **({"loss": loss} if loss else {}),
        "weights": None,
        **({"parts": dict.fromkeys(config["parts"])} if config.get("parts") else {}),
        "hints": config.get("hints") or {},
        "info": {**known, "parameters": numbers["parameters"], "compressed": compressed},
    }
    head = (
        f"# {source} with fewer channels: {numbers['parameters']:,} parameters (midframe compress)"
    )
    text = yaml.safe_dump(_plain(node), sort_keys=False, default_flow_style=None, width=100)
    write_text(args.out, f"{head}\n{text}")
    print(f"{args.out}: the config of {name}")
    words = f"weights={args.transfer} " if args.transfer else ""
    if args.out.resolve().parent in [(folder / "model").resolve() for folder in config_dirs()]:
        print(f"train it:  midframe train model={name} {words}...")
    else:
        print(
            "to choose it by name, put it into conf/model of a project that MIDFRAME_PROJECT names"
        )


def _plain(node: Any) -> Any:
    """Turn tuples and other mappings into what yaml writes without tags."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    return node
