"""Boxes against transcriptions of three codes' rules, and the pitfalls that were seen in them."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from harness.metrics.box import (
    Box,
    Convention,
    box_accuracy,
    box_iou,
    box_rows,
    mean_iou,
    parse_box,
    score_boxes,
)

# ---------------------------------------------------------------- the rules, slowly


def slow_exclusive(a: Box, b: Box) -> Fraction:
    """By counting unit cells; whole coordinates only."""
    cells = [
        {(x, y) for x in range(int(x1), int(x2)) for y in range(int(y1), int(y2))}
        for x1, y1, x2, y2 in (a, b)
    ]
    union = len(cells[0] | cells[1])
    return Fraction(len(cells[0] & cells[1]), union) if union else Fraction(0)


def slow_plus_one(a: Box, b: Box) -> Fraction:
    """By counting pixels, the far ones included."""
    wider = [(x1, y1, x2 + 1, y2 + 1) for x1, y1, x2, y2 in (a, b)]
    return slow_exclusive(wider[0], wider[1])


def slow_mattnet(a: Box, b: Box) -> Fraction:
    """From x, y, w, h, as there."""
    (ax, ay, ar, ab), (bx, by, br, bb) = ([int(end) for end in box] for box in (a, b))
    aw, ah, bw, bh = ar - ax, ab - ay, br - bx, bb - by
    left, top = max(ax, bx), max(ay, by)
    right, bottom = min(ax + aw - 1, bx + bw - 1), min(ay + ah - 1, by + bh - 1)
    shared = 0
    if left < right and top < bottom:
        shared = (right - left + 1) * (bottom - top + 1)
    union = aw * ah + bw * bh - shared
    return Fraction(shared, union) if union else Fraction(0)


SLOW = {"exclusive": slow_exclusive, "plus-one": slow_plus_one, "mattnet": slow_mattnet}


def random_box(generator: random.Random) -> Box:
    x1, y1 = generator.randrange(8), generator.randrange(8)
    return x1, y1, x1 + generator.randrange(8), y1 + generator.randrange(8)


@pytest.mark.parametrize("convention", ["exclusive", "plus-one", "mattnet"])
def test_4_000_random_pairs_overlap_as_counted(convention: Convention) -> None:
    generator = random.Random(convention)
    pairs = [(random_box(generator), random_box(generator)) for _ in range(4000)]
    first, second = (np.array(boxes) for boxes in zip(*pairs, strict=True))
    ious = box_iou(first, second, convention)
    expected = [SLOW[convention](a, b) for a, b in pairs]
    assert ious.tolist() == [float(value) for value in expected]
    assert box_iou(second, first, convention).tolist() == ious.tolist()
    assert len(set(expected)) > 100
    for comparison in (">=", ">"):
        rows = box_rows([a for a, _ in pairs], [b for _, b in pairs], convention, comparison)
        half = Fraction(1, 2)
        hits = [value >= half if comparison == ">=" else value > half for value in expected]
        assert rows[:, 0].tolist() == hits
        assert rows[:, 1].tolist() == ious.tolist()
        assert rows[:, 2].tolist() == [1] * 4000


def test_scale_and_place_do_not_move_the_exclusive_overlap() -> None:
    generator = random.Random(0)
    for _ in range(500):
        a, b = random_box(generator), random_box(generator)
        moved = [tuple(end / 640 + 0.25 for end in box) for box in (a, b)]
        assert box_iou(moved[0], moved[1]) == pytest.approx(float(slow_exclusive(a, b)), abs=1e-12)


# ---------------------------------------------------------------- what was seen


def test_the_conventions_disagree_across_the_threshold() -> None:
    a, b = (0, 0, 10, 30), (3, 2, 13, 32)
    assert box_iou(a, b, "plus-one") == pytest.approx(0.516, abs=5e-4)
    assert box_iou(a, b, "mattnet") == pytest.approx(0.485, abs=5e-4)
    assert box_iou(a, b, "exclusive") == pytest.approx(0.485, abs=5e-4)


def test_plus_one_makes_disjoint_boxes_overlap_on_normalised_coordinates() -> None:
    a, b = (0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 1.0, 1.0)
    assert box_iou(a, b, "plus-one") == pytest.approx(0.168, abs=5e-4)
    assert box_iou(a, b, "exclusive") == box_iou(a, b, "mattnet") == 0


def test_mattnet_takes_an_overlap_of_one_pixel_for_none() -> None:
    assert box_iou((0, 0, 4, 4), (3, 0, 7, 4), "exclusive") == 4 / 28
    assert box_iou((0, 0, 4, 4), (3, 0, 7, 4), "mattnet") == 0
    assert box_iou((0, 0, 4, 4), (2, 0, 6, 4), "mattnet") == 8 / 24
    assert box_iou((3, 3, 4, 4), (3, 3, 4, 4), "mattnet") == 0


def test_an_identical_box_read_in_the_wrong_format_scores_a_quarter() -> None:
    target = parse_box([10, 10, 20, 20], "xywh")
    assert not isinstance(target, str)
    assert list(target) == [10, 10, 30, 30]
    right = score_boxes([[10, 10, 20, 20]], [target], format="xywh")
    wrong = score_boxes([[10, 10, 20, 20]], [target], format="xyxy")
    assert (right.accuracy, right.mean_iou) == (1, 1)
    assert (wrong.accuracy, wrong.mean_iou) == (0, 0.25)


def test_exactly_half_is_a_hit_unless_the_comparison_is_strict() -> None:
    prediction, target = (0, 0, 10, 5), (0, 0, 10, 10)
    assert box_iou(prediction, target) == 0.5
    assert box_rows([prediction], [target]).tolist() == [[1, 0.5, 1]]
    assert box_rows([prediction], [target], comparison=">").tolist() == [[0, 0.5, 1]]


def test_boxes_without_area_overlap_nothing_but_in_pixels() -> None:
    point = (3, 3, 3, 3)
    assert box_iou(point, point) == box_iou(point, (0, 0, 9, 9)) == 0
    assert box_iou(point, point, "plus-one") == 1


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no box"),
        ("1 2 3 4", "not str"),
        ({"x": 1}, "not dict"),
        (7, "not int"),
        ([], "four numbers, not 0"),
        ([1, 2, 3], "four numbers, not 3"),
        ([1, 2, 3, 4, 0.9], "four numbers, not 5"),
        ([1, 2, 3, "4"], "not str"),
        ([1, 2, 3, None], "not NoneType"),
        ([0, 0, True, True], "not bool"),
        ([0, 0, 1, 1j], "not complex"),
        ([[0, 0, 1, 1]], "four numbers, not 1"),
        ([0, 0, math.nan, 1], "not finite"),
        ([0, 0, math.inf, 1], "not finite"),
        ([0, 0, 10**400, 1], "beyond 1e9"),
        ([5, 0, 4, 1], "inverted: (5, 0) to (4, 1)"),
        ([0, 5, 1, 4], "inverted"),
    ],
)
def test_what_is_no_box_has_a_reason_and_scores_0(value: Any, reason: str) -> None:
    parsed = parse_box(value)
    assert isinstance(parsed, str)
    scores = score_boxes([value, [0, 0, 1, 1]], [(0, 0, 1, 1)] * 2)
    assert (scores.accuracy, scores.mean_iou, scores.samples) == (0.5, 0.5, 2)
    assert scores.invalid == {0: parsed}
    assert reason in parsed


def test_boxes_of_any_real_numbers_are_read() -> None:
    for value in ([1, 2, 3, 4.5], (1, 2, 3, 4.5), np.array([1, 2, 3, 4.5], np.float32)):
        assert parse_box(value) == (1, 2, 3, 4.5)
    assert parse_box([np.int64(1), Fraction(2), 3, 4], "xywh") == (1, 2, 4, 6)
    assert parse_box([1, 2, 1, 2]) == (1, 2, 1, 2)
    assert parse_box([1, 2, -1, 2], "xywh") == "inverted: width -1, height 2"


# ---------------------------------------------------------------- sums and refusals


def test_weighted_rows_give_the_metrics() -> None:
    rows = box_rows([(0, 0, 2, 2), None, (0, 0, 2, 1)], [(0, 0, 2, 2)] * 3)
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 0, 0]])
    assert box_accuracy(weights @ rows)[:2].tolist() == [2 / 3, 1]
    assert mean_iou(weights @ rows)[:2].tolist() == [0.5, 2.5 / 3]
    assert np.isnan(box_accuracy(weights @ rows)[2])


def test_no_samples_have_rows_but_no_scores() -> None:
    assert box_rows([], []).shape == (0, 3)
    with pytest.raises(ValueError, match="no samples"):
        score_boxes([], [])


def test_bad_calls_are_refused() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    unknown: Any = "inclusive"
    with pytest.raises(ValueError, match="exclusive, plus-one, mattnet"):
        box_iou(box, box, unknown)
    with pytest.raises(ValueError, match="xyxy, xywh"):
        parse_box(box, unknown)
    with pytest.raises(ValueError, match="unknown comparison"):
        box_rows([box], [box], comparison=unknown)
    with pytest.raises(ValueError, match=r"\(\.\.\., 4\)"):
        box_iou([1, 2, 3], box)
    with pytest.raises(ValueError, match="between 0 and 1"):
        box_rows([box], [box], threshold=0)
    with pytest.raises(ValueError, match="1 predictions for 2"):
        box_rows([box], [box, box])
    with pytest.raises(ValueError, match="target 1: inverted"):
        box_rows([box, box], [box, (1, 0, 0, 1)])
