"""How an AEDAT4 file is put together, looked at before any library reads it.

A file is a line ``#!AER-DAT4.0``, a header (a flatbuffer with an XML text that names the streams),
packets (stream, length, compressed content) and a table of the packets. Lengths and offsets are
held against the file's own size here, so that a file that is cut or damaged is named with the byte
where that shows. What packets contain is left to the libraries.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from midframe.errors import UserError

EVENTS, FRAMES = "EVTS", "FRME"
LARGEST = 16384  # pixels on a side of a sensor; beyond it a header is not believed
COPY = "copy or record it again"

_FIRST_LINE = b"#!AER-DAT4.0\r\n"
_START = len(_FIRST_LINE) + 4  # of the header
_HEADER_BYTES = 16 << 20  # a header of some streams takes 4 kB


@dataclass(frozen=True)
class Stream:
    """What the header says of a stream, and where its packets are.

    Attributes:
        number: by which packets name their stream.
        name: by which people do.
        kind: `EVENTS`, `FRAMES`, or that of something else.
        height: rows of its sensor, 0 if the header doesn't say.
        width: columns of its sensor, 0 if the header doesn't say.
        offsets: the first byte of each of its packets.
    """

    number: int
    name: str
    kind: str
    height: int
    width: int
    offsets: array[int]


@dataclass(frozen=True)
class Container:
    """What `check_container` found.

    Attributes:
        size: bytes of the file.
        streams: in the header's order.
        end: the byte behind the last packet.
    """

    size: int
    streams: tuple[Stream, ...]
    end: int

    def first(self, kind: str) -> Stream | None:
        """Return the first stream of a kind, or None."""
        return next((stream for stream in self.streams if stream.kind == kind), None)


def check_container(path: str | Path) -> Container:
    """Return what an AEDAT4 file holds, by its header and the heads of its packets.

    Raises:
        UserError: no such file, of another format, cut short or damaged; it names the byte.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = _header(path, file, size)
            table, text = _fields(path, header)
            streams = tuple(_streams(path, text))
            end = _walk(path, file, size, table, {s.number: s.offsets for s in streams})
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return Container(size, streams, end)


def _header(path: Path, file: BinaryIO, size: int) -> bytes:
    line = file.read(len(_FIRST_LINE))
    if not line:
        raise UserError(f"{path}: the file is empty; {COPY}")
    if line != _FIRST_LINE:
        if _FIRST_LINE.startswith(line):
            raise UserError(f"{path}: cut short at byte {size}, within its first line; {COPY}")
        if line.startswith(b"#!AER-DAT") and not line.startswith(b"#!AER-DAT4"):
            version = line[9:12].decode("ascii", "replace").strip()
            raise UserError(f"{path}: AEDAT {version}, and only AEDAT 4 is read; convert it by DV")
        raise UserError(f"{path}: not an AEDAT4 recording: its first line is not #!AER-DAT4.0")
    head = file.read(4)
    length = int.from_bytes(head, "little")
    if len(head) < 4 or 8 <= length <= _HEADER_BYTES and _START + length > size:
        raise UserError(f"{path}: cut short at byte {size}, within its header; {COPY}")
    if not 8 <= length <= _HEADER_BYTES:
        raise UserError(
            f"{path}: damaged at byte {_START - 4}, its header claims {length} bytes; {COPY}"
        )
    return file.read(length)


def _fields(path: Path, header: bytes) -> tuple[int, str]:
    """Return the position of the table (0 or -1: none was written) and the text of the header.

    The header is a flatbuffer: a table, whose entries a list of offsets (vtable) finds.
    """
    try:
        (root,) = struct.unpack_from("<I", header, 0)
        vtable = root - struct.unpack_from("<i", header, root)[0]
        slots = _at("<H", header, vtable) // 2
        entries = [_at("<H", header, vtable + 2 * i) if i < slots else 0 for i in range(2, 5)]
        table = _at("<q", header, root + entries[1]) if entries[1] else 0
        if not entries[2]:
            raise ValueError("no description of streams")
        text = root + entries[2]
        text += _at("<I", header, text)
        length = _at("<I", header, text)
        if text + 4 + length > len(header):
            raise ValueError("the description of streams is longer than the header")
        return table, header[text + 4 : text + 4 + length].decode()
    except (struct.error, ValueError) as error:
        raise UserError(
            f"{path}: damaged within its header, bytes {_START} to {_START + len(header)} "
            f"({error}); {COPY}"
        ) from error


def _at(form: str, data: bytes, offset: int) -> int:
    if offset < 0:
        raise ValueError("an offset before its start")
    return int(struct.unpack_from(form, data, offset)[0])


def _streams(path: Path, text: str) -> Iterator[Stream]:
    """Yield what the XML of a header says, without packets."""
    where = f"{path}: damaged within its header, at byte {_START} or behind"
    if "<!" in text:  # no recorder writes declarations, with which a text could grow without end
        raise UserError(f"{where} (a declaration in its XML); {COPY}")
    try:
        top = ElementTree.fromstring(text)
        seen = set()
        for node in (node for part in top if part.get("name") == "outInfo" for node in part):
            number = int(node.get("name", ""))
            if number in seen or number < 0:
                raise ValueError(f"two streams {number}")
            seen.add(number)
            own = _attributes(node)
            info = next((n for n in node if n.tag == "node" and n.get("name") == "info"), None)
            about = {} if info is None else _attributes(info)
            height, width = (int(about.get(key) or 0) for key in ("sizeY", "sizeX"))
            kind = own.get("typeIdentifier", "")
            if kind in (EVENTS, FRAMES) and not (0 <= height <= LARGEST and 0 <= width <= LARGEST):
                raise UserError(
                    f"{where}: a sensor of {width}x{height} pixels, and {LARGEST} on a side are "
                    f"the most; {COPY}"
                )
            name = own.get("originalOutputName", "")
            yield Stream(number, name, kind, height, width, array("q"))
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise UserError(f"{where} ({error}); {COPY}") from error


def _attributes(node: ElementTree.Element) -> dict[str, str]:
    return {child.get("key", ""): child.text or "" for child in node if child.tag == "attr"}


def _walk(path: Path, file: BinaryIO, size: int, table: int, offsets: dict[int, array[int]]) -> int:
    """Note where each packet begins; returns the byte behind the last."""
    here = file.tell()
    if table > size:
        raise UserError(
            f"{path}: cut short at byte {size}, its table should be at byte {table}; {COPY}"
        )
    if 0 < table < here:
        raise UserError(f"{path}: damaged within its header, bytes {_START} to {here}; {COPY}")
    end = table if table > 0 else size  # a recorder that was stopped by force leaves no table
    while here < end:
        file.seek(here)
        head = file.read(8)
        if len(head) < 8:
            raise UserError(f"{path}: cut short at byte {size}, within a packet's head; {COPY}")
        number, length = struct.unpack("<ii", head)
        if number not in offsets or length < 0:
            raise UserError(
                f"{path}: damaged at byte {here}, a packet of {length} bytes of stream {number}, "
                f"and its streams are {', '.join(map(str, offsets)) or 'none'}; {COPY}"
            )
        behind = here + 8 + length
        if behind > size:
            raise UserError(
                f"{path}: cut short at byte {size}, the packet at byte {here} is {length} bytes "
                f"long; {COPY}"
            )
        if behind > end:
            raise UserError(
                f"{path}: damaged at byte {here}, the packet is {length} bytes long and the table "
                f"is at byte {table}; {COPY}"
            )
        offsets[number].append(here)
        here = behind
    return here
