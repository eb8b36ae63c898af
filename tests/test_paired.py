"""Paired tests of two runs against exact enumerations, what they could find, and Holm."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.paired import (
    Permutation,
    detectable_difference,
    holm,
    losses,
    of_swaps,
    of_swaps_by_weights,
    permutation_test,
    standard_error,
)
from harness.stats import draws_of, of_counts

Array = npt.NDArray[np.float64]


def mean(sums: Array) -> Array:
    return np.asarray(sums[..., 0] / sums[..., 1])


def rows_of(scores: Any) -> Array:
    scores = np.asarray(scores, dtype=np.float64)
    return np.stack([scores, np.ones_like(scores)], axis=1)


def clustered(groups: int, each: int, seed: int) -> tuple[Array, list[str]]:
    """Right or wrong answers whose chance of being right belongs to the group."""
    generator = np.random.default_rng(seed)
    chances = np.repeat(generator.beta(0.6, 0.4, groups), each)
    names = [f"group {index // each}" for index in range(groups * each)]
    return rows_of(generator.random(groups * each) < chances), names


def weighted_median(weights: Array, rows: Array) -> Array:
    """Of a value that comes as often as its weight says, the lower of the middle two."""
    order = np.argsort(rows[:, 0], kind="stable")
    reached = np.cumsum(weights[..., order], axis=-1)
    place = np.argmax(reached >= reached[..., -1:] / 2, axis=-1)
    return np.asarray(rows[order, 0][place])


def every_swap(groups: int) -> Array:
    return np.array(list(itertools.product((0.0, 1.0), repeat=groups)))


def test_p_is_that_of_an_exact_enumeration() -> None:
    generator = np.random.default_rng(3)
    groups = [f"group {index // 2}" for index in range(16)]
    a, b = rows_of(generator.random(16)), rows_of(generator.random(16) + 0.15)
    swapped, number = of_swaps(mean, a, b, groups)
    assert number == 8
    plain = []
    for mask in every_swap(8):
        swap = np.repeat(mask, 2)[:, None] == 1
        plain.append(mean(np.where(swap, a, b).sum(0)) - mean(np.where(swap, b, a).sum(0)))
    np.testing.assert_allclose(swapped(every_swap(8)), plain, atol=1e-12)
    observed = plain[0]
    exact = [
        np.mean(np.abs(plain) >= abs(observed) - 1e-12),
        np.mean(np.array(plain) <= observed + 1e-12),
        np.mean(np.array(plain) >= observed - 1e-12),
    ]
    found = permutation_test(swapped, number)
    assert [found.two_sided, found.below, found.above] == pytest.approx(exact, abs=0.015)


def test_a_median_is_swapped_as_sums_are() -> None:
    generator = np.random.default_rng(4)
    groups = [f"group {index // 2}" for index in range(12)]
    a, b = generator.random((12, 1)), generator.random((12, 1))
    swapped, number = of_swaps_by_weights(weighted_median, a, b, groups)
    assert number == 6
    for mask, found in zip(every_swap(6), swapped(every_swap(6)), strict=True):
        swap = np.repeat(mask, 2)[:, None] == 1
        one, other = np.where(swap, b, a), np.where(swap, a, b)
        ones = np.ones(12)
        assert found == weighted_median(ones, other) - weighted_median(ones, one)


def test_equal_runs_have_p_one_and_unequal_ones_never_zero() -> None:
    rows, groups = clustered(30, 2, seed=1)
    same = permutation_test(*of_swaps(mean, rows, rows, groups))
    assert (same.two_sided, same.below, same.above) == (1, 1, 1)
    best = permutation_test(*of_swaps(mean, rows * [0, 1], rows * [0, 1] + [1, 0], groups))
    assert best.two_sided == best.above == 1 / 10_001
    assert best.below == 1


def test_p_does_not_depend_on_the_order_of_samples() -> None:
    a, groups = clustered(30, 3, seed=1)
    b, _ = clustered(30, 3, seed=2)
    order = np.random.default_rng(0).permutation(len(a))
    names = [groups[index] for index in order]
    found = permutation_test(*of_swaps(mean, a, b, groups), swaps=500)
    assert found == permutation_test(*of_swaps(mean, a[order], b[order], names), swaps=500)


def test_p_is_uniform_where_nothing_differs() -> None:
    generator = np.random.default_rng(5)
    groups = [f"{index:03}" for index in range(60)]
    low = 0
    for _ in range(300):
        a, b = (rows_of(generator.random(60)) for _ in "ab")
        low += permutation_test(*of_swaps(mean, a, b, groups), swaps=200).below < 0.05
    assert 5 <= low <= 27  # 15 expected


def test_holm_against_a_case_by_hand() -> None:
    # sorted .01 .02 .03 .20: 4 x .01, 3 x .02, then 2 x .03 = .06 is no less, .20
    assert holm([0.03, 0.01, 0.20, 0.02]) == pytest.approx([0.06, 0.04, 0.20, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_standard_error_is_that_of_paired_differences() -> None:
    generator = np.random.default_rng(6)
    a = generator.random(400)
    b = a + generator.normal(0, 0.1, 400)
    groups = [f"{index:03}" for index in range(400)]
    (of_a, number), (of_b, _) = (of_counts(mean, rows_of(x), groups) for x in (a, b))
    draws = draws_of(lambda counts: of_b(counts) - of_a(counts), number)
    error = standard_error(draws, number)
    assert error == pytest.approx(np.std(b - a, ddof=1) / 20, rel=0.1)


def test_the_detectable_difference_is_some_2_8_standard_errors() -> None:
    many = detectable_difference(0.01, outcome_of(0.0196), 0.0, 10**9)
    assert many == pytest.approx(0.028, abs=2e-5)
    few = detectable_difference(0.01, outcome_of(0.0196), 0.0, 50)
    assert few == pytest.approx(1.96 * math.sqrt(0.01**2 + few**2 / 50) + 0.00842, abs=1e-5)
    assert few > many
    for critical in (0.0, 499.5, math.nan):  # of a median that jumps, say
        assert 0.028 <= detectable_difference(0.01, outcome_of(critical), 0.0, 10**9) < 0.034


@pytest.mark.parametrize("groups", [2, 5])
def test_of_five_groups_no_test_finds_anything(groups: int) -> None:
    assert math.isnan(detectable_difference(0.01, outcome_of(0.02), 0.0, groups))
    assert detectable_difference(0.01, outcome_of(0.02), 0.0, 6) > 0


def test_runs_that_agree_in_everything_still_need_some_samples_to_go_wrong() -> None:
    """Eight or more: of six, the least that a sign test can tell, one in two has fewer."""
    values, names = np.ones(1000), [f"{index:04}" for index in range(1000)]
    lost = losses(values, values, np.ones(1000), names, 0.0)
    assert lost.most == 1
    assert lost.each == pytest.approx(0.001)
    found = detectable_difference(0.0, outcome_of(math.nan), 0.0, 1000, lost)
    assert 0.008 <= found <= 0.010
    assert math.isnan(
        detectable_difference(0.0, outcome_of(math.nan), 0.0, 1000)
    )  # not known of others


@pytest.mark.parametrize(("share", "each"), [(0.9, 1), (0.4, 1), (0.6, 5)])
def test_what_losses_add_to_the_variance_is_what_they_add(share: float, each: int) -> None:
    """Against samples drawn anew, of which a tenth go wrong."""
    generator, n = np.random.default_rng(3), 600
    names = [f"{index // each:04}" for index in range(n)]
    drawn, stated = [], []
    for _ in range(800):
        chances = np.repeat(generator.beta(4 * share, 4 * (1 - share), n // each), each)
        a, b = ((generator.random(n) < chances).astype(float) for _ in "ab")
        gone = b * (generator.random(n) >= 0.1)
        drawn.append((float(np.mean(b - a)), float(np.mean(gone - a))))
        stated.append(losses(a, b, np.ones(n), names, 0.0).variance(0.1 * float(b.mean())))
    before, after = np.var(drawn, axis=0)
    assert before + np.mean(stated) == pytest.approx(after, rel=0.2)


def outcome_of(critical: float) -> Permutation:
    return Permutation(1.0, 1.0, 1.0, critical, math.nan if math.isnan(critical) else 0.0)


def test_the_critical_difference_is_the_least_that_is_called_real() -> None:
    generator = np.random.default_rng(9)
    groups = [f"{index:03}" for index in range(100)]
    a, b = (rows_of(generator.random(100) < 0.5) for _ in "ab")
    swapped, number = of_swaps(mean, a, b, groups)
    critical = permutation_test(swapped, number).critical
    sizes = np.abs(swapped(generator.integers(0, 2, (20_000, number)).astype(float)))
    assert np.mean(sizes > critical) < 0.05
    assert np.mean(sizes > critical - 0.0201) > 0.05  # one step less
