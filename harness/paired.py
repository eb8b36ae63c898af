"""Two runs on the same samples: permutation tests that swap whole groups, the difference that such
a test could find, and Holm's correction.

Knows metrics only as functions from weighted sums of rows to values, as stats.py does, whose
intervals it does not need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .stats import group_sums

if TYPE_CHECKING:
    from .types import FloatArray

SWAPS = 10_000
ALPHA = 0.05
_Z = 1.959964  # the normal's 97.5% point
_Z80 = 0.841621  # its 80% point
_BLOCK = 250_000  # swaps multiplied at once: 2 MB


OfSwaps: TypeAlias = "Callable[[FloatArray], FloatArray]"
"""(..., groups) of 0 and 1, which groups have their rows swapped -> (...) metric b minus metric a
then."""


def of_swaps(
    statistic: Callable[[FloatArray], FloatArray],
    rows_a: FloatArray,
    rows_b: FloatArray,
    groups: Sequence[str],
) -> tuple[OfSwaps, int]:
    """The difference b - a of a metric that sums of rows give, as a function of which groups are
    swapped, and how many groups differ at all: the others are left out."""
    sums_a, sums_b = group_sums(rows_a, groups), group_sums(rows_b, groups)
    moved = sums_b - sums_a
    moved = moved[np.any(moved != 0, axis=1)]
    all_a, all_b = sums_a.sum(axis=0), sums_b.sum(axis=0)

    def difference(swaps: FloatArray) -> FloatArray:
        shift = swaps @ moved
        return np.asarray(statistic(all_b - shift) - statistic(all_a + shift))

    return difference, len(moved)


def of_swaps_by_weights(
    weighted: Callable[[FloatArray, FloatArray], FloatArray],
    rows_a: FloatArray,
    rows_b: FloatArray,
    groups: Sequence[str],
) -> tuple[OfSwaps, int]:
    """The same for a metric that needs each sample's weight."""
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    both = np.concatenate([rows_a, rows_b])

    def difference(swaps: FloatArray) -> FloatArray:
        from_b = swaps[..., index]
        a = weighted(np.concatenate([1 - from_b, from_b], axis=-1), both)
        b = weighted(np.concatenate([from_b, 1 - from_b], axis=-1), both)
        return np.asarray(b - a)

    return difference, len(names)


# ---------------------------------------------------------------- the test


@dataclass(frozen=True)
class Permutation:
    """p of a paired permutation test: that the runs differ, and that b is below or above a.
    `critical`: the least difference that it calls real, two-sided at 5%; where differences come in
    steps, half a step less, as a normal approximation wants it. `step`: from there to the next
    smaller one. Both nan where nothing would be called real."""

    two_sided: float
    below: float
    above: float
    critical: float
    step: float


def permutation_test(
    difference: OfSwaps, groups: int, seed: int = 0, swaps: int = SWAPS, width: int = 1
) -> Permutation:
    """The paired permutation test: under the null hypothesis the two runs' rows are exchangeable
    within each whole group, so random swaps give the distribution of the difference. p is
    (1 + as extreme) / (1 + swaps), never 0 (Phipson & Smyth, 2010). `width`: numbers that
    `difference` holds for each group of a swap."""
    observed = float(difference(np.zeros(groups)))
    # equal differences that were added up in another order must count as equal
    slack = 1e-9 * max(abs(observed), 1e-3)
    found = np.concatenate([difference(some) for some in _random_swaps(groups, swaps, seed, width)])
    extreme = (
        np.abs(found) >= abs(observed) - slack,
        found <= observed + slack,
        found >= observed - slack,
    )
    beyond, below, above = (float(1 + np.count_nonzero(one)) / (1 + swaps) for one in extreme)
    return Permutation(beyond, below, above, *_critical(np.abs(found)))


def _random_swaps(groups: int, swaps: int, seed: int, width: int) -> Iterator[FloatArray]:
    """Zeros and ones in blocks of (some swaps, groups) that are `swaps` rows in all: a random bit
    each."""
    generator = np.random.Generator(np.random.Philox(seed))
    octets = -(-groups // 8)
    block = max(1, _BLOCK // max(1, groups * width))
    for start in range(0, swaps, block):
        some = min(block, swaps - start)
        drawn = np.frombuffer(generator.bytes(some * octets), dtype=np.uint8)
        bits = np.unpackbits(drawn.reshape(some, octets), axis=1, count=groups)
        yield bits.astype(np.float64)


def _critical(sizes: FloatArray) -> tuple[float, float]:
    """Of the sizes of swapped differences, (swaps,), the least that comes with p < .05, half a step
    less, and that step; nan where none does."""
    values, counts = np.unique(np.round(sizes, 12), return_counts=True)
    as_large = np.cumsum(counts[::-1])[::-1]
    real = np.flatnonzero((1 + as_large) / (1 + len(sizes)) < ALPHA)
    if len(real) == 0:
        return math.nan, math.nan
    first = int(real[0])
    step = float(values[first] - values[max(0, first - 1)])
    return float(values[first]) - step / 2, step


# ---------------------------------------------------------------- what could be found


def standard_error(draws: FloatArray, groups: int) -> float:
    """The standard deviation of what resamples of so many groups gave, with the share that
    resampling few of them takes from it put back; nan where fewer than two say anything."""
    draws = draws[np.isfinite(draws)]
    if len(draws) < 2:
        return float("nan")
    return float(np.std(draws, ddof=1)) * math.sqrt(groups / (groups - 1))


@dataclass(frozen=True)
class Losses:
    """What becomes of a difference when the worse run loses still more, by samples that go wrong
    one by one: each as likely as another, and independently.

    `most`: all that it can lose, its distance from the worst value. `each`: what a sample's loss
    comes to. `variance(drop)`: what a further drop adds to the variance of the difference; it may
    be below 0."""

    most: float
    each: float
    variance: Callable[[float], float]


def losses(
    better: FloatArray, worse: FloatArray, weights: FloatArray, groups: Sequence[str], low: float
) -> Losses:
    """`better` and `worse`: (samples,) values of a mean over samples, each counted by its weight;
    `low`: the worst value that a sample can have."""
    total = float(weights.sum())
    over, under = (float(weights @ one) / total for one in (better, worse))
    parts = [weights * (better - over), weights * (worse - under)]
    residuals = group_sums(np.stack(parts, axis=1) / total, groups)
    of_worse, of_both = (float(residuals[:, 1] @ residuals[:, which]) for which in (1, 0))
    few = len(residuals) / max(1, len(residuals) - 1)
    own = weights * (worse - low) / total
    alone = float(own @ own)

    def variance(drop: float) -> float:
        share = drop / (under - low)  # of the samples; what is left of the rest spreads less
        kept = few * (2 * share * of_both - (2 - share) * share * of_worse)
        return kept + share * (1 - share) * alone

    return Losses(under - low, alone / (under - low), variance)


def detectable_difference(
    standard_error: float,
    tested: Permutation,
    observed: float,
    groups: int,
    lost: Losses | None = None,
) -> float:
    """The true difference that a two-sided permutation test at 5% finds in 80 of 100 comparisons;
    nan where it finds none.

    Some 2.8 standard errors: what the test asks for, and .84 standard errors more. But a larger
    difference spreads more than the `observed` one. Swapping spreads by it, difference^2 / groups;
    and the samples that make it up spread, which `lost` knows where the metric is a mean over
    samples: runs that agree in everything have a standard error of 0, and nine answers of a
    thousand must go wrong all the same before a test can tell. Where differences come in steps, the
    test asks for half a step more in the mean. `tested` is the test of the observed difference; it
    is believed up to a quarter above the normal's.
    """
    if math.isnan(standard_error) or 0.5 ** (groups - 1) >= ALPHA:
        return math.nan
    squared = standard_error**2
    half = tested.step / 2 if lost is None else np.fmin(tested.step / 2, lost.each)
    half = 0.0 if math.isnan(half) else float(half)
    alone = max(0.0, tested.critical - half) ** 2 - _Z**2 * observed**2 / groups
    least, most = _Z**2 * squared, (1.25 * _Z) ** 2 * squared
    alone = min(max(alone, least), most) if math.isfinite(alone) else least
    known = math.sqrt(max(0.0, observed**2 - squared))  # of the observed, what is not chance

    def wanted(difference: float) -> float:
        further = max(0.0, difference - known)
        added = 0.0 if lost is None else lost.variance(further)
        asked = max(0.0, alone + _Z**2 * (added + difference**2 / groups))
        return math.sqrt(asked) + half + _Z80 * math.sqrt(max(0.0, squared + added))

    found = end = 4 * standard_error if lost is None else known + lost.most
    if (
        lost is not None and wanted(end) >= end
    ):  # there is not so much to lose: as if it were gained
        return detectable_difference(standard_error, tested, observed, groups)
    for _ in range(60):  # from above: each step halves the distance at least
        found = min(wanted(found), end)
    return found if found > 0 else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: adjusted p, in the order given, at most 1."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
