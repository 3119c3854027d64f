"""InfoReg's coefficients: the printed numbers, ties, and that beta = 0 is not an off-switch."""

import math

import pytest
import torch

from inforeg_cli.numerics.regulation import performance_gaps, regulation_strength


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("scores", "gaps"),
    [
        ((3, 2, 1), (1.5, 1, 0)),
        ((2, 2, 1), (1, 1, 0)),
        ((2, 1, 1), (1, 0, 0)),
        ((1, 1, 1), (0, 0, 0)),
        ((-0.5, -1.25), (0.75, 0)),
        ((0.4,), (0,)),
    ],
)
def test_gaps(scores: tuple[float, ...], gaps: tuple[float, ...]) -> None:
    assert torch.equal(performance_gaps(double(*scores)), double(*gaps))


@pytest.mark.parametrize("modalities", range(2, 7))
def test_gaps_against_loops(modalities: int) -> None:
    scores = torch.randn(modalities, dtype=torch.float64, generator=torch.Generator().manual_seed(modalities))
    scores[-1] = scores[0]  # a tie
    expected = []
    for mine in scores.tolist():
        leads = [mine - other for other in scores.tolist() if other < mine]
        expected.append(sum(leads) / len(leads) if leads else 0.0)
    torch.testing.assert_close(performance_gaps(scores), double(*expected))


@pytest.mark.parametrize(("gap", "strength"), [(0.349200, 1.352696), (0.752838, 1.773855)])
def test_strength_of_the_paper(gap: float, strength: float) -> None:
    assert regulation_strength(double(gap), beta=0.9).item() == pytest.approx(strength, abs=1e-6)


def test_strength_of_the_released_code() -> None:
    assert math.tanh(1.396800) == pytest.approx(0.884658, abs=5e-7)
    found = regulation_strength(double(1.396800, 0.0), beta=1.0, scale=double(0.95, 0.1))
    torch.testing.assert_close(found, double(2.301048, 0.0), atol=1e-6, rtol=0)


def test_beta_zero_is_not_off() -> None:
    assert torch.equal(regulation_strength(double(0.3, 0.0), beta=0.0), double(1.0, 0.0))
    assert torch.equal(regulation_strength(double(0.3, 0.0), beta=0.0, scale=double(0.25, 9.0)), double(0.25, 0.0))


def test_a_scale_of_zero_is_off() -> None:
    assert torch.equal(regulation_strength(double(0.3, 5.0), beta=0.9, scale=double(0.0, 0.0)), double(0.0, 0.0))


def test_the_strength_is_bounded() -> None:
    strength = regulation_strength(torch.linspace(1e-6, 50, 300, dtype=torch.float64), beta=0.9)
    assert (strength[1:] >= strength[:-1]).all()
    assert strength.min() > 1
    assert strength.max() <= math.exp(0.9)


def test_only_differences_between_scores_count_and_order_does_not() -> None:
    scores, order = double(-1.3, -0.2, -0.9, -2.4), [3, 1, 0, 2]
    gaps = performance_gaps(scores)
    torch.testing.assert_close(performance_gaps(scores + 7), gaps)
    torch.testing.assert_close(performance_gaps(scores[order]), gaps[order])
    assert gaps[3] == 0  # the worst is never regulated
