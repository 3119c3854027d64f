"""Which runs a command is about, where all of them must be on one dataset."""

from pathlib import Path
from typing import TYPE_CHECKING

from inforeg_cli.console import warn
from inforeg_cli.errors import Misuse
from inforeg_cli.naming import nearest

if TYPE_CHECKING:
    from inforeg_cli.report.runs import Run


def on_one_dataset(folder: Path, dataset: str | None, preset: str) -> "tuple[str, list[Run]]":
    """The dataset, and all runs on it under `folder`, at least one of them finished.

    Raises Misuse where there is none, with `preset` as one that would make some, and where it is not clear which dataset
    is meant.
    """
    from inforeg_cli.report.runs import all_runs

    everything = all_runs(folder)
    for problem in everything.unreadable:
        warn(f"unreadable run left out: {problem}")
    names = sorted({run.dataset for run in everything.runs if run.finished})
    if not names:
        raise Misuse(f"there are no finished runs in {folder}. Make some with: inforeg sweep --preset {preset}")
    if dataset is None and len(names) > 1:
        raise Misuse(f"the runs are on {', '.join(names)}: choose one with --dataset")
    kept = [run for run in everything.runs if run.is_on(dataset or names[0])]
    if not any(run.finished for run in kept):
        raise Misuse(f"no finished run is on dataset '{dataset}'; {nearest(dataset or '', names)}")
    return kept[0].dataset, kept
