"""Values between processes: pickles through a socket, large arrays beside them in memory that the processes share."""

import mmap
import os
import pickle
import socket
import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

#: Bytes for the arrays of one value; those that need more go through the socket.
_PLACE = 16 * 2**20
_ALIGNMENT = 64
#: Length of the pickle, number of arrays, whether they lie in shared memory.
_HEAD = struct.Struct("<QQ?")


class Places:
    """Memory that processes share, one place for each of as many items as are on their way at a time: an item's result
    lies in that of its index. It takes room only so far as it is written to."""

    def __init__(self, descriptors: Sequence[int]):
        #: One, or none where the system has no such memory.
        self.descriptors = descriptors
        self._memory = memoryview(mmap.mmap(*descriptors, 0) if descriptors else b"")

    @classmethod
    def of(cls, count: int) -> "Places":
        try:
            descriptor = os.memfd_create("results")
        except (AttributeError, OSError):
            return cls([])
        try:
            os.ftruncate(descriptor, count * _PLACE)
        except OSError:  # such as a limit on files' sizes
            os.close(descriptor)
            return cls([])
        return cls([descriptor])

    def __getitem__(self, index: int) -> memoryview:
        start = index * _PLACE % (len(self._memory) or 1)
        return self._memory[start : start + _PLACE]

    def close(self) -> None:
        """The memory goes with the last array that lies in it."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def send(connection: socket.socket, value: Any, place: memoryview | None = None) -> None:
    """Length of the pickle, number of arrays, whether they lie in the place; length of each; the pickle; the arrays
    where they do not fit into the place."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    lengths = [view.nbytes for view in raw]
    spots = _spots(place, lengths)
    for spot, view in zip(spots, raw, strict=False):
        spot[:] = view
    lengths_packed = struct.pack(f"<{len(raw)}Q", *lengths)
    connection.sendall(_HEAD.pack(len(head), len(raw), bool(spots)) + lengths_packed + head)
    for view in raw[len(spots) :]:
        connection.sendall(view)


def receive(connection: socket.socket, place: memoryview | None = None) -> tuple[Any, int]:
    """What was sent, and its bytes. Raises EOFError where the other end is closed."""
    head, number, placed = _HEAD.unpack(_exactly(connection, _HEAD.size))
    lengths = struct.unpack(f"<{number}Q", _exactly(connection, 8 * number))
    pickled = _exactly(connection, head)
    buffers = _spots(place, lengths) if placed else [_exactly(connection, length) for length in lengths]
    return pickle.loads(pickled, buffers=buffers), head + sum(lengths)


def _spots(place: memoryview | None, lengths: Sequence[int]) -> list[memoryview]:
    """Where arrays of such lengths lie in the place; nowhere if they do not fit."""
    starts = [0, *accumulate(length + -length % _ALIGNMENT for length in lengths)]
    if place is None or starts[-1] > len(place):
        return []
    return [place[start : start + length] for start, length in zip(starts, lengths, strict=False)]


def _exactly(connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        received = connection.recv_into(view, 0, socket.MSG_WAITALL)
        if not received:
            raise EOFError
        view = view[received:]
    return data
