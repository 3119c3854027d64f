"""A dataset of one's own with five modalities of five kinds, from real files to a trained and evaluated model."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from raw_factory import RATE, rows_of, tone, write_image, write_manifest, write_wav
from video_factory import numbers, write_video

from inforeg_cli.data.preparing.plan import Job, look
from inforeg_cli.data.preparing.prepare import prepare
from inforeg_cli.data.store import Store
from inforeg_cli.data.vocabulary import Vocabulary
from inforeg_cli.errors import Misuse

CLIPS = 40
RECIPE = """
name = "five"

[modalities.voice]
kind = "audio"
column = "audio"
sample_rate = 8000
seconds = 0.2

[modalities.picture]
kind = "image"
mode = "L"

[modalities.scene]
kind = "video"
column = "video"
fps = 5
size = 24

[modalities.face]
kind = "features"
length = 4

[modalities.words]
kind = "text"
column = "text"
"""
KINDS = {"voice": "audio", "picture": "image", "scene": "video", "face": "features", "words": "text"}
MOODS = (("glum", "grey", "rain"), ("merry", "bright", "sun"))


def text_of(number: int, split: str) -> str:
    """Words that tell the class, and one that only this split's texts hold."""
    mood = MOODS[number % 2]
    return f"A {mood[number % 3]} day, {'and again ' * (number % 4)}{mood[number // 2 % 3]}: {split}word."


def make_five(folder: Path) -> list[dict[str, str]]:
    """MP4 and FLV videos of differing lengths, WAV files, PNG images, sequences of 1 to 5 steps, and texts."""
    for name in ("wav", "png", "npy", "video", "text"):
        (folder / name).mkdir(parents=True)
    random, rows = np.random.default_rng(0), rows_of(CLIPS)
    for number, row in enumerate(rows):
        write_wav(folder / row["audio"], tone(300 + 200 * (number % 2) + number, seconds=0.1 + 0.01 * number))
        write_image(folder / row["picture"], seed=number, size=(10, 9))
        np.save(folder / row["face"], random.normal(loc=number % 2, size=(1 + number % 5, 3)))
        codec = ("h264", "flv1")[number % 4 == 3]
        row["video"] = f"video/{number}.{'mp4' if codec == 'h264' else 'flv'}"
        write_video(folder / row["video"], seconds=0.8 + 0.2 * (number % 3), fps=10, size=(36, 48), video=codec)
        row["text"] = text_of(number, row["split"])
        row["textfile"] = f"text/{number}.txt"
        (folder / row["textfile"]).write_text(row["text"], encoding="utf-8")
    write_manifest(folder, rows)
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    return rows


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("five") / "raw"
    make_five(folder)
    return folder


@pytest.fixture(scope="module")
def stores(raw: Path) -> dict[str, Store]:
    """By the codec of the frames."""
    out = raw.parent
    return {
        codec: prepare(Job(raw / "recipe.toml", out / codec / "prepared", frames=codec, workers=2))[0]
        for codec in ("raw", "jpeg")
    }


@pytest.fixture
def printed(inforeg, no_mlflow):
    """`printed("train", ...)`: what the command prints where it succeeds."""

    def run(*arguments: object) -> str:
        code, out, err = inforeg(*arguments)
        assert not code, err
        return out

    return run


def vocabulary_of(store: Store) -> Vocabulary:
    return Vocabulary.from_bytes((store.path / "words.vocabulary.json").read_bytes())


def test_a_look_tells_every_modality_without_decoding(raw, tmp_path):
    recipe, plan = look(Job(raw / "recipe.toml", tmp_path / "out"))
    assert recipe.name == "five"
    assert not plan.problems and not plan.failures
    assert len(plan.clips) == CLIPS
    assert {name: modality.kind for name, modality in plan.modalities.items()} == KINDS
    assert set(plan.attachments) == {"words.vocabulary.json"}
    assert not (tmp_path / "out").exists()


def test_every_modality_is_stored_as_its_kind_says(stores):
    store = stores["raw"]
    assert {name: modality.kind for name, modality in store.modalities.items()} == KINDS
    assert store.modalities["voice"].shape == (int(0.2 * RATE),)
    assert store.modalities["picture"].shape == (1, 10, 9)
    assert store.modalities["scene"].shape is None
    assert store.modalities["face"].shape == (4, 3)
    for row in range(CLIPS):
        frames = store.clip("scene", row)
        assert frames.dtype == np.uint8
        assert frames.shape == (4 + row % 3, 3, 24, 32)  # 0.8 to 1.2 seconds, five frames a second
        assert numbers(frames) == list(range(0, 8 + 2 * (row % 3), 2))
    assert store.lengths("face").tolist() == [min(1 + row % 5, 4) for row in range(CLIPS)]
    store.verify()


def test_texts_become_ids_of_a_vocabulary_that_no_test_word_is_in(stores):
    store = stores["raw"]
    vocabulary, modality = vocabulary_of(store), store.modalities["words"]
    assert modality.settings == {"tokens": "word", "vocabulary": vocabulary.size}
    assert {"trainword", "glum", "merry"} <= set(vocabulary.tokens)
    assert not {"testword", "valword"} & set(vocabulary.tokens)
    splits = {row: split for split in ("train", "val", "test") for row in store.split("split", split)}
    for row in range(CLIPS):
        text, length = text_of(row, splits[row]), store.lengths("words")[row]
        ids = store.array("words")[row]
        assert ids[:length].tolist() == vocabulary.encode(text)[: modality.length]
        assert (ids[:length] != Vocabulary.PAD).all()
        assert (ids[length:] == Vocabulary.PAD).all()
        assert (Vocabulary.UNKNOWN in ids) == (splits[row] != "train")


@pytest.mark.parametrize("settings", ["", 'tokens = "bpe"\nvocabulary = 60\n', "length = 3\nlowercase = false\n"])
def test_texts_in_files_make_the_same_store(raw, tmp_path, settings):
    made = []
    for name, origin in (("cells", 'column = "text"\n'), ("files", 'column = "textfile"\nfiles = true\n')):
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(f'name = "five"\n[modalities.words]\nkind = "text"\n{origin}{settings}')
        made.append(prepare(Job(recipe, tmp_path / name, source=raw))[0])
    assert made[0].digest == made[1].digest
    for file in ("words.bin", "words.lengths.npy", "words.vocabulary.json"):
        assert (made[0].path / file).read_bytes() == (made[1].path / file).read_bytes()
    assert set(made[0].array("words")[:, 0].tolist()) != {Vocabulary.UNKNOWN}


def test_text_files_that_are_absent_or_no_text_are_told(raw, tmp_path):
    rows = [row | {"textfile": f"text/{number}.txt"} for number, row in enumerate(rows_of(CLIPS))]
    shutil.copytree(raw / "text", tmp_path / "text")
    (tmp_path / "text" / "3.txt").unlink()
    (tmp_path / "text" / "4.txt").write_bytes(b"\xff\xfe\xfa")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "five"\n[modalities.words]\nkind = "text"\ncolumn = "textfile"\nfiles = true\n')
    write_manifest(tmp_path, rows)
    _, plan = look(Job(recipe, tmp_path / "out"))
    told = {failure.clip.id: failure for failure in plan.failures}
    assert set(told) == {"clip-003", "clip-004"}
    assert (told["clip-003"].what, told["clip-003"].missing) == ("no such file", True)
    for number in range(CLIPS):
        (tmp_path / "text" / f"{number}.txt").write_bytes(b"\xff")
    _, plan = look(Job(recipe, tmp_path / "out"))
    assert plan.problems.lines() == [
        "modalities.words: no text stands in train in every split scheme, to build a vocabulary on"
    ]
    assert {failure.what for failure in plan.failures} == {"the text is not UTF-8"}


def test_frames_as_jpeg_are_smaller_in_name_and_nearly_the_same(stores):
    plain, coded = stores["raw"], stores["jpeg"]
    from inforeg_cli.data.media import jpeg

    assert coded.modalities["scene"].codec == "jpeg"
    assert coded.recipe_digest != plain.recipe_digest
    for row in range(0, CLIPS, 7):
        frames = plain.clip("scene", row)
        assert coded.codec("scene", row) == "jpeg"
        decoded = jpeg.decode(coded.clip("scene", row), range(len(frames)))
        assert decoded.shape == frames.shape
        assert np.abs(decoded.astype(int) - frames).mean() < 4
        assert np.array_equal(jpeg.decode(coded.clip("scene", row), [2, 0]), decoded[[2, 0]])
    for name in ("voice", "picture", "face", "words"):
        assert (coded.path / f"{name}.bin").read_bytes() == (plain.path / f"{name}.bin").read_bytes()


@pytest.mark.parametrize(("method", "codec"), [("joint", "raw"), ("inforeg", "raw"), ("joint", "jpeg")])
def test_two_epochs_and_an_evaluation(printed, stores, tmp_path, method, codec):
    store = stores[codec]
    printed(
        "train", "--dataset", store.path, "--method", method, "--name", "mine", "--epochs", 2, "--batch-size", 8,
        "--window", "whole", "--device", "cpu", "--set", "inputs.scene.frames=2",
    )  # fmt: skip
    run = tmp_path / "runs" / "mine"
    result = json.loads((run / "result.json").read_text())
    (evaluated,) = json.loads(printed("evaluate", "mine", "--format", "json"))
    assert evaluated["accuracy"]["scores"]["accuracy"]["value"] == result["test"]["accuracy"]
    assert all({"head", "probe"} <= {*evaluated["modalities"]["by_modality"][name]} for name in KINDS)
    assert len(evaluated["missing"]) == 2 ** len(KINDS) and {*evaluated["damage"]} == {*KINDS}
    predictions = pd.read_parquet(run / "predictions-test-best.parquet")
    assert len(predictions) == len(store.split("split", "test"))
    assert np.isfinite(predictions.select_dtypes("number")).all(axis=None)


def test_who_does_not_say_how_frames_shall_lie_takes_them_as_they_do(stores, raw):
    out = stores["jpeg"].path
    assert prepare(Job(raw / "recipe.toml", out))[1] is False
    with pytest.raises(Misuse, match="another recipe"):
        prepare(Job(raw / "recipe.toml", out, frames="raw"))
