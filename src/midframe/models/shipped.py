"""Weights that come with midframe: which there are, what is known of each, and for what they are.

Each is a pair of files in `FOLDER`: NAME.safetensors with half-precision numbers, and NAME.json
with its record, which `midframe release` writes: the network, how it was trained, by which commands
and on what, what it reaches, its licence and its SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.files import sha256_of

FOLDER = Path(__file__).resolve().parent.parent / "shipped"
SHIPPED = "shipped"  # in place of a file's name
DRAWN = ("init",)  # options of networks that only say how they begin
KEYS = ("model", "sha256", "licence", "credits", "stages", "metrics")


@dataclass(frozen=True)
class Record:
    """What is known of weights.

    Attributes:
        path: of the weights.
        sha256: of that file, 64 hexadecimal digits.
        model: name, net and hints, as `midframe.models.zoo.build` takes them.
        licence: of the weights.
        credits: whom to name for what they were trained on.
        stages: trainings, the first one first: their commands, data, steps, hardware, ...
        metrics: by benchmark, its means.
    """

    path: Path
    sha256: str
    model: Mapping[str, Any]
    licence: str
    credits: tuple[str, ...]
    stages: tuple[Mapping[str, Any], ...]
    metrics: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read NAME.json; `UserError` if it is damaged."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            values = {key: found[key] for key in KEYS}
            model = values["model"]
            if not isinstance(model["name"], str) or "_target_" not in model["net"]:
                raise KeyError("model")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is no record of weights, it is damaged; install midframe anew"
            ) from error
        values |= {key: tuple(values[key]) for key in ("credits", "stages")}
        return cls(path.with_suffix(".safetensors"), **values)


def records() -> list[Record]:
    """Return all that are shipped, by name."""
    return [Record.read(path) for path in sorted(FOLDER.glob("*.json"))]


def record_for(config: Mapping[str, Any]) -> Record | None:
    """Return the record of the weights that a model's config can take, if there are any.

    Args:
        config: content of conf/model. Its network must have the options of the record's, but for
            how it is drawn (`DRAWN`); one that says an option which is the record's default, or the
            other way round, has another network as far as is known here.

    Raises:
        UserError: if the record of that model is damaged; others do not matter.
    """
    for path in sorted(FOLDER.glob("*.json")):
        try:
            record = Record.read(path)
        except UserError:
            if path.stem == config.get("name"):
                raise
            continue  # of another model, which will say so
        if record.model["name"] == config.get("name") and _net(record.model) == _net(config):
            return record
    return None


def shipped_weights(config: Mapping[str, Any]) -> Path:
    """Return the file of `record_for`; `UserError` if there is none."""
    record = record_for(config)
    if record is None:
        names = ", ".join(str(one.model["name"]) for one in records()) or "no model"
        raise UserError(
            f"weights={SHIPPED}: midframe ships weights of {names}, and none for "
            f"{config.get('name')} with these options; give a file"
        )
    return record.path


def verify(path: Path) -> None:
    """Hold a shipped file against its record.

    Raises:
        UserError: if it is not the file that was shipped.
    """
    record = Record.read(path.with_suffix(".json"))
    if sha256_of(path) != record.sha256:
        raise UserError(
            f"{path} is not the file that its record is of (its SHA-256 differs); install midframe "
            "anew, or give a file of your own"
        )


def _net(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a network as plain values, but for those that weights replace."""
    return {
        str(key): list(value) if isinstance(value, tuple) else value
        for key, value in json.loads(json.dumps(config["net"], default=_plain)).items()
        if key not in DRAWN
    }


def _plain(node: Any) -> Any:
    return dict(node) if isinstance(node, Mapping) else list(node)
