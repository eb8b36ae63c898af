"""The metrics of retrieval from predictions alone: weights, missing and invalid predictions, the
binding probe. That they are those of matrices of scores stands in test_retrieval.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.tasks.retrieval_metrics import binding_metric, standing_metrics, why_invalid
from harness.tasks.targets import RetrievalTarget
from harness.types import Json, Metric

BINDING = binding_metric()
METRICS = {metric.name: metric for metric in standing_metrics("text-to-image", "image-to-text")}

GOOD = {"visual": [0, 2, 1], "texts": [[0, 1, 1], [3, 1, 1]]}


def value_of(
    metric: Metric, predictions: Sequence[Json | None], targets: Sequence[RetrievalTarget]
) -> float:
    rows = metric.rows(predictions, targets)
    if metric.weighted is not None:
        return float(metric.weighted(np.ones(len(rows)), rows))
    return float(metric.aggregate(rows.sum(axis=0)))


def values(
    targets: Sequence[RetrievalTarget], predictions: Sequence[Json | None]
) -> dict[str, float]:
    return {name: value_of(metric, predictions, targets) for name, metric in METRICS.items()}


def random_predictions(seed: int) -> tuple[list[RetrievalTarget], list[Json]]:
    """Up to 30 entries with up to 5 captions each, and standings that some scores have."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 6, generator.integers(1, 31)).tolist()

    def standing(own: int, others: int) -> list[int]:
        right = int(generator.integers(1, own + 1))
        wrong = int(generator.integers(0, others + 1))  # with the same score
        return [int(generator.integers(0, others - wrong + 1)), right + wrong, right]

    predictions = [
        {
            "visual": standing(count, sum(counts) - count),
            "texts": [standing(1, len(counts) - 1) for _ in range(count)],
        }
        for count in counts
    ]
    return [RetrievalTarget(count) for count in counts], predictions


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 20), st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_weighted_rows_give_the_metric_of_repeated_samples(seed: int, drawn: list[int]) -> None:
    targets, predictions = random_predictions(seed)
    weights = np.array(drawn[: len(targets)], dtype=np.float64)
    repeated = np.repeat(np.arange(len(targets)), weights.astype(int)).tolist()
    for metric in METRICS.values():
        rows = metric.rows(predictions, targets)
        expected = np.nan
        if repeated:
            expected = value_of(
                metric, [predictions[i] for i in repeated], [targets[i] for i in repeated]
            )
        several = np.stack([weights, 2 * weights])
        if metric.weighted is None:
            found = metric.aggregate(several @ rows)
        else:
            found = metric.weighted(several, rows)
        np.testing.assert_allclose(found, [expected, expected], atol=1e-12)


# ---------------------------------------------------------------- missing predictions


def test_a_missing_prediction_stands_last_and_counts() -> None:
    perfect: list[Json | None] = [{"visual": [0, 3, 3], "texts": [[0, 1, 1]] * 3}] * 20
    found = values([RetrievalTarget(3)] * 20, [None, *perfect[1:]])
    for way, last in (("text-to-image", 20), ("image-to-text", 58)):
        assert found[f"{way} R@10"] == pytest.approx(19 / 20)
        assert found[f"{way} mean rank"] == pytest.approx((19 + last) / 20)
        assert found[f"{way} median rank"] == 1
    assert found["rsum"] == pytest.approx(6 * 19 / 20)


def test_no_prediction_of_the_set_is_worse_than_a_missing_one() -> None:
    for seed in range(20):
        targets, predictions = random_predictions(seed)
        for metric in METRICS.values():
            given = metric.rows(predictions, targets)
            missing = metric.rows([None] * len(targets), targets)
            if metric.weighted is not None:
                assert np.all((given <= missing) | np.isnan(given))
                continue
            for row, worst in zip(given, missing, strict=True):
                ours, theirs = metric.aggregate(row), metric.aggregate(worst)
                sign = 1 if metric.higher_is_better else -1
                assert sign * ours >= sign * theirs - 1e-12


def test_no_samples_have_rows() -> None:
    for name, metric in METRICS.items():
        if metric.weighted is None:
            assert metric.rows([], []).shape == (0, 10), name
        else:
            assert np.isnan(metric.weighted(np.ones(0), metric.rows([], [])))


# ---------------------------------------------------------------- the form of a prediction


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"binding": [[0.5, 0.25]]}, None),
        ({"visual": None}, "'visual'"),
        ({"visual": "0 2 1"}, "'visual'"),
        ({"visual": [0, 2]}, "'visual'"),
        ({"visual": [0, 2, 1, 1]}, "'visual'"),
        ({"visual": [0, 2, 0]}, "'visual'"),
        ({"visual": [0, 1, 2]}, "'visual'"),
        ({"visual": [-1, 2, 1]}, "'visual'"),
        ({"visual": [0.0, 2, 1]}, "'visual'"),
        ({"visual": [False, True, True]}, "'visual'"),
        ({"visual": [0, "2", 1]}, "'visual'"),
        ({"visual": [math.nan, 2, 1]}, "'visual'"),
        ({"texts": None}, "'texts'"),
        ({"texts": []}, "'texts'"),
        ({"texts": {"0": [0, 1, 1]}}, "'texts'"),
        ({"texts": [[0, 1, 1], None]}, "'texts'"),
        ({"texts": [0, 1, 1]}, "'texts'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_scored_says_why(change: Json, reason: str | None) -> None:
    found = why_invalid(GOOD | change)
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize(
    "change",
    [
        {"visual": [10**400, 2, 1]},  # does not fit a count
        {"visual": [0, 10**9, 10**8]},  # more right ones than it has captions
        {"texts": [[0, 4, 2], [3, 1, 1]]},  # a caption has one visual
        {"binding": None},
        {"binding": 1},
        {"binding": [1, 2]},
        {"binding": [[1]]},
        {"binding": [[1, 2, 3]]},
        {"binding": [["1", 2]]},
        {"binding": [[math.nan, 2]]},
        {"binding": [[1, math.inf]]},
        {"binding": [[1, 0]] * 3},  # of two captions
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_would_break_or_bend_a_metric_is_invalid(change: Json) -> None:
    assert why_invalid(GOOD | change) is not None


numbers = st.integers(-2, 2**40) | st.floats() | st.booleans()
anything = st.recursive(
    st.none() | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
triples = st.lists(st.integers(-1, 5), min_size=3, max_size=3)


@given(anything | triples, anything | st.lists(triples, max_size=3))
def test_whatever_stands_there_is_scored_or_has_a_reason(visual: Any, texts: Any) -> None:
    prediction = {"visual": visual, "texts": texts}
    if why_invalid(prediction) is None:
        for value in values([RetrievalTarget(len(texts))], [prediction]).values():
            assert value >= 0


def test_a_prediction_for_other_captions_is_refused_in_one_line() -> None:
    with pytest.raises(BadInput, match="2 captions where the data set has 3"):
        values([RetrievalTarget(3)], [GOOD])


# ---------------------------------------------------------------- rules for ties


@pytest.mark.parametrize(
    ("ties", "of_text", "of_visual", "of_foils"),
    [
        ("expected", (1 / 4, 2.5), (1 / 2, 5 / 3), 1.5),
        ("first", (1.0, 1.0), (1.0, 1.0), 2.0),
        ("last", (0.0, 4.0), (0.0, 3.0), 1.0),
    ],
)
def test_a_right_one_among_equals_stands_where_the_rule_says(
    ties: Any, of_text: Sequence[float], of_visual: Sequence[float], of_foils: float
) -> None:
    """One of four captions, two of whose scores of visuals are right; foils, of which one ties."""
    tied: Json = {"visual": [0, 4, 2], "texts": [[0, 4, 1], [0, 4, 1]]}
    metrics = {m.name: m for m in standing_metrics("text-to-image", "image-to-text", ties)}
    names = ("R@1", "mean rank")
    for direction, wanted in (("text-to-image", of_text), ("image-to-text", of_visual)):
        found = [
            value_of(metrics[f"{direction} {name}"], [tied], [RetrievalTarget(2)]) for name in names
        ]
        assert found == pytest.approx(wanted)
        median = value_of(metrics[f"{direction} median rank"], [tied], [RetrievalTarget(2)])
        assert median == pytest.approx(wanted[1])
    foils = tied | {"binding": [[1.0, 1.0], [2.0, 1.0]]}
    binding = binding_metric(ties)
    assert binding.rows([foils], [RetrievalTarget(2, 2)]).tolist() == [[of_foils, 2]]


@pytest.mark.parametrize("ties", ["expected", "first", "last"])
def test_without_ties_every_rule_gives_the_same(ties: Any) -> None:
    for metric in standing_metrics("text-to-image", "image-to-text", ties):
        assert value_of(metric, [ALONE], [RetrievalTarget(2)]) == value_of(
            METRICS[metric.name], [ALONE], [RetrievalTarget(2)]
        )


ALONE: Json = {"visual": [1, 1, 1], "texts": [[0, 1, 1], [3, 1, 1]]}


# ---------------------------------------------------------------- the binding probe


def test_2_000_random_foils_score_as_counted_and_ties_count_half() -> None:
    generator = np.random.default_rng(3)
    counts = generator.integers(0, 6, 800).tolist()
    pairs = [generator.integers(0, 4, (count, 2)).tolist() for count in counts]
    predictions: list[Json | None] = [GOOD | ({"binding": p} if p else {}) for p in pairs]
    predictions[::9] = [None] * len(predictions[::9])
    rows = BINDING.rows(predictions, [RetrievalTarget(2, count) for count in counts])
    for row, prediction, own, count in zip(rows, predictions, pairs, counts, strict=True):
        won = sum(1.0 if score > foil else 0.5 if score == foil else 0.0 for score, foil in own)
        assert row.tolist() == [0.0 if prediction is None else won, count]
    assert sum(counts) > 1900
    assert BINDING.aggregate(rows.sum(axis=0)) == pytest.approx(rows[:, 0].sum() / sum(counts))


def test_scores_that_differ_by_rounding_alone_are_tied() -> None:
    near = [[0.3, float(np.float32(0.3))], [-2.0, -2.0000001], [0.0, 0.0], [0.3, 0.30001]]
    rows = BINDING.rows([GOOD | {"binding": near}], [RetrievalTarget(4, 4)])
    assert rows.tolist() == [[1.5, 4]]
