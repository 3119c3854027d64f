"""Values between processes: whole at the other end, their arrays in shared memory where they fit."""

import socket
import threading

import numpy as np
import pytest

from inforeg_cli.data.exchange import Places, receive, send

VALUE = {
    "text": "x",
    "numbers": np.arange(5000.0),
    "bytes": np.arange(77, dtype=np.uint8),
    "nothing": np.empty(0, np.int16),
}


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def exchanged(ends, place):
    thread = threading.Thread(target=send, args=(ends[0], VALUE, place))
    thread.start()
    found, size = receive(ends[1], place)
    thread.join()
    assert size >= 40_077
    assert found["text"] == "x"
    for name in ("numbers", "bytes", "nothing"):
        assert found[name].dtype == VALUE[name].dtype and np.array_equal(found[name], VALUE[name])
        assert found[name].flags.writeable
    return found


@pytest.mark.parametrize(("size", "fits"), [(2**16, True), (40_000, False), (0, False), (None, False)])
def test_arrays_lie_in_the_place_where_they_fit(ends, size, fits):
    place = None if size is None else memoryview(bytearray(size))
    found = exchanged(ends, place)
    if place:
        place[:] = bytes(size)
    assert (not found["numbers"].any()) is fits


def test_places_are_apart_and_come_round(ends):
    places = Places.of(3)
    for index in range(4):
        places[index][:2] = bytes([index, 9])
    assert [places[index][0] for index in range(3)] == [3, 1, 2]
    assert len({len(places[index]) for index in range(6)}) == 1
    found = exchanged(ends, places[1])
    places.close()
    del places
    assert found["numbers"].sum() == VALUE["numbers"].sum()  # the memory stays as long as an array needs it


def test_a_closed_end_is_told(ends):
    ends[0].sendall(b"123")
    ends[0].close()
    with pytest.raises(EOFError):
        receive(ends[1])
