"""Files appear whole or not at all, and content is named by its digest."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from inforeg_cli.files import canonical_json, digest, folder_atomically, write_atomically, write_json, write_text


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "note.txt"
    write_text(path, "old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        assert path.read_text() == "old"
        temporary.write_text("new")

    write_atomically(path, write)
    assert path.read_text() == "new"
    assert names(path.parent) == ["note.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    with pytest.raises(error):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["note.txt"]


@pytest.mark.usefixtures("umask")
def test_files_and_folders_have_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "x")
    with folder_atomically(tmp_path / "folder"):
        pass
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_json_is_readable_and_keeps_its_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"name": "Ärger", "epochs": [1, 2]})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "Ärger" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"name": "Ärger", "epochs": [1, 2]}


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store"
    with folder_atomically(path) as temporary:
        assert list(temporary.iterdir()) == []
        (temporary / "old.bin").write_bytes(b"1")
        assert not path.exists()
    with folder_atomically(path) as temporary:
        (temporary / "new.bin").write_bytes(b"2")
        assert names(path) == ["old.bin"]
    assert names(path) == ["new.bin"]
    assert names(path.parent) == ["store"]


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_folder_vanishes(tmp_path: Path, exists: bool, error: type[BaseException]) -> None:
    path = tmp_path / "store"
    if exists:
        with folder_atomically(path) as temporary:
            (temporary / "old.bin").write_bytes(b"1")
    with pytest.raises(error), folder_atomically(path) as temporary:
        (temporary / "new.bin").write_bytes(b"2")
        raise error
    assert names(tmp_path) == (["store"] if exists else [])
    assert not exists or names(path) == ["old.bin"]


def test_digests_tell_lists_apart() -> None:
    lists = [(), ("",), ("", ""), ("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), ("a", "b", "c")]
    assert len({digest(*each) for each in lists}) == len(lists)
    assert digest("Ärger") == digest("Ärger".encode())
    assert digest() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing


def test_equal_values_have_the_same_text() -> None:
    first, second = {"b": [1, 2.5, None], "a": {"y": True, "x": "é"}}, {"a": {"x": "é", "y": True}, "b": [1, 2.5, None]}
    assert canonical_json(first) == canonical_json(second) == '{"a":{"x":"é","y":true},"b":[1,2.5,null]}'
    assert canonical_json([1, 2]) != canonical_json([2, 1])
