"""Intervals from per-sample rows: resampling whole groups, as one matrix product.

Knows metrics only as functions from weighted sums of rows to values, so it serves corpus metrics
as well as means.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from .types import FloatArray

RESAMPLES = 1000
_LEAST_TAIL = 0.0005
_NORMAL = NormalDist()
_Z = 1.959964  # the normal's 97.5% point
_BLOCK = 500_000  # counts multiplied at once: 4 MB
_KEPT = 8_000_000  # counts kept for the next metric: 16 MB


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
    that are `resamples` rows in all. Metrics on the same groups share them."""
    block = max(1, _BLOCK // groups)
    if groups * resamples <= _KEPT:
        kept = _kept_counts(groups, resamples, seed)
        for start in range(0, resamples, block):
            yield kept[start : start + block].astype(np.float64)
        return
    generator = np.random.Generator(np.random.Philox(seed))
    for start in range(0, resamples, block):
        yield _drawn(generator, groups, min(block, resamples - start)).astype(np.float64)


@functools.lru_cache(maxsize=4)
def _kept_counts(groups: int, resamples: int, seed: int) -> npt.NDArray[np.uint16]:
    """(resamples, groups), not to be written to: drawing them takes longer than what follows."""
    drawn = _drawn(np.random.Generator(np.random.Philox(seed)), groups, resamples)
    drawn.flags.writeable = False
    return drawn


def _drawn(generator: np.random.Generator, groups: int, resamples: int) -> npt.NDArray[np.uint16]:
    probabilities = np.full(groups, 1.0 / groups)
    return generator.multinomial(groups, probabilities, size=resamples).astype(np.uint16)


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
    return draws_of(lambda counts: statistic(counts @ sums), len(sums), seed, resamples)


def interval95(
    statistic: Callable[[FloatArray], FloatArray],
    sums: FloatArray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """The percentile interval of the resamples at 95%; None for fewer than two groups, of which
    nothing can be said."""
    return interval95_of(lambda counts: statistic(counts @ sums), len(sums), seed, resamples)


def interval95_of(
    metric: OfCounts, groups: int, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """As interval95, of a metric as a function of how often each group counts."""
    if groups < 2:
        return None
    return middle95(draws_of(metric, groups, seed, resamples), groups)


def bca95_of(
    metric: OfCounts, left_out: FloatArray, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """The bias-corrected and accelerated interval (Efron, 1987), which follows the skew of a
    metric near an end of its range. `left_out` (groups,): the metric without each group. For
    metrics that sums give: medians do not move smoothly enough."""
    groups = len(left_out)
    if groups < 2:
        return None
    draws = draws_of(metric, groups, seed, resamples)
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0:
        return None
    value = float(metric(np.ones(groups)))
    slack = 1e-12 * max(1.0, abs(value))
    below = np.count_nonzero(draws < value - slack)
    same = np.count_nonzero(np.abs(draws - value) <= slack)
    share = (below + same / 2) / len(draws)
    bias = _NORMAL.inv_cdf(min(max(share, 1 / (len(draws) + 1)), len(draws) / (len(draws) + 1)))
    acceleration = _acceleration(left_out)
    outermost = _NORMAL.inv_cdf(tail95(groups))
    levels = []
    for z in (outermost, -outermost):
        shrunk = max(1 - acceleration * (bias + z), 0.1)
        levels.append(_NORMAL.cdf(bias + (bias + z) / shrunk))
    low, high = np.quantile(draws, levels)
    return float(low), float(high)


def _acceleration(left_out: FloatArray) -> float:
    """A sixth of the skewness of the metric's values with each group left out."""
    if not np.isfinite(left_out).all():
        return 0.0
    shifts = left_out.mean() - left_out
    spread = float((shifts**2).sum()) ** 1.5
    return float((shifts**3).sum()) / (6 * spread) if spread > 0 else 0.0


def leaving_out(
    statistic: Callable[[FloatArray], FloatArray], rows: FloatArray, groups: Sequence[str]
) -> FloatArray:
    """(groups,) a metric that sums of rows give, with each group left out."""
    sums = group_sums(rows, groups)
    return statistic(sums.sum(axis=0) - sums)


def wilson95(hits: int, n: int) -> tuple[float, float]:
    """Wilson's (1927) score interval of a proportion of `n` independent samples."""
    share, z2 = hits / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if hits == 0 else middle - reach
    return low, 1.0 if hits == n else middle + reach


def tail95(groups: int) -> float:
    """What a percentile interval leaves out on each side: 2.5%, less for few groups. Resampled
    values spread as a normal does and by (groups - 1) / groups too little, where the truth asks for
    Student's t (Hesterberg, 2015, section 5.2)."""
    v = groups - 1
    if v < 4:  # the expansion below is none yet, and 1,000 resamples have no such tails
        return _LEAST_TAIL
    cornish_fisher = (_Z**3 + _Z) / (4 * v) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * v * v)
    return _NORMAL.cdf(-math.sqrt(groups / v) * (_Z + cornish_fisher))


def difference95_of(
    a: OfCounts, b: OfCounts, groups: int, seed: int = 0
) -> tuple[float, float] | None:
    """The 95% interval of metric a minus metric b on the same groups; each resample draws the same
    for both. None for fewer than two groups."""
    if groups < 2:
        return None
    # two products of one shape, so that equal rows give a difference of exactly 0
    draws = draws_of(lambda counts: a(counts) - b(counts), groups, seed, RESAMPLES)
    return middle95(draws, groups)


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


# ---------------------------------------------------------------- draws


def draws_of(
    metric: OfCounts, groups: int, seed: int = 0, resamples: int = RESAMPLES
) -> FloatArray:
    """The metric of each resample of groups, (resamples,)."""
    return np.concatenate([metric(c) for c in resampled_counts(groups, resamples, seed)])


def middle95(values: FloatArray, groups: int) -> tuple[float, float] | None:
    """The percentile interval of what resamples of so many groups gave; None where none says
    anything."""
    values = values[np.isfinite(values)]  # a rare part may be absent from a resample
    if len(values) == 0:
        return None
    tail = tail95(groups)
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def all_alike95(value: float, low: float, high: float, groups: int) -> tuple[float, float]:
    """The 95% interval of a proportion of which every group gave one end of the range: Wilson's
    (1927) score interval for 0 or all of `groups`, stretched from [0, 1] to [low, high]."""
    reach = (high - low) * _Z**2 / (groups + _Z**2)
    return (low, low + reach) if value == low else (high - reach, high)
