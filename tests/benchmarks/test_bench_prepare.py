"""The benchmark of prepare and reading: that its files are what they claim to be, and that it runs and says what it means."""

import shutil
import tempfile
from pathlib import Path

import av
import pytest
import torch

from inforeg_cli.benchmarks import data, reading
from inforeg_cli.benchmarks.tree import SECONDS, Pair, make_tree
from inforeg_cli.benchmarks.turns import interleaved, quartiles, ratios
from inforeg_cli.data.preparing.plan import Job, look

CLIPS, DIFFERENT = 16, 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Pair]]:
    folder = tmp_path_factory.mktemp("bench") / "raw"
    return folder, make_tree(folder, CLIPS, DIFFERENT)


def test_the_files_are_like_the_publishers(tree):
    _, pairs = tree
    for number, pair in enumerate(pairs[:DIFFERENT]):
        with av.open(str(pair.video)) as container:
            video, sound = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, video.width, video.height) == ("flv", 480, 360)
            assert (sound.codec_context.name, sound.rate) == ("mp3float", 44_100)
            assert sum(1 for _ in container.decode(video)) == round(30 * SECONDS[number])
        with av.open(str(pair.audio)) as container:
            stream = container.streams.audio[0]
            assert (stream.codec_context.name, stream.rate, stream.channels) == ("pcm_s16le", 16_000, 1)
            assert float(stream.duration * stream.time_base) == pytest.approx(SECONDS[number], abs=1e-3)
        assert 200_000 < pair.video.stat().st_size < 350_000


def test_clips_beyond_the_different_ones_are_copies_with_names_of_their_own(tree):
    folder, pairs = tree
    assert len({pair.video for pair in pairs}) == len(pairs)
    assert len({pair.video.read_bytes() for pair in pairs}) == DIFFERENT
    assert pairs[DIFFERENT].video.read_bytes() == pairs[0].video.read_bytes()
    _, plan = look(Job(folder / "recipe.toml", folder.parent / "out"))
    assert not plan.problems and not plan.failures
    assert [clip.media["video"] for clip in plan.clips] == [pair.video for pair in pairs]


def test_every_turn_runs_every_row_once_and_begins_with_another():
    ran = []
    seconds = interleaved({name: lambda name=name: ran.append(name) for name in "abc"}, 3)
    assert "".join(ran) == "abc" + "abc" + "bca" + "cab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert ratios([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == (2.0, 2.0, 2.5)


def test_a_row_may_time_itself():
    assert interleaved({"own": lambda: 7.0}, 2) == {"own": [7.0, 7.0]}


def test_the_released_loader_makes_batches_as_the_papers_describe_them(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 5)
    sounds, pictures = reading.Released(tree[1], tmp_path).read()
    assert sounds.shape == (5, 1, 257, 188)
    assert pictures.shape == (5, 3, 3, 224, 224)
    assert torch.isfinite(sounds).all() and torch.isfinite(pictures).all()
    assert sounds.std() > 1 and pictures.std() > 0.1
    extracted = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jpg"))
    assert len(extracted) == sum(7 + (seconds > 2.3) + (seconds > 2.6) for seconds in SECONDS)


def test_it_says_what_every_figure_means_and_leaves_nothing(tree, monkeypatch, tmp_path):
    def copied(folder: Path, clips: int) -> list[Pair]:
        shutil.copytree(tree[0], folder)
        moved = {path: folder / path.relative_to(tree[0]) for pair in tree[1] for path in (pair.video, pair.audio)}
        return [Pair(moved[pair.video], moved[pair.audio], pair.original) for pair in tree[1][:clips]]

    monkeypatch.setattr(data, "make_tree", copied)
    monkeypatch.setattr(reading, "BATCH", 3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    preparing, read = data.bench_data({"prepare", "reading"}, clips=CLIPS, turns=2)
    told = {row[0]: row for figures in (preparing, read) for row in figures.rows}
    assert {name: row[-1] for name, row in told.items()} == data.MEANINGS
    assert all(row[1] > 0 for row in told.values())
    targets = {name: row[4].split(": ")[1] for name, row in told.items() if row[4]}
    assert list(targets.values()) == ["at least 0.8", "at least 0.9", "at least 20"]
    assert preparing.columns[1] == "clips/s" and read.columns[1] == "batches/s"
    assert list(tmp_path.iterdir()) == []
