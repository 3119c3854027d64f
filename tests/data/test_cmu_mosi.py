"""CMU-MOSI: both forms that circulate, the padding of the pickles, the alignment of the sequences, scores and folds."""

import csv
import os
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from csd_factory import every, write_csd, write_sequences

from inforeg_cli import paths, presets
from inforeg_cli.data import recipe, recipe_file
from inforeg_cli.data.preparing import prepare
from inforeg_cli.data.preparing.plan import Job, look
from inforeg_cli.data.sources import Scan, cmu_mosi
from inforeg_cli.engine.fit import Training
from inforeg_cli.errors import Misuse
from inforeg_cli.progress import Silent
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder
from inforeg_cli.settings import merge

RECIPE = paths.shipped("datasets") / "cmu-mosi" / "recipe.toml"
UTTERANCES = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "cmu-mosi-utterances" / "manifest.csv"
WIDTHS = {"text": 6, "audio": 5, "vision": 4}
#: Two of each part of the standard folds.
VIDEOS = ("2iD-tVS8NPw", "_a_1_train", "WKA5OygbEKI", "_dI--eQ6qVU", "tmZoasNr4rU", "f_pcplsH_V0")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "cmu-mosi" / "raw"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def shipped() -> recipe.CmuMosiRecipe:
    return recipe_file.load(RECIPE)


def scan(raw: Path, **changes) -> Scan:
    return cmu_mosi.scan(recipe_file.load(RECIPE).model_copy(update=changes), raw, None)


def part(count: int, seed: int = 0, steps: int = 8, first: int = 0) -> dict:
    """A split as MultiBench has it: sequences of 1 to `steps` steps, padded in front."""
    random = np.random.default_rng(seed)
    scores = np.resize([-2.2, 1.8, -1.0, 0.6], count).astype("f4")
    found = {name: np.zeros((count, steps, width), "f4") for name, width in WIDTHS.items()}
    for index in range(count):
        length = 1 + index % steps
        for values in found.values():
            values[index, steps - length :] = random.normal(size=(length, values.shape[2]))
            values[index, steps - length :, 0] += scores[index]
    ids = [f"video{first + index // 2}[{index % 2}]" for index in range(count)]
    return {**found, "labels": scores[:, None, None], "id": ids}


def parts(**changes) -> dict:
    return {
        "train": part(24, 0),
        "valid": part(8, 1, first=100),
        "test": part(8, 2, first=200),
        **changes,
    }


def write(raw: Path, value: object, name: str = "mosi_raw.pkl", protocol: int = 4) -> None:
    (raw / name).write_bytes(pickle.dumps(value, protocol))


def rows_of(found: Scan) -> list[dict[str, str]]:
    return [row.cells for row in found.table.rows]


def test_a_pickle_becomes_sequences_without_their_padding(raw):
    given = parts()
    write(raw, given)
    found = scan(raw)
    assert not found.problems and not found.warnings
    assert Counter(row["standard"] for row in rows_of(found)) == {"train": 24, "val": 8, "test": 8}
    assert rows_of(found)[3] == {
        "id": "video1_1", "video": "video1", "standard": "train", "sentiment": "positive", "sentiment7": "1",
    }  # fmt: skip
    for name, arrays in found.arrays.items():
        assert [len(array) for array in arrays[:24]] == [1 + index % 8 for index in range(24)]
        for array, padded in zip(arrays[:24], given["train"][name], strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, padded[8 - len(array) :])


@pytest.mark.parametrize(
    "change",
    [
        lambda p: {"valid": "dev"},
        lambda p: {"valid": "val"},
        lambda p: [s.update(labels=s["labels"][:, 0]) for s in p.values()] and {},
        lambda p: [s.update(labels=s["labels"][:, 0, 0].tolist()) for s in p.values()] and {},
        lambda p: [s.update(id=np.array(s["id"])) for s in p.values()] and {},
        lambda p: [s.update(id=np.array(s["id"], "S")[:, None]) for s in p.values()] and {},
        lambda p: [s.update(id=[[i.replace("[", "$_$").rstrip("]")] for i in s["id"]]) for s in p.values()] and {},
        lambda p: [s.update(id=[i.replace("[", "_").rstrip("]") for i in s["id"]]) for s in p.values()] and {},
        lambda p: [s.update({n: s[n].astype("f8") for n in WIDTHS}) for s in p.values()] and {},
        lambda p: [s.update({n: list(s[n]) for n in WIDTHS}) for s in p.values()] and {},
        lambda p: [s.update({n: objects(s[n]) for n in WIDTHS}) for s in p.values()] and {},
        lambda p: [s.update({n: np.stack([at_the_end(r) for r in s[n]]) for n in WIDTHS}) for s in p.values()] and {},
        lambda p: [s.update(raw_text=np.array(["x"]), vision_lengths=[1]) for s in p.values()] and {},
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_pickles_differ_in_form_and_not_in_what_they_hold(raw, change, protocol):
    write(raw, parts())
    expected = scan(raw)
    given = parts()
    for old, new in change(given).items():
        given[new] = given.pop(old)
    write(raw, given, protocol=protocol)
    found = scan(raw)
    assert not found.problems
    assert rows_of(found) == rows_of(expected)
    for name, arrays in found.arrays.items():
        for array, other in zip(arrays, expected.arrays[name], strict=True):
            np.testing.assert_array_equal(array, other)


def objects(rows: np.ndarray) -> np.ndarray:
    """Of different lengths, without padding."""
    found = np.empty(len(rows), dtype=object)
    found[:] = [row[np.flatnonzero(row.any(axis=1))[0] :] for row in rows]
    return found


def at_the_end(row: np.ndarray) -> np.ndarray:
    return np.roll(row, -int(np.flatnonzero(row.any(axis=1))[0]), axis=0)


def test_videos_begins_and_ends_are_ids_too(raw):
    given = parts()
    for name, values in given.items():
        values["id"] = np.array([[f"{name}{i // 2}", f"{i}.25", f"{i + 1}"] for i in range(len(values["id"]))], "S")
    write(raw, given, "mosi_data.pkl")
    first = rows_of(scan(raw))[1]
    assert first["id"] == "train0_1.25_2" and first["video"] == "train0"


def test_ids_of_one_name_hold_video_and_segment(raw):
    given = parts()
    names = ["_a_1[10]", "_a_1$_$11", "_a_1_12", "2iD-tVS8NPw", 7, b"x[3]", np.str_("y[0]"), "z[1][2]"]
    given["valid"]["id"] = names
    write(raw, given)
    assert [(row["id"], row["video"]) for row in rows_of(scan(raw)) if row["standard"] == "val"] == [
        ("_a_1_10", "_a_1"), ("_a_1_11", "_a_1"), ("_a_1_12", "_a_1"), ("2iD-tVS8NPw", "2iD-tVS8NPw"), ("7", "7"),
        ("x_3", "x"), ("y_0", "y"), ("z[1]_2", "z[1]"),
    ]  # fmt: skip


def test_without_ids_the_place_stands_for_them(raw):
    given = parts()
    for values in given.values():
        del values["id"]
    write(raw, given)
    found = scan(raw)
    assert rows_of(found)[30]["id"] == rows_of(found)[30]["video"] == "valid_6"
    assert len({row["id"] for row in rows_of(found)}) == 40
    assert [line.partition(":")[0] for line in found.warnings.lines()] == ["train", "valid", "test"]


def test_zeros_inside_stay_and_a_row_of_zeros_keeps_one_step(raw):
    given = parts()
    text = given["train"]["text"]
    text[5] = 0
    text[7, 3] = 0
    write(raw, given)
    found = scan(raw)
    assert found.arrays["text"][5].tolist() == [[0] * 6] and len(found.arrays["audio"][5]) == 6
    assert len(found.arrays["text"][7]) == 8 and not found.arrays["text"][7][3].any()
    assert found.warnings.lines() == [
        "mosi_raw.pkl, text: segments hold nothing but zeros, and keep one step of them (1)"
    ]


def test_what_is_not_finite_becomes_0_and_is_counted(raw):
    given = parts()
    given["train"]["audio"][7, 7, :2] = [-np.inf, np.nan]
    given["test"]["audio"] = given["test"]["audio"].astype("f8")
    given["test"]["audio"][7, 0, 3] = 1e300  # infinite in float32
    write(raw, given)
    found = scan(raw)
    assert found.arrays["audio"][7][7, :2].tolist() == [0, 0]
    assert found.arrays["audio"][39][0, 3] == 0
    assert found.warnings.lines() == ["mosi_raw.pkl, audio: numbers that are not finite became 0 (3)"]


@pytest.mark.parametrize(
    ("score", "binary", "seven"),
    [
        (-3.0, "negative", "-3"), (-2.5, "negative", "-3"), (-2.4, "negative", "-2"), (-0.5, "negative", "-1"),
        (-0.4, "negative", "0"), (0.0, "negative", "0"), (0.2, "positive", "0"), (0.5, "positive", "1"),
        (1.5, "positive", "2"), (2.5, "positive", "3"), (3.0, "positive", "3"), (3.0000002, "positive", "3"),
    ],
)  # fmt: skip
def test_classes_of_scores(shipped, score, binary, seven):
    assert cmu_mosi.binary(score) == binary and binary in shipped.classes["sentiment"]
    assert cmu_mosi.seven(score) == seven and seven in shipped.classes["sentiment7"]


def test_scores_that_are_none_are_told_with_their_place(raw):
    given = parts()
    given["train"]["labels"][3] = np.nan
    given["valid"]["labels"][1] = 3.4
    write(raw, given)
    assert scan(raw).problems.lines() == [
        "train 3: the score does not lie between -3 and 3 (nan)",
        "valid 1: the score does not lie between -3 and 3 (3.4)",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p.pop("train"), "has no train; it has: valid, test"),
        (lambda p: p["test"].pop("vision"), "test lacks vision; it has: text, audio, labels, id"),
        (lambda p: p["test"].pop("labels"), "test lacks labels"),
        (lambda p: p.update(train=[1]), "train is a list, where arrays by name belong"),
        (lambda p: p["train"].update(labels=np.zeros((24, 7))), "labels are not one score a segment"),
        (lambda p: p["train"].update(labels=np.array(["x"] * 24)), "labels are not one score a segment"),
        (lambda p: p["train"].update(text=p["train"]["text"][:23]), "24 labels, and not as many sequences of text"),
        (lambda p: p["train"].update(text=None), "24 labels, and not as many sequences of text"),
        (lambda p: p["train"].update(text=np.zeros((24, 8))), r"train 0, text: not a sequence of numbers \[T, D\]"),
        (lambda p: p["train"].update(text=[["a"]] * 24), r"train 0, text: not a sequence of numbers"),
        (lambda p: p["train"].update(text=[[[1, 2], [3]]] * 24), r"train 0, text: not a sequence of numbers"),
    ],
)
def test_pickles_that_hold_something_else(raw, change, said):
    given = parts()
    change(given)
    write(raw, given)
    with pytest.raises(Misuse, match=said) as refused:
        scan(raw)
    assert len(str(refused.value).splitlines()) == 1


class _Harmful:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_pickle_that_runs_code_is_refused(raw):
    write(raw, {**parts(), "more": _Harmful()})
    with pytest.raises(
        Misuse, match=r"mosi_raw\.pkl needs `posix\.system`, which is not a number or a container: refused"
    ):
        scan(raw)
    write(raw, [1])
    with pytest.raises(Misuse, match="holds a list, where splits by name belong"):
        scan(raw)


def test_of_two_pickles_the_first_is_read(raw):
    write(raw, parts(), "mosi_data.pkl")
    alone = scan(raw)
    assert alone.found[0].what == "mosi_data.pkl" and not alone.warnings
    write(raw, parts(train=part(30)))
    found = scan(raw)
    assert len(found.table.rows) == 46
    assert found.warnings.lines() == ["mosi_data.pkl: not read (mosi_raw.pkl comes first in the recipe)"]
    assert found.inputs == cmu_mosi.inputs(recipe_file.load(RECIPE), raw, None) != alone.inputs


def test_neither_form(raw, shipped):
    (raw / "CMU_MOSI_COVAREP.csd").touch()
    with pytest.raises(Misuse) as refused:
        scan(raw)
    assert (
        "holds CMU_MOSI_COVAREP.csd: needed is a pickle (mosi_raw.pkl or mosi_data.pkl), or all sequences; missing"
        in (str(refused.value))
    )
    assert "Opinion_Labels*.csd (scores)" in str(refused.value) and "(audio)" not in str(refused.value)
    with pytest.raises(Misuse, match="no split lists"):
        cmu_mosi.scan(shipped, raw, raw)


def test_sequences_are_cut_into_segments_and_aligned_to_the_words(raw):
    write_csd(raw / "CMU_MOSI_Opinion_Labels.csd", "labels", {"WKA5OygbEKI": ([[1.2], [-1], [0], [3]], every(2, 4))})
    # Words at 0-1, 1-2 (second segment: 2.5-3, and one of zeros at 3-4), none after 4 but a pause.
    words = [[1, 0], [2, 1], [3, 0], [0, 0], [0, 0]]
    times = [[0, 1], [1, 2], [2.5, 3], [3, 4], [4, 5]]
    write_csd(raw / "CMU_MOSI_TimestampedWordVectors.csd", "glove", {"WKA5OygbEKI": (words, times)})
    sound = np.arange(1, 17.0)[:, None] * [1, 10]
    sound[1, 0] = -np.inf
    write_csd(raw / "CMU_MOSI_COVAREP.csd", "COVAREP", {"WKA5OygbEKI": (sound[::-1], every(0.25, 16)[::-1])})
    write_csd(raw / "CMU_MOSI_Visual_Facet_41.csd", "FACET", {"WKA5OygbEKI": ([[7, 7, 7.0]], [[1, 2]])})
    found = scan(raw)
    assert [row["id"] for row in rows_of(found)] == ["WKA5OygbEKI_0", "WKA5OygbEKI_1"]
    assert [row["sentiment7"] for row in rows_of(found)] == ["1", "-1"]
    assert {row["standard"] for row in rows_of(found)} == {"val"}
    text, audio, vision = (found.arrays[name] for name in ("text", "audio", "vision"))
    assert [array.tolist() for array in text] == [[[1, 0], [2, 1]], [[3, 0]]]
    assert audio[0].tolist() == [[(1 + 0 + 3 + 4) / 4, 25], [6.5, 65]]
    assert audio[1].tolist() == [[11.5, 115], [14.5, 145]]
    assert vision[0].tolist() == [[7, 7, 7]] and vision[1].tolist() == [[0, 0, 0]]
    assert found.warnings.lines() == [
        "2 segments: without words, and left out",
        "CMU_MOSI_COVAREP.csd: numbers that are not finite became 0 (1)",
        "CMU_MOSI_Visual_Facet_41.csd: segments hold nothing but zeros, and keep one step of them (1)",
    ]


def test_sequences_follow_the_standard_folds(raw):
    scores = write_sequences(raw, VIDEOS)
    found = scan(raw)
    by_video = {row["video"]: row["standard"] for row in rows_of(found)}
    assert by_video == dict(zip(VIDEOS, ("train", "train", "val", "val", "test", "test"), strict=True))
    for row in rows_of(found):
        number = int(row["id"].removeprefix(row["video"] + "_"))
        assert row["sentiment"] == cmu_mosi.binary(scores[row["video"]][number])
    assert [(line.what, line.count, line.remark) for line in found.found[-3:]] == [
        (f"segments in {split}", 8, "of 2 videos") for split in ("train", "val", "test")
    ]
    assert found.inputs == cmu_mosi.inputs(recipe_file.load(RECIPE), raw, None)


def test_a_video_that_a_sequence_lacks_is_a_failure_of_its_segments(raw):
    write_sequences(raw, VIDEOS)
    write_csd(raw / "CMU_MOSI_COVAREP.csd", "x", {VIDEOS[0]: (np.ones((9, 5)), every(0.5, 9))})
    found = scan(raw)
    assert [array is None for array in found.arrays["audio"]] == [row["video"] != VIDEOS[0] for row in rows_of(found)]
    _, plan = look(Job(RECIPE, raw.parent / "prepared", source=raw))
    assert len(plan.failures) == 20 and all(failure.missing for failure in plan.failures)


def test_two_sequences_for_one_modality_must_be_told_apart(raw):
    write_sequences(raw, VIDEOS)
    (raw / "CMU_MOSI_Visual_Facet_41.csd").touch()
    with pytest.raises(Misuse, match=r"Facet_41\.csd, .*Facet_42\.csd: keep one of them, or name it for vision"):
        scan(raw)
    with pytest.raises(Misuse, match="needs a modality 'text'"):
        scan(raw, modalities={name: recipe_file.load(RECIPE).modalities[name] for name in ("audio", "vision")})


def test_modalities_are_arrays(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE.read_text() + '\n[modalities.face]\nkind = "image"\n')
    _, problems = recipe_file.examine(tmp_path / "recipe.toml")
    assert problems.lines() == ["recipe: face: modalities here are of kind 'features' and have an array"]


def test_the_standard_folds(shipped):
    val, test = (set(shipped.folds[split]) for split in ("val", "test"))
    assert (len(val), len(test)) == (10, 31) and not val & test


@pytest.mark.skipif(not UTTERANCES.is_file(), reason="the shared real data is not here")
def test_the_standard_folds_split_the_real_segments_as_published(shipped):
    with UTTERANCES.open(encoding="utf-8") as handle:
        videos = [row["speaker"] for row in csv.DictReader(handle)]
    split_of = {video: split for split, every_one in shipped.folds.items() for video in every_one}
    assert set(split_of) < set(videos) and len(set(videos)) == 93
    assert Counter(split_of.get(video, "train") for video in videos) == {"train": 1284, "val": 229, "test": 686}


@pytest.mark.parametrize("form", ["pickle", "sequences"])
@pytest.mark.parametrize("label", ["sentiment", "sentiment7"])
def test_from_the_raw_files_to_training(raw, tmp_path, form, label):
    if form == "pickle":
        write(raw, parts())
    else:
        write_sequences(raw, VIDEOS)
    text = re.sub(r"length = 50", "length = 6", RECIPE.read_text())
    (raw.parent / "recipe.toml").write_text(text)
    store, made = prepare.prepare(Job(raw.parent / "recipe.toml", raw.parent / "prepared"))
    assert made and store.schemes == ("standard",) and store.label_columns == ("sentiment", "sentiment7")
    assert store.classes("sentiment") == ("negative", "positive")
    assert store.classes("sentiment7") == ("-3", "-2", "-1", "0", "1", "2", "3")
    assert {name: modality.shape for name, modality in store.modalities.items()} == {
        name: (6, width) for name, width in WIDTHS.items()
    }
    if form == "pickle":
        assert store.lengths("text")[:9].tolist() == [1, 2, 3, 4, 5, 6, 6, 6, 1]
    assert prepare.prepare(Job(raw.parent / "recipe.toml", raw.parent / "prepared"))[1] is False

    settings = {
        "epochs": 2,
        "batch_size": 8,
        "data": {"label": label},
        "encoders": {name: {"dim": 10, "depth": 1} for name in WIDTHS},
    }
    experiment = resolve(merge(presets.load("cmu-mosi/inforeg-own"), settings), store)
    assert {encoder.heads for encoder in experiment.encoders.values()} == {5}
    result = Training(experiment, store, RunFolder(tmp_path / "run"), torch.device("cpu")).run(Silent())
    assert 0 <= result["test"]["accuracy"] <= 1
    assert ("auroc" in result["test"]) == (label == "sentiment")
