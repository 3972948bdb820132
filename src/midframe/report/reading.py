"""Values out of files that anybody may have written: bounded, of the right kind, or refused."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from midframe.errors import UserError

JSON_MOST = 64 << 20  # bytes
CSV_MOST = 128 << 20
ROWS_MOST = 200_000
TEXT_MOST = 2_000  # characters of one text
LIST_MOST = 5_000
_NAMES_MOST = 200  # characters of a name that a table shows


def json_file(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        UserError: naming the file, if it is missing, too large, or anything else.
    """
    data = _bytes(path, JSON_MOST)
    try:
        found = json.loads(data.decode(), parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no JSON that can be read ({_first_line(error)})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds {type(found).__name__}, not an object {{...}}")
    return found


def image_rows(path: Path, columns: list[str]) -> dict[str, dict[str, float]]:
    """Return the values of each image, by subset/id in the order of the file.

    Args:
        path: an images.csv.
        columns: the metrics to take; one that the file lacks is left out, as are empty cells.

    Raises:
        UserError: naming the file and its line.
    """
    try:
        text = _bytes(path, CSV_MOST).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8") from error
    found: dict[str, dict[str, float]] = {}
    reader = csv.DictReader(io.StringIO(text))
    try:
        if not {"subset", "id"} <= set(reader.fieldnames or ()):
            raise UserError(f"{path}: its first line must name the columns subset and id")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row.values():
                raise UserError(f"{where}: has too few cells; was the file cut off?")
            if len(found) >= ROWS_MOST:
                raise UserError(f"{path}: more than {ROWS_MOST} images")
            key = f"{name(row['subset'], where)}/{name(row['id'], where)}"
            if key in found:
                raise UserError(f"{where}: {key} is there twice")
            cells = {c: row[c] for c in columns if row.get(c) not in (None, "")}
            found[key] = {c: number(value, f"{where}, {c}") for c, value in cells.items()}
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    return found


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Return an object, {} for null; its keys are checked as names."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > LIST_MOST:
        raise UserError(f"{where}: must be an object of at most {LIST_MOST} keys")
    return {name(key, where): content for key, content in value.items()}


def listing(value: Any, where: str) -> list[Any]:
    """Return a list, [] for null."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > LIST_MOST:
        raise UserError(f"{where}: must be a list of at most {LIST_MOST}")
    return value


def name(value: Any, where: str) -> str:
    """Return a short text of one line that is not empty."""
    found = text(value, where)
    if not 0 < len(found) <= _NAMES_MOST or "\n" in found or "\r" in found:
        raise UserError(f"{where}: {found[:40]!r} is no name of one line, up to {_NAMES_MOST} long")
    return found


def text(value: Any, where: str, most: int = TEXT_MOST) -> str:
    """Return a text, "" for null."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise UserError(f"{where}: must be a text of at most {most} characters")
    return value


def number(value: Any, where: str) -> float:
    """Return a number, which may be written as a text, as infinities and NaN are."""
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise UserError(f"{where}: {str(value)[:40]!r} is no number")


def amount(value: Any, where: str) -> float | None:
    """Return a finite number from zero on, None for null or what is not finite."""
    if value is None:
        return None
    found = number(value, where)
    if not math.isfinite(found):
        return None
    if found < 0:
        raise UserError(f"{where}: {found} is below zero")
    return found


def whole(value: Any, where: str) -> int | None:
    """Return a whole number from zero on, None for null."""
    found = amount(value, where)
    if found is None:
        return None
    if found != int(found) or found > 1e15:
        raise UserError(f"{where}: {str(value)[:40]} is no whole number")
    return int(found)


def numbers(value: Any, where: str) -> dict[str, float]:
    """Return numbers by name."""
    return {key: number(v, f"{where}.{key}") for key, v in mapping(value, where).items()}


def each(value: Any, where: str, read: Callable[[dict[str, Any], str], Any]) -> dict[str, Any]:
    """Return what ``read`` makes of each object in an object of objects."""
    found = mapping(value, where)
    return {k: read(mapping(v, f"{where}.{k}"), f"{where}.{k}") for k, v in found.items()}


def _bytes(path: Path, most: int) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a device or a pipe may have no end
            raise UserError(f"{path}: is no file")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > most:
        raise UserError(f"{path}: has more than the {most} bytes that are read")
    return data


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
