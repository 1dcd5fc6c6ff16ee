"""Turns are turns, and medians, intervals and ratios are those of a textbook."""

from __future__ import annotations

import random
import statistics

import pytest

from benchmarks.timing import Estimate, difference, in_turn, median, ratio


def test_timings_take_turns_and_the_first_rounds_are_not_returned():
    order = []

    def timing(name):
        def take() -> float:
            order.append(name)
            return float(len(order))

        return take

    taken = in_turn({"A": timing("A"), "B": timing("B")}, rounds=2, warmup=1)
    assert "".join(order) == "ABABAB"
    assert taken == {"A": [3.0, 5.0], "B": [4.0, 6.0]}


def test_a_machine_that_slows_down_does_not_change_the_ratio():
    slower = [1.0, 1.5, 2.0, 8.0, 3.0, 4.0, 5.0]
    theirs = [0.8 * each for each in slower]
    ours = [0.6 * each for each in slower]
    assert ratio(ours, theirs).median == pytest.approx(0.75)
    assert ratio(ours, theirs).low == pytest.approx(0.75)
    assert difference(ours, theirs).median == pytest.approx(-0.2 * 3.0)


def test_a_pair_that_was_disturbed_does_not_count_for_more_than_one():
    assert ratio([2, 2, 2, 2, 90], [1, 1, 1, 1, 1]).median == 2


def test_timings_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


# Which of the sorted values bound the interval: Conover (1999), table A3 (binomial with p = 1/2): the largest k with
# P(fewer than k heads) <= 0.025.
@pytest.mark.parametrize(
    ("count", "k"), [(1, 1), (3, 1), (5, 1), (6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (30, 10)]
)
def test_the_interval_is_that_of_the_sign_test(count, k):
    values = [float(each) for each in range(1, count + 1)]
    random.Random(0).shuffle(values)
    assert median(values) == Estimate(statistics.median(values), k, count + 1 - k)


def test_the_interval_holds_the_true_median_as_often_as_it_says():
    # Of 20 values: 1 - 2 * P(at most 5 of 20 heads) = 1 - 2 * 21700 / 2**20 = 95.9 %.
    generator = random.Random(0)
    estimates = [median([generator.expovariate(1) for _ in range(20)]) for _ in range(2000)]
    true = 0.6931471805599453  # log(2)
    held = sum(each.low <= true <= each.high for each in estimates) / len(estimates)
    assert held == pytest.approx(0.959, abs=0.015)  # three standard deviations of 2000 draws: 0.013


def test_an_estimate_is_written_with_its_interval():
    assert f"{Estimate(1.054, 1.021, 1.089):.2f}" == "1.05 (1.02 to 1.09)"
