"""The tasks of moments, in seconds and in DiDeMo's chunks: predictions, rows against plain loops of
each protocol, invalid ones."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.tasks.specs import TEMPORAL
from harness.tasks.targets import ChunkTarget, MomentTarget
from harness.tasks.temporal_localization import DIDEMO, TASK
from harness.types import Clip, Dataset, Json, Metric, MomentQuery, Sample

Moment = tuple[float, float]

DATASET = Dataset("set", "test", (), "")
PROTOCOLS = TEMPORAL.rules["moments"]
CHUNKS = [(first, last) for first in range(6) for last in range(first, 6)]


def metrics(protocol: str = "plain") -> dict[str, Metric]:
    return {metric.name: metric for metric in TASK.metrics(DATASET, {"moments": protocol})}


def didemo_metrics() -> dict[str, Metric]:
    return {metric.name: metric for metric in DIDEMO.metrics(DATASET, {})}


def query(text: str, duration: float = 30.0) -> MomentQuery:
    return MomentQuery(Clip(text, lambda n: np.zeros((n, 1, 1, 3), np.uint8), duration), text)


class Model:
    def __init__(self, moments: Sequence[Any]) -> None:
        self.moments = moments

    def find_moments(self, queries: Sequence[MomentQuery]) -> Sequence[Any]:
        return self.moments


def predict(*moments: Any, task: Any = TASK) -> list[Json]:
    predictions: list[Json] = task.predict(
        Model(moments), [query(str(place)) for place in range(len(moments))]
    )
    return predictions


# ---------------------------------------------------------------- predictions


def test_moments_become_json_objects_in_order() -> None:
    predictions = predict([(0, 1.5), (2, 3)], np.array([[4, 5]], dtype=np.float32), [])
    assert predictions == [{"moments": [[0, 1.5], [2, 3]]}, {"moments": [[4, 5]]}, {"moments": []}]
    assert json.loads(json.dumps(predictions)) == predictions


def test_odd_moments_of_a_model_are_handed_on_to_be_counted() -> None:
    for moments in [[], [(3, 1)], [(0, 1), (math.nan, 2)], [(0, math.inf)]]:
        assert TASK.invalid(predict(moments)[0]) is not None


COMMON = [
    ({}, "no moments"),
    ({"moments": None}, "no moments"),
    ({"moments": []}, "no moments"),
    ({"moments": "0-3"}, "not str"),
    ({"moments": {"start": 1}}, "not dict"),
    ({"moments": [0, 3]}, "moment 0 is no pair"),
    ({"moments": [[0, 3], [1]]}, "moment 1 is no pair"),
    ({"moments": [[0, 3, 0.5]]}, "moment 0 is no pair"),
    ({"moments": [[0, "3"]]}, "not str"),
    ({"moments": [[0, True]]}, "not bool"),
    ({"moments": [[0, None]]}, "not NoneType"),
    ({"moments": [[0, math.nan]]}, "not finite"),
    ({"moments": [[-math.inf, 0]]}, "not finite"),
    ({"moments": [[0, 10**400]]}, "beyond 1e9"),
]


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [*COMMON, ({"moments": [[0, 3], [2.5, 2.5]]}, None), ({"moments": [[3, 1]]}, "inverted")],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_scored_says_why(prediction: Json, reason: str | None) -> None:
    found = TASK.invalid(prediction)
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        *COMMON,
        ({"moments": [[0, 5], [2.0, 2]]}, None),
        ({"moments": [[3, 1]]}, "not within chunks"),
        ({"moments": [[0, 6]]}, "not within chunks"),
        ({"moments": [[-1, 0]]}, "not within chunks"),
        ({"moments": [[0, 1.5]]}, "no whole chunks"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_are_no_chunks_says_why(prediction: Json, reason: str | None) -> None:
    found = DIDEMO.invalid(prediction)
    assert found is None if reason is None else found is not None and reason in found


numbers = st.integers() | st.floats() | st.just(10**400)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
pairs = st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=6)


@given(anything | pairs)
def test_whatever_stands_there_is_scored_or_has_a_reason(value: Any) -> None:
    prediction = {"moments": value}
    if TASK.invalid(prediction) is None:
        for metric in itertools.chain(*(metrics(protocol).values() for protocol in PROTOCOLS)):
            metric.rows([prediction], [MomentTarget(((0.0, 5.0),))])
    if DIDEMO.invalid(prediction) is None:
        for metric in didemo_metrics().values():
            metric.rows([prediction], [ChunkTarget(((0, 0),) * 4)])


# ---------------------------------------------------------------- the protocols, slowly


def overlap(a: Moment, b: Moment) -> float:
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return max(0.0, shared) / (max(a[1], b[1]) - min(a[0], b[0]))


def without_overlaps(moments: list[Moment], threshold: float) -> list[Moment]:
    kept: list[Moment] = []
    for moment in moments:
        if all(true_overlap(moment, better) <= threshold for better in kept):
            kept.append(moment)
    return kept


def true_overlap(a: Moment, b: Moment) -> float:
    """Over the true union, which for disjoint moments is no hull; here that is 0 anyway."""
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / (a[1] - a[0] + b[1] - b[0] - shared)


def slow_row(moments: list[Moment], windows: list[Moment], protocol: str) -> dict[str, float]:
    row = {"mIoU": max(overlap(moments[0], window) for window in windows)}
    for n in (1, 5):
        for m in (0.3, 0.5, 0.7):
            threshold = {"plain": None, "tall": m - 0.05, "2d-tan": 0.5}[protocol]
            kept = moments if threshold is None else without_overlaps(moments, threshold)
            best = max(overlap(moment, window) for moment in kept[:n] for window in windows)
            hit = best > m if protocol == "2d-tan" else best >= m
            row[f"R@{n}, IoU={m}"] = math.nan if len(moments) < n else float(hit)
    return row


def random_queries(
    seed: int, count: int, fewest: int = 5
) -> tuple[list[list[Moment]], list[list[Moment]]]:
    """Moments and windows; half of the queries in whole seconds, where IoUs of .5 are common."""
    draw = random.Random(seed)

    def some(count: int, whole: bool) -> list[Moment]:
        starts = [draw.randrange(12) if whole else 12 * draw.random() for _ in range(count)]
        lengths = [draw.randrange(1, 9) if whole else 9 * draw.random() + 0.1 for _ in range(count)]
        return [(float(s), float(s + n)) for s, n in zip(starts, lengths, strict=True)]

    moments, windows = [], []
    for place in range(count):
        moments.append(some(draw.randrange(fewest, 9), place % 2 == 0))
        windows.append(some(draw.randrange(1, 4), place % 2 == 0))
    return moments, windows


def as_json(moments: Sequence[Sequence[Sequence[float]]]) -> list[Json | None]:
    return [{"moments": [list(moment) for moment in one]} for one in moments]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_9_000_random_queries_score_as_by_plain_loops(protocol: str) -> None:
    """Three thousand for each protocol, some missing."""
    moments, windows = random_queries(7, 3000)
    predictions = as_json(moments)
    predictions[::19] = [None] * len(predictions[::19])
    targets = [MomentTarget(tuple(one)) for one in windows]
    slow = [slow_row(*both, protocol) for both in zip(moments, windows, strict=True)]
    found = metrics(protocol)
    rows = found["mIoU"].rows(predictions, targets)
    for name, metric in found.items():
        expected = [
            0.0 if prediction is None else row[name]
            for prediction, row in zip(predictions, slow, strict=True)
        ]
        np.testing.assert_allclose(metric.aggregate(rows), expected, atol=1e-12, rtol=0)
        value = metric.aggregate(rows.sum(axis=0))
        assert value == pytest.approx(sum(expected) / len(expected), abs=1e-12)
        assert 0.05 < value < 0.95


def test_every_metric_makes_the_same_rows() -> None:
    moments, windows = random_queries(8, 20)
    targets = [MomentTarget(tuple(one)) for one in windows]
    for protocol in PROTOCOLS:
        rows = [metric.rows(as_json(moments), targets) for metric in metrics(protocol).values()]
        assert all(np.array_equal(rows[0], other) for other in rows)


def test_the_primary_metric_comes_first_and_the_protocol_stands_in_the_variant() -> None:
    assert tuple(metrics()) == TEMPORAL.metrics
    assert next(iter(metrics())) == "R@1, IoU=0.5"
    for protocol in PROTOCOLS:
        assert {metric.variant for metric in metrics(protocol).values()} == {f"protocol={protocol}"}
    assert {metric.variant for metric in TASK.metrics(DATASET, {})} == {"protocol=plain"}


def value(name: str, moments: list[Moment], window: Moment, protocol: str) -> float:
    metric = metrics(protocol)[name]
    rows = metric.rows(as_json([moments]), [MomentTarget((window,))])
    return float(metric.aggregate(rows.sum(axis=0)))


def test_exactly_half_counts_but_for_2d_tan() -> None:
    values = [value("R@1, IoU=0.5", [(0, 5)], (0, 10), protocol) for protocol in PROTOCOLS]
    assert values == [1, 1, 0]


def test_suppression_lets_a_lower_moment_among_the_first_five() -> None:
    moments = [(0.0, 10.0 + tenth / 10) for tenth in range(5)] + [(50.0, 60.0)]
    values = [value("R@5, IoU=0.5", moments, (50, 60), protocol) for protocol in PROTOCOLS]
    assert values == [0, 1, 1]


def test_too_few_moments_make_recall_at_5_not_available() -> None:
    """For the whole set, even if but one query has too few; a missing one has none but counts."""
    targets = [MomentTarget(((0.0, 5.0),))] * 3
    few = [*as_json([[(0, 5)] * 5, [(0, 5)] * 4]), None]
    for name, metric in metrics().items():
        total = metric.aggregate(metric.rows(few, targets).sum(axis=0))
        assert np.isnan(total) if name.startswith("R@5") else total == pytest.approx(2 / 3)
        full = metric.aggregate(metric.rows([few[0], None, None], targets).sum(axis=0))
        assert full == pytest.approx(1 / 3)


def test_a_missing_prediction_has_the_worst_row_and_counts() -> None:
    for metric in metrics().values():
        rows = metric.rows([None], [MomentTarget(((0.0, 5.0),))])
        np.testing.assert_array_equal(rows, [[0] * 7 + [1]])
    for metric in didemo_metrics().values():
        rows = metric.rows([None], [ChunkTarget(((0, 0),) * 4)])
        np.testing.assert_array_equal(rows, [[0, 0, 0, 1]])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 3)), min_size=1, max_size=10))
def test_weighted_rows_give_the_metric_of_repeated_samples(drawn: list[tuple[int, int]]) -> None:
    moments, windows = random_queries(9, 30)
    rankings, times = random_descriptions(9, 30)
    weights = np.array([weight for _, weight in drawn], dtype=np.float64)
    once = [place for place, _ in drawn]
    repeated = [place for place, weight in drawn for _ in range(weight)]
    seconds = [MomentTarget(tuple(one)) for one in windows]
    chunks = [ChunkTarget(tuple(one)) for one in times]
    for found, predictions, targets in (
        (metrics("tall"), as_json(moments), seconds),
        (didemo_metrics(), as_json(rankings), chunks),
    ):
        predictions[::4] = [None] * len(predictions[::4])
        for metric in found.values():
            rows = metric.rows([predictions[i] for i in once], [targets[i] for i in once])
            expected = metric.aggregate(
                metric.rows([predictions[i] for i in repeated], [targets[i] for i in repeated]).sum(
                    axis=0
                )
            )
            np.testing.assert_allclose(metric.aggregate(weights @ rows), expected, atol=1e-12)
            several = metric.aggregate(np.stack([weights, 2 * weights]) @ rows)
            np.testing.assert_allclose(several, [expected, expected], atol=1e-12)


# ---------------------------------------------------------------- DiDeMo


def random_descriptions(
    seed: int, count: int
) -> tuple[list[list[tuple[int, int]]], list[list[tuple[int, int]]]]:
    draw = random.Random(seed)
    rankings, times = [], []
    for _ in range(count):
        rankings.append(draw.sample(CHUNKS, draw.choice([21, 21, 6])))
        likely = draw.sample(CHUNKS, 1) + rankings[-1][: draw.randrange(1, 8)]
        times.append(draw.choices(likely, k=draw.choice([4, 4, 5, 7])))
    return rankings, times


def slow_didemo(ranking: list[tuple[int, int]], times: list[tuple[int, int]]) -> dict[str, float]:
    """The best of all ways to take three annotators, for ranks and for overlaps apart."""
    ranks = [ranking.index(time) + 1 if time in ranking else math.inf for time in times]
    first = set(range(ranking[0][0], ranking[0][1] + 1))
    chosen = [set(range(start, end + 1)) for start, end in times]
    ious = [len(first & one) / len(first | one) for one in chosen]
    rank = min(sum(three) / 3 for three in itertools.combinations(ranks, 3))
    iou = max(sum(three) / 3 for three in itertools.combinations(ious, 3))
    return {"rank@1": float(rank <= 1), "rank@5": float(rank <= 5), "mIoU": iou}


def test_2_000_random_descriptions_score_as_by_didemo_s_rule() -> None:
    rankings, times = random_descriptions(11, 2000)
    predictions = as_json(rankings)
    predictions[::23] = [None] * len(predictions[::23])
    targets = [ChunkTarget(tuple(one)) for one in times]
    slow = [slow_didemo(*both) for both in zip(rankings, times, strict=True)]
    assert tuple(didemo_metrics()) == ("rank@1", "rank@5", "mIoU")
    for name, metric in didemo_metrics().items():
        rows = metric.rows(predictions, targets)
        expected = [
            0.0 if prediction is None else row[name]
            for prediction, row in zip(predictions, slow, strict=True)
        ]
        np.testing.assert_allclose(metric.aggregate(rows), expected, atol=1e-12, rtol=0)
        total = metric.aggregate(rows.sum(axis=0))
        assert total == pytest.approx(sum(expected) / len(expected), abs=1e-12)
        assert 0.05 < total < 0.95


def test_didemo_names_its_rule_and_has_no_protocol() -> None:
    assert {metric.variant for metric in didemo_metrics().values()} == {
        "DiDeMo three best annotators"
    }


def test_moments_that_are_runs_of_chunks_become_these_runs() -> None:
    seconds = [(5.0 * first, 5.0 * (last + 1)) for first, last in CHUNKS]
    predictions = predict(seconds, task=DIDEMO)
    assert predictions == [{"moments": [list(chunks) for chunks in CHUNKS]}]
    assert DIDEMO.invalid(predictions[0]) is None


@pytest.mark.parametrize(
    ("moment", "chunks"),
    [((0.1, 4.9), [0, 0]), ((1, 9), [0, 1]), ((11, 26), [2, 4]), ((3, 30), [1, 5])],
)
def test_other_moments_become_the_nearest_run(moment: Moment, chunks: list[int]) -> None:
    assert predict([moment], task=DIDEMO) == [{"moments": [chunks]}]


@pytest.mark.parametrize("start", [2.6, 13.0, 23.5, 28.0, 29.0])
def test_a_moment_shorter_than_a_chunk_becomes_the_chunk_it_lies_in(start: float) -> None:
    prediction = predict([(start, start + 1)], task=DIDEMO)[0]
    assert prediction == {"moments": [[int(start // 5), int(start // 5)]]}
    assert DIDEMO.invalid(prediction) is None


@pytest.mark.parametrize("moment", [(20, 3), (13, 12)])
def test_an_inverted_moment_is_not_made_a_run(moment: Moment) -> None:
    assert DIDEMO.invalid(predict([moment], task=DIDEMO)[0]) is not None


# ---------------------------------------------------------------- files and people


def test_result_files_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "moments.json"
    content = {"a": [[0, 1, 0.2], [2, 3, 0.9]], "b": [[3, 1]], "c": None}
    path.write_text(json.dumps(content), encoding="utf-8")
    for task in (TASK, DIDEMO):
        read = task.read_results(path, DATASET)
        assert read["a"] == {"moments": [[2, 3], [0, 1]]}
        assert [task.invalid(read[id]) is None for id in "abc"] == [True, False, False]
    path.write_text("[", encoding="utf-8")
    with pytest.raises(BadInput, match="not JSON"):
        TASK.read_results(path, DATASET)


def test_a_person_sees_the_sentence_and_the_right_moments_in_seconds() -> None:
    shown = TASK.show(Sample("1", query("she waves"), MomentTarget(((1.0, 2.5), (4.0, 5.0))), "v"))
    assert list(shown.lines) == [("sentence", "she waves")]
    assert list(shown.moments) == [("right", 1.0, 2.5), ("right", 4.0, 5.0)]
    shown = DIDEMO.show(Sample("1", query("she waves"), ChunkTarget(((0, 0), (1, 2))), "v"))
    assert list(shown.moments) == [("annotator 1", 0, 5), ("annotator 2", 5, 15)]
