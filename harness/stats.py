"""Intervals from per-sample rows: resampling whole groups, as one matrix product.

Knows metrics only as functions from weighted sums of rows to values, so it serves corpus metrics
as well as means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

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
    blocks = resampled_counts(len(sums), resamples, seed)
    return np.concatenate([statistic(counts @ sums) for counts in blocks])


def interval95(
    statistic: Callable[[FloatArray], FloatArray],
    sums: FloatArray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """The percentile interval that holds 95% of the resamples; None for fewer than two groups, of
    which nothing can be said."""
    if len(sums) < 2:
        return None
    return _middle95(bootstrap(statistic, sums, seed, resamples))


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


def paired_difference(
    statistic: Callable[[FloatArray], FloatArray],
    rows_a: FloatArray,
    rows_b: FloatArray,
    groups: Sequence[str],
    seed: int = 0,
) -> tuple[float, tuple[float, float] | None]:
    """Metric of a minus metric of b on the same samples, with its 95% interval; each resample
    draws the same groups for both."""
    sums_a, sums_b = group_sums(rows_a, groups), group_sums(rows_b, groups)
    value = float(statistic(sums_a.sum(axis=0)) - statistic(sums_b.sum(axis=0)))
    if len(sums_a) < 2:
        return value, None
    # two products of one shape, so that equal rows give a difference of exactly 0
    blocks = resampled_counts(len(sums_a), RESAMPLES, seed)
    differences = [statistic(counts @ sums_a) - statistic(counts @ sums_b) for counts in blocks]
    return value, _middle95(np.concatenate(differences))
