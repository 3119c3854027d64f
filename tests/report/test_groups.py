from report.run_factory import make_run

from inforeg_cli.report.groups import baseline_of, distinctions, grouped, sections
from inforeg_cli.report.runs import all_runs


def groups_in(folder):
    return grouped(all_runs(folder).runs)


def labels(section):
    return sorted(group.label for group in section)


def test_runs_are_grouped_by_everything_but_the_seed(tmp_path):
    for seed in (1, 0):
        make_run(tmp_path, "joint", seed)
        make_run(tmp_path, "joint", seed, settings={"optimizer.lr": 0.1})
        make_run(tmp_path, "joint", seed, digest="e" * 64, dataset="other")
        make_run(tmp_path, "joint", seed, method_version=2)
    groups = groups_in(tmp_path)
    assert [group.seeds for group in groups] == [(0, 1)] * 4


def test_unfinished_runs_are_in_no_group(tmp_path):
    make_run(tmp_path, seed=0)
    make_run(tmp_path, seed=1, finished=False)
    assert [group.seeds for group in groups_in(tmp_path)] == [(0,)]


def test_a_repeated_seed_counts_once(tmp_path):
    make_run(tmp_path, seed=0, name="b", accuracy=0.6)
    make_run(tmp_path, seed=0, name="a", accuracy=0.7)
    (group,) = groups_in(tmp_path)
    assert [run.name for run in group.runs] == ["a"]
    assert [run.name for run in group.repeats] == ["b"]


def test_what_is_recorded_makes_no_other_group(tmp_path):
    for seed, fisher, curve in [(0, True, True), (0, False, True), (1, True, True), (1, True, False), (2, True, False)]:
        settings = {"record.fisher": fisher, "record.test_curve": curve}
        make_run(tmp_path, seed=seed, settings=settings, name=f"{'b' if curve else 'a'}-{seed}-{fisher}")
    (group,) = groups_in(tmp_path)
    # Of two that are alike the one with a test curve, which can speak for every epoch; and nothing is a repeat.
    assert [run.name for run in group.runs] == ["b-0-False", "b-1-True", "a-2-True"]
    assert not group.repeats


def test_what_belongs_to_a_method_shares_a_section_and_protocol_does_not(tmp_path):
    make_run(tmp_path, "joint")
    make_run(tmp_path, "uniform")
    make_run(tmp_path, "inforeg", settings={"method.beta": 0.1, "window.when": "whole", "trace.reduction": "sum"})
    make_run(tmp_path, "inforeg", settings={"record.fisher": True})
    for key, value in [
        ("optimizer.lr", 0.1),
        ("schedule.name", "cosine"),
        ("epochs", 5),
        ("batch_size", 8),
        ("encoders.image", {"name": "mlp"}),
        ("data.scheme", "speaker"),
        ("fusion.name", "sum"),
    ]:
        make_run(tmp_path, "joint", settings={key: value})
    make_run(tmp_path, "joint", modalities=("image", "sound", "text"))
    make_run(tmp_path, "joint", digest="f" * 64)
    found = sections(groups_in(tmp_path))
    assert sorted(map(labels, found)) == [["inforeg", "inforeg", "joint", "uniform"], *[["joint"]] * 9]


def test_a_modality_alone_joins_the_sections_it_fits(tmp_path):
    make_run(tmp_path, "joint")
    make_run(tmp_path, "joint", modalities=("image", "sound", "text"))
    make_run(tmp_path, "joint", modalities=("image",))
    make_run(tmp_path, "joint", modalities=("text",))
    make_run(tmp_path, "joint", modalities=("sound",), settings={"encoders.sound": {"name": "mlp"}})
    found = {len(section[0].first.modalities): labels(section) for section in sections(groups_in(tmp_path))}
    assert found == {2: ["image alone", "joint"], 3: ["image alone", "joint", "text alone"], 1: ["sound alone"]}


def test_modalities_trained_alone_and_nothing_else_make_one_section(tmp_path):
    make_run(tmp_path, "joint", modalities=("image",))
    make_run(tmp_path, "joint", modalities=("sound",))
    assert [labels(section) for section in sections(groups_in(tmp_path))] == [["image alone", "sound alone"]]


def test_the_baseline_has_the_very_same_protocol(tmp_path):
    make_run(tmp_path, "inforeg")
    make_run(tmp_path, "joint", settings={"optimizer.lr": 0.1})
    make_run(tmp_path, "joint", modalities=("image",))
    make_run(tmp_path, "uniform")
    groups = {group.label: group for group in groups_in(tmp_path)}
    assert baseline_of(groups["inforeg"], list(groups.values())) is None
    make_run(tmp_path, "joint")
    groups = groups_in(tmp_path)
    method = next(group for group in groups if group.label == "inforeg")
    found = baseline_of(method, groups)
    assert (found.label, found.protocol) == ("joint", method.protocol)
    assert baseline_of(found, groups) is None


def test_of_baselines_that_record_differently_the_one_with_most_common_seeds_is_taken(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "ogm", seed)
        make_run(tmp_path, "joint", seed, settings={"record.fisher": True})
    make_run(tmp_path, "joint", 0)
    groups = groups_in(tmp_path)
    method = next(group for group in groups if group.label == "ogm")
    assert baseline_of(method, groups).seeds == (0, 1, 2)


def test_distinctions_show_exactly_the_keys_that_differ():
    settings = [{"a": 1, "b": 0.5, "c": None}, {"a": 1, "b": 0.1, "c": True}]
    assert distinctions(settings) == ["b=0.5, c=none", "b=0.1, c=true"]


def test_distinctions_leave_a_methods_own_keys_out_where_its_name_is_enough():
    ogm, agm = {"method.name": "ogm", "method.alpha": 1}, {"method.name": "agm", "method.cap": ["a", "b"]}
    assert distinctions([ogm, agm]) == ["method.name=ogm", "method.name=agm"]
    assert distinctions([agm, {"method.name": "agm"}]) == ["method.cap=a+b", ""]


def test_a_modality_named_like_a_setting_takes_nothing_else_with_it():
    from inforeg_cli.report.groups import _without

    protocol = {
        "data.scheme": "s",
        "optimizer.lr": 1,
        "inputs.data.kind": "audio",
        "encoders.lr.dim": 3,
        "encoders.a.dim": 3,
    }
    left = {"data.scheme": "s", "optimizer.lr": 1, "encoders.a.dim": 3}
    assert _without(protocol, {"data", "lr"}) == left
