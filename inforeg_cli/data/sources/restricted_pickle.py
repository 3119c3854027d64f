"""Reading pickles that others made: numbers, text, NumPy's arrays and plain containers, and nothing that runs code.

A pickle is a program. This reader lends it a dozen harmless names and refuses every other by name, before it is
imported or called.
"""

import math
import os
import pickle
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from inforeg_cli.errors import Misuse, first_line

#: Simple numbers, bytes, text and objects. No records: a record's layout is a description that NumPy would trust.
_DTYPE = re.compile(r"[<>=|]?(?:\?|b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,9}|O8?)")


def load(path: Path) -> Any:
    """The value pickled at `path`, by any version of Python and NumPy; text of Python 2 is taken as Latin-1.

    Large arrays are read-only, and share the bytes that were read. Raises Misuse where the file cannot be read, is not
    a whole pickle, or needs anything but numbers, text, arrays and containers of them.
    """
    try:
        with path.open("rb") as handle:
            return _Unpickler(_Whole(handle), path).load()
    except OSError as error:
        raise Misuse(f"{path}: cannot be read: {error.strerror}") from None
    except Misuse:
        raise
    except Exception as error:
        # Whatever a damaged file makes of the reader: it may name any opcode, length or operand.
        reasons = {EOFError: "it is cut short", KeyError: "it holds an instruction that pickles do not have"}
        reason = reasons.get(type(error)) or first_line(error)
        raise Misuse(f"{path} is no whole pickle of arrays and containers ({reason}): fetch it again") from None


class _Whole:
    """A file that never makes room for more than it holds, and says so where it ends too early."""

    def __init__(self, handle: BinaryIO):
        self._handle = handle
        self._size = os.fstat(handle.fileno()).st_size

    def read(self, count: int) -> bytes:
        data = self._handle.read(count) if count <= self._size else b""
        if len(data) < count:
            raise EOFError
        return data

    def readline(self) -> bytes:
        line = self._handle.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line


# The unpickler in C would allocate, and clear, as large a memo as a file names; the one in Python keeps a dictionary.
class _Unpickler(pickle._Unpickler):
    """`find_class` decides on every name; state is set on arrays and dtypes alone."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: _Whole, path: Path):
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise Misuse(_refusal(self._path, f"{module}.{name}")) from None

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Array | _DType):
            raise pickle.UnpicklingError("it sets the state of something else than an array")
        self.stack[-1].__setstate__(state)

    dispatch[pickle.BUILD[0]] = load_build
    # As bytes: to fill a bytearray, the data would have to be there twice.
    dispatch[pickle.BYTEARRAY8[0]] = pickle._Unpickler.load_binbytes8


def _refusal(path: Path, name: str) -> str:
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)[:120]
    return f"{path} needs `{shown}`, which is not a number or a container: refused"


class _DType:
    """Stands for `numpy.dtype`, whose own state could describe memory that is not there."""

    def __init__(self, name: str | bytes, align: Any = False, copy: Any = False):
        name = _text(name)
        if not _DTYPE.fullmatch(name):
            raise ValueError(f"NumPy's type {name!r:.40} is not admitted")
        self.dtype = np.dtype(name.removesuffix("8") if name.endswith("O8") else name)

    def __setstate__(self, state: tuple) -> None:
        _, order, *described = state[:5]
        if any(part is not None for part in described):
            raise ValueError("an array of records is not admitted")
        order = _text(order)
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array that trusts no state: NumPy's own reader of states would read past the end of a list too short."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        dtype = dtype.dtype
        if isinstance(data, str):  # of Python 2
            data = data.encode("latin1")
        if dtype.hasobject != isinstance(data, list):
            raise ValueError("an array's data is of another kind than its type")
        _check_size(shape, dtype, len(data) if dtype.hasobject else len(data) // max(1, dtype.itemsize))
        if not dtype.hasobject and len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError("an array's data does not fill it")
        super().__setstate__((1, tuple(shape), dtype, bool(fortran), data if dtype.hasobject else bytes(data)))


def _check_size(shape: Any, dtype: np.dtype, there: int) -> None:
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ValueError("an array's shape is none")
    if dtype.itemsize and math.prod(shape) != there:
        raise ValueError(f"an array of shape {list(shape)} has {there} numbers")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    """The empty array that a pickled one starts as: shape and data come with its state."""
    return np.ndarray.__new__(_Array, (0,), "b")


def _from_buffer(data: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Of NumPy from protocol 5 on."""
    if dtype.dtype.hasobject:
        raise ValueError("objects lie in no buffer")
    _check_size(shape, dtype.dtype, len(data) // max(1, dtype.dtype.itemsize))
    found = np.frombuffer(data, dtype.dtype) if len(data) else np.empty(0, dtype.dtype)
    return found.reshape(shape, order="F" if _text(order) == "F" else "C")


def _scalar(dtype: _DType, data: bytes | str) -> np.generic:
    data = data.encode("latin1") if isinstance(data, str) else data
    if dtype.dtype.hasobject or len(data) != dtype.dtype.itemsize:
        raise ValueError("a number's bytes do not fit its type")
    return np.frombuffer(data, dtype.dtype)[0] if data else dtype.dtype.type()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise ValueError(f"bytes are encoded as {encoding!r:.40}")
    return text.encode("latin1")


def _bytes(text: str | bytes | list = b"", encoding: str = "latin1") -> bytes:
    """`bytes` and `bytearray`, but for the number that would ask for as many zeros."""
    if isinstance(text, str):
        return _encode(text, "latin1" if encoding == "latin-1" else encoding)
    if not isinstance(text, bytes | list):
        raise ValueError("bytes are made of something else")
    return bytes(text)


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _admitted() -> dict[tuple[str, str], Any]:
    plain: dict[str, Callable] = {
        kind.__name__: kind for kind in (bool, int, float, complex, str, list, tuple, dict, set, frozenset)
    }
    plain |= {"bytes": _bytes, "bytearray": _bytes}
    names: dict[tuple[str, str], Any] = {("builtins", name): kind for name, kind in plain.items()}
    # Of Python 2.
    names |= {("__builtin__", name): kind for name, kind in {**plain, "unicode": str, "long": int}.items()}
    names |= {("collections", kind.__name__): kind for kind in (OrderedDict, defaultdict)}
    names |= {("_codecs", "encode"): _encode}
    # `ndarray` is only ever named: called, it would make room for whatever is asked.
    names |= {("numpy", "dtype"): _DType, ("numpy", "ndarray"): "ndarray"}
    for core in ("numpy.core", "numpy._core"):  # before and from NumPy 2 on
        names |= {
            (f"{core}.multiarray", "_reconstruct"): _reconstruct,
            (f"{core}.multiarray", "scalar"): _scalar,
            (f"{core}.numeric", "_frombuffer"): _from_buffer,
        }
    return names


_ADMITTED = _admitted()
