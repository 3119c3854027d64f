"""The paper's measured figures by number: what each needs, whether it is there, and the picture of it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from inforeg_cli import studies
from inforeg_cli.errors import Misuse
from inforeg_cli.report.figures import features, sensitivity, similarity, style, traces
from inforeg_cli.report.figures.features import Extracted
from inforeg_cli.report.figures.material import Material, gather
from inforeg_cli.report.runs import Run

Extract = Callable[[Run], Extracted]


@dataclass(frozen=True)
class _Kind:
    """rows: those of its study that it draws by name. needs: what their runs must have recorded. of: which clips and
    epochs it shows. one_seed: whether of a single one."""

    draw: Callable[[Material, Extract], Figure]
    rows: tuple[str, ...]
    needs: tuple[str, ...]
    of: str
    one_seed: bool = False


def _drawn(draw: Callable[[Material], Figure]) -> Callable[[Material, Extract], Figure]:
    return lambda material, extract: draw(material)


_TRACED = ("fisher", "trace")
_TRAIN, _BEST = "train split, every epoch", "test split, best epoch on val"
_SETTING = "test and val split, best epoch on val"
_FIGURES = {
    1: _Kind(_drawn(traces.acquisition), ("joint",), _TRACED, _TRAIN),
    3: _Kind(_drawn(traces.gaps), ("joint",), _TRACED, _TRAIN),
    4: _Kind(
        _drawn(similarity.orthogonality), ("inforeg",), ("gradient_cosines",), "train split, epochs inside the window"
    ),
    5: _Kind(
        _drawn(traces.balance), ("joint", "inforeg"), _TRACED, f"val split, every epoch; {_BEST}; traces: {_TRAIN}"
    ),
    6: _Kind(features.representations, (), (), _BEST, one_seed=True),
    7: _Kind(_drawn(sensitivity.over_beta), (), (), _SETTING),
    8: _Kind(_drawn(sensitivity.over_threshold), (), (), _SETTING),
}
#: The figures that show measurements; 2 is a drawing of the method.
NUMBERS = tuple(_FIGURES)


@dataclass(frozen=True)
class Picture:
    """Figure `number` of the paper on one dataset, or why there is none.

    of: split, epochs and seeds that it shows. missing: the rows, or values of its setting, that have no runs; a picture
    over a setting is drawn from two values on. needs: what runs must have recorded. command: what runs the missing ones.
    """

    number: int
    title: str
    figure: Figure | None
    of: str
    missing: tuple[str, ...]
    needs: tuple[str, ...]
    command: list[str]

    @property
    def name(self) -> str:
        """Of its files, but for their ending."""
        return f"figure{self.number}"

    def lacking(self, command: Sequence[str]) -> str:
        """One line: what is missing, and the `command` that runs it."""
        records = " and ".join(f"record.{need}" for need in self.needs)
        what = f"no finished runs with {records} of" if records else "no finished runs of"
        return f"{what} {'; '.join(self.missing)}. Run them with: {shlex.join(command)}"


def picture(number: int, runs: Sequence[Run], dataset: str, extract: Extract) -> Picture:
    """Draw a figure from the finished runs on `dataset`; `extract` computes features of a run, which figure 6 asks for.

    Raises Misuse for a number that is none of `NUMBERS`, InforegError where a run's files are absent or damaged.
    """
    if number not in _FIGURES:
        raise Misuse(f"there is no figure {number} to draw; there is: {', '.join(map(str, NUMBERS))}")
    kind, name = _FIGURES[number], f"paper/figure{number}"
    study = studies.load(name)
    if absent := [row for row in kind.rows if row not in {known.name for known in study.rows}]:
        raise Misuse(f"{name}, which is not the one that ships, has no row '{absent[0]}'")
    material = gather(study, runs, dataset, kind.needs)
    figure, of = None, kind.of
    if material.enough:
        of += f"; seed {material.common_seed}" if kind.one_seed else f"; {material.seeds}"
        with style.styled():
            figure = kind.draw(material, extract)
    command = ["inforeg", "sweep", "--preset", name, "--dataset", dataset]
    return Picture(number, study.title, figure, of, material.missing, kind.needs, command)
