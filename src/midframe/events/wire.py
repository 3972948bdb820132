"""How events and frames travel between processes: a kind, a length and so many bytes."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from midframe.events.libraries import EVENT, Frame

REQUEST, EVENTS, FRAME, DONE, FAILED = b"R", b"E", b"F", b"D", b"X"
LARGEST = 1 << 31  # bytes of one message; a packet of a file is far smaller

_HEAD = struct.Struct("<cQ")
_FRAME = struct.Struct("<qIII")  # time, height, width, channels


class Broken(Exception):
    """The other side ended, or sent what is no message."""


def send(channel: socket.socket, kind: bytes, *parts: Any) -> None:
    """Send one message, made of byte buffers."""
    views = [memoryview(part).cast("B") for part in parts]
    channel.sendall(_HEAD.pack(kind, sum(map(len, views))))
    for view in views:
        channel.sendall(view)


def receive(channel: socket.socket) -> tuple[bytes, bytearray]:
    """Return the next message's kind and content.

    Raises:
        Broken: if the other side is gone, or the message can't be.
    """
    kind, length = _HEAD.unpack(_exactly(channel, _HEAD.size))
    if length > LARGEST:
        raise Broken(f"a message of {length} bytes")
    return kind, _exactly(channel, length)


def _exactly(channel: socket.socket, count: int) -> bytearray:
    content = bytearray(count)
    view, done = memoryview(content), 0
    while done < count:
        try:
            got = channel.recv_into(view[done:])
        except OSError as error:
            raise Broken(str(error)) from error
        if not got:
            raise Broken("the other side is gone")
        done += got
    return content


def send_request(channel: socket.socket, request: dict[str, Any]) -> None:
    """Send what is to be done."""
    send(channel, REQUEST, json.dumps(request).encode())


def send_packet(channel: socket.socket, packet: np.ndarray | Frame) -> None:
    """Send events or a frame."""
    if isinstance(packet, Frame):
        image = packet.image
        channels = 1 if image.ndim == 2 else image.shape[2]
        head = _FRAME.pack(packet.time, *image.shape[:2], channels)
        send(channel, FRAME, head, np.ascontiguousarray(image).reshape(-1))
    else:
        send(channel, EVENTS, np.ascontiguousarray(packet).view(np.uint8))


def packet_of(kind: bytes, content: bytearray) -> np.ndarray | Frame:
    """Turn a message back into events or a frame.

    Raises:
        Broken: if its length doesn't fit what it should be.
    """
    if kind == EVENTS and len(content) % EVENT.itemsize == 0:
        return np.frombuffer(content, EVENT)
    if kind == FRAME and len(content) >= _FRAME.size:
        time, height, width, channels = _FRAME.unpack_from(content)
        if height * width * channels == len(content) - _FRAME.size:
            pixels = np.frombuffer(content, np.uint8, offset=_FRAME.size)
            shape = (height, width) if channels == 1 else (height, width, channels)
            return Frame(time, pixels.reshape(shape))
    raise Broken(f"a message {kind!r} of {len(content)} bytes")


def packets_of(channel: socket.socket) -> Iterator[np.ndarray | Frame]:
    """Yield events and frames until the other side says that this was all."""
    while (message := receive(channel))[0] != DONE:
        yield packet_of(*message)
