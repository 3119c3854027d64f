"""The pictures show every run in every panel that it has, and can be told apart without colour."""

import pytest

from inforeg_cli.report.figures.robustness import damage_figure, missing_figure
from inforeg_cli.report.figures.style import save

LADDERS = {"sound": {"noise": [None, 20, 0], "dropped": [None, 0.1, 0.7, 0.9]}, "image": {"jpeg": [None, 40, 5]}}


def curves(shift: float = 0.0, modalities: tuple[str, ...] = ("sound", "image")) -> dict:
    return {
        name: {
            damage: {
                "label": f"{damage} of {name}",
                "strengths": strengths,
                "accuracy": [0.9 - shift - 0.2 * step for step in range(len(strengths))],
                "area": 0.7,
            }
            for damage, strengths in LADDERS[name].items()
        }
        for name in modalities
    }


def missing(shift: float = 0.0) -> list[dict]:
    subsets = [["sound", "image"], ["sound"], ["image"], []]
    return [{"present": names, "accuracy": 0.9 - shift - 0.2 * place} for place, names in enumerate(subsets)]


def panels(figure) -> dict:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def test_a_panel_for_each_modality_and_damage():
    found = panels(damage_figure({"joint": curves(), "ogm": curves(0.1)}))
    assert list(found) == ["sound: noise", "sound: dropped", "image: jpeg"]
    axes = found["sound: noise"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "20", "0"]
    assert axes.get_xlabel() == "noise of sound"
    assert [line.get_ydata() for line in axes.lines] == [pytest.approx([0.9, 0.7, 0.5]), pytest.approx([0.8, 0.6, 0.4])]
    looks = {(line.get_marker(), str(line.get_linestyle())) for line in axes.lines}
    assert len(looks) == 2


def test_absence_stands_at_the_end_of_its_modalitys_panels():
    found = panels(damage_figure({"joint": curves(), "ogm": curves()}, {"joint": missing()}))
    for title, accuracy in (("sound: noise", 0.5), ("image: jpeg", 0.7)):
        axes = found[title]
        assert axes.get_xticklabels()[-1].get_text() == "absent"
        *lines, absent = (line for line in axes.lines if len(line.get_ydata()) == 1 or line is axes.lines[0])
        assert absent.get_ydata() == pytest.approx([accuracy]) and absent.get_xdata()[0] > 2
        assert len(lines) == 1  # of the run whose subsets are not there, none


def test_a_run_alone_says_its_areas_and_needs_no_legend():
    figure = damage_figure({"joint": curves()})
    assert all("area 0.700" in [text.get_text() for text in axes.texts] for axes in panels(figure).values())
    assert not figure.legends
    both = damage_figure({"joint": curves(), "sound alone": curves(modalities=("sound",))})
    assert [text.get_text() for text in both.legends[0].get_texts()] == ["joint", "sound alone"]
    assert len(panels(both)["image: jpeg"].lines) == 1
    for key, line in zip(both.legends[0].legend_handles, panels(both)["sound: noise"].lines, strict=True):
        assert (key.get_marker(), key.get_color()) == (line.get_marker(), line.get_color())


def test_many_runs_all_look_different():
    figure = damage_figure({f"run {number}": curves(number / 20) for number in range(12)})
    looks = {
        (line.get_marker(), str(line.get_markerfacecolor()), str(line.get_linestyle()))
        for line in panels(figure)["image: jpeg"].lines
    }
    assert len(looks) == 12


def test_a_row_for_each_subset_and_a_mark_for_each_run():
    figure = missing_figure({"joint": missing(), "ogm": missing(0.1)[:2]})
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sound + image", "sound", "image", "none"]
    assert [len(line.get_xdata()) for line in axes.lines] == [4, 2]
    assert axes.lines[1].get_xdata() == pytest.approx([0.8, 0.6])
    rows = [[round(place) for place in line.get_ydata()] for line in axes.lines]
    assert rows == [[0, 1, 2, 3], [0, 1]]


def test_pictures_are_written_as_png_and_svg(tmp_path):
    for name, figure in (("damage", damage_figure({"a": curves()})), ("missing", missing_figure({"a": missing()}))):
        png, svg = save(figure, tmp_path, name)
        assert png.read_bytes()[:4] == b"\x89PNG" and "<svg" in svg.read_text()
