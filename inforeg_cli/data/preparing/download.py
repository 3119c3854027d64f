"""Fetching raw files where a public way needs nobody at the keyboard: `git` with Git LFS, only the folders needed.

Commands are only ever taken from the recipes that ship with the package, so a recipe from elsewhere, of whatever name
and family, makes nothing run.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from inforeg_cli import paths
from inforeg_cli.data.recipe import Recipe, TableRecipe
from inforeg_cli.data.recipe_file import load
from inforeg_cli.data.sources.families import how_to_get
from inforeg_cli.errors import InforegError, Misuse

#: Families whose shipped `get` commands are git's alone: a clone into RAW, then what completes it.
UNATTENDED = frozenset({"crema-d"})

#: Seconds that git has to put its temporary files away when it is stopped.
_PATIENCE = 10


def download(recipe: Recipe, raw: Path, say: Callable[[str], None]) -> None:
    """Fetch the raw files of `recipe` into the folder `raw`; a second call goes on where the first one stopped.

    `say` is told each command before it runs; git's own progress goes to standard error. Raises Misuse where there is
    no unattended way or `raw` holds something else, InforegError where git or Git LFS lacks or fails.
    """
    if recipe.source not in UNATTENDED:
        told = how_to_get(recipe, raw) if isinstance(recipe, TableRecipe) else [f"  {recipe.origin}"]
        raise Misuse("\n".join([f"{recipe.name} cannot be fetched unattended: get it by hand", *told]))
    _require_git()
    raw = raw.absolute()
    clone, *completing = _commands(recipe.source, raw)
    try:
        cloned = _is_cloned(raw, url=next(part for part in clone if "://" in part))
        raw.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InforegError(f"cannot download to {raw}: {error.strerror}") from None
    # git writes the index last of all in a checkout: where there is one, only recordings can be missing.
    if cloned and (raw / ".git" / "index").is_file():
        completing = [command for command in completing if "lfs" in command]
    for command in completing if cloned else [clone, *completing]:
        say(shlex.join(command))
        _run(command, raw)


def _commands(family: str, raw: Path) -> list[list[str]]:
    shipped = load(paths.shipped("datasets") / family / "recipe.toml")
    return [[str(raw) if part == "RAW" else part for part in shlex.split(command)] for command in shipped.get]


def _require_git() -> None:
    if shutil.which("git") is None:
        raise InforegError("git is needed and not installed: see https://git-scm.com/downloads")
    if _answer("git", "lfs", "version") is None:
        raise InforegError("Git LFS is needed and not installed: apt or brew install git-lfs, or https://git-lfs.com")


def _is_cloned(raw: Path, url: str) -> bool:
    """Whether `raw` is a clone of `url`. What a clone that was killed has left is cleared away.

    Raises Misuse where something else lies there.
    """
    if not raw.is_dir() or not any(raw.iterdir()):
        return False
    if (raw / ".git").is_dir():
        remote = _answer("git", "-C", str(raw), "config", "--local", "remote.origin.url")
        if _answer("git", "-C", str(raw), "rev-parse", "--verify", "--quiet", "HEAD^{commit}") is not None:
            if remote is not None and _bare(remote) == _bare(url):
                return True
        elif remote in (None, url) and len(list(raw.iterdir())) == 1:
            # git gives a clone its commits last, and its files only afterwards: here is nothing but a part of a transfer.
            shutil.rmtree(raw / ".git")
            return False
    raise Misuse(
        f"{raw} holds something other than a clone of {url}: move it away, or name another folder with --source"
    )


def _bare(url: str) -> str:
    return url.removesuffix("/").removesuffix(".git")


def _answer(*command: str) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    return None if done.returncode else done.stdout.strip()


def _run(command: Sequence[str], raw: Path) -> None:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, env=_environment())
    try:
        code = process.wait()
    except BaseException:  # Ctrl-C or a request to end: git clears up behind itself if it is let
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    if code:
        locks = ", ".join(str(path) for path in (raw / ".git").glob("*.lock"))
        hint = f"; if no other git is at work there, remove {locks}" if locks else ""
        raise InforegError(f"`{shlex.join(command)}` failed with exit code {code}: call again to go on{hint}")


def _environment() -> dict[str, str]:
    """A repository that turns out to want a password fails instead of asking for one."""
    return {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
