"""Computational sequences: steps by time, and files that are none."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from csd_factory import every, write_csd

from inforeg_cli.data.sources import csd
from inforeg_cli.errors import Misuse


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.csd"


def test_videos_and_their_steps(path):
    features = np.arange(8, dtype="f4").reshape(4, 2)
    write_csd(path, "COVAREP", {"b": (features, every(0.5, 4)), "a": (features[:1], [[1, 2]])})
    with csd.opened(path) as sequence:
        assert sequence.videos == ("a", "b")
        assert "a" in sequence and "c" not in sequence
        steps = sequence["b"]
        np.testing.assert_array_equal(steps.features, features)
        np.testing.assert_array_equal(steps.intervals, [[0, 0.5], [0.5, 1], [1, 1.5], [1.5, 2]])
        assert steps.intervals.dtype == np.float64
        with pytest.raises(Misuse, match=r"some\.csd: video c: cannot read features"):
            sequence["c"]


def test_a_step_belongs_where_its_middle_lies():
    steps = csd.Steps(np.arange(4.0)[:, None], every(1, 4))  # middles 0.5, 1.5, 2.5, 3.5
    assert steps.within(0.5, 2.5).features.ravel().tolist() == [0, 1]
    assert steps.within(0.6, 2.6).features.ravel().tolist() == [1, 2]
    assert steps.within(9, 10).features.shape == (0, 1)


def test_means_over_intervals_are_those_of_a_plain_loop():
    random = np.random.default_rng(0)
    begins = random.uniform(0, 10, 200)
    steps = csd.Steps(random.normal(size=(200, 3)), np.stack([begins, begins + 0.1], axis=1)).sorted()
    assert (np.diff(steps.middles) >= 0).all()
    intervals = np.stack([np.arange(-1, 12, 0.3), np.arange(-1, 12, 0.3) + random.uniform(0, 0.5, 44)], axis=1)
    expected = np.zeros((len(intervals), 3))
    for row, (begin, end) in enumerate(intervals):
        own = [f for f, middle in zip(steps.features, steps.middles, strict=True) if begin <= middle < end]
        expected[row] = np.mean(own, axis=0) if own else 0
    found = steps.averaged(intervals)
    assert found.dtype == np.float32 and (found == 0).all(axis=1).any()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_sorting_keeps_features_with_their_times():
    steps = csd.Steps(np.array([[2.0], [1.0]]), np.array([[1.0, 2], [0, 1]])).sorted()
    assert steps.features.ravel().tolist() == [1, 2] and steps.intervals.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("features", "intervals", "said"),
    [
        (np.zeros((3, 2)), np.zeros((2, 2)), r"\[3, 2\] and \[2, 2\], where"),
        (np.zeros(3), np.zeros((3, 2)), r"\[3\] and \[3, 2\], where"),
        (np.zeros((3, 2)), np.zeros((3, 3)), r"\[3, 2\] and \[3, 3\], where"),
        (np.zeros((1, 2)), [[0, np.nan]], "an interval is not finite"),
        (np.array([[b"word"]]), [[0, 1]], "features are no numbers"),
    ],
)
def test_a_video_whose_numbers_do_not_belong_together(path, features, intervals, said):
    write_csd(path, "x", {"v": (features, intervals)})
    with csd.opened(path) as sequence, pytest.raises(Misuse, match=f"video v: .*{said}"):
        sequence["v"]


def test_what_is_no_computational_sequence(path, tmp_path):
    with pytest.raises(Misuse, match=r"none\.csd is no computational sequence"), csd.opened(tmp_path / "none.csd"):
        pass
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(Misuse, match=r"some\.csd is no computational sequence \(HDF5\)"), csd.opened(path):
        pass
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(Misuse, match="no computational sequence, with /<root>/data/<video>"), csd.opened(path):
        pass
    with h5py.File(path, "w") as file:
        file.create_group("a/data")
    with pytest.raises(Misuse, match="no computational sequence"), csd.opened(path):
        pass


def test_a_cut_file(path):
    write_csd(path, "x", {"v": (np.zeros((1000, 8)), every(1, 1000))})
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(Misuse, match=r"some\.csd"), csd.opened(path) as sequence:
        sequence["v"]


def test_sequences_that_were_aligned_already_are_refused(path):
    write_csd(path, "x", {"v[0]": (np.zeros((1, 1)), [[0, 1]])})
    with pytest.raises(Misuse, match=r"aligned already \(v\[0\]\)"), csd.opened(path):
        pass


def test_no_other_file_is_read_in_its_stead(path, tmp_path):
    write_csd(tmp_path / "other.csd", "x", {"v": (np.zeros((1, 1)), [[0, 1]])})
    (tmp_path / "secret").write_bytes(bytes(16))
    with h5py.File(path, "w") as file:
        data = file.create_group("x/data")
        data["link"] = h5py.ExternalLink(str(tmp_path / "other.csd"), "/x/data/v")
        for name, kind in (("features", "f8"), ("intervals", "f8")):
            raw = data.create_group("raw") if name == "features" else data["raw"]
            raw.create_dataset(name, (1, 2), kind, external=[(str(tmp_path / "secret"), 0, 16)])
        huge = data.create_group("huge")
        huge.create_dataset("features", (1 << 40, 2), "f4", chunks=(1 << 20, 2))
        huge.create_dataset("intervals", (1 << 40, 2), "f4", chunks=(1 << 20, 2))
    with csd.opened(path) as sequence:
        for video in sequence.videos:
            with pytest.raises(Misuse, match="features do not lie in the file itself"):
                sequence[video]
