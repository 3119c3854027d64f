"""Clips that cannot be used: a file with a line for each, and an error that counts them by reason."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.sources import Failure
from inforeg_cli.errors import MOST_LINES, BadInput
from inforeg_cli.files import write_atomically
from inforeg_cli.naming import count

_NAME, _PREPARED = "prepare-report.csv", "prepared"


class Unusable(BadInput):
    """Some clips cannot be used; the others are stored. The command was right, so it exits with 1."""

    exit_code = 1


def report_path(out: Path) -> Path:
    """Where the report on the store at `out` lies: beside it, under its name where that is not ``prepared``."""
    return out.parent / (_NAME if out.name == _PREPARED else f"{out.name}.{_NAME}")


def write_report(out: Path, failures: Sequence[Failure]) -> Path:
    """One line a failure; with none, a report that is there from an earlier call is removed."""
    path = report_path(out)
    if not failures:
        path.unlink(missing_ok=True)
        return path
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("clip", "modality", "file", "reason", "detail"))
    for failure in failures:
        named = failure.clip.named.get(failure.modality, "")
        writer.writerow((failure.clip.id, failure.modality, named, failure.what, failure.detail))
    # A file's name may hold bytes that are no UTF-8, which Python keeps as lone surrogates.
    data = text.getvalue().encode("utf-8", "backslashreplace")
    write_atomically(path, lambda temporary: temporary.write_bytes(data))
    return path


def unusable(name: str, failures: Sequence[Failure], stored: int, report: Path, allow_missing: bool) -> Unusable:
    """The error that says how many clips cannot be used, and why, of a dataset with `stored` others."""
    problems = Problems()
    for failure in failures:
        problems.add(failure.clip.place(failure.modality), failure.what, failure.detail)
    clips = len({failure.clip.id for failure in failures})
    room = MOST_LINES - 4
    reasons = problems.lines()
    if len(reasons) > room:
        reasons[room - 1 :] = [f"... and {count(len(reasons) - room + 1, 'reason')} more"]
    if allow_missing:
        what_to_do = "mend the files and call again: --allow-missing leaves out only what is absent or unreadable"
    elif all(failure.missing for failure in failures):
        what_to_do = "mend the files and call again, or leave these clips out with --allow-missing"
    else:
        what_to_do = "mend the files and call again; --allow-missing leaves out what is absent or unreadable"
    kept = f"{stored:,} {'is' if stored == 1 else 'are'} stored and kept for the next call"
    return Unusable(
        f"{name}: {count(clips, 'clip')} cannot be used; {kept}", [*reasons, f"all of them: {report}", what_to_do]
    )
