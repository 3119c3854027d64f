"""A cell of a sweep: one experiment, named by what tells it from the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from inforeg_cli.config import Experiment


@dataclass(frozen=True)
class Cell:
    """values: what tells it from the sweep's other cells, as text by axis, in the axes' order, e.g. ``{"beta": "0.5"}``.
    id: the run's id, which the configuration, the data and the method's version make. name: the run's folder.
    """

    values: Mapping[str, str]
    experiment: Experiment
    preset: str | None
    id: str
    name: str
