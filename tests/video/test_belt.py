"""A bounded queue that either side can end."""

from __future__ import annotations

import threading

import pytest

from midframe.video.belt import Belt, Stopped


def _taking(belt):
    """Take everything in another thread; what it ended by is last."""
    found = []

    def take():
        try:
            found.extend(belt)
            found.append(None)
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return thread, found


def test_things_arrive_in_order_and_end():
    belt = Belt(2)
    thread, found = _taking(belt)
    for k in range(100):
        belt.put(k)
    belt.close()
    thread.join(5)
    assert found == [*range(100), None]


def test_no_more_than_there_is_room_for():
    belt, put = Belt(3), []

    def fill():
        for k in range(5):
            belt.put(k)
            put.append(k)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    thread.join(0.2)
    assert put == [0, 1, 2] and thread.is_alive()
    assert [next(belt), next(belt)] == [0, 1]
    thread.join(5)
    assert put == list(range(5))


def test_an_error_comes_behind_what_was_put_before():
    belt = Belt(4)
    belt.put(1)
    belt.close(ValueError("broken"))
    belt.close()  # the first word counts
    assert next(belt) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            next(belt)


@pytest.mark.parametrize("error", [None, ValueError("full")])
def test_one_that_takes_no_more_frees_one_that_waits_for_room(error):
    belt, ended = Belt(1), []
    belt.put(0)

    def put():
        try:
            belt.put(1)
        except BaseException as found:
            ended.append(found)

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    belt.abandon(error)
    thread.join(5)
    assert [type(e) for e in ended] == [Stopped if error is None else ValueError]
    with pytest.raises(type(ended[0])):
        belt.put(2)


def test_one_that_waits_for_things_is_freed_by_the_end():
    belt = Belt(1)
    thread, found = _taking(belt)
    belt.close()
    thread.join(5)
    assert found == [None]
