"""`inforeg predict`: recordings say what the clips made of them say, and what is wrong with them is told."""

import csv
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from no_tracker import NoTracker
from raw_factory import cut, rows_of, tone, write_image, write_manifest, write_wav
from test_own_five import CLIPS, KINDS, RECIPE, make_five
from video_factory import write_video

from inforeg_cli.data.batches import Clips
from inforeg_cli.data.catalogue import ensure_digits
from inforeg_cli.data.preparing.plan import Job
from inforeg_cli.data.preparing.prepare import prepare
from inforeg_cli.data.store import Store
from inforeg_cli.engine import launch
from inforeg_cli.engine.build import restore
from inforeg_cli.engine.evaluate import reported_logits
from inforeg_cli.resolve import resolve
from inforeg_cli.run_folder import RunFolder

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "spoken-digits"
CPU = torch.device("cpu")
COLUMNS = {"voice": "audio", "picture": "picture", "scene": "video", "face": "face", "words": "text"}


def trained(store: Store, path: Path, **settings) -> RunFolder:
    convolved = {name for name, each in store.modalities.items() if each.kind in ("audio", "image", "video")}
    small = {"encoders": {key: {"name": "cnn", "channels": [4, 8]} for key in convolved}, "epochs": 2, "batch_size": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "Tracker", NoTracker)
        folder = RunFolder(path)
        launch.train(resolve({**small, **settings}, store), store, folder, CPU)
    return folder


def made(folder: Path, recipe: str, **options) -> Store:
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    return prepare(Job(folder / "recipe.toml", folder.parent / f"{folder.name}-prepared", **options))[0]


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A run on five modalities, its raw files, and what evaluation said; the store and the recipe are gone."""
    raw = tmp_path_factory.mktemp("five") / "raw"
    rows = make_five(raw)
    store = prepare(Job(raw / "recipe.toml", raw.parent / "prepared", frames="jpeg"))[0]
    run = trained(store, raw.parent / "runs" / "five")
    kept = raw.parent / "kept"
    store.path.rename(kept)
    (raw / "recipe.toml").unlink()
    return SimpleNamespace(raw=raw, rows=rows, run=run, store=kept, expected=expected(run))


def expected(run: RunFolder) -> pd.DataFrame:
    return pd.read_parquet(run.path / "predictions-test-best.parquet").set_index("id")


@pytest.fixture
def predict(inforeg):
    """The rows that `inforeg predict RUN ...` gives, where it succeeds."""

    def run(run: RunFolder, *arguments: object) -> list[dict]:
        code, out, err = inforeg("predict", run.path, *arguments, "--device", "cpu", "--workers", 2, "--format", "json")
        assert code == 0, err
        return json.loads(out)

    return run


def listed(folder: Path, rows: list[dict], name: str = "new.csv") -> Path:
    path = write_manifest(folder, rows)
    return path.rename(folder / name)


def row_of(row: dict, *modalities: str) -> dict:
    """A row of the new manifest, with these modalities."""
    return {"id": row["id"], **{name: row[COLUMNS[name]] if name in modalities else "" for name in KINDS}}


def check(rows: list[dict], table: pd.DataFrame, classes: list[str], modalities: list[str]) -> None:
    """Every probability is the table's to 1e-6, and class and probability are the largest's."""
    for row in rows:
        known = table.loc[row["id"]]
        fused = [known[f"fused.{index}"] for index in range(len(classes))]
        assert np.allclose([row[f"probability.{name}"] for name in classes], fused, rtol=0, atol=1e-6)
        assert row["class"] == classes[int(np.argmax(fused))]
        assert row["probability"] == pytest.approx(max(fused), abs=1e-6)
        assert row["modalities"] == "+".join(modalities)
        for name in modalities:
            alone = [known[f"head.{name}.{index}"] for index in range(len(classes))]
            assert row[f"{name}.class"] == classes[int(np.argmax(alone))]
            assert row[f"{name}.probability"] == pytest.approx(max(alone), abs=1e-6)


def test_raw_files_say_what_their_clips_said_without_store_and_recipe(five, predict):
    rows = predict(five.run, listed(five.raw, [row_of(row, *KINDS) for row in five.rows]))
    assert [row["id"] for row in rows] == [row["id"] for row in five.rows]
    tested = [row for row in rows if row["id"] in five.expected.index]
    assert len(tested) == CLIPS // 5
    check(tested, five.expected, ["class-0", "class-1"], list(KINDS))


@pytest.mark.parametrize("fusion", ["concat", "film"])
def test_modalities_that_are_missing_are_absent_to_the_model(fusion, five, predict, tmp_path):
    store = Store.open(five.store)
    run = five.run if fusion == "concat" else trained(store, tmp_path / "film", fusion={"name": "film"})
    subsets = [("voice",), ("picture", "words"), ("scene", "face"), tuple(KINDS), ("words",)]
    rows = [row_of(row, *subsets[number % 5]) for number, row in enumerate(five.rows[:30])]
    found = predict(run, listed(five.raw, rows), "--batch-size", 3)
    _, transforms, model = restore(run, store, "best", CPU)
    model.eval()
    ids = store.ids.tolist()
    for number, row in enumerate(found):
        present = [name for name in KINDS if name in subsets[number % 5]]
        assert row["id"] == rows[number]["id"] and row["modalities"] == "+".join(present)
        (batch,) = Clips(store, transforms, "label", CPU).batches(torch.tensor([ids.index(row["id"])]), 1)
        with torch.no_grad():
            logits = reported_logits(model, model(batch.inputs, batch.lengths, frozenset(KINDS) - set(present)))
        wanted = logits["fused"].softmax(-1)[0].tolist()
        assert np.allclose([row["probability.class-0"], row["probability.class-1"]], wanted, rtol=0, atol=1e-6)
        for name in KINDS:
            if name in present:
                assert row[f"{name}.probability"] == pytest.approx(
                    float(logits[f"head.{name}"].softmax(-1).max()), abs=1e-6
                )
            else:
                assert row[f"{name}.class"] is None and row[f"{name}.probability"] is None


def test_columns_may_be_named_as_in_the_recipe_and_labels_are_passed_over(five, inforeg):
    rows = [{key: row[key] for key in ("id", "label", "split", "audio", "text")} for row in five.rows[-8:]]
    code, out, err = inforeg("predict", five.run.path, listed(five.raw, rows), "--format", "csv")
    assert code == 0
    assert {row["modalities"] for row in csv.DictReader(out.splitlines())} == {"voice+words"}
    assert "'label' is passed over" in err and "'split' is passed over" in err


def test_without_ids_clips_are_called_by_their_files_or_rows(five, predict):
    rows = [{"voice": row["audio"]} for row in five.rows[:3]]
    assert [row["id"] for row in predict(five.run, listed(five.raw, rows))] == ["0", "1", "2"]
    rows = [{"voice": five.rows[7]["audio"]}] * 2
    assert [row["id"] for row in predict(five.run, listed(five.raw, rows))] == ["1", "2"]


def test_what_is_read_is_never_written_over(five, inforeg):
    for name, out in (
        ("scores.csv", "scores.csv"),
        ("mine-failed.csv", "mine.csv"),
        ("mine-failed.csv", "mine.parquet"),
    ):
        manifest = listed(five.raw, [{"voice": row["audio"]} for row in five.rows[:2]], name)
        before = manifest.read_bytes()
        code, _, err = inforeg("predict", five.run.path, manifest, "--out", five.raw / out, "--device", "cpu")
        assert code == 2
        assert "which is to be read: name another file" in " ".join(err.split())
        assert manifest.read_bytes() == before
        manifest.unlink()


def test_files_alone_go_to_the_modality_of_their_kind(five, predict, tmp_path):
    row = next(row for row in five.rows if row["id"] in five.expected.index)
    for column in ("audio", "picture", "face", "video", "textfile"):
        path = five.raw / row[column]
        shutil.copy(path, tmp_path / f"{row['id']}{path.suffix}")
    write_wav(tmp_path / "other.wav", tone())
    write_video(tmp_path / "talk.mp4", fps=10, video="h264", audio="aac", rate=16000)
    found = predict(five.run, *sorted(tmp_path.glob("[cot]*.*")))
    check(found[:1], five.expected, ["class-0", "class-1"], list(KINDS))
    # The recipe has the sound in files of its own, so that of a video is another.
    assert [(each["id"], each["modalities"]) for each in found[1:]] == [("other", "voice"), ("talk", "scene")]


FILMED = """
name = "filmed"
[modalities.sound]
kind = "audio"
column = "video"
sample_rate = 8000
seconds = 0.5
[modalities.scene]
kind = "video"
column = "video"
fps = 5
size = 24
"""


def test_a_video_gives_its_sound_where_the_recipe_takes_it_from_there(tmp_path, predict, inforeg):
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = []
    for number, row in enumerate(rows_of(20)):
        size = ((36, 48), (48, 36))[number % 2]  # so that the transform must know of all sizes
        path = write_video(raw / f"{row['id']}.mp4", fps=10, size=size, video="h264", audio="aac", rate=16000)
        rows.append({"id": row["id"], "label": row["label"], "split": row["split"], "video": path.name})
    write_manifest(raw, rows)
    run = trained(made(raw, FILMED), tmp_path / "runs" / "filmed")
    table = expected(run)
    films = [raw / f"{name}.mp4" for name in table.index]
    mute = write_video(raw / "mute.mp4", fps=10, video="h264")
    found = predict(run, *films, mute)
    check(found[:-1], table, ["class-0", "class-1"], ["sound", "scene"])
    assert (found[-1]["id"], found[-1]["modalities"]) == ("mute", "scene")
    two = [raw / "clip-000.mp4", write_wav(raw / "clip-000.wav", tone())]
    code, _, err = inforeg("predict", run.path, *two)
    assert code == 2 and "both are sound of clip-000" in err


def test_sound_and_images_by_a_manifest_at_the_best_and_the_last_epoch(tmp_path, predict):
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = rows_of(20)
    for number, row in enumerate(rows):
        row |= {"audio": f"{number}.wav", "picture": f"{number}.png"}
        write_wav(raw / row["audio"], tone(300 + 400 * (number % 2), seconds=0.08), rate=11025)
        write_image(raw / row["picture"], seed=number, size=(20, 30), mode="RGB")
    write_manifest(raw, [{key: row[key] for key in ("id", "label", "split", "audio", "picture")} for row in rows])
    recipe = (
        'name = "two"\n[modalities.audio]\nkind = "audio"\nsample_rate = 8000\nseconds = 0.1\nfit = "pad"\n'
        '[modalities.picture]\nkind = "image"\nmode = "L"\nsize = [8, 12]\n'
    )
    run = trained(made(raw, recipe), tmp_path / "runs" / "two", unimodal_losses="own")
    tested = [row for row in rows if row["split"] == "test"]
    manifest = listed(raw, [{key: row[key] for key in ("id", "audio", "picture")} for row in tested])
    check(predict(run, manifest), expected(run), ["class-0", "class-1"], ["audio", "picture"])
    last = pd.read_parquet(run.path / "predictions-test-last.parquet").set_index("id")
    check(predict(run, manifest, "--checkpoint", "last"), last, ["class-0", "class-1"], ["audio", "picture"])


def test_broken_files_are_named_and_the_others_scored(five, inforeg, tmp_path):
    for name in ("wav", "npy"):
        shutil.copytree(five.raw / name, tmp_path / name)
    cut(tmp_path / "wav" / "1.wav")
    (tmp_path / "wav" / "2.wav").write_bytes(b"")
    np.save(tmp_path / "npy" / "4.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    rows = [{key: row[COLUMNS[key]] for key in ("voice", "face")} | {"id": row["id"]} for row in five.rows[:6]]
    rows[3]["voice"] = "wav/none.wav"
    rows[5] |= {"voice": "", "face": ""}
    manifest, out = listed(tmp_path, rows), tmp_path / "out" / "scores.parquet"
    code, printed, err = inforeg("predict", five.run.path, manifest, "--out", out)
    assert code == 1
    assert "5 clips could not be scored; 1 was" in err
    assert "line 3, voice wav/1.wav: the file is cut short" in err
    assert "line 4, voice wav/2.wav: the file is empty" in err
    assert "line 5, voice wav/none.wav: no such file" in err
    assert "line 6, face npy/4.npy" in err and "line 7" in err and "names no recording" in err
    assert pd.read_parquet(out)["id"].tolist() == ["clip-000"] and "voice" in printed and "scene" not in printed
    failed = pd.read_csv(out.with_name("scores-failed.csv"))
    assert sorted(failed["id"]) == [f"clip-00{number}" for number in range(1, 6)]

    code, _, err = inforeg("predict", five.run.path, listed(tmp_path, rows[:4]), "--allow-missing", "--out", out)
    assert code == 0 and "3 clips could not be scored; 1 was" in err and "wav/none.wav: no such file" in err
    code, _, err = inforeg("predict", five.run.path, listed(tmp_path, rows[:1]), "--out", out)
    assert code == 0 and not out.with_name("scores-failed.csv").exists()
    manifest = listed(tmp_path, rows[1:2])
    code, printed, err = inforeg("predict", five.run.path, manifest, "--allow-missing", "--out", out)
    assert (code, printed) == (1, "") and "1 clip could not be scored; 0 were" in err
    assert pd.read_parquet(out).empty, "no scores of an earlier call stay"


def test_tables_for_people_are_short_and_files_hold_all(five, inforeg, tmp_path):
    manifest = listed(five.raw, [row_of(row, "voice", "face") for row in five.rows[:30]])
    code, out, err = inforeg("predict", five.run.path, manifest, "--format", "markdown", "--out", tmp_path / "scores")
    assert code == 0
    assert out.count("clip-0") == 20 and "and 10 more" in err
    table = pd.read_csv(tmp_path / "scores" / "predict-five-best.csv")
    assert len(table) == 30
    assert list(table.columns) == [
        *("id", "class", "probability", "probability.class-0", "probability.class-1", "modalities"),
        *(f"{name}.{what}" for name in KINDS for what in ("class", "probability")),
    ]
    assert np.allclose(table[["probability.class-0", "probability.class-1"]].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": "a"}, "no column for any of the run's modalities"),
        (
            {"id": "a", "voise": "x.wav"},
            "'voise' is no modality of the run: rename or remove it; did you mean 'voice'?",
        ),
        ({"id": "", "voice": "x.wav"}, "the id is empty"),
    ],
)
def test_manifests_that_cannot_be_used_are_refused(columns, said, five, inforeg, tmp_path):
    code, _, err = inforeg("predict", five.run.path, listed(tmp_path, [columns]))
    assert code == 2 and said in err


def test_what_is_not_clear_is_refused(five, inforeg, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("id,voice\n")
    duplicate = listed(five.raw, [row_of(five.rows[0], "voice")] * 2, "twice.csv")
    wav = write_wav(tmp_path / "a.wav", tone())
    (tmp_path / "more").mkdir()
    again, movie = write_wav(tmp_path / "more" / "a.wav", tone()), tmp_path / "a.mp3"
    for arguments, said in (
        ([empty], "no rows"),
        ([duplicate], "the id is a duplicate"),
        ([tmp_path / "absent.csv"], "cannot read the manifest"),
        ([duplicate, wav], "is a manifest: give it alone"),
        ([tmp_path], "is a folder"),
        ([wav, again], "both are voice of a"),
        ([wav, "--out", tmp_path / "scores.xlsx"], "name a .csv or .parquet file"),
    ):
        code, out, err = inforeg("predict", five.run.path, *arguments)
        assert (code, out) == (2, "") and said in err, err
    movie.write_bytes(b"no sound at all")
    code, _, err = inforeg("predict", five.run.path, movie)
    assert code == 1 and "the file cannot be decoded" in err


def test_a_file_that_could_be_one_of_two_modalities_is_refused(tmp_path, inforeg):
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = []
    for number, row in enumerate(rows_of(20)):
        write_wav(raw / f"{number}.wav", tone(300 + number))
        rows.append(
            {key: row[key] for key in ("id", "label", "split")} | dict.fromkeys(("near", "far"), f"{number}.wav")
        )
    write_manifest(raw, rows)
    recipe = 'name = "pair"\n' + "".join(
        f'[modalities.{name}]\nkind = "audio"\nsample_rate = 8000\nseconds = 0.1\n' for name in ("near", "far")
    )
    run = trained(made(raw, recipe), tmp_path / "runs" / "pair")
    code, _, err = inforeg("predict", run.path, raw / "0.wav")
    assert code == 2 and "which it is of near, far: give a manifest" in err
    write_image(raw / "a.png")
    code, _, err = inforeg("predict", run.path, raw / "a.png")
    assert code == 2 and "holds image, and the run takes audio (near), audio (far)" in err


def test_runs_of_earlier_versions_need_their_store(five, inforeg, predict, tmp_path, monkeypatch):
    monkeypatch.setenv("INFOREG_ROOT", str(tmp_path))
    run, store = RunFolder(tmp_path / "old"), tmp_path / "datasets" / "five" / "prepared"
    shutil.copytree(five.run.path, run.path)
    run.preparation.unlink()
    tested = [row for row in five.rows if row["id"] in five.expected.index]
    manifest = listed(five.raw, [row_of(row, *KINDS) for row in tested])
    code, _, err = inforeg("predict", run.path, manifest)
    assert code == 2 and "with the prepared data alone" in err
    shutil.copytree(five.store, store)
    check(predict(run, manifest), five.expected, ["class-0", "class-1"], list(KINDS))

    config = json.loads((run.path / "config.json").read_text())
    config["data"]["path"] = str(store)
    (run.path / "config.json").write_text(json.dumps(config))
    described = json.loads((store / "store.json").read_text())
    kept = described.pop("decoding")
    (store / "store.json").write_text(json.dumps(described))
    for recipe in (None, FILMED.replace("filmed", "five")):
        if recipe:  # another one tells nothing
            (store.parent / "recipe.toml").write_text(recipe)
        code, _, err = inforeg("predict", run.path, manifest)
        assert code == 2 and "inforeg prepare five --force" in err
    (store.parent / "recipe.toml").write_text(RECIPE)
    check(predict(run, manifest), five.expected, ["class-0", "class-1"], list(KINDS))

    (store / "store.json").write_text(json.dumps({**described, "decoding": kept, "content": "0" * 64}))
    code, _, err = inforeg("predict", run.path, manifest)
    assert code == 1 and "has changed since" in err


def test_half_a_run_is_told(five, inforeg, tmp_path):
    run = RunFolder(tmp_path / "half")
    shutil.copytree(five.run.path, run.path)
    wav = write_wav(tmp_path / "a.wav", tone())
    run.preparation.write_text("{")
    code, _, err = inforeg("predict", run.path, wav)
    assert code == 1 and "preparation.json is damaged" in err
    shutil.copy(five.run.preparation, run.preparation)
    (run.path / "result.json").unlink()
    code, _, err = inforeg("predict", run.path, wav)
    assert code == 1 and "has not finished" in err
    assert inforeg("predict", run.path, wav, "--checkpoint", "last")[0] == 0


def test_the_embedded_digits_are_scored_in_the_form_of_their_clips(tmp_path, predict):
    store = ensure_digits()
    run = trained(store, tmp_path / "runs" / "digits", epochs=1, batch_size=256)
    table = expected(run)
    files = []
    for row in store.split("split", "test")[:3]:
        files += [tmp_path / f"{store.ids[row]}.png", tmp_path / f"{store.ids[row]}.wav"]
        Image.fromarray(store.clip("image", row)[0]).save(files[-2])
        write_wav(files[-1], store.clip("sound", row))
    check(predict(run, *files), table, list(store.classes("label")), ["sound", "image"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
def test_spoken_digits(tmp_path, predict):
    with (SHARED / "manifest.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))[::60]
    raw = tmp_path / "raw"
    for row in rows:
        for column in ("audio", "image"):
            (raw / row[column]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SHARED / row[column], raw / row[column])
    write_manifest(raw, rows)
    recipe = (
        'name = "spoken"\n[modalities.audio]\nkind = "audio"\nsample_rate = 8000\nseconds = 1.0\n'
        '[modalities.image]\nkind = "image"\nmode = "L"\n'
    )
    store = made(raw, recipe)
    run = trained(store, tmp_path / "runs" / "spoken")
    table = expected(run)
    new = [row for row in rows if row["id"] in table.index]  # with all its columns, the speaker's among them
    found = predict(run, listed(raw, new))
    assert len(found) == len(table)
    check(found, table, list(store.classes("label")), ["audio", "image"])
