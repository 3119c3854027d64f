"""The prime learning window in a picture: where it is shaded, and in which words."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from inforeg_cli.naming import ranges
from inforeg_cli.report.figures import style
from inforeg_cli.report.figures.material import Recorded
from inforeg_cli.window import Window


def shade_windows(panels: Mapping[Axes, Mapping[str, Sequence[int]]], modalities: Sequence[str]) -> None:
    """Shade in each panel the epochs in which each modality's window is open, and raise all titles by what that takes."""
    colours = {name: style.look(index)["color"] for index, name in enumerate(modalities)}
    raised = max([style.shade(axes, opened, colours) for axes, opened in panels.items()])
    for axes in panels:
        axes.set_title(axes.get_title(loc="left"), loc="left", pad=4 + raised)


def words(panels: Mapping[str, Mapping[str, Sequence[int]]], source: str) -> str:
    """What is shaded, for the small print: by panel (``""`` where there is one only) the open epochs of each modality."""
    if not any(epochs for opened in panels.values() for epochs in opened.values()):
        return f"prime learning window ({source}): never open"
    when = "; ".join(f"{panel} {_when(opened)}".strip() for panel, opened in panels.items())
    return f"shaded: prime learning window ({source}), open in at least half of the seeds in epochs {when}"


def source(recorded: Recorded, rule: Window) -> str:
    """Where these runs' windows come from: their training, or the rule that says where they would have been."""
    return "as trained" if recorded.windowed else f"by {rule_words(rule)}"


def _when(opened: Mapping[str, Sequence[int]]) -> str:
    by_modality = {name: ranges(epochs) or "(none)" for name, epochs in opened.items()}
    if len({*by_modality.values()}) == 1:
        return next(iter(by_modality.values()))
    return ", ".join(f"{name} {text}" for name, text in by_modality.items())


def rule_words(rule: Window) -> str:
    """``eq. 11, K = 0.04``, and in what the rule differs from it."""
    if rule.when != "prime":
        return f"window.when = {rule.when}"
    parts = [f"eq. 11, K = {rule.K:g}"]
    if rule.smooth > 1:
        parts.append(f"means of {rule.smooth} epochs" + (", zero-padded" if rule.zero_padded else ""))
    if rule.warmup == "open":
        parts.append("epochs 0 and 1 open")
    if rule.leader:
        parts.append(f"{rule.leader} decides")
    return ", ".join(parts)
