"""What a process tells: lines, however they come and however long they are."""

from __future__ import annotations

import asyncio
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from midframe.serve import child

MOST = 1 << 20


class Stream:
    """Gives pieces as a pipe does."""

    def __init__(self, pieces):
        self._pieces = iter(pieces)

    async def read(self, most):
        piece = next(self._pieces, b"")
        assert len(piece) <= most
        return piece


def lines(pieces):
    async def gather():
        return [line async for line in child._lines(Stream(pieces))]

    return asyncio.run(gather())


@given(st.lists(st.text("ab\n", min_size=1, max_size=9)))
def test_lines_are_whole_wherever_a_pipe_divides_them(pieces):
    whole = "".join(pieces)
    wanted = whole.removesuffix("\n").split("\n") if whole else []
    assert lines(piece.encode() for piece in pieces) == [line.encode() for line in wanted]


def test_a_line_that_is_too_long_is_passed_over_whole_and_not_kept():
    piece = (1 << 16) * b"x"
    long = [b"first\n{", *[piece] * 500, b"\n{}\nlast\n", piece, *[piece] * 500]
    tracemalloc.start()
    try:
        assert lines(long) == [b"first", b"{}", b"last"]
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST
    finally:
        tracemalloc.stop()
    assert lines([b"\n", *[piece] * 16, b"\n"]) == [b"", 16 * piece]  # as long as it may be
