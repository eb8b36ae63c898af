"""Retrieval against an enumeration of all orders of the ties."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.retrieval import (
    KS,
    ScoreBlocks,
    Standing,
    both_standings,
    expected_rank,
    hit_rate,
    median_rank,
    retrieval_rows,
    retrieval_statistic,
    score_folds,
    score_retrieval,
    standing,
)

Matrix = npt.NDArray[Any]

# ---------------------------------------------------------------- the expectation, slowly


def slow_ranks(scores: list[float], right: set[int]) -> list[int]:
    """The rank of the first right candidate in each order that the scores allow."""
    places = range(len(scores))
    orders = [
        order
        for order in itertools.permutations(places)
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    return [1 + min(order.index(place) for place in right) for order in orders]


def counted(scores: Matrix, right: list[set[int]]) -> list[tuple[int, int, int]]:
    """Above, tied and right of each row, by comparing one by one."""
    triples = []
    for row, ours in zip(scores.tolist(), right, strict=True):
        best = max(row[column] for column in ours)
        above = sum(value > best for value in row)
        tied = sum(value == best for value in row)
        triples.append((above, tied, sum(row[column] == best for column in ours)))
    return triples


def triples(standing: Standing) -> list[tuple[int, int, int]]:
    columns = (standing.above, standing.tied, standing.right)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def transposed(right: list[set[int]], columns: int) -> list[set[int]]:
    return [{row for row, ours in enumerate(right) if column in ours} for column in range(columns)]


def random_pairs(generator: np.random.Generator, rows: int, columns: int) -> list[set[int]]:
    """Right pairs that leave no row and no column without one."""
    right = [{int(generator.integers(columns))} for _ in range(rows)]
    for column in range(columns):
        right[int(generator.integers(rows))].add(column)
    return right


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_hits_and_ranks_are_means_over_all_orders_of_the_ties(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    row = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    right = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    ranks = slow_ranks([float(value) for value in row], right)
    ours = standing(np.array([row], dtype=np.float32), [right])
    assert expected_rank(ours)[0] == pytest.approx(np.mean(ranks), abs=1e-12)
    for k in range(1, size + 2):
        share = np.mean([rank <= k for rank in ranks])
        assert hit_rate(ours, k)[0] == pytest.approx(share, abs=1e-12)


def test_2_000_random_matrices_are_counted_as_one_by_one_in_both_directions() -> None:
    generator = np.random.default_rng(0)
    for _ in range(2000):
        rows, columns = generator.integers(1, 9, size=2)
        scores = generator.integers(0, generator.integers(2, 30), size=(rows, columns))
        matrix = scores.astype(generator.choice(["float32", "float64", "int64", "float16"]))
        right = random_pairs(generator, rows, columns)
        forward, backward = both_standings(matrix, right)
        assert triples(forward) == triples(standing(matrix, right)) == counted(scores, right)
        assert triples(backward) == counted(scores.T, transposed(right, columns))


@pytest.mark.parametrize("shape", [(700, 30), (30, 700), (1, 3), (600, 1), (1, 1)])
@pytest.mark.parametrize("cells", [1, 64, 10_000, 1 << 22])
def test_blocks_of_any_size_give_the_same(
    shape: tuple[int, int], cells: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("harness.metrics.retrieval._CELLS", cells)
    monkeypatch.setattr("harness.metrics.retrieval._STRIP", max(1, cells // 3))
    generator = np.random.default_rng(1)
    matrix = generator.integers(0, 40, size=shape).astype(np.float32)
    right = random_pairs(generator, *shape)
    mapped = np.memmap(tmp_path / "scores", dtype=np.float32, mode="w+", shape=shape)
    mapped[:] = matrix
    for scores in (matrix, mapped, ScoreBlocks(shape, lambda start, stop: matrix[start:stop])):
        forward, backward = both_standings(scores, right)
        assert triples(forward) == counted(matrix, right)
        assert triples(standing(scores, right)) == triples(forward)
        assert triples(backward) == counted(matrix.T, transposed(right, shape[1]))


def test_infinities_are_scores() -> None:
    scores = np.array([[np.inf, -np.inf, 0], [-np.inf, -np.inf, np.inf]], dtype=np.float32)
    assert triples(standing(scores, [{0}, {0}])) == [(0, 1, 1), (1, 2, 1)]


# ---------------------------------------------------------------- the metrics in examples


def test_a_constant_scorer_gets_k_of_m_in_both_directions() -> None:
    right = [range(5 * row, 5 * row + 5) for row in range(20)]
    scores = score_retrieval(np.zeros((20, 100), np.float32), right)
    for k in KS:
        missed = math.comb(95, k) / math.comb(100, k)
        assert scores.forward[f"R@{k}"] == pytest.approx(1 - missed, abs=1e-12)
        assert scores.backward[f"R@{k}"] == pytest.approx(k / 20, abs=1e-12)
    assert scores.forward["mean rank"] == scores.forward["median rank"] == 101 / 6
    assert scores.backward["mean rank"] == scores.backward["median rank"] == 21 / 2
    diagonal = score_retrieval(np.zeros((40, 40), np.float32), [[row] for row in range(40)])
    assert diagonal.rsum == pytest.approx(2 * (1 + 5 + 10) / 40, abs=1e-12)


def test_the_best_of_five_captions_counts() -> None:
    scores = np.array([[1, 9, 8, 7, 6, 5]])
    ours = standing(scores, [[0, 3]])
    assert triples(ours) == [(2, 1, 1)]
    assert retrieval_rows(ours).tolist() == [[0, 1, 1, 3, 1]]


def test_a_perfect_scorer_has_rsum_6_and_ranks_1() -> None:
    scores = score_retrieval(np.eye(12, dtype=np.float32), [[row] for row in range(12)])
    assert scores.rsum == 6
    for direction in (scores.forward, scores.backward):
        assert direction == {"R@1": 1, "R@5": 1, "R@10": 1, "mean rank": 1, "median rank": 1}


def test_without_ties_the_scores_are_those_of_sorting() -> None:
    generator = np.random.default_rng(2)
    matrix = generator.permutation(60 * 300).reshape(60, 300).astype(np.float32)
    right = [range(5 * row, 5 * row + 5) for row in range(60)]
    places = np.argsort(np.argsort(-matrix, axis=1), axis=1) + 1
    ranks = np.array(
        [min(places[row, column] for column in ours) for row, ours in enumerate(right)]
    )
    back = np.argsort(np.argsort(-matrix, axis=0), axis=0) + 1
    back_ranks = back[np.arange(300) // 5, np.arange(300)]
    scores = score_retrieval(matrix, right)
    for direction, theirs in ((scores.forward, ranks), (scores.backward, back_ranks)):
        assert direction["median rank"] == np.median(theirs)
        assert direction["mean rank"] == pytest.approx(theirs.mean())
        for k in KS:
            assert direction[f"R@{k}"] == pytest.approx(np.mean(theirs <= k))


def test_weighted_rows_give_the_metrics_of_repeated_queries() -> None:
    generator = np.random.default_rng(3)
    matrix = generator.integers(0, 9, size=(15, 15)).astype(np.float32)
    right = [{row} for row in range(15)]
    weights = generator.multinomial(15, np.full(15, 1 / 15), size=7)
    rows = retrieval_rows(standing(matrix, right))
    values = retrieval_statistic(weights @ rows, "R@5")
    medians = median_rank(rows[:, 3], weights)
    assert values.shape == medians.shape == (7,)
    for drawn, value, median in zip(weights, values, medians, strict=True):
        repeated = np.repeat(np.arange(15), drawn)
        again = retrieval_rows(standing(matrix[repeated], [right[row] for row in repeated]))
        assert value == pytest.approx(again[:, 1].mean())
        assert median == np.median(again[:, 3])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_median_of_weighted_ranks_is_that_of_repeated_ones(
    pairs: list[tuple[int, int]],
) -> None:
    ranks, weights = (np.array(values) for values in zip(*pairs, strict=True))
    assert median_rank(ranks) == np.median(ranks)
    if weights.sum():
        assert median_rank(ranks, weights) == np.median(np.repeat(ranks, weights))
    else:
        assert np.isnan(median_rank(ranks, weights))


def test_no_ranks_have_no_median_and_wrong_weights_are_refused() -> None:
    assert np.isnan(median_rank([]))
    with pytest.raises(ValueError, match="do not fit"):
        median_rank([1, 2], [1, 1, 1])


# ---------------------------------------------------------------- folds


def test_folds_are_scored_apart_and_averaged() -> None:
    generator = np.random.default_rng(4)
    matrix = generator.integers(0, 50, size=(20, 100)).astype(np.float32)
    right = [range(5 * row, 5 * row + 5) for row in range(20)]
    parts = [
        score_retrieval(matrix[4 * fold :][:4, 20 * fold :][:, :20], right[:4]) for fold in range(5)
    ]
    blocks = ScoreBlocks((20, 100), lambda start, stop: matrix[start:stop])
    for scores in (matrix, blocks):
        folds = score_folds(scores, right)
        assert folds.rsum == pytest.approx(np.mean([part.rsum for part in parts]))
        for name, value in folds.forward.items():
            assert value == pytest.approx(np.mean([part.forward[name] for part in parts]))
        for name, value in folds.backward.items():
            assert value == pytest.approx(np.mean([part.backward[name] for part in parts]))


def test_folds_that_cannot_be_made_are_refused() -> None:
    matrix = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match="do not divide"):
        score_folds(matrix, [[0], [1], [2], [3]], folds=3)
    with pytest.raises(ValueError, match="candidate 1 is right in two folds"):
        score_folds(matrix, [[0], [1], [1], [3]], folds=2)
    matrix[3, 0] = np.nan
    with pytest.raises(ValueError, match="query 3 and candidate 0 is NaN"):
        score_folds(matrix, [[0], [1], [2], [3]], folds=2)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("place", [(0, 0), (2, 1), (499, 3)])
def test_nan_is_refused_by_name(place: tuple[int, int]) -> None:
    matrix = np.zeros((500, 4), np.float32)
    matrix[place] = np.nan
    right = [[row % 4] for row in range(500)]
    message = f"query {place[0]} and candidate {place[1]} is NaN"
    for scores in (matrix, ScoreBlocks((500, 4), lambda start, stop: matrix[start:stop])):
        with pytest.raises(ValueError, match=message):
            standing(scores, right)
        with pytest.raises(ValueError, match=message):
            both_standings(scores, right)


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ([[0]], "1 queries for 2 rows"),
        ([[0], []], "query 1 has no right candidate"),
        ([[0], [3]], "query 1: no candidate 3 among 3"),
        ([[-1], [0]], "query 0: no candidate -1 among 3"),
    ],
)
def test_right_candidates_that_do_not_fit_are_refused(right: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        standing(np.zeros((2, 3), np.float32), right)


def test_what_is_no_matrix_of_real_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="must be \\(queries, candidates\\)"):
        standing(np.zeros(3), [[0], [0], [0]])
    with pytest.raises(ValueError, match="real numbers"):
        standing(np.zeros((1, 1), complex), [[0]])
    with pytest.raises(ValueError, match="rows 0 to 2 must be"):
        standing(ScoreBlocks((2, 3), lambda start, stop: np.zeros((1, 3))), [[0], [0]])
    with pytest.raises(ValueError, match="candidate 1 is right for no query"):
        both_standings(np.zeros((2, 2)), [[0], [0]])
    with pytest.raises(ValueError, match="at least 1"):
        hit_rate(standing(np.zeros((1, 1)), [[0]]), 0)


def test_scores_that_change_between_readings_are_refused() -> None:
    readings = iter([np.ones((2, 2)), np.zeros((2, 2))])
    with pytest.raises(ValueError, match="changed between two readings"):
        both_standings(ScoreBlocks((2, 2), lambda start, stop: next(readings)), [[0], [1]])


# ---------------------------------------------------------------- memory


def test_a_streamed_matrix_is_never_held() -> None:
    generator = np.random.default_rng(5)
    pictures = generator.standard_normal((2000, 8), dtype=np.float32)
    captions = generator.standard_normal((10_000, 8), dtype=np.float32)
    right = [range(5 * row, 5 * row + 5) for row in range(2000)]
    blocks = ScoreBlocks((2000, 10_000), lambda start, stop: pictures[start:stop] @ captions.T)
    tracemalloc.start()
    forward, backward = both_standings(blocks, right)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # the matrix has 80 MB
    assert len(forward.above) == 2000
    assert len(backward.above) == 10_000
