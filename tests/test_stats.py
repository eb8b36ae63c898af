"""Group sums, bootstrap intervals and paired differences, against slow transcriptions."""

from __future__ import annotations

import math
import random
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import stats
from harness.stats import (
    bca95_of,
    bootstrap,
    difference95_of,
    group_sums,
    interval95,
    interval95_of,
    leaving_out,
    of_counts,
    of_counts_by_weights,
    paired_difference,
    resampled_counts,
    tail95,
    wilson95,
)

Array = npt.NDArray[np.float64]

scored_samples = st.lists(
    st.tuples(st.sampled_from("abcdefg"), st.floats(0, 1, allow_subnormal=False)),
    min_size=2,
    max_size=40,
)


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


def width(interval: tuple[float, float] | None) -> float:
    assert interval is not None
    return interval[1] - interval[0]


@settings(deadline=None)
@given(scored_samples, st.randoms(use_true_random=False))
def test_sums_and_intervals_do_not_depend_on_the_order_of_samples(
    samples: list[tuple[str, float]], order: random.Random
) -> None:
    shuffled = samples.copy()
    order.shuffle(shuffled)
    sums, others = (
        group_sums(rows_of([score for _, score in some]), [group for group, _ in some])
        for some in (samples, shuffled)
    )
    np.testing.assert_array_equal(sums, others)
    assert interval95(mean, sums, resamples=50) == interval95(mean, others, resamples=50)


@settings(deadline=None)
@given(scored_samples)
def test_a_group_sum_is_the_sum_over_its_samples(samples: list[tuple[str, float]]) -> None:
    sums = group_sums(rows_of([score for _, score in samples]), [group for group, _ in samples])
    for row, name in enumerate(sorted({group for group, _ in samples})):
        own = [score for group, score in samples if group == name]
        assert sums[row, 1] == len(own)
        assert sums[row, 0] == pytest.approx(math.fsum(own), abs=1e-12)


def test_the_interval_of_a_mean_is_that_of_a_plain_loop_over_resamples() -> None:
    rows, groups = clustered(23, 3, seed=1)
    rows[:, 0] = np.random.default_rng(2).random(len(rows))
    names = sorted(set(groups))
    values = []
    for counts in np.concatenate(list(resampled_counts(23, 200, seed=5))).tolist():
        drawn: list[float] = []
        for name, count in zip(names, counts, strict=True):
            own = [score for (score, _), group in zip(rows, groups, strict=True) if group == name]
            drawn += own * int(count)
        values.append(math.fsum(drawn) / len(drawn))
    values.sort()

    def quantile(share: float) -> float:
        place = share * (len(values) - 1)
        below = math.floor(place)
        return values[below] + (place - below) * (values[below + 1] - values[below])

    found = interval95(mean, group_sums(rows, groups), seed=5, resamples=200)
    assert found == pytest.approx((quantile(tail95(23)), quantile(1 - tail95(23))), abs=1e-12)


def test_each_resample_draws_as_many_groups_as_there_are() -> None:
    counts = np.concatenate(list(resampled_counts(17, 300, seed=3)))
    assert counts.shape == (300, 17)
    assert (counts.sum(axis=1) == 17).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.25)  # 0.06 is its deviation


def test_another_seed_draws_other_resamples_and_the_same_seed_the_same() -> None:
    first, again, other = (
        np.concatenate(list(resampled_counts(9, 40, seed))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_copies_within_a_group_do_not_narrow_the_interval() -> None:
    rows, groups = clustered(40, 3, seed=4)
    once = interval95(mean, group_sums(rows, groups))
    copied = np.repeat(rows, 10, axis=0)
    tenfold = interval95(mean, group_sums(copied, [name for name in groups for _ in range(10)]))
    assert once is not None
    assert tenfold == pytest.approx(once, abs=1e-12)


def test_copies_in_groups_of_their_own_do_narrow_it() -> None:
    rows, groups = clustered(40, 3, seed=4)
    copied = np.repeat(rows, 10, axis=0)
    apart = [f"{name}/{copy}" for name in groups for copy in range(10)]
    once = width(interval95(mean, group_sums(rows, groups)))
    assert width(interval95(mean, group_sums(copied, apart))) < 0.5 * once


@pytest.mark.parametrize("resamples_at_once", [1, 7, 64])
def test_resampling_in_blocks_gives_what_one_block_gives(
    monkeypatch: pytest.MonkeyPatch, resamples_at_once: int
) -> None:
    rows, groups = clustered(31, 4, seed=6)
    sums = group_sums(rows, groups)
    (whole,) = resampled_counts(31, 100, seed=0)
    at_once = bootstrap(mean, sums, resamples=100)
    monkeypatch.setattr(stats, "_BLOCK", resamples_at_once * 31)
    blocks = list(resampled_counts(31, 100, seed=0))
    assert len(blocks) == math.ceil(100 / resamples_at_once)
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    np.testing.assert_allclose(bootstrap(mean, sums, resamples=100), at_once, rtol=1e-14)


def test_one_group_says_nothing() -> None:
    assert interval95(mean, group_sums(rows_of([0.0, 1.0, 1.0]), ["a", "a", "a"])) is None


def test_resamples_without_a_value_are_left_out() -> None:
    sums = np.array([[3.0, 4.0], [0.0, 0.0]])  # the second group holds no sample of this part

    def quiet_mean(some: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return mean(some)

    assert interval95(quiet_mean, sums) == (0.75, 0.75)


@pytest.mark.parametrize("statistics", [2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("groups", [2, 7, 50, 400])
def test_the_difference_of_a_system_with_itself_is_exactly_zero(
    statistics: int, groups: int
) -> None:
    rows = np.random.default_rng(groups).random((3 * groups, statistics))
    names = [f"group {index % groups}" for index in range(len(rows))]

    def total(sums: Array) -> Array:  # of all statistics, as corpus metrics have several
        return np.asarray(sums.sum(axis=-1))

    assert paired_difference(total, rows, rows, names) == (0.0, (0.0, 0.0))


def test_a_paired_difference_is_that_of_the_two_means() -> None:
    a, groups = clustered(50, 3, seed=7)
    b, _ = clustered(50, 3, seed=8)
    value, interval = paired_difference(mean, a, b, groups)
    assert value == pytest.approx(float(a[:, 0].mean() - b[:, 0].mean()), abs=1e-12)
    assert interval is not None
    assert interval[0] < value < interval[1]


def test_both_systems_meet_the_same_groups_in_a_resample() -> None:
    """What two systems share does not widen the interval of their difference."""
    a, groups = clustered(50, 3, seed=7)
    b = a.copy()
    b[::25, 0] = 1 - b[::25, 0]  # six samples of 150 differ
    _, paired = paired_difference(mean, a, b, groups)
    assert width(paired) < 0.6 * width(interval95(mean, group_sums(a, groups)))


def test_a_95_percent_interval_of_a_clustered_proportion_holds_the_truth_95_times_in_100() -> None:
    truth, held, held_if_independent = 0.6, 0, 0
    for repetition in range(200):
        rows, groups = clustered(60, 5, seed=1000 + repetition)
        for names, clusters in ((groups, True), ([str(i) for i in range(len(rows))], False)):
            found = interval95(mean, group_sums(rows, names), seed=repetition, resamples=200)
            assert found is not None
            inside = found[0] <= truth <= found[1]
            held += inside and clusters
            held_if_independent += inside and not clusters
    assert 0.89 <= held / 200 <= 0.99
    assert held_if_independent / 200 < 0.85


# ---------------------------------------------------------------- metrics that no sum gives


def weighted_median(weights: Array, rows: Array) -> Array:
    """Of a value that comes as often as its weight says, the lower of the middle two."""
    order = np.argsort(rows[:, 0], kind="stable")
    reached = np.cumsum(weights[..., order], axis=-1)
    place = np.argmax(reached >= reached[..., -1:] / 2, axis=-1)
    return np.asarray(rows[order, 0][place])


def test_the_interval_of_a_median_is_that_of_a_plain_loop_over_resamples() -> None:
    generator = np.random.default_rng(2)
    groups = [f"group {index % 17}" for index in generator.permutation(60)]
    rows = generator.random((60, 1))
    names = sorted(set(groups))
    medians = []
    for counts in np.concatenate(list(resampled_counts(17, 200, seed=5))).tolist():
        drawn: list[float] = []
        for name, count in zip(names, counts, strict=True):
            own = [value for (value,), group in zip(rows, groups, strict=True) if group == name]
            drawn += own * int(count)
        medians.append(sorted(drawn)[(len(drawn) - 1) // 2])
    metric, number = of_counts_by_weights(weighted_median, rows, groups)
    assert number == 17
    found = [metric(counts) for counts in resampled_counts(17, 200, seed=5)]
    np.testing.assert_array_equal(np.concatenate(found), medians)
    interval = interval95_of(metric, number, seed=5, resamples=200)
    assert interval == pytest.approx(
        tuple(np.quantile(medians, [tail95(17), 1 - tail95(17)])), abs=1e-12
    )


@settings(deadline=None)
@given(scored_samples, st.randoms(use_true_random=False))
def test_the_interval_of_a_median_does_not_depend_on_the_order_of_samples(
    samples: list[tuple[str, float]], order: random.Random
) -> None:
    shuffled = samples.copy()
    order.shuffle(shuffled)
    one, other = (
        interval95_of(
            *of_counts_by_weights(
                weighted_median,
                np.array([[score] for _, score in some]),
                [group for group, _ in some],
            ),
            resamples=50,
        )
        for some in (samples, shuffled)
    )
    assert one == other


@settings(deadline=None)
@given(scored_samples)
def test_a_mean_by_weights_is_the_mean_by_sums(samples: list[tuple[str, float]]) -> None:
    """The two ways to a metric agree where both are open."""
    rows, groups = rows_of([score for _, score in samples]), [group for group, _ in samples]
    by_sums, number = of_counts(mean, rows, groups)
    by_weights, same = of_counts_by_weights(lambda w, r: mean(w @ r), rows, groups)
    assert number == same == len(set(groups))
    counts = np.concatenate(list(resampled_counts(number, 20, seed=1)))
    np.testing.assert_allclose(by_weights(counts), by_sums(counts), atol=1e-12)


def test_the_median_of_a_system_differs_from_its_own_by_exactly_zero() -> None:
    generator = np.random.default_rng(3)
    rows, groups = generator.random((40, 1)), [str(index % 9) for index in range(40)]
    metric, number = of_counts_by_weights(weighted_median, rows, groups)
    assert difference95_of(metric, metric, number) == (0.0, 0.0)
    better, _ = of_counts_by_weights(weighted_median, rows + 0.25, groups)
    assert difference95_of(better, metric, number) == pytest.approx((0.25, 0.25))


def test_one_group_says_nothing_of_a_median_either() -> None:
    metric, number = of_counts_by_weights(weighted_median, np.ones((3, 1)), ["a", "a", "a"])
    assert interval95_of(metric, number) is None
    assert difference95_of(metric, metric, number) is None


# ---------------------------------------------------------------- intervals near an end


def t_quantile(degrees: int, share: float) -> float:
    """Student's t by adding up its density."""
    step, reach = 1e-4, 0.5
    constant = math.gamma((degrees + 1) / 2) / (
        math.sqrt(degrees * math.pi) * math.gamma(degrees / 2)
    )
    t = 0.0
    while reach < share:
        reach += step * constant * (1 + (t + step / 2) ** 2 / degrees) ** (-(degrees + 1) / 2)
        t += step
    return t


@pytest.mark.parametrize("groups", [10, 50, 200])
def test_few_groups_ask_for_the_tails_of_students_t(groups: int) -> None:
    reach = -NormalDist().inv_cdf(tail95(groups)) * math.sqrt((groups - 1) / groups)
    assert reach == pytest.approx(t_quantile(groups - 1, 0.975), abs=5e-3)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (29, 29, 0.8830, 1),
    ],
)
def test_wilsons_interval_is_that_of_newcombes_table(
    hits: int, n: int, low: float, high: float
) -> None:
    assert wilson95(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_bca_without_skew_and_bias_is_the_percentile_interval() -> None:
    rows = rows_of(np.tile([0.0, 1.0], 500))
    names = [f"{index:04}" for index in range(1000)]
    metric, number = of_counts(mean, rows, names)
    bca = bca95_of(metric, leaving_out(mean, rows, names))
    percentile = interval95_of(metric, number)
    assert bca == pytest.approx(percentile, abs=0.005)


def test_bca_reaches_further_towards_the_long_tail() -> None:
    rows = rows_of(np.where(np.arange(100) < 5, 0.0, 1.0))
    names = [f"{index:04}" for index in range(100)]
    metric, number = of_counts(mean, rows, names)
    bca, percentile = (
        bca95_of(metric, leaving_out(mean, rows, names)),
        interval95_of(metric, number),
    )
    assert bca is not None
    assert percentile is not None
    assert bca[0] < percentile[0]


def test_leaving_out_a_group_is_the_metric_of_the_others() -> None:
    rows, groups = clustered(7, 3, seed=2)
    found = leaving_out(mean, rows, groups)
    for value, name in zip(found, sorted(set(groups)), strict=True):
        others = [row[0] for row, group in zip(rows, groups, strict=True) if group != name]
        assert value == pytest.approx(np.mean(others))
