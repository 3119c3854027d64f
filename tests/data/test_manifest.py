"""Manifests: everything that can be wrong with one is told, with its line, and nothing else is."""

from pathlib import Path

import numpy as np
import pytest
from raw_factory import RECIPE, cut, make_raw, write_image, write_manifest

from inforeg_cli.data.media import Unreadable
from inforeg_cli.data.preparing.plan import Job
from inforeg_cli.data.preparing.plan import look as look_at
from inforeg_cli.data.sources.located import inside
from inforeg_cli.errors import BadInput, Misuse


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def look(folder: Path):
    return look_at(Job(folder / "recipe.toml", folder / "out"))[1]


def problems(folder: Path, rows: list[dict[str, str]]) -> list[str]:
    write_manifest(folder, rows)
    plan = look(folder)
    return plan.wrong().lines()


def change(row: int, **cells: str):
    def mutate(folder: Path, rows: list[dict[str, str]]) -> None:
        rows[row].update(cells)

    return mutate


def on_file(column: str, row: int, act):
    return lambda folder, rows: act(folder / rows[row][column])


def other_array(shape: tuple[int, ...]):
    return lambda path: np.save(path, np.zeros(shape))


def link_out(folder: Path, rows: list[dict[str, str]]) -> None:
    outside = folder.parent / "outside.wav"
    (folder / rows[3]["audio"]).rename(outside)
    (folder / rows[3]["audio"]).symlink_to(outside)


def drop_column(name: str):
    def mutate(folder: Path, rows: list[dict[str, str]]) -> None:
        for row in rows:
            del row[name]

    return mutate


# Row 3 of the rows stands in line 5 of the manifest.
ONE_PROBLEM = {
    "missing file": (change(3, audio="wav/33.wav"), "line 5, sound wav/33.wav: no such file"),
    "no file named": (change(3, audio=""), "line 5, sound: no file is named"),
    "a folder": (change(3, audio="wav"), "line 5, sound wav: not a file"),
    "NUL in the name": (change(3, audio="a\0b"), "line 5, sound a\\x00b: no such file (embedded null byte)"),
    "wav cut in half": (
        on_file("audio", 3, cut),
        "line 5, sound wav/3.wav: the file is cut short (458 of the 960 bytes in its header)",
    ),
    "empty file": (on_file("picture", 3, lambda path: path.write_bytes(b"")), "line 5, picture png/3.png: the file is empty"),
    "dots": (change(3, audio="../outside.wav"), "line 5, sound ../outside.wav: the path leaves the manifest's folder"),
    "absolute": (change(3, audio="/etc/passwd"), "line 5, sound /etc/passwd: the path is absolute"),
    "drive": (change(3, audio="C:\\a.wav"), "line 5, sound C:\\a.wav: the path is absolute"),
    "link": (link_out, "line 5, sound wav/3.wav: the path leaves the manifest's folder"),
    "duplicate id": (change(3, id="clip-000"), "line 2, line 5: the id is a duplicate ('clip-000')"),
    "empty id": (change(3, id=" "), "line 5: the id is empty"),
    "empty label": (change(3, label=""), "line 5, column label: the label is empty"),
    "label only in test": (
        change(9, label="rare"),
        "column label, scheme split: a class has no clip in train ('rare', only in test)",
    ),
    "split misspelt": (
        change(3, split="trian"),
        "line 5, column split: the split is none of train, val, test ('trian'; did you mean 'train'?)",
    ),
    "split unknown": (change(3, split="fold 3"), "line 5, column split: the split is none of train, val, test ('fold 3')"),
    "split empty": (change(3, split=""), "line 5, column split: the split is empty"),
    "width differs": (
        on_file("face", 3, other_array((2, 4))),
        "line 5, face npy/3.npy: the shape differs ([T, 4], where 19 have [T, 3])",
    ),
    "vector among sequences": (
        on_file("face", 3, other_array((3,))),
        "line 5, face npy/3.npy: the shape differs ([3], where 19 have [T, 3])",
    ),
    "size differs": (
        on_file("picture", 3, lambda path: write_image(path, size=(6, 6))),
        "line 5, picture png/3.png: the shape differs ([1, 6, 6], where 19 have [1, 6, 5]: give the recipe a size)",
    ),
    "no label column": (drop_column("label"), "manifest.csv: there is no column 'label' (named by the recipe's labels;"),
    "no id column": (drop_column("id"), "manifest.csv: there is no column 'id' (every clip needs a name;"),
    "no media column": (drop_column("picture"), "manifest.csv: there is no column 'picture' (named by modalities.picture;"),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_PROBLEM)
def test_each_problem_is_told_alone_and_with_its_place(raw, name):
    rows = make_raw(raw)
    mutate, told = ONE_PROBLEM[name]
    mutate(raw, rows)
    found = problems(raw, rows)
    assert len(found) == 1, found
    assert found[0].startswith(told)


def test_no_problem_in_a_sound_manifest(raw):
    rows = make_raw(raw)
    rows[0]["audio"] = "wav/../wav/0.wav"
    (raw / "linked.wav").symlink_to(raw / "wav" / "1.wav")
    rows[1]["audio"] = "linked.wav"
    rows[2]["split"] = " Training "
    assert problems(raw, rows) == []


def test_all_problems_are_told_at_once(raw):
    rows = make_raw(raw)
    cut(raw / rows[4]["audio"])
    rows[5]["audio"] = "../outside.wav"
    rows[6]["id"] = rows[0]["id"]
    rows[7]["split"] = "trian"
    rows[9]["label"] = "rare"
    rows[3]["audio"] = "wav/33.wav"
    np.save(raw / rows[3]["face"], np.zeros((2, 4)))
    (raw / "recipe.toml").write_text(RECIPE + '[modalities.other]\nkind = "picture"\n')
    told = "\n".join(problems(raw, rows))
    for part in (
        *(
            "wav/33.wav: no such file",
            "wav/4.wav: the file is cut short",
            "../outside.wav: the path leaves",
            "'clip-000'",
        ),
        *(
            "'trian'",
            "'rare'",
            "line 5, face npy/3.npy: the shape differs",
            "modalities.other.kind: the kind is not known",
        ),
    ):
        assert part in told
    assert len(told.splitlines()) == 8


def test_many_problems_are_put_together_with_counts(raw):
    rows = make_raw(raw, clips=60)
    for i, row in enumerate(rows):
        row["audio"] = f"wav/no-{i}.wav"
        if i >= 58:
            row["split"] = "tset"
    found = problems(raw, rows)
    assert len(found) == 2
    assert (
        "60 times: no such file: line 2, sound wav/no-0.wav; line 3, sound wav/no-1.wav; line 4," in found[0] + found[1]
    )
    assert "2 times: the split is none of" in found[0] + found[1]


def test_a_name_cannot_break_the_line(raw):
    rows = make_raw(raw)
    rows[3]["audio"] = "a\nb" + "c" * 1000
    (line,) = problems(raw, rows)
    assert "a\\nbccc" in line
    assert "\n" not in line
    assert len(line) < 600


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no header"),
        (b"\n\n", "has no header"),
        (b"id,label\n", "has no rows"),
        (b"id;label;audio\na;b;c\n", "separated by ';'"),
        (b"id\tlabel\na\tb\n", "separated by '\\\\t'"),
        (b"id,label,id\na,b,c\n", "names a column twice: 'id'"),
        (b"id,label\na,caf\xe9\n", "line 2 is not UTF-8"),
        (b'id,label\na,"b\n', "not valid CSV"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (None, "cannot read the manifest"),
    ],
)
def test_what_is_no_manifest_is_misuse(raw, content, told):
    make_raw(raw)
    if content is None:
        (raw / "manifest.csv").unlink()
    else:
        (raw / "manifest.csv").write_bytes(content)
    with pytest.raises(Misuse, match=told):
        look(raw)


def test_rows_of_another_length_are_told_and_keep_their_place_in_arrays(raw):
    make_raw(raw, recipe='name = "tiny"\n[modalities.face]\nkind = "features"\narray = "face.npy"\n')
    np.save(raw / "face.npy", np.arange(8.0).reshape(4, 2))
    (raw / "manifest.csv").write_text("id,label,split\na,x,train\nb,x\n\nc,y,train\nd,y,val,more\n")
    plan = look(raw)
    assert [clip.media["face"].tolist() for clip in plan.clips] == [[0, 1], [4, 5]]
    told = plan.problems.lines()
    assert "line 3: the row and the header differ in length (2 and 3)" in told
    assert "line 6: the row and the header differ in length (4 and 3)" in told


def test_a_byte_order_mark_is_tolerated(raw):
    make_raw(raw)
    path = raw / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert not look(raw).problems


ARRAY = 'name = "tiny"\n[modalities.face]\nkind = "features"\narray = "face.npy"\n'


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (
            (19, 3),
            "modalities.face: the array and the manifest differ in the number of rows (face.npy: 19, manifest.csv: 20)",
        ),
        ((20,), "modalities.face: the features are neither vectors [D] nor sequences [T, D]"),
        ((20, 2, 2, 2), "modalities.face: the features are neither vectors [D] nor sequences [T, D]"),
        (None, "modalities.face: no such file (face.npy)"),
    ],
)
def test_arrays_must_fit_the_manifest(raw, shape, told):
    make_raw(raw, recipe=ARRAY)
    if shape is not None:
        np.save(raw / "face.npy", np.zeros(shape))
    (line,) = look(raw).problems.lines()
    assert line.startswith(told)


def test_an_array_outside_the_folder_is_refused(raw):
    make_raw(raw, recipe=ARRAY.replace("face.npy", "../face.npy"))
    np.save(raw.parent / "face.npy", np.zeros((20, 3)))
    (line,) = look(raw).problems.lines()
    assert line.startswith("modalities.face: the path leaves the manifest's folder")


def test_length_is_for_sequences(raw):
    make_raw(raw, recipe=ARRAY + "length = 3\n")
    np.save(raw / "face.npy", np.zeros((20, 3)))
    (line,) = look(raw).problems.lines()
    assert line == "modalities.face: length is for sequences (these are vectors [3])"


def test_one_class_only(raw):
    rows = make_raw(raw)
    for row in rows:
        row["label"] = "same"
    assert problems(raw, rows) == ["column label, scheme split: there is one class only ('same')"]


def test_every_label_column_is_checked_and_every_scheme(raw):
    rows = make_raw(
        raw, recipe=RECIPE.replace('"tiny"', '"tiny"\nlabels = ["label", "mood"]\nsplit = ["split", "fold"]')
    )
    for i, row in enumerate(rows):
        row["mood"] = "glad" if i % 3 else "sad"
        row["fold"] = ("train", "val", "test")[i % 3]
    found = problems(raw, rows)
    assert found == ["column mood, scheme fold: a class has no clip in train ('glad', only in test and val)"]


def test_without_a_split_column_everything_is_carved_and_a_similar_name_is_mentioned(raw):
    rows = make_raw(raw, clips=40)
    for row in rows:
        row["Split"] = row.pop("split")
    write_manifest(raw, rows)
    plan = look(raw)
    assert not plan.problems
    splits = [clip.splits["split"] for clip in plan.clips]
    assert [splits.count(name) for name in ("train", "val", "test")] == [28, 6, 6]
    (warning,) = plan.warnings.lines()
    assert "there is no column 'split', so all splits are carved (did you mean 'split'?)" in warning


def test_groups_are_kept_together_where_splits_are_carved(raw):
    rows = make_raw(raw, clips=70, recipe=RECIPE.replace('"tiny"', '"tiny"\ngroup = "speaker"'))
    for row in rows:
        del row["split"]
    write_manifest(raw, rows)
    plan = look(raw)
    assert not plan.problems
    sides: dict[str, set[str]] = {}
    for clip in plan.clips:
        sides.setdefault(clip.group, set()).add(clip.splits["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert set().union(*sides.values()) == {"train", "val", "test"}


def test_groups_on_both_sides_of_given_splits_are_warned_about(raw):
    rows = make_raw(raw, clips=40, recipe=RECIPE.replace('"tiny"', '"tiny"\ngroup = "speaker"'))
    for row in rows:
        row["split"] = row["split"].replace("val", "train")
    write_manifest(raw, rows)
    plan = look(raw)
    assert not plan.problems
    assert "groups stand in several of the given splits (6 of 7 groups" in plan.warnings.lines()[0]
    assert [clip.splits["split"] for clip in plan.clips].count("val") > 0


def test_one_group_cannot_be_carved(raw):
    rows = make_raw(raw, recipe=RECIPE.replace('"tiny"', '"tiny"\ngroup = "speaker"'))
    for row in rows:
        del row["split"]
        row["speaker"] = "the only one"
    found = problems(raw, rows)
    assert [line.partition(";")[0] for line in found] == [
        "scheme split: the split has no clips (val",
        "scheme split: the split has no clips (test",
    ]
    assert all("too few clips or groups" in line for line in found)


def test_files_that_fail_are_told_apart_from_what_must_be_mended(raw):
    rows = make_raw(raw)
    rows[3]["audio"] = "wav/33.wav"
    (raw / rows[4]["picture"]).unlink()
    cut(raw / rows[5]["audio"])
    np.save(raw / rows[6]["face"], np.zeros((2, 4)))
    write_manifest(raw, rows)
    plan = look(raw)
    assert not plan.problems
    assert [(failure.clip.where, failure.modality, failure.what, failure.missing) for failure in plan.failures] == [
        ("line 5", "sound", "no such file", True),
        ("line 6", "picture", "no such file", True),
        ("line 7", "sound", "the file is cut short", True),
        ("line 8", "face", "the shape differs", False),
    ]
    assert len(plan.clips) == 16


def test_a_bad_recipe_and_a_bad_manifest_are_told_together(raw):
    make_raw(raw, recipe=RECIPE + '[modalities.other]\nkind = "picture"\n')
    (raw / "manifest.csv").unlink()
    with pytest.raises(BadInput, match="the kind is not known") as caught:
        look(raw)
    assert "cannot read the manifest" in str(caught.value)


def test_a_file_in_a_folder_that_may_not_be_entered_is_not_called_absent(raw, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", denied)
    with pytest.raises(Unreadable, match="the file may not be read"):
        inside(str(raw), "wav/0.wav")
