"""What an ONNX file may hold, looked at before ONNX Runtime does.

Any tensor of a file can name another file that its values are in. Loaded from bytes, ONNX Runtime
looks for that one in the working directory, and nothing it can be told keeps it from it. So every
place of a file that may hold a tensor is looked at here. That takes no package: the format is one
of protobuf messages (onnx.proto), of which only the numbers of a few fields matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from midframe.errors import UserError

# By message, its fields in which there are tensors at some depth, and of what message they are.
# Those that are read without being listed have a scalar, a string or a type in them.
FIELDS = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        **{5: "TensorProto", 10: "TensorProto", 6: "GraphProto", 11: "GraphProto"},
        **{22: "SparseTensorProto", 23: "SparseTensorProto"},
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "TensorProto": {},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # of a TensorProto
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # how a value is written
_LONGEST_VARINT = 10  # bytes


class _DamagedError(ValueError):
    """What is no protobuf message."""


def check_model(data: bytes, path: Path) -> None:
    """Raise `UserError` for a model that is damaged, or has values in other files.

    Args:
        data: the file.
        path: of the file, for the message.
    """
    try:
        outside = _names_files(data)
    except _DamagedError as error:
        raise UserError(f"{path} is no graph that onnxruntime runs: it is damaged") from error
    if outside:
        raise UserError(
            f"{path} is not opened, since it has values in other files, which `midframe export` "
            "does not write: they would be read from the working directory"
        )


def _names_files(data: bytes) -> bool:
    """Return whether any tensor says that its values are elsewhere."""
    open_ones = [("ModelProto", memoryview(data))]
    while open_ones:
        kind, message = open_ones.pop()
        inside = FIELDS[kind]
        for number, value in _fields(message):
            if kind == "TensorProto":
                # wherever the values are said to be, 0 is within the tensor
                if number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
                    return True
            # a field that is no message here is one that readers pass over
            elif number in inside and isinstance(value, memoryview):
                open_ones.append((inside[number], value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the numbers and values of a message, in their order."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, written = key >> 3, key & 7
        if not 0 < number < 1 << 29:  # some readers drop what is above, and find another field
            raise _DamagedError
        if written == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if written == _BYTES:
            length, at = _varint(message, at)
        elif written in (_FOUR, _EIGHT):
            length = 4 if written == _FOUR else 8
        else:  # groups, which ONNX never had, and what does not exist
            raise _DamagedError
        if length > len(message) - at:
            raise _DamagedError
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number that takes as many bytes as it needs, and where what follows begins."""
    value = 0
    for shift, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise _DamagedError
