"""Intervals from per-sample rows: resampling whole groups, as one matrix product.

Knows metrics only as functions from weighted sums of rows to values, so it serves corpus metrics
as well as means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from .types import FloatArray

RESAMPLES = 1000
_Z2 = 1.959964**2  # of the normal's 97.5% point
_BLOCK = 2_000_000  # counts held at once: 16 MB


def group_sums(rows: FloatArray, groups: Sequence[str]) -> FloatArray:
    """Sums of rows (samples, statistics) over each group, (groups, statistics), groups in the
    order of their names, so that nothing depends on the order of samples."""
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    order = np.lexsort((*rows.T, index))  # one order of addition whatever the order of samples
    np.add.at(sums, index[order], rows[order])
    return sums


def resampled_counts(groups: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each group is drawn in each bootstrap resample: blocks of (some resamples, groups)
    that are `resamples` rows in all."""
    generator = np.random.Generator(np.random.Philox(seed))
    probabilities = np.full(groups, 1.0 / groups)
    block = max(1, _BLOCK // groups)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield generator.multinomial(groups, probabilities, size=size).astype(np.float64)


OfCounts: TypeAlias = "Callable[[FloatArray], FloatArray]"
"""(..., groups) how often each group counts -> (...) the metric then."""


def of_counts(
    statistic: Callable[[FloatArray], FloatArray], rows: FloatArray, groups: Sequence[str]
) -> tuple[OfCounts, int]:
    """A metric that sums of rows give, as a function of how often each group counts, and the number
    of groups."""
    sums = group_sums(rows, groups)
    return (lambda counts: statistic(counts @ sums)), len(sums)


def of_counts_by_weights(
    weighted: Callable[[FloatArray, FloatArray], FloatArray],
    rows: FloatArray,
    groups: Sequence[str],
) -> tuple[OfCounts, int]:
    """The same for a metric that needs each sample's weight, such as a median: `weighted` maps
    weights (..., samples) and rows -> (...)."""
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return (lambda counts: weighted(counts[..., index], rows)), len(names)


def bootstrap(
    statistic: Callable[[FloatArray], FloatArray],
    sums: FloatArray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> FloatArray:
    """The statistic of each resample of groups, (resamples,).

    sums: (groups, statistics) from group_sums; `statistic` maps (..., statistics) -> (...). The
    cluster bootstrap of Davison & Hinkley (1997), section 3.8: groups are drawn with replacement,
    each with all its samples.
    """
    return _draws(lambda counts: statistic(counts @ sums), len(sums), seed, resamples)


def interval95(
    statistic: Callable[[FloatArray], FloatArray],
    sums: FloatArray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """The percentile interval that holds 95% of the resamples; None for fewer than two groups, of
    which nothing can be said."""
    return interval95_of(lambda counts: statistic(counts @ sums), len(sums), seed, resamples)


def interval95_of(
    metric: OfCounts, groups: int, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """As interval95, of a metric as a function of how often each group counts."""
    if groups < 2:
        return None
    return _middle95(_draws(metric, groups, seed, resamples))


def difference95_of(
    a: OfCounts, b: OfCounts, groups: int, seed: int = 0
) -> tuple[float, float] | None:
    """The 95% interval of metric a minus metric b on the same groups; each resample draws the same
    for both. None for fewer than two groups."""
    if groups < 2:
        return None
    # two products of one shape, so that equal rows give a difference of exactly 0
    return _middle95(_draws(lambda counts: a(counts) - b(counts), groups, seed, RESAMPLES))


def paired_difference(
    statistic: Callable[[FloatArray], FloatArray],
    rows_a: FloatArray,
    rows_b: FloatArray,
    groups: Sequence[str],
    seed: int = 0,
) -> tuple[float, tuple[float, float] | None]:
    """Metric of a minus metric of b on the same samples, with its 95% interval."""
    sums_a, sums_b = group_sums(rows_a, groups), group_sums(rows_b, groups)
    value = float(statistic(sums_a.sum(axis=0)) - statistic(sums_b.sum(axis=0)))
    interval = difference95_of(
        lambda counts: statistic(counts @ sums_a),
        lambda counts: statistic(counts @ sums_b),
        len(sums_a),
        seed,
    )
    return value, interval


def _draws(metric: OfCounts, groups: int, seed: int, resamples: int) -> FloatArray:
    return np.concatenate([metric(c) for c in resampled_counts(groups, resamples, seed)])


def _middle95(values: FloatArray) -> tuple[float, float] | None:
    values = values[np.isfinite(values)]  # a rare part may be absent from a resample
    if len(values) == 0:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def all_alike95(value: float, low: float, high: float, groups: int) -> tuple[float, float]:
    """The 95% interval of a proportion of which every group gave one end of the range: Wilson's
    (1927) score interval for 0 or all of `groups`, stretched from [0, 1] to [low, high]."""
    reach = (high - low) * _Z2 / (groups + _Z2)
    return (low, low + reach) if value == low else (high - reach, high)
