"""Fair tuning: the same number of trials for every method, chosen on val, and each winner trained again with fresh seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from inforeg_cli import search_record, studies
from inforeg_cli.config import Experiment
from inforeg_cli.data.store import Store
from inforeg_cli.engine.launch import folder_of
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.files import digest
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.search_record import SearchRecord, TriedSettings, TunedMethod, WinnersRun, settings_text
from inforeg_cli.settings import dotted, merge, nested
from inforeg_cli.sweep.cells import Cell
from inforeg_cli.sweep.space import Dimension, Space
from inforeg_cli.sweep.state import state_of

#: A longer search is a slip of the pen.
_MOST = 10_000


@dataclass(frozen=True)
class Trial:
    """Number 0 is the method's preset. settings: the values of what is tuned, by dotted key."""

    number: int
    settings: Mapping[str, Any]
    cell: Cell


@dataclass(frozen=True)
class Search:
    """seed: of the trials and their draws. number: of trials a method. assigned: settings over every method's preset.

    seeds: what winners are trained with. tuned: the settings that are drawn, by method.
    """

    name: str
    seed: int
    number: int
    assigned: Mapping[str, Any]
    seeds: tuple[int, ...]
    store: Store
    runs: Path
    tuned: Mapping[str, Mapping[str, Dimension]]
    trials: Mapping[str, tuple[Trial, ...]]

    @property
    def cells(self) -> list[Cell]:
        """The trials of all methods: every method's first, then every method's second, so that they advance together."""
        return [trial.cell for turn in zip(*self.trials.values(), strict=True) for trial in turn]

    def retrained(self, method: str, number: int) -> list[Cell]:
        """Trial `number` of `method` as the experiments of its fresh seeds."""
        trial = self.trials[method][number]
        found = []
        for seed in self.seeds:
            experiment = trial.cell.experiment.model_copy(update={"seed": seed})
            values = {**trial.cell.values, "seed": str(seed)}
            found.append(_cell(experiment, trial.cell.preset, self.store, self.runs, values))
        return found


def plan(
    space: Space,
    methods: Sequence[str],
    number: int,
    store: Store,
    runs: Path,
    *,
    assigned: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
) -> Search:
    """The search of `number` trials for each of `methods`, presets' or methods' names, on `store`.

    A trial is a function of the space, the data, the method's preset and its number alone: whoever runs it, in whatever
    order and after whatever else, and in a search of any length. Raises Misuse for what cannot be searched.
    """
    assigned = dict(assigned or {})
    if not 1 <= number <= _MOST:
        raise Misuse(f"--search {number}: a search has from 1 to {_MOST:,} trials for each method")
    if "seed" in assigned:
        raise Misuse("a search chooses its trials' seed itself; --seeds names those that winners are trained with")
    if "method.name" in dotted(merge({"method": {}}, assigned)):
        raise Misuse("--set method: the methods are what is compared; method=a,b says which")
    if space.seed in seeds:
        raise Misuse(
            f"--seeds: trials are trained with seed {space.seed}, so a winner trained with it would not be new to it"
        )
    joint = resolve(merge(studies.settings_of(store.name, "joint")[0], assigned), store)
    protocol = dotted(joint.model_dump(mode="json"))
    trials = {}
    tuned: dict[str, dict[str, Dimension]] = {}
    for method in dict.fromkeys(methods):
        raw, preset = studies.settings_of(store.name, method)
        raw = merge(merge(raw, assigned), {"seed": space.seed})
        tuned[method] = space.of(method, resolve(raw, store).method.name)
        points = space.draws(method, tuned[method], number - 1)
        drawn = [{}, *(_settings(point, tuned[method], protocol) for point in points)]
        found = []
        for index, settings in enumerate(drawn):
            experiment = _experiment(method, index, raw, settings, store)
            values = _values(experiment, tuned[method])
            about = {"method": method, "trial": str(index), "settings": settings_text(values)}
            found.append(Trial(index, values, _cell(experiment, preset, store, runs, about)))
        trials[method] = tuple(found)
    identity = digest(*(trial.cell.id for found in trials.values() for trial in found))
    name = f"{store.name}-{number}-trials-{identity[:8]}"
    return Search(name, space.seed, number, assigned, tuple(dict.fromkeys(seeds)), store, runs, tuned, trials)


def search(
    planned: Search, run: Callable[[list[Cell]], object], say: Callable[[str], None]
) -> tuple[SearchRecord, Path]:
    """Have `run` train the trials, then the winners; the record, up to date, and its file.

    `run` may leave cells undone, as one shard of several does: winners are chosen once no trial is missing.
    """
    search_record.write(record_of(planned), planned.runs)
    try:
        run(planned.cells)
    finally:  # what an interrupted call has done is in the books, too
        record = record_of(planned)
        path = search_record.write(record, planned.runs)
    if not record.settled:
        missing = sum(not trial.settled for trial in record.trials)
        say(
            f"{missing} of {len(planned.cells)} trials are missing, so nothing is chosen yet; go on with the same command"
        )
        return record, path
    for method, tuned in record.methods.items():
        if failures := tuned.failures:
            say(f"{method}: {len(failures)} of {planned.number} trials failed, the first one: {failures[0].failed}")
    if winners := winners_of(planned, record):
        run(winners)
    return record, path


def winners_of(planned: Search, record: SearchRecord) -> list[Cell]:
    """The winners' experiments, one seed of all methods after the other; nothing of a method that has no winner."""
    chosen = [
        planned.retrained(method, tuned.winner) for method, tuned in record.methods.items() if tuned.winner is not None
    ]
    return [cell for turn in zip(*chosen, strict=True) for cell in turn]


def undecided(planned: Search, record: SearchRecord) -> list[Cell]:
    """As many cells as winners that cannot be known yet will be trained as: in their stead, each method's preset."""
    return [
        cell
        for method, tuned in record.methods.items()
        if not all(trial.settled for trial in tuned.trials)
        for cell in planned.retrained(method, 0)
    ]


def record_of(planned: Search) -> SearchRecord:
    """The search as the run folders tell it now."""
    methods = {}
    for method, trials in planned.trials.items():
        dimensions = {
            key: dimension.model_dump(mode="json", exclude_defaults=True)
            for key, dimension in planned.tuned[method].items()
        }
        tuned = TunedMethod(space=dimensions, trials=[_tried(trial, planned.runs) for trial in trials])
        if (winner := tuned.best()) is not None:
            again = [
                WinnersRun(seed=cell.experiment.seed, id=cell.id, run=cell.name)
                for cell in planned.retrained(method, winner)
            ]
            tuned = tuned.model_copy(update={"winner": winner, "runs": again})
        methods[method] = tuned
    return SearchRecord(
        name=planned.name,
        dataset=planned.store.name,
        data_digest=planned.store.digest,
        number=planned.number,
        seed=planned.seed,
        assigned=dict(planned.assigned),
        methods=methods,
    )


def _experiment(
    method: str, number: int, raw: Mapping[str, Any], settings: Mapping[str, Any], store: Store
) -> Experiment:
    """What trial `number` is: `settings` over `raw`, the method's preset."""
    for key, value in settings.items():
        raw = merge(raw, nested(key, value))
    try:
        return resolve(raw, store)
    except InforegError as error:
        said = f"trial {number} of {method}, which the search's space allows, is no experiment: {error}"
    raise Misuse(said)


def _values(experiment: Experiment, dimensions: Mapping[str, Dimension]) -> dict[str, Any]:
    """What the experiment has for the settings that `dimensions` may set."""
    values = dotted(experiment.model_dump(mode="json"))
    names = (name for dimension in dimensions.items() for name in _names(*dimension))
    return {name: values[name] for name in names if name in values}


def _settings(
    point: Mapping[str, float], dimensions: Mapping[str, Dimension], protocol: Mapping[str, Any]
) -> dict[str, Any]:
    found = {}
    for key, dimension in dimensions.items():
        own = protocol.get(key)
        if dimension.times and (not isinstance(own, int | float) or own <= 0):
            raise Misuse(
                f"the search's space multiplies {key}, which in the protocol is {own!r}: give it a range instead"
            )
        found[key] = dimension.at(point[key], own)
    return found


def _names(key: str, dimension: Dimension) -> list[str]:
    """The settings, by dotted key, that `dimension` may set: those of its choices where these are tables."""
    choices = [dotted({key: choice}) for choice in dimension.choices or [None]]
    return list(dict.fromkeys(name for choice in choices for name in choice))


def _cell(experiment: Experiment, preset: str | None, store: Store, runs: Path, values: Mapping[str, str]) -> Cell:
    name = folder_of(experiment, store, runs).path.name
    return Cell(values, experiment, preset, experiment.id(store.digest), name)


def _tried(trial: Trial, runs: Path) -> TriedSettings:
    cell = trial.cell
    tried = TriedSettings(trial=trial.number, settings=dict(trial.settings), id=cell.id, run=cell.name)
    state = state_of(runs, cell.name)
    if state.kind == "failed":
        return tried.model_copy(update={"failed": state.reason or "for a reason that was not recorded"})
    if state.kind != "done":
        return tried
    val = RunFolder(runs / cell.name).read_result()["val"]
    loss = val.get("loss")
    return tried.model_copy(
        update={"accuracy": val["accuracy"], "loss": loss if loss is not None and isfinite(loss) else None}
    )
