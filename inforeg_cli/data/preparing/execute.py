"""Carrying out a plan: decode in processes, keep what is done, and give the store its name when it is whole."""

import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from inforeg_cli.data import decoding
from inforeg_cli.data.decoding import Decoded, Decoder, Flaw, Task, signature
from inforeg_cli.data.parallel import FEWEST, Crash, ordered_map
from inforeg_cli.data.preparing.journal import JOURNAL, Journal
from inforeg_cli.data.preparing.report import unusable, write_report
from inforeg_cli.data.preparing.space import check_space, samples, weigh
from inforeg_cli.data.problems import Problems
from inforeg_cli.data.sources import Clip, Failure, Plan
from inforeg_cli.data.splits import report_unlearnable
from inforeg_cli.data.store import FORMAT_VERSION, Store, work_folder
from inforeg_cli.data.writer import Entry, described_by, finish, sync
from inforeg_cli.errors import BadInput, InforegError, Misuse
from inforeg_cli.files import replace_folder
from inforeg_cli.naming import count


class Listener:
    """Is told how preparing goes; the base tells nobody."""

    def said(self, message: str) -> None:
        """Something that the person should know."""

    def looked(self, plan: Plan) -> None:
        """Looking is done, decoding begins."""

    def sized(self, needed: int, free: int) -> None:
        """About how many bytes are to be written, and how many the disk has free."""

    def advanced(self, done: int, total: int, failed: int) -> None:
        """So many clips of the plan are done, those of an earlier call among them; `failed` are all that failed, those
        seen by looking among them."""


def execute(
    name: str,
    source: str,
    recipe_digest: str,
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    allow_missing: bool = False,
    listener: Listener | None = None,
    head: Mapping[str, Any] | None = None,
    decode: Callable[[Decoder, Task], Decoded] = decoding.decode,
) -> Store:
    """Carry out the plan, or go on with it where an earlier call left off, and put the store at `out`.

    `head` are further entries of store.json; `decode` is found by its name in the worker processes. The work lies in
    `work_folder(out)`, which one process at a time may use. Raises BadInput where the plan has problems, and, when all
    other clips are stored, Unusable for those that cannot be used and may not be left out; InforegError where the work
    cannot be written, which is kept as far as it got.
    """
    listener = listener or Listener()
    if plan.problems:
        raise refusal(name, plan)
    listener.looked(plan)
    work = work_folder(out)
    described = described_by(name, source, recipe_digest, plan.inputs, plan.decoders) | dict(head or {})
    try:
        if not _is_complete(work, described):
            purpose = {
                "format": FORMAT_VERSION,
                "recipe": recipe_digest,
                "decoders": described["decoders"],
                "modalities": [[name, modality.to_json()] for name, modality in plan.modalities.items()],
            }
            journal = Journal(work, purpose, plan.modalities, listener.said)
            try:
                lost = _decode(plan, journal, out, workers, listener, decode)
                _complete(name, plan, journal, lost, out, described, allow_missing)
            except BaseException:
                if any(record.parts for record in journal.records.values()):
                    journal.close()
                else:
                    journal.remove()
                raise
        replace_folder(work, out)
        sync(out.parent)
    except OSError as error:
        kept = "; what was done is kept, and the same call goes on from there" if work.is_dir() else ""
        raise InforegError(f"cannot prepare {out}: {reason(error)}{kept}") from error
    return Store.open(out)


def _decode(
    plan: Plan,
    journal: Journal,
    out: Path,
    workers: int,
    listener: Listener,
    decode: Callable[[Decoder, Task], Decoded],
) -> dict[str, Flaw]:
    """Decode into the journal what is not there yet. Returned are the clips over which a worker was killed: that may
    have been for the machine's sake, so they are not in the journal and the next call tries them again."""
    tasks = {clip.id: Task(clip.media, clip.named, clip.id in plan.odd) for clip in plan.clips}
    known = journal.records
    todo = [name for name, task in tasks.items() if name not in known or known[name].signature != signature(task)]
    done, lost = len(tasks) - len(todo), {}
    failed = {failure.clip.id for failure in plan.failures}
    failed |= {name for name in tasks.keys() - set(todo) if known[name].flaws}
    if done:
        listener.said(f"going on: {done:,} of {count(len(tasks), 'clip')} were done by an earlier call")
    # What lies in no file of its own, such as a row of an array, is sooner written than sent to other processes.
    in_files = any(isinstance(raw, Path) for task in tasks.values() for raw in task.media.values())
    # The same workers tell the store's size, where what is done already does not.
    stored = [record.parts for record in known.values() if record.parts]
    first = samples(plan) if todo and not stored else []
    items = [*first, *(tasks[name] for name in todo)]
    setup = Decoder(plan.decoding, plan.modalities)
    results = ordered_map(decode, items, workers, setup, fewest=FEWEST if in_files else len(items) + 1)
    with closing(results):
        if todo:
            weighed = (result.packed for result in islice(results, len(first)) if isinstance(result, Decoded))
            weigh(plan, stored or weighed)
            listener.sized(*check_space(plan, out, journal.size))
        listener.advanced(done, len(tasks), len(failed))
        for name, result in zip(todo, results, strict=True):
            if isinstance(result, Crash):
                flaw = Flaw("+".join(plan.decoding), "decoding crashed the decoder", result.reason, True)
                if result.reason == signal.SIGKILL.name:
                    lost[name] = flaw
                    known.pop(name, None)
                else:
                    journal.add(name, Decoded(signature(tasks[name]), flaws=[flaw]))
            else:
                journal.add(name, result)
            done += 1
            if name in lost or known[name].flaws:
                failed.add(name)
            listener.advanced(done, len(tasks), len(failed))
    return lost


def _complete(
    name: str,
    plan: Plan,
    journal: Journal,
    lost: Mapping[str, Flaw],
    out: Path,
    described: Mapping[str, Any],
    allow_missing: bool,
) -> None:
    """Make a store of the work, unless clips failed that may not be left out."""
    failures, kept = list(plan.failures), []
    for clip in plan.clips:
        record = journal.records.get(clip.id)
        flaws = [lost[clip.id]] if record is None else record.flaws
        failures += [Failure(clip, *flaw) for flaw in flaws]
        if not flaws:
            kept.append(clip)
            for modality in record.silent:
                plan.warnings.add(clip.place(modality), "the audio is silent")
    failures = _once_a_file(failures)
    spared = _spared(failures) if allow_missing else {}
    report = write_report(out, failures)
    journal.close()
    if left := [failure for failure in failures if failure.clip.id not in spared]:
        raise unusable(name, left, len(kept), report, allow_missing)
    _check_left(name, kept, len(spared))
    journal.arrange([clip.id for clip in kept])
    entries = [Entry(clip, journal.records[clip.id].source, journal.records[clip.id].parts) for clip in kept]
    dropped = Counter(f"{failure.modality}: {failure.what}" for failure in spared.values())
    more = {"classes": plan.classes, "dropped": dict(sorted(dropped.items())), "attachments": plan.attachments}
    finish(work_folder(out), plan.modalities, entries, described, **more)
    (work_folder(out) / JOURNAL).unlink()


def _once_a_file(failures: Sequence[Failure]) -> list[Failure]:
    """A file that holds several modalities of a clip fails once, if it is the same that is wrong with each."""
    kept: dict[tuple[str, str, str], Failure] = {}
    for failure in failures:
        file = failure.clip.named.get(failure.modality) or failure.modality
        kept.setdefault((failure.clip.id, file, failure.what), failure)
    return list(kept.values())


def _spared(failures: Sequence[Failure]) -> dict[str, Failure]:
    """By id the clips with which nothing is wrong but that files are missing, each with the first of them."""
    first: dict[str, Failure] = {}
    for failure in failures:
        first.setdefault(failure.clip.id, failure)
    wrong = {failure.clip.id for failure in failures if not failure.missing}
    return {clip: failure for clip, failure in first.items() if clip not in wrong}


def _check_left(name: str, kept: Sequence[Clip], left_out: int) -> None:
    """Clips that were left out may have been all that a class or a split had."""
    problems = Problems()
    if not kept:
        problems.add(name, "no clip is left", f"{count(left_out, 'clip')} left out")
    elif left_out:
        labels = {label: [clip.labels[label] for clip in kept] for label in kept[0].labels}
        for scheme in kept[0].splits:
            report_unlearnable(scheme, [clip.splits[scheme] for clip in kept], labels, problems)
    if problems:
        raise BadInput(f"{name}: with {count(left_out, 'clip')} left out too little remains", problems.lines())


def _is_complete(work: Path, described: Mapping[str, Any]) -> bool:
    """Whether an earlier call was interrupted after its last word, when all that lacked was the store's name."""
    if (work / JOURNAL).exists() or not (work / "store.json").exists():
        return False
    try:
        store = Store.open(work)
    except Misuse:
        return False
    made = {"recipe": store.recipe_digest, "inputs": store.inputs_digest, "decoders": store.decoders}
    return all(described[key] == value for key, value in made.items())


def refusal(name: str, plan: Plan) -> BadInput:
    """The error that says everything that is wrong with a plan."""
    wrong = plan.wrong()
    return BadInput(f"{name}: {count(len(wrong), 'problem')}; nothing was written", wrong.lines())


def reason(error: OSError) -> str:
    return f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
