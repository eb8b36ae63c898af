"""Retrieval from a matrix of scores: recall at k, median and mean rank, in both directions, as
expectations over the order of ties. Knows numbers only: no picture, no caption, no data set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from harness.types import FloatArray

    Scores: TypeAlias = npt.NDArray[Any]
    Counts: TypeAlias = npt.NDArray[np.int64]
    Mask: TypeAlias = npt.NDArray[np.bool_]

KS = (1, 5, 10)

STATISTICS = (*(f"R@{k}" for k in KS), "mean rank")
"""The columns of `retrieval_rows` but for the last, which counts queries."""

_CELLS = 1 << 22  # asked of a callable at once: 16 MiB of float32
_STRIP = 1 << 19  # compared at once: stays in the cache
_BYTE_ROWS = 255  # so many ones add up in a byte


@dataclass(frozen=True)
class ScoreBlocks:
    """A (queries, candidates) matrix that is made piece by piece, never held whole.

    `rows(start, stop)` -> (stop - start, candidates) must give the same numbers whenever it is
    asked for the same rows, which both directions together do twice.
    """

    shape: tuple[int, int]
    rows: Callable[[int, int], Scores]


@dataclass(frozen=True)
class Standing:
    """Where the best right candidate of each query stands; three arrays (queries,).

    `above`: candidates that score higher; `tied`: those that score the same, itself included;
    `right`: the right ones among the tied.
    """

    above: Counts
    tied: Counts
    right: Counts


def standing(scores: Scores | ScoreBlocks, right: Sequence[Collection[int]]) -> Standing:
    """The standing of each row of `scores` (queries, candidates) as a query among the columns.

    scores: higher is better, any real dtype, compared as it is; an array, np.memmap or ScoreBlocks.
    right: for each query the columns that are right, at least one; one given twice counts once.
    Memory beyond the scores: a few blocks of 16 MiB at most (or one row). Raises ValueError for NaN
    (query and candidate named), a query without right candidates, one out of range, or shapes that
    do not fit. Infinities are scores like others.
    """
    return _sweep(scores, _Pairs.of(right, scores.shape))


def both_standings(
    scores: Scores | ScoreBlocks, right: Sequence[Collection[int]]
) -> tuple[Standing, Standing]:
    """The standings of the rows as queries among the columns and, with the same right pairs, of the
    columns as queries among the rows.

    As `standing`; neither a transpose nor, for ScoreBlocks, the matrix is held. An array is read
    once; ScoreBlocks are asked for twice, because a column's right scores must be known before
    others are compared with them. Raises ValueError also for a column that is right for no row.
    """
    return _sweep_both(scores, _Pairs.of(right, scores.shape))


def hit_rate(standing: Standing, k: int) -> FloatArray:
    """The probability in [0, 1] that a right candidate is among the first k, (queries,).

    Ties stand in any order with equal probability: of `tied` candidates j = k - `above` make the
    first k, and none of the `right` is among them with probability C(tied - right, j) / C(tied, j).
    A constant scorer has k / candidates where one is right. Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    chosen = np.clip(k - standing.above, 0, standing.tied)
    missed = np.ones(len(chosen))
    for drawn in range(int(standing.right.max(initial=0))):
        left = np.maximum(standing.tied - chosen - drawn, 0)
        share = left / np.maximum(standing.tied - drawn, 1)
        missed *= np.where(drawn < standing.right, share, 1.0)
    return np.asarray(1.0 - missed)


def expected_rank(standing: Standing) -> FloatArray:
    """The rank of the first right candidate, from 1, in expectation over the order of ties,
    (queries,): above + (tied + 1) / (right + 1)."""
    return np.asarray(standing.above + (standing.tied + 1) / (standing.right + 1))


def retrieval_rows(standing: Standing) -> FloatArray:
    """Statistics of each query, (queries, 5): hit rates at 1, 5 and 10, expected rank, and 1."""
    hits = [hit_rate(standing, k) for k in KS]
    return np.stack([*hits, expected_rank(standing), np.ones(len(standing.above))], axis=1)


def retrieval_statistic(sums: FloatArray, name: str) -> FloatArray:
    """(..., 5) weighted sums of `retrieval_rows` -> (...): R@k as a mean in [0, 1], higher is
    better, or the mean rank in [1, candidates], lower is better; nan of no queries."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., STATISTICS.index(name)] / sums[..., -1])


def median_rank(ranks: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> FloatArray:
    """The weighted median of expected ranks (queries,), for weights (..., queries) >= 0 -> (...).

    Midway between the lowest rank at which at least half of the weight is reached and the lowest at
    which more than half is, so that whole weights give np.median of ranks repeated as often, and no
    weights give np.median. In [1, candidates], lower is better; nan where there is no weight.
    The weights' cumulated sums are all that is held. Raises ValueError for shapes that do not fit.
    """
    values = np.asarray(ranks, dtype=np.float64)
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or shares.shape[-1:] != values.shape:
        raise ValueError(f"weights {shares.shape} do not fit ranks {values.shape}")
    order = np.argsort(values, kind="stable")
    values = values[order]
    reached = np.cumsum(shares[..., order], axis=-1)
    if len(values) == 0:
        return np.full(shares.shape[:-1], np.nan)
    half = reached[..., -1:] / 2
    low = np.argmax(reached >= half, axis=-1)
    high = np.argmax(reached > half, axis=-1)
    return np.where(half[..., 0] > 0, (values[low] + values[high]) / 2, np.nan)


# ---------------------------------------------------------------- whole matrices


@dataclass(frozen=True)
class RetrievalScores:
    """Scores of both directions. Each has R@1, R@5 and R@10 in [0, 1], "mean rank" and
    "median rank"; `rsum` is the sum of the six recalls, in [0, 6] (papers print its hundredfold).

    `forward`: rows as queries among columns; `backward`: columns as queries among rows.
    """

    forward: dict[str, float]
    backward: dict[str, float]
    rsum: float


def score_retrieval(
    scores: Scores | ScoreBlocks, right: Sequence[Collection[int]]
) -> RetrievalScores:
    """Recalls and ranks of both directions; arguments and errors as in `both_standings`."""
    if isinstance(scores, list):
        scores = np.array(scores)
    forward, backward = map(_values, both_standings(scores, right))
    return _with_rsum(forward, backward)


def score_folds(
    scores: Scores | ScoreBlocks, right: Sequence[Collection[int]], folds: int = 5
) -> RetrievalScores:
    """The mean over sequential folds of the rows, each scored against its own right columns only.

    COCO's "1K" from the "5K" matrix: five folds of 1,000 images, in order, with their captions.
    As `score_retrieval`; raises ValueError also if the rows do not divide into the folds, or if a
    column is right in two of them.
    """
    rows, columns = scores.shape
    if folds < 1 or rows == 0 or rows % folds:
        raise ValueError(f"{rows} queries do not divide into {folds} folds")
    pairs = _Pairs.of(right, scores.shape)
    size = rows // folds
    fold_of = np.full(columns, -1)
    parts: list[RetrievalScores] = []
    for fold in range(folds):
        start = fold * size
        ours = np.unique(pairs.columns[(pairs.rows >= start) & (pairs.rows < start + size)])
        if np.any(fold_of[ours] >= 0):
            column = int(ours[fold_of[ours] >= 0][0])
            raise ValueError(f"candidate {column} is right in two folds")
        fold_of[ours] = fold
        renumbered = [np.searchsorted(ours, list(right[start + row])) for row in range(size)]
        part = _Part(scores, start, ours)
        parts.append(score_retrieval(ScoreBlocks((size, len(ours)), part.rows), renumbered))
    means = [
        {name: float(np.mean([values[name] for values in direction])) for name in direction[0]}
        for direction in ([part.forward for part in parts], [part.backward for part in parts])
    ]
    return _with_rsum(*means)


@dataclass(frozen=True)
class _Part:
    """Some rows, from `start` on, and some columns of a matrix."""

    scores: Scores | ScoreBlocks
    start: int
    columns: Counts

    def rows(self, start: int, stop: int) -> Scores:
        first, last = self.start + start, self.start + stop
        step = max(1, _CELLS // self.scores.shape[1])
        pieces = (
            _rows(self.scores, place, min(place + step, last))[:, self.columns]
            for place in range(first, last, step)
        )
        return np.concatenate([*pieces])


def _values(standing: Standing) -> dict[str, float]:
    rows = retrieval_rows(standing)
    sums = rows.sum(axis=0)
    values = {name: float(retrieval_statistic(sums, name)) for name in STATISTICS}
    return {**values, "median rank": float(median_rank(rows[:, len(KS)]))}


def _with_rsum(forward: dict[str, float], backward: dict[str, float]) -> RetrievalScores:
    recalls = [values[f"R@{k}"] for values in (forward, backward) for k in KS]
    return RetrievalScores(forward, backward, sum(recalls))


# ---------------------------------------------------------------- streaming


@dataclass(frozen=True)
class _Pairs:
    """The right (row, column) pairs, each once, in the order of the rows."""

    rows: Counts
    columns: Counts
    shape: tuple[int, int]

    @classmethod
    def of(cls, right: Sequence[Collection[int]], shape: tuple[int, ...]) -> _Pairs:
        if len(shape) != 2:
            raise ValueError(f"scores must be (queries, candidates), not {shape}")
        if len(right) != shape[0]:
            raise ValueError(f"right candidates of {len(right)} queries for {shape[0]} rows")
        rows: list[int] = []
        columns: list[int] = []
        for row, candidates in enumerate(right):
            if not isinstance(candidates, Collection):
                raise ValueError(f"query {row}: right candidates are a list, not {candidates!r}")
            unique = sorted({int(candidate) for candidate in candidates})
            if not unique:
                raise ValueError(f"query {row} has no right candidate")
            if unique[0] < 0 or unique[-1] >= shape[1]:
                wrong = unique[0] if unique[0] < 0 else unique[-1]
                raise ValueError(f"query {row}: no candidate {wrong} among {shape[1]}")
            rows += [row] * len(unique)
            columns += unique
        return cls(np.array(rows, np.int64), np.array(columns, np.int64), (shape[0], shape[1]))

    def between(self, start: int, stop: int) -> slice:
        first, last = np.searchsorted(self.rows, [start, stop])
        return slice(int(first), int(last))


class _Tally:
    """The best right score of each query of one direction, and the counts against it."""

    def __init__(self, queries: Counts, scores: Scores, size: int) -> None:
        """queries, scores: the query and the score of each right pair; every query has one."""
        order = np.argsort(queries, kind="stable")
        starts = np.searchsorted(queries[order], np.arange(size))
        self.best = np.maximum.reduceat(scores[order], starts) if size else scores
        self.right = np.bincount(queries[scores == self.best[queries]], minlength=size)
        self.above = np.zeros(size, np.int64)
        self.at_least = np.zeros(size, np.int64)

    def count_rows(self, strip: Scores, rows: slice) -> None:
        best = self.best[rows, None]
        self.above[rows] = np.count_nonzero(strip > best, axis=1)
        self.at_least[rows] = np.count_nonzero(strip >= best, axis=1)

    def count_columns(self, strip: Scores) -> None:
        """Of at most 255 rows, so that a column's count fits a byte, which adds up fastest."""
        self.above += _column_sums(strip > self.best)
        self.at_least += _column_sums(strip >= self.best)

    def standing(self) -> Standing:
        tied = self.at_least - self.above
        if np.any(tied < self.right) or np.any(self.right < 1):
            raise ValueError("the scores changed between two readings of the same rows")
        return Standing(self.above, tied, self.right.astype(np.int64))


def _sweep(scores: Scores | ScoreBlocks, pairs: _Pairs) -> Standing:
    """The standings of the rows."""
    parts = [_across(pairs, start, block).standing() for start, block in _blocks(scores)]
    return _joined(parts)


def _sweep_both(scores: Scores | ScoreBlocks, pairs: _Pairs) -> tuple[Standing, Standing]:
    """The standings of the rows and of the columns."""
    columns = pairs.shape[1]
    absent = np.flatnonzero(np.bincount(pairs.columns, minlength=columns) == 0)
    if len(absent):
        raise ValueError(f"candidate {absent[0]} is right for no query, so it cannot be one")
    parts: list[Standing] = []
    if isinstance(scores, ScoreBlocks):
        right: list[Scores] = []
        for start, block in _blocks(scores):
            right.append(_right_scores(pairs, start, block)[1])
            parts.append(_across(pairs, start, block).standing())
        down = _Tally(pairs.columns, np.concatenate([*right] or [np.zeros(0)]), columns)
        for _, block in _blocks(scores):
            for rows in _strips(block):
                down.count_columns(block[rows])
    else:
        _rows(scores, 0, min(1, len(scores)))  # refuses what holds no numbers
        down = _Tally(pairs.columns, np.asarray(scores[pairs.rows, pairs.columns]), columns)
        for start, block in _blocks(scores):
            parts.append(_across(pairs, start, block, down).standing())
    return _joined(parts), down.standing()


def _across(pairs: _Pairs, start: int, block: Scores, down: _Tally | None = None) -> _Tally:
    """The tally of the rows of a block that begins at row `start`; `down`, if given, counts too."""
    tally = _Tally(*_right_scores(pairs, start, block), len(block))
    for rows in _strips(block):
        tally.count_rows(block[rows], rows)
        if down is not None:
            down.count_columns(block[rows])
    return tally


def _right_scores(pairs: _Pairs, start: int, block: Scores) -> tuple[Counts, Scores]:
    """The rows, counted from the block's first, and scores of the right pairs in a block."""
    inside = pairs.between(start, start + len(block))
    here = pairs.rows[inside] - start
    return here, block[here, pairs.columns[inside]]


def _joined(parts: Sequence[Standing]) -> Standing:
    empty = np.zeros(0, np.int64)
    return Standing(
        np.concatenate([empty, *(part.above for part in parts)]),
        np.concatenate([empty, *(part.tied for part in parts)]),
        np.concatenate([empty, *(part.right for part in parts)]),
    )


def _column_sums(mask: Mask) -> npt.NDArray[np.uint8]:
    return np.asarray(np.add.reduce(mask.view(np.uint8), axis=0, dtype=np.uint8))


def _strips(block: Scores) -> Iterator[slice]:
    step = min(_BYTE_ROWS, max(1, _STRIP // max(1, block.shape[1])))
    for start in range(0, len(block), step):
        yield slice(start, min(start + step, len(block)))


def _blocks(scores: Scores | ScoreBlocks) -> Iterator[tuple[int, Scores]]:
    """(first row, some rows) one after another, without NaN."""
    rows, columns = scores.shape
    step = max(1, _CELLS // max(1, columns))
    for start in range(0, rows, step):
        yield start, _rows(scores, start, min(start + step, rows))


def _rows(scores: Scores | ScoreBlocks, start: int, stop: int) -> Scores:
    """Rows of the matrix, with the right shape and without NaN."""
    given = scores.rows(start, stop) if isinstance(scores, ScoreBlocks) else scores[start:stop]
    block = np.asarray(given)
    if block.shape != (stop - start, scores.shape[1]):
        raise ValueError(
            f"rows {start} to {stop} must be {(stop - start, scores.shape[1])}, not {block.shape}"
        )
    if block.dtype.kind not in "fiub":
        raise ValueError(f"scores must be real numbers, not {block.dtype}")
    if block.size and np.isnan(block.min()):
        row, column = np.argwhere(np.isnan(block))[0]
        raise ValueError(f"the score of query {start + row} and candidate {column} is NaN")
    return block
