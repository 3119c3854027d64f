"""Train, val and test: reading their names, carving the missing ones, and checking that they can be learned from."""

import difflib
import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from inforeg_cli.data.problems import Problems
from inforeg_cli.data.recipe import Splits
from inforeg_cli.data.store import SPLITS

_ALIASES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_ACCEPTED = {**{split: split for split in SPLITS}, **_ALIASES}


def split_name(text: str) -> str | None:
    """train, val or test for any accepted spelling, in any case; None for anything else."""
    return _ACCEPTED.get(text.strip().lower())


def nearest_split(text: str) -> str | None:
    """The split that a misspelt name most probably means, if any."""
    close = difflib.get_close_matches(text.strip().lower(), _ACCEPTED, n=1)
    return _ACCEPTED[close[0]] if close else None


def carve(
    labels: Sequence[Hashable],
    groups: Sequence[str] | None,
    fraction: float,
    seed: int,
    keys: Sequence[str] | None = None,
) -> np.ndarray:
    """Which of N clips to take out, about `fraction` of every class: bool ``[N]``.

    At least one clip of every class stays, and where a class has two or more (with groups: where groups allow it) at
    least one is taken. With groups a group is taken whole or not at all. The choice is a function of the seed and of
    the clips' `keys` (default: their positions; with groups, of the groups' names), not of NumPy's generators, so that
    neither another order of the rows nor another version of NumPy changes it.
    """
    codes = np.unique(np.array([repr(label) for label in labels]), return_inverse=True)[1]
    keys = [str(position) for position in range(len(codes))] if keys is None else keys
    if groups is not None:
        return _carve_groups(codes, groups, fraction, seed)
    order = np.array(_shuffled(range(len(codes)), keys, seed), dtype=np.int64)
    taken = np.zeros(len(codes), dtype=bool)
    for code in range(codes.max() + 1):
        members = order[codes[order] == code]
        if len(members) > 1:
            taken[members[: min(max(int(fraction * len(members) + 0.5), 1), len(members) - 1)]] = True
    return taken


def _carve_groups(codes: np.ndarray, groups: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """Groups in a random order, each taken if that brings the taken clips of its classes nearer to their targets."""
    names, member = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    counts = np.zeros((len(names), codes.max() + 1), dtype=np.int64)
    np.add.at(counts, (member, codes), 1)
    order = _shuffled(range(len(names)), [str(name) for name in names], seed)
    target = fraction * counts.sum(axis=0)
    taken, left = np.zeros(counts.shape[1]), counts.sum(axis=0)
    chosen = np.zeros(len(names), dtype=bool)

    def take(group: int) -> None:
        nonlocal taken, left
        chosen[group], taken, left = True, taken + counts[group], left - counts[group]

    def leaves_some(group: int) -> bool:
        return bool(np.all((left - counts[group] > 0) | (counts[group] == 0)))

    for group in order:
        # The change of sum_c (taken_c - target_c)^2 / target_c when the group is added.
        change = np.sum(counts[group] * (2 * (taken - target) + counts[group]) / target)
        if change < 0 and leaves_some(group):
            take(group)
    for code in np.argsort(left, kind="stable"):
        if taken[code] == 0:  # every group with this class was too large: the smallest that can be spared
            spare = [group for group in order if counts[group, code] and not chosen[group] and leaves_some(group)]
            if spare:
                take(min(spare, key=lambda group: counts[group].sum()))
    return chosen[member]


def complete(
    given: Sequence[str | None],
    labels: Sequence[Hashable],
    groups: Sequence[str] | None,
    settings: Splits,
    scheme: str,
    keys: Sequence[str],
) -> np.ndarray:
    """The split of every clip, str ``[N]``: as given, with val and test carved from train where none is given.

    Without any given split (all None) everything counts as train at first. The fractions are shares of what train
    holds then, both of the same whole.
    """
    splits = np.array(["train" if split is None else split for split in given], dtype="<U5")
    whole = np.count_nonzero(splits == "train")
    for name in ("test", "val"):
        if name in splits or not whole:
            continue
        train = np.flatnonzero(splits == "train")
        share = getattr(settings, name) * whole / len(train)
        taken = carve(
            [labels[i] for i in train],
            None if groups is None else [groups[i] for i in train],
            share,
            _seed(settings.seed, scheme, name),
            [keys[i] for i in train],
        )
        splits[train[taken]] = name
    return splits


def shared_groups(splits: Sequence[str | None], groups: Sequence[str]) -> int:
    """How many groups stand on more than one side of the given splits."""
    pairs = {(group, split) for group, split in zip(groups, splits, strict=True) if split is not None}
    return sum(sides > 1 for sides in Counter(group for group, _ in pairs).values())


def report_unlearnable(
    scheme: str, splits: Sequence[str], labels: Mapping[str, Sequence[str]], problems: Problems
) -> None:
    """What makes a scheme useless: a split without clips, a single class, a class that train lacks."""
    empty = [split for split in SPLITS if split not in splits]
    for split in empty:
        problems.add(
            f"scheme {scheme}", "the split has no clips", f"{split}; train has too few clips or groups to carve it from"
        )
    for column, values in labels.items():
        where = f"column {column}, scheme {scheme}"
        sides: dict[str, set[str]] = {}
        for value, split in zip(values, splits, strict=True):
            sides.setdefault(value, set()).add(split)
        sides.pop("", None)  # an empty label is reported by itself
        if len(sides) == 1:
            problems.add(where, "there is one class only", repr(*sides))
        for value, found in sorted(sides.items()) if "train" not in empty else ():
            if "train" not in found:
                problems.add(where, "a class has no clip in train", f"{value!r}, only in {' and '.join(sorted(found))}")


def _seed(*parts: str | int) -> int:
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "little")


def _shuffled(items: Sequence[int], keys: Sequence[str], seed: int) -> list[int]:
    """In the order of a hash of (seed, key)."""
    ranks = {item: hashlib.sha256(f"{seed}\x1f{keys[item]}".encode()).digest() for item in items}
    return sorted(items, key=ranks.__getitem__)
