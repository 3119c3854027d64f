"""The store: what is written comes back, without copies, and nothing incomplete is ever opened."""

import json
import shutil

import numpy as np
import pytest

from inforeg_cli.data.sources import Clip
from inforeg_cli.data.store import Modality, Store
from inforeg_cli.data.writer import Encoded, write_store
from inforeg_cli.errors import InforegError, Misuse

SOUND = Modality("audio", np.dtype("<i2"), (7,), settings={"sample_rate": 16000})
SERIES = Modality("features", np.dtype("<f4"), (4, 3), sequence=True, length=4)
VARYING = Modality("video", np.dtype("u1"), None, sequence=True)
HEAD = {"name": "tiny", "source": "manifest", "recipe_digest": "r" * 64}


def clips(number: int = 6) -> list[Clip]:
    return [
        Clip(
            f"clip-{i}",
            {"mood": ("sad", "glad")[i % 2], "age": str(8 + i % 3)},
            {"split": ("train", "train", "val", "test")[i // 2 % 4], "speaker": "train"},
            group=f"group-{i % 2}",
        )
        for i in range(number)
    ]


def arrays(seed: int = 0, number: int = 6) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    return [
        {
            "sound": random.integers(-9, 9, 7, dtype=np.int16),
            "series": random.normal(size=(1 + i % 4, 3)).astype(np.float32),
        }
        for i in range(number)
    ]


def write(path, values=None, number: int = 6, **more) -> Store:
    more = {"attachments": {"series.vocabulary.json": b'["<pad>", "<unk>"]'}, **more}
    with write_store(path, {"sound": SOUND, "series": SERIES}, **HEAD, **more) as writer:
        writer.dropped = {"sound: no such file": 2}
        for clip, value in zip(clips(number), values or arrays(number=number), strict=True):
            writer.add(clip, value, source=f"digest of {clip.id}")
    return Store.open(path)


def test_round_trip(tmp_path):
    values = arrays()
    store = write(tmp_path / "store", values)
    assert len(store) == 6
    assert (store.name, store.source, store.recipe_digest) == ("tiny", "manifest", "r" * 64)
    assert store.modalities == {"sound": SOUND, "series": SERIES}
    assert store.ids.tolist() == [clip.id for clip in clips()]
    assert store.groups.tolist() == ["group-0", "group-1"] * 3
    assert store.label_columns == ("mood", "age")
    assert store.classes("mood") == ("glad", "sad")
    assert store.classes("age") == ("8", "9", "10")
    assert store.labels("mood").tolist() == [1, 0] * 3
    assert store.labels("age").tolist() == [0, 1, 2] * 2
    assert store.labels("mood").dtype == np.int64
    assert store.schemes == ("split", "speaker")
    assert store.split("split", "train").tolist() == [0, 1, 2, 3]
    assert store.split("split", "val").tolist() == [4, 5]
    assert store.split("speaker", "test").tolist() == []
    assert store.counts["split"]["val"] == {"mood": {"glad": 1, "sad": 1}, "age": {"8": 0, "9": 1, "10": 1}}
    assert store.dropped == {"sound: no such file": 2}
    assert store.lengths("series").tolist() == [1, 2, 3, 4, 1, 2]
    for i, value in enumerate(values):
        assert np.array_equal(store.clip("sound", i), value["sound"])
        steps = len(value["series"])
        assert np.array_equal(store.clip("series", i)[:steps], value["series"])
        assert not store.clip("series", i)[steps:].any()
    assert store.array("series").shape == (6, 4, 3)
    assert store.shapes("series").tolist() == [[4, 3]] * 6
    assert store.shapes("sound").tolist() == [[7]] * 6
    assert store.size == sum(file.stat().st_size for file in store.path.iterdir() if file.name != "store.json")
    store.verify()


def test_clips_are_views_of_the_file_and_read_only(tmp_path):
    store = write(tmp_path / "store")
    assert isinstance(store.array("sound"), np.memmap)
    assert np.shares_memory(store.clip("sound", 3), store.array("sound"))
    with pytest.raises(ValueError, match="read-only"):
        store.clip("sound", 3)[0] = 1


def test_clips_of_varying_shape_and_codec(tmp_path):
    frames = [np.arange(n * 6, dtype=np.uint8).reshape(n, 2, 3) for n in (2, 5, 1)]
    floats = np.linspace(0, 1, 12, dtype=np.float64).reshape(4, 3)
    jpeg = Encoded(b"not really a jpeg", "jpeg", (9, 2, 3), np.dtype("u1"))
    values = [frames[0], jpeg, frames[1], floats, frames[2]]
    with write_store(tmp_path / "store", {"frames": VARYING, "sound": SOUND}, **HEAD) as writer:
        for clip, value in zip(clips(5), values, strict=True):
            writer.add(clip, {"frames": value, "sound": np.zeros(7, np.int16)})
    store = Store.open(tmp_path / "store")
    store.verify()
    assert store.lengths("frames").tolist() == [2, 9, 5, 4, 1]
    assert store.shapes("frames").tolist() == [[2, 2, 3], [9, 2, 3], [5, 2, 3], [4, 3, 0], [1, 2, 3]]
    assert store.shapes("frames").dtype == np.int64
    assert [store.codec("frames", i) for i in range(5)] == ["raw", "jpeg", "raw", "raw", "raw"]
    for i in (0, 2, 3, 4):
        assert np.array_equal(store.clip("frames", i), values[i])
        assert store.clip("frames", i).dtype == values[i].dtype
        assert store.clip("frames", i).flags.aligned
    assert store.clip("frames", 1).tobytes() == jpeg.data
    whole = np.memmap(store.path / "frames.bin", np.uint8, mode="r")
    assert not store.clip("frames", 0).flags.owndata
    assert len(whole) >= sum(len(value.tobytes()) for value in values if isinstance(value, np.ndarray))
    with pytest.raises(Misuse, match="differ in shape"):
        store.array("frames")


def test_same_content_has_the_same_digest_and_other_content_another(tmp_path):
    one = write(tmp_path / "one")
    for file in one.path.iterdir():
        same = write(tmp_path / "two").path / file.name
        assert file.read_bytes() == same.read_bytes()
    changed = arrays()
    changed[3]["sound"] = changed[3]["sound"].copy()
    changed[3]["sound"][0] += 1
    assert write(tmp_path / "three", changed).digest != one.digest


def test_the_digest_does_not_depend_on_the_raw_files(tmp_path):
    digests = set()
    for source in ("a", "b"):
        with write_store(tmp_path / source, {"sound": SOUND}, **HEAD) as writer:
            for clip in clips():
                writer.add(clip, {"sound": np.zeros(7, np.int16)}, source=source)
        digests.add(Store.open(tmp_path / source).digest)
    assert len(digests) == 1


def test_nothing_about_time_or_place_is_written(tmp_path):
    text = (write(tmp_path / "store").path / "store.json").read_text()
    assert str(tmp_path) not in text
    assert set(json.loads(text)) == {
        *("format", "name", "source", "recipe", "inputs", "decoders", "clips", "classes", "schemes", "counts"),
        *("dropped", "modalities", "indexes", "attachments", "files", "content"),
    }


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing(tmp_path, failure):
    with pytest.raises(failure), write_store(tmp_path / "store", {"sound": SOUND}, **HEAD) as writer:
        writer.add(clips()[0], {"sound": np.zeros(7, np.int16)})
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_store_that_was_there(tmp_path):
    before = write(tmp_path / "store").digest
    with pytest.raises(RuntimeError), write_store(tmp_path / "store", {"sound": SOUND}, **HEAD):
        raise RuntimeError
    assert Store.open(tmp_path / "store").digest == before
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.zeros(6, np.int16), r"clip 'clip-0', sound: shape \[6\] where \[7\] is expected"),
        (np.zeros(7, np.float32), "sound: float32 where raw int16 is expected"),
        (Encoded(b"", "flac", (7,), np.dtype("<i2")), "sound: flac where raw int16 is expected"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, value, told):
    with pytest.raises(ValueError, match=told), write_store(tmp_path / "store", {"sound": SOUND}, **HEAD) as writer:
        writer.add(clips()[0], {"sound": value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(5, 3), (0, 3), (2, 4)])
def test_sequences_fit_their_length_and_width(tmp_path, shape):
    with (
        pytest.raises(ValueError, match="is expected"),
        write_store(tmp_path / "store", {"series": SERIES}, **HEAD) as writer,
    ):
        writer.add(clips()[0], {"series": np.zeros(shape, np.float32)})


def test_incomplete_and_foreign_stores_are_refused(tmp_path):
    def broken(name: str):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(whole, tmp_path / "copy")
        return tmp_path / "copy" / name

    whole = write(tmp_path / "whole").path
    with pytest.raises(Misuse, match=r"is not a prepared dataset: .* inforeg prepare NAME makes one"):
        Store.open(tmp_path / "absent")
    (tmp_path / ".absent.work").mkdir()
    with pytest.raises(Misuse, match="inforeg prepare NAME goes on making it"):
        Store.open(tmp_path / "absent")
    broken("store.json").unlink()
    with pytest.raises(Misuse, match=r"it has no store\.json"):
        Store.open(tmp_path / "copy")
    path = broken("sound.bin")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Misuse, match=r"sound\.bin has 81 bytes instead of 84"):
        Store.open(tmp_path / "copy")
    broken("clips.parquet").unlink()
    with pytest.raises(Misuse, match=r"clips\.parquet is missing"):
        Store.open(tmp_path / "copy")
    path = broken("store.json")
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(Misuse, match=r"format 1, this version of inforeg reads 2: .* inforeg prepare tiny --force"):
        Store.open(tmp_path / "copy")
    for text in ("{", "[]", "{}", '{"format": 2}', '{"format": 2, "name": 3}'):
        broken("store.json").write_text(text)
        with pytest.raises(Misuse, match=r"store\.json is damaged"):
            Store.open(tmp_path / "copy")


def flip(path, *places: int) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["series.lengths.npy", "clips.parquet", "series.vocabulary.json"])
def test_verify_finds_a_changed_byte(tmp_path, name):
    store = write(tmp_path / "store")
    flip(store.path / name, -10)
    with pytest.raises(InforegError, match=f"content of {name} is not what was prepared; .* inforeg prepare tiny"):
        Store.open(store.path).verify()


def test_verify_tells_the_damaged_clips_of_each_modality(tmp_path):
    store = write(tmp_path / "store")
    flip(store.path / "sound.bin", 14 * 2 + 3)
    flip(store.path / "series.bin", *(48 * clip + 47 for clip in range(1, 6)))  # padding counts too
    told = r"content of sound\.bin \(1 clip: clip-2\), series\.bin \(5 clips: clip-1, clip-2, clip-3, \.\.\.\) is not"
    with pytest.raises(InforegError, match=told):
        Store.open(store.path).verify()


def test_verify_reads_clips_of_varying_shape(tmp_path):
    with write_store(tmp_path / "store", {"frames": VARYING}, **HEAD) as writer:
        for i, clip in enumerate(clips()):
            data = np.full((i + 1, 2, 3), i, np.uint8)
            writer.add(clip, {"frames": Encoded(b"abc", "jpeg", (2, 2, 3), np.dtype("u1")) if i == 3 else data})
    store = Store.open(tmp_path / "store")
    store.verify()
    index = np.load(store.path / "frames.index.npy")
    flip(store.path / "frames.bin", index[3]["offset"] + 1, index[5]["offset"])
    with pytest.raises(InforegError, match=r"frames\.bin \(2 clips: clip-3, clip-5\)"):
        Store.open(store.path).verify()


def test_attachments_come_back_and_are_part_of_the_content(tmp_path):
    store = write(tmp_path / "store")
    assert store.attachment("series.vocabulary.json") == b'["<pad>", "<unk>"]'
    with pytest.raises(Misuse, match=r"no attachment 'series\.vocabulary'; did you mean 'series\.vocabulary\.json'"):
        store.attachment("series.vocabulary")
    with pytest.raises(Misuse, match=r"no attachment 'clips\.parquet'"):
        store.attachment("clips.parquet")
    other = write(tmp_path / "other", attachments={"series.vocabulary.json": b'["<new>"]'})
    assert other.digest != store.digest


def test_classes_may_have_an_order_of_their_own(tmp_path):
    store = write(tmp_path / "store", classes={"mood": ["sad", "glad", "bored"]})
    assert store.classes("mood") == ("sad", "glad", "bored")
    assert store.classes("age") == ("8", "9", "10")
    assert store.labels("mood").tolist() == [0, 1] * 3
    assert store.counts["split"]["train"]["mood"] == {"sad": 2, "glad": 2, "bored": 0}
    assert store.digest != write(tmp_path / "other").digest


def test_verify_finds_a_changed_description(tmp_path):
    store = write(tmp_path / "store")
    path = store.path / "store.json"
    path.write_text(path.read_text().replace('"sample_rate": 16000', '"sample_rate": 8000'))
    with pytest.raises(InforegError, match=r"content of store\.json"):
        Store.open(store.path).verify()


def test_unknown_names_are_misuse_with_what_there_is(tmp_path):
    store = write(tmp_path / "store")
    with pytest.raises(Misuse, match="tiny has no split 'vla'; did you mean 'val'"):
        store.split("split", "vla")
    with pytest.raises(Misuse, match="no split scheme 'paper'; there is: speaker, split"):
        store.split("paper", "val")
    with pytest.raises(Misuse, match="no label column 'modd'; did you mean 'mood'"):
        store.labels("modd")
    with pytest.raises(Misuse, match="no modality 'image'"):
        store.array("image")
    with pytest.raises(Misuse, match="is no sequence"):
        store.lengths("sound")
