"""Reading and loading weights: strictly by key, and without running anything from the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from midframe.errors import UserError
from midframe.models import shipped

SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and torch.compile
NAMED_AT_MOST = 3
UNTRAINED = "none"
BEST, LAST = "best.ckpt", "last.ckpt"  # of a run directory


def chosen_weights(option: Any, config: Mapping[str, Any]) -> Path | None:
    """Return the weights file that a command is to load, None for untrained weights.

    The one rule of all commands: what the command line says wins over what the model's config says.
    This is what a training begins with; commands that use a model ask `weights_to_use`.

    Args:
        option: the command's own: a file, a run directory, "shipped" for what comes with midframe,
            "none" for untrained weights, or None where it says nothing.
        config: the model's, whose ``weights`` may be any of these.

    Raises:
        UserError: for a folder without checkpoints, and "shipped" where nothing is shipped for the
            model. Whether a file is there shows when it is read.
    """
    said = option if option not in (None, "") else config.get("weights")
    return shipped.shipped_weights(config) if said == shipped.SHIPPED else find_weights(said)


def weights_to_use(option: Any, config: Mapping[str, Any]) -> Path | None:
    """Return what a command loads that uses a model and does not train it.

    As `chosen_weights`, but where nobody says anything, weights that come with midframe for this
    model are taken; "none" is an untrained one here as well.

    Raises:
        UserError: as `chosen_weights`.
    """
    if option in (None, "") and config.get("weights") in (None, ""):
        record = shipped.record_for(config)
        return None if record is None else record.path
    return chosen_weights(option, config)


def find_weights(weights: str | PathLike[str] | None) -> Path | None:
    """Return the weights file that an option means: a file, or the best one of a run directory.

    "shipped" is no file of its own, since what it means follows from the model.
    """
    if weights in (None, "", UNTRAINED, shipped.SHIPPED):
        return None
    path = Path(str(weights)).expanduser()
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        if (path / name).is_file():
            return path / name
    raise UserError(f"weights={path}: no {BEST} or {LAST} in this folder; give a file")


def load_weights(model: nn.Module, source: str | PathLike[str] | Mapping[str, Any]) -> nn.Module:
    """Load weights into ``model`` in place and return it.

    Args:
        model: whose ``state_dict`` keys and shapes the weights must have, no more and no less.
        source: a checkpoint's path (.pth, .pt, .ckpt, .safetensors), a run directory (its best
            one counts) or a state dict, bare or under
            "state_dict" or "model", with or without ``module.`` before its keys. Of a Lightning
            checkpoint of this project the entries of the model are taken; where weights were
            averaged (EMA) those are the averaged ones.

    Raises:
        UserError: if the file cannot be read as weights, or naming the keys that do not fit.
    """
    model.load_state_dict(fitting_state(model, source), strict=True)
    return model


def fitting_state(
    model: nn.Module, source: str | PathLike[str] | Mapping[str, Any]
) -> dict[str, Tensor]:
    """Return what `load_weights` would load, under the model's own keys, without loading it.

    Args:
        model: also one on the device "meta".
        source: as `load_weights` takes it.

    Raises:
        UserError: as `load_weights`.
    """
    if isinstance(source, Mapping):
        label, content = "the state dict", source
    else:
        path = find_weights(source)
        if path is None:
            raise UserError(f"there are no weights to load: {str(source)!r} names no file")
        label, content = str(path), read_checkpoint(path)
    state = _match(_unwrap(_joined(content, model), label), model)
    _check(state, model, label)
    return state


def read_checkpoint(path: str | PathLike[str]) -> Mapping[str, Any]:
    """Return what a checkpoint file holds, on the CPU; only tensors and plain values are read.

    Raises:
        UserError: if the file is missing, damaged, or holds pickled objects.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"there is no weights file {path}")
    if path.resolve().parent == shipped.FOLDER:
        shipped.verify(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may make the unpickler raise nearly anything
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        if "Weights only load failed" in str(error):
            reason = ["it is damaged, or holds Python objects, which are never executed"]
        if " " not in reason[0] or isinstance(error, LookupError):  # lost in bytes of any kind
            reason = ["it is no file of PyTorch's"]
        raise UserError(
            f"{path} cannot be read as weights: {reason[0][:160]}; give a file with a state dict "
            f"({', '.join(SUFFIXES)})"
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path} holds a {type(content).__name__}, not a state dict; "
            "save it with torch.save(model.state_dict(), path)"
        )
    return content


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{path} needs the package safetensors: pip install safetensors") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as weights: {error}") from error


def _joined(content: Mapping[str, Any], model: nn.Module) -> Mapping[str, Any]:
    """Return one state dict of those that a checkpoint holds by name, see `state_names`."""
    names: Mapping[str, str] = getattr(model, "state_names", {})
    parts = {k: content[k] for k in names if isinstance(content.get(k), Mapping)}
    if not parts:
        return content
    return {names[k] + key: x for k, part in parts.items() for key, x in _bare(part).items()}


def _bare(state: Mapping[str, Any]) -> dict[str, Any]:
    """Take what DataParallel and torch.compile put before all keys off."""
    bare = {str(key): x for key, x in state.items()}
    for _ in WRAPPERS:
        for wrapper in WRAPPERS:
            if bare and all(key.startswith(wrapper) for key in bare):
                bare = {key[len(wrapper) :]: x for key, x in bare.items()}
    return bare


def _unwrap(content: Mapping[str, Any], label: str) -> dict[str, Tensor]:
    """Return the state dict inside a checkpoint, without the keys of a training module."""
    inside = content
    for key in ("state_dict", "model"):
        if isinstance(inside.get(key), Mapping):
            inside = inside[key]
    if inside is not content and any(str(k).startswith("model.") for k in inside):
        # Written by the trainer: its losses' and metrics' entries do not belong to the model.
        start = len("model.")
        inside = {k[start:]: v for k, v in inside.items() if str(k).startswith("model.")}
    strange = [str(k) for k, v in inside.items() if not isinstance(v, Tensor)]
    if strange:
        raise UserError(
            f"{label} is not a state dict ({_some(strange)} hold no tensor); give a model's weights"
        )
    return {str(k): v for k, v in inside.items()}


def _match(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Bring keys to the model's own: without wrappers' names before them, by its `key_names`."""
    own = model.state_dict()
    for _ in WRAPPERS:
        for wrapper in WRAPPERS:
            wrapped = all(k.startswith(wrapper) for k in state)
            if wrapped and not any(k.startswith(wrapper) for k in own):
                state = {k[len(wrapper) :]: v for k, v in state.items()}
    unread: frozenset[str] = getattr(model, "unread", frozenset())
    state = {key: value for key, value in state.items() if key in own or key not in unread}
    names = {**getattr(model, "key_names", {}), **getattr(model, "other_names", {})}
    ours = {key: _renamed(key, names) for key in state if key not in own}
    renamed = {ours[k] if ours.get(k) in own else k: value for k, value in state.items()}
    return renamed if len(renamed) == len(state) else state  # two under one name would lose one


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """Replace what the dotted parts of a key begin with."""
    for old, new in names.items():
        key = re.sub(rf"(^|\.){re.escape(old)}", rf"\g<1>{new}", key)
    return key


def _check(state: Mapping[str, Tensor], model: nn.Module, label: str) -> None:
    own = model.state_dict()
    missing = [k for k in own if k not in state]
    unexpected = [k for k in state if k not in own]
    shaped = [
        f"{k} {tuple(state[k].shape)} for {tuple(v.shape)}"
        for k, v in own.items()
        if k in state and state[k].shape != v.shape
    ]
    problems = [
        f"{len(keys)} {what}: {_some(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", shaped))
        if keys
    ]
    if problems:
        raise UserError(
            f"{label} does not fit {type(model).__name__} with {len(own)} keys ("
            + "; ".join(problems)
            + "); choose the model and size that the weights were made for"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    return ", ".join(name[:100] for name in names[:NAMED_AT_MOST]) + more
