"""Real recordings, images and features, where they are at hand."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from inforeg_cli.data.preparing.prepare import Job, prepare

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
DIGITS, MOSI = SHARED / "spoken-digits", SHARED / "cmu-mosi-utterances"

SPOKEN = """
name = "spoken-digits"
group = "speaker"
[modalities.audio]
kind = "audio"
sample_rate = 16000
seconds = 1.0
[modalities.image]
kind = "image"
mode = "L"
"""


@pytest.mark.skipif(not DIGITS.is_dir(), reason="the shared data is not here")
def test_some_of_the_spoken_digits(tmp_path):
    with (DIGITS / "manifest.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))[::39]
    for folder in ("wav", "png"):
        (tmp_path / folder).mkdir()
    for row in rows:
        for column in ("audio", "image"):
            shutil.copy(DIGITS / row[column], tmp_path / row[column])
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "recipe.toml").write_text(SPOKEN)
    stores = [prepare(Job(tmp_path / "recipe.toml", tmp_path / f"out-{n}", workers=n))[0] for n in (1, 3)]
    store = stores[0]
    assert stores[1].digest == store.digest
    assert len(store) == len(rows)
    assert len(store.classes("label")) == 10
    assert store.array("audio").shape == (len(rows), 16000)
    assert store.array("image").shape == (len(rows), 1, 28, 28)
    assert [len(store.split("split", name)) for name in ("train", "val", "test")] == [
        sum(row["split"] == name for row in rows) for name in ("train", "val", "test")
    ]
    assert np.abs(store.array("audio").astype(int)).max(axis=1).min() > 300


@pytest.mark.skipif(not MOSI.is_dir(), reason="the shared data is not here")
def test_all_of_cmu_mosi_with_val_carved_by_speaker(tmp_path):
    table = '[modalities.{0}]\nkind = "features"\narray = "{0}.npy"\n'
    modalities = "".join(map(table.format, ("text", "audio", "video")))
    manifest = (MOSI / "manifest.csv").resolve()
    (tmp_path / "recipe.toml").write_text(f'name = "mosi"\nmanifest = "{manifest}"\ngroup = "speaker"\n' + modalities)
    store, _ = prepare(Job(tmp_path / "recipe.toml", tmp_path / "out", workers=2))
    assert [len(store.split("split", name)) for name in ("train", "test")] == [
        1447 - len(store.split("split", "val")),
        752,
    ]
    assert 0.1 < len(store.split("split", "val")) / 1447 < 0.2
    speakers = [set(store.groups[store.split("split", name)]) for name in ("train", "val", "test")]
    assert len(set.union(*speakers)) == sum(map(len, speakers)) == 93
    for name in ("text", "audio", "video"):
        assert np.array_equal(store.array(name), np.load(MOSI / f"{name}.npy"))
    counts = store.counts["split"]
    shares = [counts[name]["label"]["positive"] / sum(counts[name]["label"].values()) for name in ("train", "val")]
    assert shares[0] == pytest.approx(shares[1], abs=0.12)
