"""Pickles that others made: every layout of arrays is read, and nothing that runs code."""

import collections
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from inforeg_cli.data.sources.restricted_pickle import load
from inforeg_cli.errors import Misuse

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ARRAYS = {
    "rows": np.arange(12.0).reshape(3, 4),
    "large": np.random.default_rng(0).normal(size=(20, 30, 5)).astype("f4"),
    "columns": np.asfortranarray(np.arange(600, dtype="f4").reshape(20, 30)),
    "big-endian": np.arange(1000, dtype=">i4"),
    "strided": np.arange(100, dtype="i2").reshape(10, 10)[::2, ::3],
    "half": np.array([1.5, -np.inf, np.nan], "f2"),
    "bools": np.array([True, False]),
    "bytes": np.array([b"ab", b"\xff"]),
    "texts": np.array([["a", "\u00e4\u4e2d"]]),
    "empty": np.zeros((0, 3)),
    "point": np.array(5),
    "complex": np.array([1 + 2j]),
}
OTHERS = {
    "ordered": collections.OrderedDict(a=1, b=[2]),
    "default": collections.defaultdict(list, {1: [2]}),
    "sets": [{1, 2}, frozenset([3])],
    "bytes": [b"\xff\x00", b"", bytearray(b"ab"), bytearray()],
    "numbers": [1, -(10**30), 1.5, 1 + 2j, True, None, np.float32(3), np.int64(-4), np.bool_(True)],
    "texts": ["\u00e4", "", np.str_("x"), np.bytes_(b"y")],
    "tuple": (1, (2, ())),
}


@pytest.fixture
def written(tmp_path: Path):
    def write(data: bytes) -> Path:
        path = tmp_path / "some.pkl"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_text_arrays_and_containers_come_back(written, protocol):
    found = load(written(pickle.dumps({"arrays": ARRAYS, "others": OTHERS}, protocol)))
    for name, array in ARRAYS.items():
        again = found["arrays"][name]
        assert again.shape == array.shape and again.dtype.kind == array.dtype.kind, name
        np.testing.assert_array_equal(again, array)
    assert found["others"] == OTHERS
    assert found["others"]["default"][7] == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_in_arrays_are_what_the_array_holds(written, protocol):
    ragged = np.empty(3, dtype=object)
    ragged[:] = [np.ones((2, 3), "f4"), np.zeros((5, 3)), "name"]
    found = load(written(pickle.dumps(ragged, protocol)))
    assert found.dtype == object and found[2] == "name"
    np.testing.assert_array_equal(found[1], ragged[1])
    np.testing.assert_array_equal(found[0], ragged[0])


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_both_generations_of_numpy_name_their_modules_differently(written, core):
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    for protocol in (0, 2):
        data = pickle.dumps({"x": values, "y": values[0, 0]}, protocol)
        here = b"numpy._core" if b"numpy._core" in data else b"numpy.core"
        found = load(written(data.replace(here, core)))
        np.testing.assert_array_equal(found["x"], values)
        assert found["y"] == 0 and found["y"].dtype == np.float32


def test_the_form_that_python_2_wrote(written):
    """numpy 1 under Python 2, protocol 2: names of modules as they were, bytes as str, no unicode."""
    values = np.array([[1.0, -2.5]], "<f8")
    payload = values.tobytes()
    data = (
        b"\x80\x02}q\x00(U\x05trainq\x01}q\x02U\x06labelsq\x03"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85U\x01b\x87R"
        b"(K\x01K\x01K\x02\x86cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(payload)]) + payload + b"tbs"
        b"U\x02idq\x06c__builtin__\nset\n]U\x02\xe4bq\x07a\x85Ru."
    )
    found = load(written(data))
    np.testing.assert_array_equal(found["train"]["labels"], values)
    assert found["id"] == {"\u00e4b"}


class _Calls:
    """Pickles into a call, as any class may."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def named(module: str, name: str) -> bytes:
    """Only fetches a name, which already imports its module where that is not refused."""
    return pickle.GLOBAL + f"{module}\n{name}\n".encode() + pickle.STOP


REFUSED = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("builtins", "object"),
    ("__builtin__", "eval"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("importlib", "import_module"),
    ("pickle", "loads"),
    ("copyreg", "_reconstructor"),
    ("copy_reg", "_reconstructor"),
    ("_codecs", "decode"),
    ("collections", "Counter"),
    ("numpy", "load"),
    ("numpy", "memmap"),
    ("numpy", "fromfile"),
    ("numpy", "vectorize"),
    ("numpy", "core.multiarray"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.testing", "runstring"),
    ("numpy.f2py", "compile"),
    ("numpy.distutils.exec_command", "exec_command"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy._core.multiarray", "scalar.__class__"),
    ("numpy._core.numeric", "load"),
    ("numpy.ma.core", "_mareconstruct"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch.storage", "_load_from_bytes"),
    ("pandas.core.frame", "DataFrame"),
    ("inforeg_cli.files", "write_text"),
    ("inforeg_cli.data.sources.restricted_pickle", "load"),
]


@pytest.mark.parametrize(("module", "name"), REFUSED)
def test_every_other_name_is_refused_by_name(written, module, name):
    by_stack = pickle.PROTO + b"\x04" + b"".join(
        pickle.SHORT_BINUNICODE + bytes([len(part)]) + part.encode() for part in (module, name)
    ) + pickle.STACK_GLOBAL + pickle.STOP  # fmt: skip
    by_class = pickle.MARK + pickle.INST + f"{module}\n{name}\n".encode() + pickle.STOP
    for data in (named(module, name), by_stack, by_class):
        with pytest.raises(Misuse) as refused:
            load(written(data))
        said = f"needs `{module}.{name}`, which is not a number or a container: refused"
        assert said in str(refused.value) and len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_code_never_runs(written, tmp_path, protocol):
    mark = tmp_path / "ran"
    deep = np.empty(2, dtype=object)
    deep[:] = [1, {"x": [_Calls(Path.touch, mark)]}]
    for value in (_Calls(exec, f"open({str(mark)!r}, 'w')"), {"a": [1, _Calls(eval, "1")]}, deep):
        with pytest.raises(Misuse, match="refused"):
            load(written(pickle.dumps(value, protocol)))
    assert not mark.exists()


def test_a_name_is_shown_in_one_line(written):
    with pytest.raises(Misuse) as refused:
        load(written(pickle.PROTO + b"\x04\x8c\x05\x1b[1m\n\x8c\x02\r\x07" + pickle.STACK_GLOBAL + pickle.STOP))
    assert "`\\x1b[1m\\n.\\r\\x07`" in str(refused.value)


def array_of(state: bytes, dtype: bytes = b"U\x02f8", order: bytes = b"U\x01<") -> bytes:
    """Protocol 2: an array whose state after the version is `state`, in which ``D`` stands for the dtype."""
    dtype = (
        b"cnumpy\ndtype\n" + dtype + b"K\x00K\x01\x87R(K\x03" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    return head + state.replace(b"<D>", dtype) + b"tb."


BIG = struct.pack("<i", 2**31 - 1)
WRONG = {
    "nothing": b"",
    "a web page": b"<!DOCTYPE html><html>Google Drive can't scan this file for viruses</html>",
    "garbage": bytes(range(256)) * 8,
    "no end": pickle.dumps([1, 2])[:-1],
    "nothing on the stack": b"\x80\x02.",
    "an unknown opcode": b"\x80\x02\xfe.",
    "a later protocol": b"\x80\x63.",
    "text far longer than the file": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"abc.",
    "bytes far longer than the file": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc.",
    "bytes a little longer than the file": b"\x80\x03B\x09\x00\x00\x00abc.",
    "a bytearray far longer than the file": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
    "a frame far longer than the file": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"abc.",
    "a number far longer than the file": b"\x80\x02\x8b" + BIG + b"abc.",
    "a number with more digits than are read": b"I" + b"9" * 10_000 + b"\n.",
    "zeros without end": b"\x80\x03cbuiltins\nbytes\nJ" + BIG + b"\x85R.",
    "a bytearray of zeros without end": b"\x80\x03cbuiltins\nbytearray\nJ" + BIG + b"\x85R.",
    "an array called into being": b"\x80\x02cnumpy\nndarray\nJ" + BIG + b"\x85\x85R.",
    "an array made without its state": b"\x80\x02cnumpy\nndarray\nJ" + BIG + b"\x85\x85\x81.",
    "an array larger than its data": array_of(b"J" + BIG + b"K\x09\x86<D>\x89U\x08" + bytes(8)),
    "an array smaller than its data": array_of(b"K\x01\x85<D>\x89U\x10" + bytes(16)),
    "an array with a part of a number": array_of(b"K\x01\x85<D>\x89U\x0c" + bytes(12)),
    "an array of negative size": array_of(b"J\xff\xff\xff\xff\x85<D>\x89U\x08" + bytes(8)),
    "an array without a shape": array_of(b"N<D>\x89U\x08" + bytes(8)),
    "an array whose type is none": array_of(b"K\x01\x85U\x02f8\x89U\x08" + bytes(8)),
    "objects in too short a list": array_of(b"M\xff\xff\x85<D>\x89]K\x01a", b"U\x02O8", b"U\x01|"),
    "objects in bytes": array_of(b"K\x01\x85<D>\x89U\x08" + b"\x41" * 8, b"U\x02O8", b"U\x01|"),
    "numbers in a list": array_of(b"K\x01\x85<D>\x89]K\x01a"),
    "records": array_of(b"K\x01\x85<D>\x89U\x08" + bytes(8), b"U\x02V8", b"U\x01|"),
    "a type of no number": array_of(b"K\x01\x85<D>\x89U\x08" + bytes(8), b"U\x02zz"),
    "state for a list": b"\x80\x02]}U\x01xK\x01sb.",
    "state for a class": b"\x80\x02cbuiltins\nset\n}U\x01xK\x01sb.",
    "state for a function": b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__K\x01\x85s\x86b.",
    "an extension": b"\x80\x02\x82\x01.",
    "something kept elsewhere": b"\x80\x02U\x01aQ.",
    "a buffer kept elsewhere": b"\x80\x05\x97.",
    "a scalar of objects": b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02O8K\x00K\x01\x87RU\x08"
    + b"\x41" * 8 + b"\x86R.",
    "a key that is a list": b"\x80\x02}]K\x01s.",
    "a memo that is not there": b"\x80\x02h\x07.",
}  # fmt: skip


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_no_whole_pickle_of_arrays_is_told_in_one_line(written, data):
    with pytest.raises(Misuse) as refused:
        load(written(data))
    said = str(refused.value)
    assert "some.pkl is no whole pickle of arrays and containers (" in said and said.endswith("fetch it again")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("name", [name for name in WRONG if "than the file" in name])
def test_no_room_is_made_for_more_than_there_is(written, name):
    tracemalloc.start()
    try:
        with pytest.raises(Misuse, match=r"\(it is cut short\)"):
            load(written(WRONG[name]))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_pickle_may_number_what_it_remembers_as_it_likes(written):
    """The unpickler in C makes room for all numbers up to the one that is named."""
    assert load(written(b"\x80\x02]r\xff\xff\xff\xffj\xff\xff\xff\xff\x86.")) == ([], [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cut_anywhere_it_fails_in_one_line(written, protocol):
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.ones((2, 3), "f4"), "x"]
    whole = pickle.dumps({"a": np.arange(9.0), "b": ragged, "c": [{1}, b"x", np.float32(1)]}, protocol)
    for end in range(protocol, len(whole), 4):
        with pytest.raises(Misuse, match=r"is no whole pickle of arrays and containers \(it is cut short\)"):
            load(written(whole[:end]))


def test_a_damaged_byte_does_no_harm(written):
    whole = bytearray(pickle.dumps({"a": np.arange(10.0), "b": np.array([1, "x"], dtype=object)}, 2))
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[int(random.integers(len(whole)))] = int(random.integers(256))
        try:
            load(written(bytes(damaged)))
        except Misuse as error:
            assert len(str(error).splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Misuse, match="cannot be read: No such file"):
        load(tmp_path / "none.pkl")


def test_large_arrays_are_not_copied(written):
    values = np.arange(1 << 18, dtype="f4")
    for protocol in (3, 4, 5):
        assert not load(written(pickle.dumps(values, protocol))).flags.owndata
