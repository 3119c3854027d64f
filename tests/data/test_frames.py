"""Which frames of a clip are seen: ascending, all different where there are enough, a function of the clip alone."""

from itertools import combinations

import numpy as np
import pytest
import torch

from inforeg_cli.data.transforms import frames

PARTS = (3, "augment", 1, "video", "frames")
DRAWS = [frames.at_random, frames.one_a_segment]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_evaluation_sees_the_middle_of_equal_segments(count):
    lengths = np.arange(1, 40)
    chosen = frames.centres(lengths, count)
    for length, found in zip(lengths, chosen, strict=True):
        edges = np.linspace(0, length, count + 1)
        assert found.tolist() == np.floor((edges[1:] + edges[:-1]) / 2 + 1e-9).astype(int).tolist()


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_frames_at_random_are_ascending_and_different_where_there_are_enough(draw, count):
    lengths = np.arange(200) % 9 + 1
    chosen = draw(lengths, count, torch.arange(200), *PARTS)
    assert chosen.shape == (200, count) and chosen.dtype == np.int64
    for length, found in zip(lengths, chosen, strict=True):
        assert found.min() >= 0 and found.max() < length
        assert (np.diff(found) >= 0).all()
        assert len(set(found)) == min(length, count)


@pytest.mark.parametrize("draw", DRAWS)
def test_a_clip_with_too_few_frames_repeats_them_as_in_evaluation(draw):
    lengths = np.array([1, 2, 3, 4, 5])
    chosen = draw(lengths, 5, torch.arange(5), *PARTS)
    assert chosen.tolist() == [[0] * 5, [0, 0, 1, 1, 1], [0, 0, 1, 2, 2], [0, 1, 2, 2, 3], [0, 1, 2, 3, 4]]
    assert (chosen == frames.centres(lengths, 5)).all()


@pytest.mark.parametrize("draw", DRAWS)
def test_the_choice_is_a_function_of_seed_and_clip_alone(draw):
    lengths, keys = np.array([9, 30, 4, 12]), torch.tensor([7, 100, 3, 8])
    whole = draw(lengths, 3, keys, *PARTS)
    order = [2, 0, 3]
    assert (draw(lengths[order], 3, keys[order], *PARTS) == whole[order]).all()
    many, keys = np.full(50, 30), torch.arange(50)
    assert (draw(many, 3, keys, *PARTS) != draw(many, 3, keys, 4, *PARTS[1:])).any()
    assert (draw(many, 3, keys, *PARTS) != draw(many, 3, keys + 50, *PARTS)).any()


def test_every_set_of_frames_is_equally_likely():
    chosen = frames.at_random(np.full(20_000, 6), 3, torch.arange(20_000), *PARTS)
    sets, counts = np.unique(chosen, axis=0, return_counts=True)
    assert [tuple(found) for found in sets] == list(combinations(range(6), 3))
    assert np.abs(counts / 1000 - 1).max() < 0.15  # a standard deviation is 0.03


def test_segments_give_one_frame_each_and_every_frame_a_chance():
    chosen = frames.one_a_segment(np.full(6000, 8), 3, torch.arange(6000), *PARTS)
    for column, (first, end) in zip(chosen.T, [(0, 2), (2, 5), (5, 8)], strict=True):
        found, counts = np.unique(column, return_counts=True)
        assert found.tolist() == list(range(first, end))
        assert np.abs(counts * (end - first) / 6000 - 1).max() < 0.15
