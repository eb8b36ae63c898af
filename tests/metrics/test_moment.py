"""Moments against transcriptions of the rules of TALL, 2D-TAN and DiDeMo, and DiDeMo's own prior
where its files are in shared/data or the folder named by HARNESS_DATA."""

from __future__ import annotations

import json
import math
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.metrics.moment import (
    IOUS,
    STATISTICS,
    Chunks,
    Moment,
    Protocol,
    didemo_iou,
    didemo_rows,
    didemo_statistic,
    moment_rows,
    moment_statistic,
    parse_chunks,
    parse_moments,
    score_didemo,
    score_moments,
    suppress,
    temporal_iou,
)

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("HARNESS_DATA", REPOSITORY.parent / "shared" / "data"))

# ---------------------------------------------------------------- the rules, slowly


def slow_iou(a: Moment, b: Moment) -> float:
    hull = max(a[1], b[1]) - min(a[0], b[0])
    return (min(a[1], b[1]) - max(a[0], b[0])) / hull


def slow_suppression(moments: list[Moment], threshold: float) -> list[Moment]:
    kept: list[Moment] = []
    for moment in moments:
        for better in kept:
            shared = max(0.0, min(moment[1], better[1]) - max(moment[0], better[0]))
            lengths = (better[1] - better[0]) + (moment[1] - moment[0])
            if not shared / (lengths - shared) <= threshold:
                break
        else:
            kept.append(moment)
    return kept


def slow_recall(
    moments: list[Moment], windows: list[Moment], n: int, m: float, protocol: str
) -> bool:
    """Whether one of the first n reaches m, window by window."""
    if protocol == "tall":
        moments = slow_suppression(moments, m - 0.05)
    if protocol == "2d-tan":
        moments = slow_suppression(moments, 0.5)
    reached = False
    for moment in moments[:n]:
        for window in windows:
            iou = slow_iou(moment, window)
            reached = reached or (max(iou, 0.0) > m if protocol == "2d-tan" else iou >= m)
    return reached


def random_moments(generator: random.Random, count: int, whole: bool) -> list[Moment]:
    moments: list[Moment] = []
    for _ in range(count):
        start = generator.randrange(12) if whole else generator.random() * 12
        length = generator.randrange(1, 12) if whole else generator.random() * 8 + 0.1
        moments.append((float(start), float(start + length)))
    return moments


@pytest.mark.parametrize("protocol", ["plain", "tall", "2d-tan"])
def test_4_000_random_queries_score_as_by_the_slow_rule(protocol: Protocol) -> None:
    generator = random.Random(protocol)
    predictions, targets = [], []
    for number in range(4000):
        predictions.append(random_moments(generator, generator.randrange(5, 15), number % 2 == 0))
        targets.append(random_moments(generator, generator.randrange(1, 4), number % 2 == 0))
    rows = moment_rows(predictions, targets, protocol)
    for row, moments, windows in zip(rows.tolist(), predictions, targets, strict=True):
        recalls = [slow_recall(moments, windows, n, m, protocol) for n in (1, 5) for m in IOUS]
        best = max(max(0.0, slow_iou(moments[0], window)) for window in windows)
        assert row == [*recalls, best, 1.0]
    assert 0.05 < rows[:, :6].mean() < 0.95


def test_suppression_is_the_slow_one() -> None:
    generator = random.Random(0)
    for number in range(2000):
        moments = random_moments(generator, generator.randrange(12), number % 2 == 0)
        threshold = generator.choice([0.25, 0.45, 0.5, 0.65])
        kept = suppress(moments, threshold)
        assert [moments[place] for place in kept] == slow_suppression(moments, threshold)
        assert suppress(moments, threshold, 3) == kept[:3]


# ---------------------------------------------------------------- the protocols in examples


def test_exactly_half_reaches_half_but_not_strictly() -> None:
    ten, five = [[(0.0, 10.0)] * 5], [[(0.0, 5.0)]]
    assert temporal_iou(ten[0][0], five[0][0]) == 0.5
    for protocol, hit in (("plain", 1), ("tall", 1), ("2d-tan", 0)):
        row = moment_rows(ten, five, protocol)[0]  # type: ignore[arg-type]
        assert row[STATISTICS.index("R@1, IoU=0.5")] == hit
        assert row[STATISTICS.index("R@1, IoU=0.3")] == 1
        assert row[STATISTICS.index("mIoU")] == 0.5


def test_suppression_lets_a_lower_moment_into_the_first_five() -> None:
    moments = [[(0.0, 10.0), (0.0, 9.9), (0.1, 10.0), (0.2, 10.0), (0.0, 9.8), (20.0, 30.0)]]
    hit = STATISTICS.index("R@5, IoU=0.7")
    assert moment_rows(moments, [[(20.0, 30.0)]])[0, hit] == 0
    assert moment_rows(moments, [[(20.0, 30.0)]], "tall")[0, hit] == 1
    assert moment_rows(moments, [[(20.0, 30.0)]], "2d-tan")[0, hit] == 1


def test_the_threshold_of_suppression_follows_m_in_tall_alone() -> None:
    better, worse, window = (0.0, 10.0), (0.0, 6.0), (0.0, 6.0)  # .6 apart
    moments = [better, worse, (20.0, 21.0), (22.0, 23.0), (24.0, 25.0)]
    column = STATISTICS.index("R@5, IoU=0.7")
    assert moment_rows([moments], [[window]], "tall")[0, column] == 1  # .65 keeps it
    assert moment_rows([moments], [[window]], "2d-tan")[0, column] == 0


def test_disjoint_moments_have_a_negative_overlap_only_in_tall_s_formula() -> None:
    assert temporal_iou((0, 1), (3, 5)) == 0
    assert temporal_iou((0, 1), (3, 5), clip=False) == -2 / 5
    assert temporal_iou((2, 2), (2, 2)) == 0
    assert suppress([(2, 2), (2, 2), (3, 3)], 0.5) == [0]


def test_the_best_of_a_query_s_windows_counts() -> None:
    row = moment_rows([[(5.0, 6.0)] * 5], [[(0.0, 1.0), (5.0, 6.0)]])
    assert row.tolist() == [[1] * 8]


# ---------------------------------------------------------------- n/a, missing and invalid


def test_recall_at_5_of_fewer_moments_is_not_available() -> None:
    windows = [[(0.0, 1.0)]] * 2
    few = score_moments([[(0, 1)] * 5, [(0, 1)] * 4], windows)
    for name, value in few.values.items():
        assert value == (None if name.startswith("R@5") else 1.0)
    enough = score_moments([[(0, 1)] * 5, [(0, 1)] * 6], windows)
    assert set(enough.values.values()) == {1.0}


def test_a_missing_prediction_is_a_miss_and_makes_nothing_unavailable() -> None:
    scores = score_moments([[(0, 1)] * 5, None, [[3, 2]]], [[(0.0, 1.0)]] * 3)
    assert set(scores.values.values()) == {1 / 3}
    assert scores.samples == 3
    assert scores.invalid == {1: "no moments", 2: "moment 0 is inverted: 3 to 2"}


def test_weighted_rows_give_the_metrics() -> None:
    rows = moment_rows([[(0.0, 1.0)], [(0.0, 2.0)]], [[(0.0, 1.0)]] * 2)
    sums = np.array([[1, 1], [0, 3], [0, 0]]) @ rows
    assert moment_statistic(sums, "mIoU")[:2].tolist() == [0.75, 0.5]
    assert moment_statistic(sums, "R@1, IoU=0.7")[:2].tolist() == [0.5, 0]
    assert np.isnan(moment_statistic(sums, "R@5, IoU=0.7")).all()
    assert np.isnan(moment_statistic(sums, "mIoU")[2])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no moments"),
        ([], "no moments"),
        ("0-1", "a list of pairs, not str"),
        ([0, 1], "moment 0 is no pair"),
        ([[0, 1], [1, 2, 0.9]], "moment 1 is no pair"),
        ([[0, "1"]], "moment 0 has numbers, not str"),
        ([[0, True]], "moment 0 has numbers, not bool"),
        ([[0, math.nan]], "moment 0 is not finite"),
        ([[0, math.inf]], "moment 0 is not finite"),
        ([[0, 10**400]], "moment 0 is not finite or lies beyond 1e9"),
        ([[0, 1], [2, 1]], "moment 1 is inverted: 2 to 1"),
    ],
)
def test_what_is_no_list_of_moments_has_a_reason(value: Any, reason: str) -> None:
    parsed = parse_moments(value)
    assert isinstance(parsed, str)
    assert parsed.startswith(reason) or reason in parsed


def test_moments_of_any_real_numbers_are_read() -> None:
    expected = [(0, 1.5), (2, 2)]
    for value in ([[0, 1.5], (2, 2)], np.array(expected, np.float32), [np.array([0, 1.5]), [2, 2]]):
        assert parse_moments(value) == expected


def test_bad_calls_are_refused() -> None:
    unknown: Any = "ctrl"
    with pytest.raises(ValueError, match="plain, tall, 2d-tan"):
        moment_rows([], [], unknown)
    with pytest.raises(ValueError, match="1 predictions for 0"):
        moment_rows([None], [])
    with pytest.raises(ValueError, match="target 1: no moments"):
        moment_rows([None, None], [[(0.0, 1.0)], []])
    with pytest.raises(ValueError, match="prediction 0 is empty"):
        moment_rows([[]], [[(0.0, 1.0)]])
    with pytest.raises(ValueError, match=r"\(\.\.\., 2\)"):
        temporal_iou([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="no samples"):
        score_moments([], [])
    assert moment_rows([], []).shape == (0, 8)


# ---------------------------------------------------------------- DiDeMo

ALL_CHUNKS: list[Chunks] = [(first, last) for first in range(6) for last in range(first, 6)]


def slow_didemo(ranking: list[Chunks], times: list[Chunks]) -> tuple[bool, bool, float]:
    ious, ranks = [], []
    for first, last in times:
        theirs, ours = set(range(first, last + 1)), set(range(ranking[0][0], ranking[0][1] + 1))
        ious.append(len(theirs & ours) / len(theirs | ours))
        ranks.append(ranking.index((first, last)) + 1)
    rank = sum(sorted(ranks)[:3]) / 3
    return rank <= 1, rank <= 5, sum(sorted(ious, reverse=True)[:3]) / 3


def test_4_000_random_descriptions_score_as_by_didemo_s_rule() -> None:
    generator = random.Random(0)
    rankings, targets = [], []
    for _ in range(4000):
        rankings.append(generator.sample(ALL_CHUNKS, 21))
        likely = rankings[-1][: generator.randrange(1, 9)]
        targets.append(generator.choices(likely, k=generator.choice([4, 4, 5, 7])))
    rows = didemo_rows(rankings, targets)
    for row, ranking, times in zip(rows.tolist(), rankings, targets, strict=True):
        hit1, hit5, iou = slow_didemo(ranking, times)
        assert row == pytest.approx([float(hit1), float(hit5), iou, 1.0], abs=1e-12)
    assert 0.1 < rows[:, 0].mean() < rows[:, 1].mean() < 1


def test_didemo_s_chunks_include_both_ends() -> None:
    assert didemo_iou((1, 1), (1, 2)) == 0.5
    assert didemo_iou((1, 1), (1, 1)) == 1
    assert didemo_iou((0, 1), (2, 5)) == 0


def test_the_fourth_annotator_does_not_count_and_the_third_does() -> None:
    two = [(0, 0), (0, 0), (5, 5), (5, 5)]
    three: list[Chunks] = [(0, 0), (0, 0), (0, 0), (5, 5)]
    scores = [didemo_rows([ALL_CHUNKS], [times])[0].tolist() for times in (three, two)]
    assert scores[0] == [1, 1, 1, 1]
    assert scores[1] == pytest.approx([0, 0, 2 / 3, 1])


def test_a_moment_that_the_ranking_lacks_is_never_found() -> None:
    ranking: list[Chunks] = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    assert didemo_rows([ranking], [[(0, 0), (0, 0), (5, 5), (5, 5)]])[0, :2].tolist() == [0, 0]


def test_didemo_s_rank_at_5_of_fewer_moments_is_not_available() -> None:
    times: list[list[Chunks]] = [[(0, 0)] * 4] * 2
    few = score_didemo([[(0, 0)], [[0, 0]] * 5], times)
    assert few.values == {"rank@1": 1, "rank@5": None, "mIoU": 1}
    missing = score_didemo([None, [[0, 0]] * 5], times)
    assert missing.values == {"rank@1": 0.5, "rank@5": 0.5, "mIoU": 0.5}
    assert missing.invalid == {0: "no moments"}


def test_what_is_no_list_of_chunks_has_a_reason() -> None:
    assert parse_chunks([[0, 5], (1.0, 2)]) == [(0, 5), (1, 2)]
    assert parse_chunks([[0, 0.5]]) == "moment 0 has no whole chunks: 0 to 0.5"
    for wrong in ([2, 1], [0, 6], [-1, 0]):
        assert "not within chunks 0 to 5" in parse_chunks([wrong])
    assert parse_chunks(None) == "no moments"
    with pytest.raises(ValueError, match="target 0: only 2 annotators"):
        didemo_rows([None], [[(0, 0)] * 2])
    with pytest.raises(ValueError, match="target 0: moment 1 is not within"):
        didemo_rows([None], [[(0, 0), (0, 6), (0, 0)]])
    with pytest.raises(ValueError, match="prediction 0 is empty"):
        didemo_rows([[]], [[(0, 0)] * 4])


def test_the_prior_counted_on_didemo_s_test_part_scores_as_officially_on_val() -> None:
    folder = DATA / "didemo"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; name the folder above it in HARNESS_DATA")
    parts = {
        name: [
            [(first, last) for first, last in entry["times"]]
            for entry in json.loads((folder / f"{name}_data.json").read_text(encoding="utf-8"))
        ]
        for name in ("test", "val")
    }
    counts = Counter(moment for times in parts["test"] for moment in times)
    prior = [moment for moment, _ in counts.most_common()]
    rows = didemo_rows([prior] * len(parts["val"]), parts["val"])
    values = {
        name: float(didemo_statistic(rows.sum(axis=0), name))
        for name in ("rank@1", "rank@5", "mIoU")
    }
    assert values == pytest.approx(
        {"rank@1": 0.186842, "rank@5": 0.697368, "mIoU": 0.252216}, abs=5e-7
    )
