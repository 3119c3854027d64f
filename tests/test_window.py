"""When a method is active: every form of window, and the tables of epochs that the rules give."""

from collections.abc import Callable, Sequence

import pytest
from pydantic import ValidationError

from inforeg_cli.window import Window

EPOCHS = 25
CONSTANT, GROWING = (lambda j: 1.0), (lambda j: 1 + 0.1 * j)
STEEP, SLOW = (lambda j: 1.0 + j if j <= 8 else 17.0 - j), (lambda j: 1.0 + j if j <= 8 else 9 - 0.3 * (j - 8))
#: The released code at HEAD and in March: means of ten epochs, those before the first counting as zero.
HEAD = {"when": "prime", "K": 0.05, "smooth": 10, "zero_padded": True, "warmup": "open"}
MARCH = {**HEAD, "K": 0.04}


def prime_epochs(window: Window, trace: Callable[[int], float]) -> set[int]:
    """The epochs that lie in the prime window; each epoch knows the traces of those before it."""
    return {epoch for epoch in range(EPOCHS) if window.is_prime([trace(j) for j in range(epoch)])}


def through(first: int, last: int) -> set[int]:
    return set(range(first, last + 1))


@pytest.mark.parametrize(
    ("trace", "head", "march", "paper"),
    [
        (CONSTANT, through(0, 10), through(0, 10), set()),
        (GROWING, through(0, 15), through(0, 20), through(2, 15)),
        (STEEP, through(0, 12), through(0, 12), through(2, 9)),
        (SLOW, through(0, 13), through(0, 14), through(2, 9)),
    ],
    ids=["constant", "growing", "steep", "slow"],
)
def test_the_windows_of_known_traces(
    trace: Callable[[int], float], head: set[int], march: set[int], paper: set[int]
) -> None:
    assert prime_epochs(Window(**HEAD), trace) == head
    assert prime_epochs(Window(**MARCH), trace) == march
    assert (
        prime_epochs(Window(when="prime", K=0.0405), trace) == paper
    )  # at 0.04 epoch 16 of the growing one is on the edge


@pytest.mark.parametrize("epoch", range(2, EPOCHS))
def test_the_released_window_in_closed_form(epoch: int) -> None:
    """1 <= e <= 10: k = x[e-1] / sum of all; e >= 11: k = (x[e-1] - x[e-11]) / sum of the last ten."""
    x = [3 + (7 * j) % 5 for j in range(epoch)]
    k = x[-1] / sum(x) if epoch <= 10 else (x[-1] - x[-11]) / sum(x[-10:])
    assert Window(**{**HEAD, "K": k - 1e-9}).is_prime(x)
    assert not Window(**{**HEAD, "K": k + 1e-9}).is_prime(x)


def test_the_released_window_after_two_epochs() -> None:
    assert Window(**{**HEAD, "K": 5 / 9 - 1e-9}).is_prime([4, 5])
    assert not Window(**{**HEAD, "K": 5 / 9 + 1e-9}).is_prime([4, 5])
    assert Window(**{**HEAD, "K": 0.999}).is_prime([4])  # k = 1 in epoch 1


def test_growth_must_exceed_k() -> None:
    assert not Window(when="prime", K=0.5).is_prime([1.0, 2.0])
    assert Window(when="prime", K=0.4999).is_prime([1.0, 2.0])
    assert Window(when="prime", K=0.0).is_prime([1.0, 1.0 + 1e-9])
    assert not Window(when="prime", K=0.0).is_prime([1.0, 1.0])


def test_only_the_last_two_traces_count_without_smoothing() -> None:
    assert Window(when="prime").is_prime([100.0, 1.0, 2.0]) == Window(when="prime").is_prime([1.0, 2.0]) is True
    assert not Window(when="prime").is_prime([1.0, 100.0, 2.0])


def test_smoothing_compares_means_of_those_there_are() -> None:
    window = Window(when="prime", smooth=3, K=0.1)
    assert window.is_prime([1.0, 2.0])  # 1.5 after 1
    assert not window.is_prime([1.0, 1.0])
    noisy = [1.0, 1.5, 1.2, 2.0]  # means 1.567 after 1.233, although the window without smoothing had closed in between
    assert window.is_prime(noisy)
    assert not Window(when="prime", K=0.1).is_prime(noisy[:3])


def test_zero_padding_takes_what_came_before_the_first_trace_as_zero() -> None:
    padded, plain = (Window(when="prime", smooth=3, zero_padded=padded) for padded in (True, False))
    assert padded.is_prime([1.0, 1.0])
    assert not plain.is_prime([1.0, 1.0])
    assert not padded.is_prime([1.0, 1.0, 1.0, 1.0])  # the padding has left the means


@pytest.mark.parametrize("count", [0, 1])
def test_the_first_two_epochs(count: int) -> None:
    traces = {"a": [5.0] * count, "b": [1.0] * count}
    for when, warmup, expected in (
        ("prime", "closed", ""), ("prime", "open", "ab"), ("other", "closed", "ab"), ("other", "open", ""),
        ("whole", "closed", "ab"), ("0-1", "closed", "ab"), ("2-9", "open", ""),
    ):  # fmt: skip
        assert Window(when=when, warmup=warmup).open_modalities(traces, per_modality=True) == frozenset(expected)


@pytest.mark.parametrize("traces", [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("options", [{}, HEAD])
def test_traces_of_zero_open_nothing_and_do_not_divide(traces: list[float], options: dict) -> None:
    assert not Window(**{"when": "prime", **options}).is_prime(traces)


def test_traces_that_are_no_numbers_open_nothing() -> None:
    for broken in ([1.0, float("nan")], [float("nan"), 1.0], [float("inf"), float("inf")]):
        assert not Window(when="prime").is_prime(broken)


TRACES = {"a": [1.0, 2.0], "b": [1.0, 1.0], "c": [2.0, 3.0]}  # a's and c's windows are open in epoch 2, b's is not


def opened(when: str, per_modality: bool = True, traces: dict[str, Sequence[float]] = TRACES, **options: object) -> str:
    return "".join(sorted(Window(when=when, **options).open_modalities(traces, per_modality)))


def test_whole() -> None:
    assert opened("whole") == opened("whole", per_modality=False) == "abc"


def test_prime_is_a_window_of_each_modality_or_open_for_all_while_any_is() -> None:
    assert opened("prime") == "ac"
    assert opened("prime", per_modality=False) == "abc"
    assert opened("prime", per_modality=False, traces={"a": [1.0, 1.0], "b": [1.0, 1.0]}) == ""


@pytest.mark.parametrize("per_modality", [True, False])
@pytest.mark.parametrize("warmup", ["closed", "open"])
@pytest.mark.parametrize("leader", [None, "b"])
def test_other_is_what_prime_leaves(per_modality: bool, warmup: str, leader: str | None) -> None:
    for epoch in range(EPOCHS):
        rules = {"a": GROWING, "b": STEEP, "c": CONSTANT}
        traces = {name: [rule(j) for j in range(epoch)] for name, rule in rules.items()}
        options = {"warmup": warmup, "leader": leader}
        prime, other = (set(opened(when, per_modality, traces, **options)) for when in ("prime", "other"))
        assert prime | other == set("abc")
        assert not prime & other
        if not per_modality:
            assert prime in (set(), set("abc"))


def test_a_leader_decides_for_all() -> None:
    assert opened("prime", leader="a") == opened("prime", per_modality=False, leader="a") == "abc"
    assert opened("prime", leader="b") == opened("prime", per_modality=False, leader="b") == ""
    assert opened("other", leader="b") == "abc"


@pytest.mark.parametrize(
    ("when", "epochs"), [("0-0", {0}), ("3-5", {3, 4, 5}), ("0-24", through(0, 24)), ("20-99", through(20, 24))]
)
def test_a_range_includes_both_ends_and_asks_no_trace(when: str, epochs: set[int]) -> None:
    found = {
        epoch
        for epoch in range(EPOCHS)
        if opened(when, epoch % 2 == 0, {"a": [0.0] * epoch, "b": [0.0] * epoch}) == "ab"
    }
    assert found == epochs


@pytest.mark.parametrize(
    "when", ["", "Prime", "prime ", "all", "5", "5-", "-5", "1-2-3", "1 - 2", "a-b", "1.5-2", "0-9\n"]
)
def test_what_is_no_window_is_refused(when: str) -> None:
    with pytest.raises(ValidationError, match="is no window: whole, prime, other, or a range of epochs such as 0-9"):
        Window(when=when)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValidationError, match="its first epoch is after its last"):
        Window(when="9-3")


@pytest.mark.parametrize("wrong", [{"smooth": 0}, {"K": float("nan")}, {"warmup": "half"}, {"lead": "a"}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Window(**wrong)
