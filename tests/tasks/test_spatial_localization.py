"""The task of boxes: predictions, rows against a plain loop, conventions, invalid ones."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.tasks.spatial_localization import TASK
from harness.tasks.specs import SPATIAL
from harness.tasks.targets import BoxTarget
from harness.types import Dataset, Expression, Json, Metric, Picture, Sample

Box = tuple[float, float, float, float]

DATASET = Dataset("set", "test", (), "")
RULES = SPATIAL.rules
PIXELS = {"exclusive": 0, "plus-one": 1, "mattnet": 0}
LEAST = {"exclusive": 0, "plus-one": 0, "mattnet": 1}  # an overlap must be wider than that


def metrics(**rules: str) -> dict[str, Metric]:
    given = {name.replace("_", "-"): choice for name, choice in rules.items()}
    return {metric.name: metric for metric in TASK.metrics(DATASET, given)}


def expression(text: str) -> Expression:
    return Expression(Picture(text, lambda: np.zeros((1, 1, 3), dtype=np.uint8)), text)


class Model:
    def __init__(self, boxes: Sequence[Any]) -> None:
        self.boxes = boxes

    def locate(self, expressions: Sequence[Expression]) -> Sequence[Any]:
        return self.boxes


def predict(*boxes: Any) -> list[Json]:
    return TASK.predict(Model(boxes), [expression(str(i)) for i in range(len(boxes))])


# ---------------------------------------------------------------- predictions


def test_boxes_become_json_objects_in_order() -> None:
    predictions = predict((1, 2, 3, 4), None, np.array([0.5, 1, 2, 3], dtype=np.float32))
    assert predictions == [{"box": [1, 2, 3, 4]}, {"box": None}, {"box": [0.5, 1, 2, 3]}]
    assert json.loads(json.dumps(predictions)) == predictions


def test_a_model_that_finds_nothing_is_counted_not_refused() -> None:
    assert TASK.invalid(predict(None)[0]) == "no box"


def test_odd_boxes_of_a_model_are_handed_on_to_be_counted() -> None:
    for box in [(1, 2, 3), (), (5, 5, 1, 9), (math.nan, 0, 1, 1), (0, 0, math.inf, 1)]:
        assert TASK.invalid(predict(box)[0]) is not None


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ({"box": [0, 0, 1, 1]}, None),
        ({"box": [0.5, 0, 0.5, 0]}, None),  # without area
        ({"box": [-5, -5, 3, 3]}, None),
        ({}, "no box"),
        ({"box": None}, "no box"),
        ({"bbox": [0, 0, 1, 1]}, "no box"),
        ({"box": "0 0 1 1"}, "not str"),
        ({"box": {"x": 1}}, "not dict"),
        ({"box": [0, 0, 1]}, "not 3"),
        ({"box": [0, 0, 1, 1, 1]}, "not 5"),
        ({"box": [0, 0, "1", 1]}, "not str"),
        ({"box": [0, 0, True, 1]}, "not bool"),
        ({"box": [0, 0, None, 1]}, "not NoneType"),
        ({"box": [0, 0, [1], 1]}, "not list"),
        ({"box": [0, 0, math.nan, 1]}, "not finite"),
        ({"box": [0, 0, math.inf, 1]}, "not finite"),
        ({"box": [0, 0, 10**400, 1]}, "beyond 1e9"),
        ({"box": [3, 0, 1, 1]}, "inverted"),
        ({"box": [0, 3, 1, 1]}, "inverted"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_scored_says_why(prediction: Json, reason: str | None) -> None:
    found = TASK.invalid(prediction)
    assert found is None if reason is None else found is not None and reason in found


numbers = st.integers() | st.floats() | st.just(10**400)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(anything | st.lists(numbers, min_size=4, max_size=4))
def test_whatever_stands_there_is_scored_or_has_a_reason(value: Any) -> None:
    prediction = {"box": value}
    if TASK.invalid(prediction) is None:
        for metric in metrics().values():
            rows = metric.rows([prediction], [BoxTarget((0, 0, 2, 2))])
            assert np.all((rows >= 0) & (rows <= 1))


# ---------------------------------------------------------------- rows


def slow_iou(a: Box, b: Box, convention: str) -> float:
    pixel, least = PIXELS[convention], LEAST[convention]
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    shared = width * height if width > least and height > least else 0.0
    areas = [(box[2] - box[0] + pixel) * (box[3] - box[1] + pixel) for box in (a, b)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0


def random_boxes(seed: int, count: int, reach: int = 5) -> list[Box]:
    """Of whole pixels, so that an overlap of exactly half is common, and one of 0 too."""
    ends = np.sort(np.random.default_rng(seed).integers(0, reach, (count, 2, 2)), axis=1)
    return [(x1, y1, x2, y2) for (x1, y1), (x2, y2) in ends.astype(float).tolist()]


@pytest.mark.parametrize("convention", RULES["box-convention"])
@pytest.mark.parametrize("at_half", RULES["at-half"])
def test_12_000_random_boxes_score_as_by_a_plain_loop(convention: str, at_half: str) -> None:
    """Two thousand for each pair of rules."""
    ours, theirs = random_boxes(1, 2000), random_boxes(2, 2000)
    missing = set(range(0, 2000, 17))
    predictions = [None if i in missing else {"box": list(box)} for i, box in enumerate(ours)]
    expected = np.zeros((2000, 3))
    for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        iou = 0.0 if place in missing else slow_iou(a, b, convention)
        expected[place] = iou > 0.5 or (at_half == "counts" and iou == 0.5), iou, 1
    found = metrics(box_convention=convention, at_half=at_half)
    for metric, column in ((found["accuracy"], 0), (found["mean-iou"], 1)):
        rows = metric.rows(predictions, [BoxTarget(box) for box in theirs])
        np.testing.assert_allclose(rows, expected, atol=1e-12, rtol=0)
        value = metric.aggregate(rows.sum(axis=0))
        assert value == pytest.approx(sum(expected[:, column]) / 2000, abs=1e-12)
    assert 0.005 < expected[:, 0].mean() < 0.5
    assert np.sum(expected[:, 1] == 0.5) > 5


def test_the_rules_stand_in_the_variants() -> None:
    assert [(m.name, m.variant) for m in metrics().values()] == [
        ("accuracy", "IoU>=.5,boxes=exclusive"),
        ("mean-iou", "boxes=exclusive"),
    ]
    assert tuple(metrics()) == SPATIAL.metrics
    variants = [
        tuple(metric.variant for metric in metrics(box_convention=c, at_half=h).values())
        for c in RULES["box-convention"]
        for h in RULES["at-half"]
    ]
    assert len(set(variants)) == 6
    assert metrics(at_half="fails")["accuracy"].variant == "IoU>.5,boxes=exclusive"


def accuracy(box: Box, target: Box, **rules: str) -> float:
    metric = metrics(**rules)["accuracy"]
    return float(metric.aggregate(metric.rows([{"box": list(box)}], [BoxTarget(target)])[0]))


def test_exactly_half_counts_unless_the_rule_says_it_fails() -> None:
    assert accuracy((0, 0, 10, 5), (0, 0, 10, 10)) == 1
    assert accuracy((0, 0, 10, 5), (0, 0, 10, 10), at_half="fails") == 0
    assert accuracy((0, 0, 10, 6), (0, 0, 10, 10), at_half="fails") == 1


def test_the_conventions_change_the_number_as_documented() -> None:
    """A box of 1 by 3 in one of 2 by 4: .375; with a pixel more (2 * 4) / (3 * 5) = .533. MAttNet
    takes an overlap one pixel wide for none."""
    small, large = (0, 0, 1, 3), (0, 0, 2, 4)
    values = {
        name: metrics(box_convention=name)["mean-iou"].rows(
            [{"box": list(small)}], [BoxTarget(large)]
        )[0, 1]
        for name in RULES["box-convention"]
    }
    expected = {"exclusive": 0.375, "plus-one": 8 / 15, "mattnet": 0.0}
    assert values == pytest.approx(expected, abs=1e-12)
    assert accuracy(small, large) == 0
    assert accuracy(small, large, box_convention="plus-one") == 1


def test_a_missing_prediction_has_the_worst_row_and_counts() -> None:
    for metric in metrics().values():
        targets = [BoxTarget((0, 0, 2, 2))] * 2
        rows = metric.rows([None, {"box": [0, 0, 2, 2]}], targets)
        np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 1, 1]])
        assert metric.aggregate(rows.sum(axis=0)) == 0.5


def test_no_samples_have_rows_but_no_value() -> None:
    for metric in metrics().values():
        rows = metric.rows([], [])
        assert rows.shape == (0, 3)
        assert np.isnan(metric.aggregate(rows.sum(axis=0)))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4)), min_size=1, max_size=12))
def test_weighted_rows_give_the_metric_of_repeated_samples(drawn: list[tuple[int, int]]) -> None:
    ours, theirs = random_boxes(3, 51), random_boxes(4, 51)
    weights = np.array([weight for _, weight in drawn], dtype=np.float64)
    repeated = [place for place, weight in drawn for _ in range(weight)]
    for metric in metrics().values():

        def rows(places: Sequence[int], metric: Metric = metric) -> Any:
            given = [{"box": list(ours[i])} if i % 5 else None for i in places]
            return metric.rows(given, [BoxTarget(theirs[i]) for i in places])

        value = metric.aggregate(weights @ rows([place for place, _ in drawn]))
        expected = metric.aggregate(rows(repeated).sum(axis=0))
        np.testing.assert_allclose(value, expected, atol=1e-12)
        both = metric.aggregate(np.stack([weights, 3 * weights]) @ rows([p for p, _ in drawn]))
        np.testing.assert_allclose(both, [expected, expected], atol=1e-12)


# ---------------------------------------------------------------- files and people


def test_result_files_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(
        json.dumps([{"id": 1, "bbox": [1, 2, 3, 4]}, {"id": "2", "box": [5, 5, 1, 1]}]),
        encoding="utf-8",
    )
    read = TASK.read_results(path, DATASET)
    assert read == {"1": {"box": [1, 2, 4, 6]}, "2": {"box": [5, 5, 1, 1]}}
    assert [TASK.invalid(prediction) is None for prediction in read.values()] == [True, False]
    path.write_text("{", encoding="utf-8")
    with pytest.raises(BadInput, match="not JSON"):
        TASK.read_results(path, DATASET)


def test_a_person_sees_the_expression_and_the_right_box() -> None:
    sample = Sample("1", expression("the left cup"), BoxTarget((1, 2, 3, 4)), "p")
    shown = TASK.show(sample)
    assert list(shown.lines) == [("expression", "the left cup")]
    assert list(shown.boxes) == [("right", (1, 2, 3, 4))]
    assert not shown.moments
