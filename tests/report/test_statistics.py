import numpy as np
import pytest
from scipy import stats

from inforeg_cli.report import statistics
from inforeg_cli.report.statistics import (
    RESAMPLES,
    Difference,
    Summary,
    difference_over_clips,
    difference_over_seeds,
    holm,
    resampled_means,
    resamples_of,
    summarise,
)


def test_a_summary_is_the_mean_and_the_sample_standard_deviation():
    # (1, 2, 6): mean 3, squared deviations 4 + 1 + 9 = 14, over n - 1 = 2 that is 7.
    assert summarise([1, 2, 6]) == Summary(3.0, pytest.approx(7**0.5), 3)


def test_one_value_has_no_spread_and_no_value_no_summary():
    assert summarise([0.5]) == Summary(0.5, None, 1)
    assert summarise([]) is None


def test_the_interval_over_seeds_by_hand():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), and t(0.975, 2) = 4.302653.
    found = difference_over_seeds({0: 2, 1: 4, 2: 6}, {0: 1, 1: 2, 2: 3})
    half = 4.302653 / 3**0.5
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half), abs=1e-6)
    # t = 2 sqrt(3), and with two degrees of freedom p = 1 - t / sqrt(t^2 + 2).
    assert found.p == pytest.approx(1 - (12 / 14) ** 0.5)


def test_the_interval_over_seeds_pairs_common_seeds_only():
    generator = np.random.default_rng(3)
    a, b = generator.random(6), generator.random(6)
    found = difference_over_seeds({**dict(enumerate(a)), 77: 1.0}, {**dict(enumerate(b)), 99: 0.0})
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, test.pvalue))


def test_fewer_than_three_common_seeds_claim_no_interval():
    assert difference_over_seeds({0: 1.0, 1: 0.5, 2: 0.7}, {1: 0.4, 2: 0.6, 3: 0.1}) is None


def test_equal_differences_make_a_point_of_the_interval():
    same = {seed: 0.1 * seed for seed in range(4)}
    assert difference_over_seeds(same, same) == Difference(0, 0, 0, 1)
    # 0.3 - 0.2 and 0.8 - 0.7 differ by rounding, which is no spread.
    found = difference_over_seeds({0: 0.3, 1: 0.8, 2: 0.9}, {0: 0.2, 1: 0.7, 2: 0.8})
    assert found == Difference(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1), 0)


def test_the_interval_over_clips_is_scipys_percentile_bootstrap():
    generator = np.random.default_rng(5)
    a, b = generator.random((3, 80)) < 0.8, generator.random((3, 80)) < 0.6
    found = difference_over_clips(a, b)
    per_clip = a.mean(axis=0) - b.mean(axis=0)
    assert found.mean == pytest.approx(a.mean() - b.mean())
    # Resampled means are nearly normal here: the percentiles lie within a tenth of a standard error of that interval.
    error = per_clip.std() / 80**0.5
    assert (found.low, found.high) == pytest.approx(
        (found.mean - 1.96 * error, found.mean + 1.96 * error), abs=error / 10
    )
    assert found.p < 0.05
    assert difference_over_clips(a, b) == found
    assert difference_over_clips(b, a).p == pytest.approx(found.p)


def test_seeds_are_averaged_before_clips_are_resampled():
    # Two seeds that err on opposite clips cancel in every clip: nothing is left to vary.
    a = np.array([[1, 0] * 20, [0, 1] * 20])
    assert difference_over_clips(a, 1 - a) == Difference(0, 0, 0, 1)


def test_a_difference_over_clips_and_its_interval_agree():
    generator = np.random.default_rng(1)
    for shift in (0.0, 0.05, 0.1, 0.2, 0.3):
        found = difference_over_clips(generator.random((3, 60)) < 0.6 + shift, generator.random((3, 60)) < 0.6)
        assert found.low <= found.mean <= found.high
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_degenerate_clips():
    same = np.ones((3, 10), dtype=bool)
    assert difference_over_clips(same, same) == Difference(0, 0, 0, 1)
    assert difference_over_clips(same, ~same) == Difference(1, 1, 1, 0)
    assert difference_over_clips(same[:, :1], same[:, :1]) is None


def test_a_t_interval_is_scipys():
    generator = np.random.default_rng(2)
    for seeds in (3, 5, 30):
        a, b = generator.random(seeds), generator.random(seeds)
        found = difference_over_seeds(dict(enumerate(a)), dict(enumerate(b)))
        test = stats.ttest_1samp(a - b, 0)
        interval = test.confidence_interval(0.95)
        assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, test.pvalue), rel=1e-9)


def test_resampled_means_are_a_bootstrap_that_rows_share():
    values = np.random.default_rng(4).random((3, 50))
    means = resampled_means(values)
    assert means.shape == (3, RESAMPLES)
    assert means.mean(axis=1) == pytest.approx(values.mean(axis=1), abs=0.01)
    assert means.std(axis=1) == pytest.approx(values.std(axis=1) / 50**0.5, rel=0.05)
    np.testing.assert_allclose(resampled_means(values[:1] - values[1:2]), means[:1] - means[1:2], atol=1e-12)


@pytest.mark.parametrize("clips", [2, 7, 60])
def test_a_resample_has_as_many_clips_as_there_are(clips, monkeypatch):
    drawn = np.concatenate(list(resamples_of(clips, int)))
    assert drawn.shape == (RESAMPLES, clips)
    assert (drawn.sum(axis=1) == clips).all()
    assert drawn.min() >= 0
    # What is too large to be kept is drawn again, and the same.
    monkeypatch.setattr(statistics, "_MOST_KEPT", 0)
    np.testing.assert_array_equal(np.concatenate(list(resamples_of(clips, int))), drawn)


def test_holm_on_a_worked_example():
    # Ordered .005, .01, .03, .04 are multiplied by 4, 3, 2, 1; the last may not fall below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_keeps_to_one_and_to_the_order():
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
    p = np.random.default_rng(0).random(20).tolist()
    adjusted = holm(p)
    assert all(after >= before for before, after in zip(p, adjusted, strict=True))
    assert np.all(np.diff(np.array(adjusted)[np.argsort(p)]) >= 0)
