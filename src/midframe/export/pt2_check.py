"""What a .pt2 file may hold, looked at before PyTorch does.

`torch.export.load` unpickles what an archive asks it to, evaluates expressions and guards, calls
operators by any dotted name below ``torch`` and loads libraries. So an archive passes here only if
it has nothing but the parts that midframe writes: tensors as bytes, a graph of PyTorch's operators
on tensors, sizes as sums and products, and metadata. What passed is packed anew, and only that is
loaded: two readers of zip archives need not find the same parts in one file. It may still have a
graph that computes something else than it says.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.export.facts import LONGEST
from midframe.plain_text import plain

_GREATEST = 1 << 33  # bytes of all parts
_GRAPH = 1 << 28  # bytes of the graph's json
_PARTS = re.compile(
    r"[^/]+/(data/(weights/(weight_\d+|model_weights_config\.json)"
    r"|constants/(tensor_\d+|model_constants_config\.json)|sample_inputs/model\.pt)"
    r"|models/model\.json|extra/midframe\.json|archive_format|archive_version|byteorder"
    r"|\.data/(serialization_id|version)|\.format_version|\.storage_alignment|version)"
)
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file)(__(and|or|xor)__|_?[a-z]\w*)\.[A-Za-z]\w*"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
    r"|torch\.ops\.higher_order\.wrap_with_(autocast|set_grad_enabled)"  # around a part
    r"|torch\.sym_(max|min|float|int|not|sum|ite)|math\.(floor|ceil|trunc)"
)
_WORD = re.compile(r"[\w.]*")  # names of values and their kinds
_NAME = re.compile(r"[\w. \-]*")  # of weights: some networks have blanks and dashes in them
_EXPRESSION = re.compile(r"([\w(),=' +*-]|(?<=\d)\.(?=\d))*")  # points in numbers alone
_IN_EXPRESSIONS = {
    *("Symbol", "Integer", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Mod", "PythonMod"),
    *("FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "PowByNatural", "ToFloat", "TruncToInt"),
    *("FloorToInt", "CeilToInt", "Float", "precision", "floor", "ceiling"),
    *("positive", "integer", "nonnegative", "True", "False", "Identity"),
    *("GreaterThan", "StrictGreaterThan", "LessThan", "StrictLessThan", "Equality"),
    *("Unequality", "And", "Or", "Not", "Piecewise", "Where", "FloatTrueDiv", "Float"),
}
_SYMBOL = re.compile(r"[su]\d+|\d+")
_TREE_PARTS = {"type", "context", "children_spec"}
_SEQUENCES = {"builtins.tuple", "builtins.list"}
_PLAIN = re.compile(r"[A-Za-z]\w*")  # names of arguments


def checked_archive(path: Path) -> io.BytesIO:
    """Return an archive that holds what was checked, and nothing else.

    Raises:
        UserError: for a file with anything else than what midframe writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_names(archive, path)
            return _packed(archive, path)
    except UserError:
        raise
    except Exception as error:  # a damaged archive may make the reader raise nearly anything
        raise UserError(f"{path} is no .pt2 file, or damaged: {plain(str(error))[:200]}") from error


def _check_names(archive: zipfile.ZipFile, path: Path) -> None:
    names = [one.filename for one in archive.infolist()]
    strange = [name for name in names if not _PARTS.fullmatch(name)]
    if strange or len(set(names)) != len(names) or len({n.split("/")[0] for n in names}) != 1:
        told = plain(", ".join(strange[:3]))[:200] or "parts of the same name"
        raise _refused(path, f"it has {told}")
    # PyTorch writes them as they are; others would be unpacked in memory to any size
    if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
        raise _refused(path, "its parts are compressed")
    whole = sum(one.file_size for one in archive.infolist())
    if whole > _GREATEST:
        raise _refused(path, "it is larger than any model")
    if whole > path.stat().st_size:
        raise _refused(path, "its parts are larger than the file")


def _packed(archive: zipfile.ZipFile, path: Path) -> io.BytesIO:
    """Check every part and copy it, json as it was understood here."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as copy:
        for one in archive.infolist():
            end = one.filename.partition("/")[2]
            if end.endswith("sample_inputs/model.pt") and one.file_size:
                raise _refused(path, "it has pickled inputs")
            if end == "extra/midframe.json" and one.file_size > LONGEST:
                raise _refused(path, "its metadata are too long")
            is_graph = end.endswith(".json") and not end.startswith("extra/")
            if is_graph and one.file_size > _GRAPH:
                raise _refused(path, f"{end} is too long")
            data = archive.read(one)
            if is_graph:
                found = json.loads(data)
                _check_json(found, path)
                data = json.dumps(found).encode()
            copy.writestr(f"archive/{end}", data)
    packed.seek(0)
    return packed


def _check_json(found: Any, path: Path) -> None:
    """Hold every string of the graph, or of what tells of the weights, against what it may be."""
    for key, value in _strings(found, ""):
        if not _allowed(key, value):
            raise _refused(path, f"its {plain(key)[:40]} is {plain(str(value))[:80]!r}")


def _strings(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield all strings with the key that they are under, keys themselves, and what is pickled."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield "name", name
            if name == "guards_code" and value:
                yield name, str(value)
            elif name == "use_pickle":
                yield name, value
            else:
                yield from _strings(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value, key)
    elif isinstance(node, str):
        yield key, node


def _allowed(key: str, value: Any) -> bool:
    if key == "use_pickle":
        return value is False
    if key == "guards_code" or not isinstance(value, str):
        return False
    if key == "target":
        return bool(_OPERATOR.fullmatch(value))
    if any(word.startswith("__") for word in re.findall(r"\w+", value)):
        return False
    if key == "expr_str":
        words = re.findall(r"\w+", value)
        good = all(word in _IN_EXPRESSIONS or _SYMBOL.fullmatch(word) for word in words)
        return good and bool(_EXPRESSION.fullmatch(value))
    if key in ("in_spec", "out_spec"):
        return _is_tree(value)
    if key in ("name", "fqn", "parameter_name", "buffer_name", "tensor_constant_name"):
        return bool(_NAME.fullmatch(value))
    if key == "torch_version":
        return bool(re.fullmatch(r"[\w.+]*", value))
    return bool(_WORD.fullmatch(value))


def _is_tree(text: str) -> bool:
    """Return whether a text is the json of how arguments are nested, in plain containers.

    PyTorch imports the modules that the contexts of other containers name, and those that any
    object within a context does.
    """
    if "\\u" in text:  # an escaped character hides what a text says; names here need none
        return False
    found = json.loads(text)  # what is no json is told as damage
    return isinstance(found, list) and found[:1] == [1] and len(found) == 2 and _is_node(found[1])


def _is_node(node: Any) -> bool:
    if not isinstance(node, dict) or set(node) != _TREE_PARTS:
        return False
    kind, context, children = node["type"], node["context"], node["children_spec"]
    if not isinstance(children, list) or not all(_is_node(child) for child in children):
        return False
    if kind is None:  # a tensor
        return context is None and not children
    if not isinstance(kind, str) or not isinstance(context, str):
        return False
    names = json.loads(context)
    if kind in _SEQUENCES:
        return names is None
    return (
        kind == "builtins.dict"
        and isinstance(names, list)
        and len(names) == len(children)
        and all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in names)
    )


def _refused(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} is not opened, since {reason}, which `midframe export` does not write; a .pt2 "
        "file may run anything when it is loaded"
    )
