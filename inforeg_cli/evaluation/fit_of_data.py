"""Whether a store can be scored by a model that was trained on another one, or on this one before it changed."""

import json
from collections.abc import Sequence
from typing import Any

from inforeg_cli.config import Experiment
from inforeg_cli.data.store import SPLITS, Store
from inforeg_cli.data.transforms import transform_of
from inforeg_cli.errors import BadInput, InforegError, Misuse
from inforeg_cli.naming import nearest
from inforeg_cli.report.runs import Run
from inforeg_cli.settings import dotted

#: Names that a message lists before it counts the rest.
_EXAMPLES = 3


def check_changed(run: Run, store: Store, allow: bool) -> str | None:
    """What has changed in `store` since the run was trained on it, in one line; None where nothing has.

    Raises InforegError unless that is allowed, and BadInput where it cannot be: other classes or other modalities.
    """
    trained = run.data
    if store.digest == trained["digest"]:
        return None
    label, scheme = run.experiment["data"]["label"], run.experiment["data"]["scheme"]
    if label in store.label_columns and list(store.classes(label)) != trained.get("classes", store.classes(label)):
        told = _difference("classes", trained["classes"], store.classes(label))
    else:
        told = None
    problems = [told] if told else []
    problems += [f"modality '{name}' is gone" for name in run.modalities if name not in store.modalities]
    for what, name, known in (("label column", label, store.label_columns), ("split scheme", scheme, store.schemes)):
        if name not in known:
            problems.append(f"the {what} '{name}' is gone")
    digests = f"digest {store.digest[:8]}, then {trained['digest'][:8]}"
    if problems:
        raise BadInput(f"{store.path} no longer fits {run.name}, which was trained on it ({digests}):", problems)
    known = (
        "; ".join(_known_changes(run, store)) or "its clips, classes and splits are the same, what is in them is not"
    )
    line = f"{store.path} has changed since {run.name} was trained on it ({digests}): {known}"
    if not allow:
        raise InforegError(f"{line}. Prepare the same data again, or go on with --allow-changed")
    return line


def check_other(experiment: Experiment, own: Store, other: Store, split: str) -> str:
    """The split scheme by which `other` is scored: the run's, or the only one there.

    Raises BadInput, a line a field, where `other` has not the classes, modalities or clips that the model needs.
    """
    label, scheme = experiment.data.label, experiment.data.scheme
    problems = []
    if label not in other.label_columns:
        problems.append(f"label column: '{label}', there {_listed(other.label_columns)}")
    elif own.classes(label) != other.classes(label):
        problems.append(_difference("classes", own.classes(label), other.classes(label)))
    for name in experiment.modalities:
        if name in other.modalities:
            problems += _modality_mismatches(name, experiment, own, other)
        else:
            there = ", ".join(other.modalities)
            problems.append(f"modality '{name}': not there; it has {there}")
    if scheme not in other.schemes and len(other.schemes) == 1:
        scheme = other.schemes[0]
    if scheme not in other.schemes:
        problems.append(f"split scheme: '{scheme}', there {_listed(other.schemes)}")
    elif split in SPLITS and not len(other.split(scheme, split)):
        problems.append(f"split '{split}': no clips in scheme '{scheme}'")
    if problems:
        raise BadInput(f"{other.name} does not fit the model, which was trained on {own.name}:", problems)
    return scheme


def clips_of(store: Store, scheme: str, split: str) -> Any:
    """Rows of the store, int64 ``[N]``. Raises Misuse for a split that does not exist or has no clips."""
    if split not in SPLITS:
        raise Misuse(f"there is no split '{split}'; {nearest(split, SPLITS)}")
    rows = store.split(scheme, split)
    if not len(rows):
        raise Misuse(f"{store.name} has no clips in the {split} split of scheme '{scheme}'")
    return rows


def _known_changes(run: Run, store: Store) -> list[str]:
    """By what the run's folder remembers of its data: how its modalities lay in the store, how many clips each split had,
    and which ones val and test had."""
    scheme, found = run.experiment["data"]["scheme"], _changed_modalities(run, store)
    for split, count in (run.data.get("counts") or {}).items():
        now = store.split(scheme, split)
        if len(now) != count:
            found.append(f"{split} has {len(now):,} clips, then {count:,}")
            continue
        try:
            ids = set(run.predictions(split)["id"].astype(str))
        except (InforegError, KeyError):
            continue
        if new := sorted(set(store.ids[now].tolist()) - ids):
            found.append(f"{split} has other clips: {_listed(new)}")
    return found


def _changed_modalities(run: Run, store: Store) -> list[str]:
    try:
        prepared = json.loads((run.path / "preparation.json").read_text(encoding="utf-8"))
        earlier = {name: dotted(prepared["modalities"][name]) for name in run.modalities}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # runs of earlier versions have none
        return []
    found = []
    for name, then in earlier.items():
        now = dotted(store.modalities[name].to_json())
        found += [
            f"{name}: {key.rpartition('.')[2].replace('_', ' ')} {_shown(now.get(key))}, then {_shown(then.get(key))}"
            for key in dict.fromkeys([*then, *now])
            if then.get(key) != now.get(key)
        ]
    return found


def _modality_mismatches(name: str, experiment: Experiment, own: Store, other: Store) -> list[str]:
    mine, theirs = own.modalities[name], other.modalities[name]
    if mine.kind != theirs.kind:
        return [f"modality '{name}': kind {mine.kind}, there {theirs.kind}"]
    found = [
        f"modality '{name}': {key.replace('_', ' ')} {_shown(mine.settings.get(key))}, there "
        f"{_shown(theirs.settings.get(key))}"
        for key in sorted({*mine.settings} | {*theirs.settings})
        if mine.settings.get(key) != theirs.settings.get(key)
    ]
    if mine.kind == "text" and not found and (told := _vocabularies_differ(name, own, other)):
        found.append(told)
    try:
        shapes = [transform_of(store, name, experiment.inputs[name]).shape for store in (own, other)]
    except Misuse as error:
        return [*found, f"modality '{name}': {error}"]
    if shapes[0] != shapes[1]:
        found.append(f"modality '{name}': shape {_shape(shapes[0])} to the encoder, there {_shape(shapes[1])}")
    return found


def _vocabularies_differ(name: str, own: Store, other: Store) -> str | None:
    def vocabulary(store: Store) -> Any:
        try:
            return json.loads(store.attachment(f"{name}.vocabulary.json"))
        except (Misuse, ValueError):  # ready-made tokens come without one
            return None

    if vocabulary(own) == vocabulary(other):
        return None
    return f"modality '{name}': the vocabulary is another one, so its tokens mean other words"


def _difference(what: str, mine: Sequence[str], theirs: Sequence[str]) -> str:
    mine, theirs = list(mine), list(theirs)
    if sorted(mine) == sorted(theirs):
        return f"{what}: the same in another order, {_listed(mine)}, there {_listed(theirs)}"
    parts = [
        f"{word} {_listed(names)}"
        for word, names in (
            ("lacks", [name for name in mine if name not in theirs]),
            ("has besides", [name for name in theirs if name not in mine]),
        )
        if names
    ]
    return f"{what}: {len(mine)}, there {len(theirs)}: it {' and '.join(parts)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _EXAMPLES
    return ", ".join(names[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _shown(value: Any) -> str:
    return "none" if value is None else " x ".join(map(str, value)) if isinstance(value, list) else str(value)
