"""Git LFS pointers of a whole dataset: counted and refused at once, and what recordings are checked against."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from inforeg_cli.data.sources import pointers
from inforeg_cli.data.sources.pointers import raw_files, refuse_pointers, verify_against_pointers
from inforeg_cli.errors import InforegError

FOLDERS = ("AudioWAV", "VideoFlash")
with_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


def pointer(content: bytes) -> bytes:
    told = f"oid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"
    return b"version https://git-lfs.github.com/spec/v1\n" + told.encode()


def recording(name: str) -> bytes:
    return name.encode() * 150


def write(base: Path, content) -> list[str]:
    names = [
        f"{folder}/{n}{suffix}" for folder, suffix in zip(FOLDERS, (".wav", ".flv"), strict=True) for n in range(20)
    ]
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content(name))
    return names


def verify(base: Path, folders=FOLDERS, told: list | None = None) -> int | None:
    return verify_against_pointers(base, folders, lambda *numbers: told is None or told.append(numbers))


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git repository that records pointers, with the recordings themselves in its working tree."""
    base = tmp_path / "clone"
    write(base, lambda name: pointer(recording(name)))
    (base / "README.md").write_text("about")
    (base / "AudioWAV" / "notes.txt").write_text("no pointer")
    git(tmp_path, "init", "--quiet", str(base))
    git(base, "add", "--all")
    git(base, "commit", "--quiet", "--message", "pointers")
    write(base, recording)
    return base


def test_pointers_are_counted_by_folder_before_anything_else(tmp_path):
    write(tmp_path, lambda name: pointer(b"") if name.endswith(".flv") or "7" in name else recording(name))
    files = {
        "AudioWAV": raw_files(tmp_path / "AudioWAV", ".wav"),
        "VideoFlash": raw_files(tmp_path / "VideoFlash", ".flv"),
    }
    with pytest.raises(InforegError) as caught:
        refuse_pointers(tmp_path, files)
    assert caught.value.exit_code == 1
    assert str(caught.value).splitlines()[:2] == [
        f"2 of 20 files under AudioWAV are Git LFS pointers, not recordings; run `git lfs pull` in {tmp_path}",
        f"20 of 20 files under VideoFlash are Git LFS pointers, not recordings; run `git lfs pull` in {tmp_path}",
    ]
    assert "is no git clone" in str(caught.value)


def test_one_pointer_and_thousands_read_well(tmp_path):
    (tmp_path / ".git").mkdir()
    first = tmp_path / "0.wav"
    first.write_bytes(b"RIFF")
    for number in range(1, 1001):
        os.link(first, tmp_path / f"{number}.wav")
    (tmp_path / "another.wav").write_bytes(pointer(b""))
    with pytest.raises(InforegError, match=r"^1 of 1,002 files under A is a Git LFS pointer, not a recording; run"):
        refuse_pointers(tmp_path, {"A": raw_files(tmp_path, ".wav")})
    first.write_bytes(pointer(b""))
    with pytest.raises(InforegError, match=r"^1,002 of 1,002 files under A are Git LFS pointers[^\n]*$"):
        refuse_pointers(tmp_path, {"A": raw_files(tmp_path, ".wav")})


def test_recordings_are_no_pointers_and_are_not_read(tmp_path, monkeypatch):
    write(tmp_path, lambda name: recording(name) * 10)
    (tmp_path / "AudioWAV" / "short.wav").write_bytes(b"RIFF")
    files = raw_files(tmp_path / "AudioWAV", ".wav")
    read, original = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or original(path))
    refuse_pointers(tmp_path, {"AudioWAV": files})
    assert read == ["short.wav"]


def test_raw_files_are_those_of_the_suffix_in_order(tmp_path):
    for name in ("b.wav", "a.WAV", ".hidden.wav", "c.mp3"):
        (tmp_path / name).write_bytes(b"xy")
    (tmp_path / "d.wav").mkdir()
    (tmp_path / "e.wav").symlink_to(tmp_path / "gone")
    assert [(file.path.name, file.size) for file in raw_files(tmp_path, ".wav")] == [("a.WAV", 2), ("b.wav", 2)]
    with pytest.raises(InforegError, match="cannot read the folder"):
        raw_files(tmp_path / "gone", ".wav")


@with_git
def test_recordings_as_the_clone_records_them_are_counted(clone):
    told = []
    assert verify(clone, told=told) == 40
    assert told[0] == (1, 40) and told[-1] == (40, 40)
    assert verify(clone, ["AudioWAV"]) == 20
    (clone / "AudioWAV" / "3.wav").unlink()
    assert verify(clone) == 39


@with_git
def test_recordings_that_differ_are_named(clone):
    content = bytearray(recording("AudioWAV/5.wav"))
    content[100] ^= 1
    (clone / "AudioWAV" / "5.wav").write_bytes(bytes(content))
    for number in range(7):
        (clone / "VideoFlash" / f"{number}.flv").write_bytes(b"cut")
    with pytest.raises(InforegError) as caught:
        verify(clone)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"8 of 40 recordings differ from the Git LFS pointers of {clone};")
    assert lines[1].startswith("  AudioWAV/5.wav: the SHA-256 is not ")
    assert lines[2] == "  VideoFlash/0.flv: 3 bytes, expected 2,400"
    assert lines[-1] == "  ... and 3 more" and len(lines) == 7


@with_git
def test_a_clone_that_holds_the_recordings_themselves_records_no_pointers(clone, monkeypatch):
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "recordings")
    asked, original = [], subprocess.run
    monkeypatch.setattr(
        pointers.subprocess, "run", lambda *a, **more: asked.append(more["input"]) or original(*a, **more)
    )
    assert verify(clone) == 0
    assert len(asked[-1].splitlines()) == 1, "only notes.txt is small enough: gigabytes of recordings are not read"


@with_git
def test_a_folder_within_another_projects_clone_is_no_clone(clone):
    write(clone / "raw", recording)
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "more")
    assert verify(clone / "raw") is None


@with_git
def test_without_git_nothing_is_checked(clone, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert verify(clone) is None


@with_git
def test_a_clone_that_git_cannot_read_is_an_error_in_one_line(clone):
    shutil.rmtree(clone / ".git" / "objects")
    with pytest.raises(InforegError, match=r"^[^\n]*: git cannot read the clone: [^\n]+$"):
        verify(clone)


@with_git
def test_git_is_asked_for_all_recordings_at_once(clone, monkeypatch):
    calls, original = [], subprocess.run
    monkeypatch.setattr(pointers.subprocess, "run", lambda *args, **more: calls.append(args) or original(*args, **more))
    assert verify(clone) == 40
    assert len(calls) == 3


@with_git
def test_the_network_is_never_asked_for_what_a_partial_clone_lacks(clone, tmp_path):
    git(clone, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", "--no-checkout", clone.resolve().as_uri(), str(partial))
    write(partial, recording)
    assert verify(partial) == 0
