"""The task of open questions: predictions, rows and their aggregate, invalid ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.vqa import vqa_accuracy
from harness.tasks.targets import VqaTarget
from harness.tasks.vqa import MOST_ANSWER_CHARACTERS, TASK
from harness.types import Answer, Dataset, Metric, Picture, Question, UniformAnswer

VOCABULARY = ("yes", "no", "2", "two", "Red", "red", "hot-dog", "hot dog", "a", "")

annotators = st.lists(
    st.sampled_from([*VOCABULARY, "blue", "the red"]), min_size=10, max_size=10
).map(tuple)


def metrics(vocabulary: tuple[str, ...] = VOCABULARY) -> dict[str, Metric]:
    found = TASK.metrics(Dataset("set", "test", (), "", vocabulary), {})
    return {metric.name: metric for metric in found}


class Model:
    def __init__(self, answers: Sequence[Any]) -> None:
        self.answers = answers

    def answer(self, questions: Sequence[Question]) -> Sequence[Any]:
        return self.answers[: len(questions)]


def question(text: str) -> Question:
    return Question(Picture(text, lambda: np.zeros((1, 1, 3), dtype=np.uint8)), text)


def test_both_variants_have_their_names_the_official_one_first() -> None:
    found = TASK.metrics(Dataset("set", "test", (), "", VOCABULARY), {})
    assert [(metric.name, metric.variant) for metric in found] == [
        ("accuracy", "official"),
        ("accuracy-always-normalise", "always-normalise"),
    ]
    assert all(metric.higher_is_better and metric.percent for metric in found)


def test_the_variants_differ_where_annotators_agree() -> None:
    targets = [VqaTarget(("yes",) * 10)]
    values = {name: m.rows([{"answer": "Yes"}], targets)[0, 0] for name, m in metrics().items()}
    assert values == {"accuracy": 0.0, "accuracy-always-normalise": 1.0}


@given(annotators)
def test_any_answer_alike_scores_the_exact_expectation(answers: tuple[str, ...]) -> None:
    for metric in metrics().values():
        one_by_one = [
            vqa_accuracy(answer, answers, metric.variant)  # type: ignore[arg-type]
            for answer in VOCABULARY
        ]
        rows = metric.rows([{"uniform": True}], [VqaTarget(answers)])
        assert rows[0, 0] == pytest.approx(sum(one_by_one) / len(VOCABULARY), abs=1e-12)
        assert rows[0, 1] == 1.0


@given(annotators, st.sampled_from(VOCABULARY))
def test_a_row_is_the_accuracy_of_the_sample(answers: tuple[str, ...], prediction: str) -> None:
    for metric in metrics().values():
        expected = vqa_accuracy(prediction, answers, metric.variant)  # type: ignore[arg-type]
        rows = metric.rows([{"answer": prediction, "confidence": 0.1}], [VqaTarget(answers)])
        np.testing.assert_array_equal(rows, [[expected, 1.0]])


def test_a_missing_prediction_has_the_worst_row() -> None:
    for metric in metrics().values():
        rows = metric.rows([None, {"answer": ""}], [VqaTarget(("",) * 10)] * 2)
        np.testing.assert_array_equal(rows, [[0.0, 1.0], [1.0, 1.0]])


def test_no_samples_have_no_rows() -> None:
    assert metrics()["accuracy"].rows([], []).shape == (0, 2)


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 5)), min_size=1, max_size=20))
def test_the_aggregate_of_weighted_rows_is_the_weighted_mean(
    samples: list[tuple[int, int]],
) -> None:
    weights = np.array([weight for _, weight in samples], dtype=np.float64)
    targets = [VqaTarget(("red",) * matches + ("blue",) * (10 - matches)) for matches, _ in samples]
    for metric in metrics().values():
        rows = metric.rows([{"answer": "red"}] * len(samples), targets)
        value = metric.aggregate(weights @ rows)
        scores = [vqa_accuracy("red", target.answers) for target in targets]
        if weights.sum() == 0:
            assert np.isnan(value)
        else:
            expected = sum(w * s for w, s in zip(weights, scores, strict=True)) / weights.sum()
            assert value == pytest.approx(expected, abs=1e-12)
        several = metric.aggregate(np.stack([weights @ rows, 2 * weights @ rows]))
        assert several.shape == (2,)


def test_answers_become_json_objects_in_order() -> None:
    model = Model([Answer("yes", 0.25), Answer("no"), UniformAnswer()])
    predictions = TASK.predict(model, [question("a"), question("b"), question("c")])
    assert predictions == [
        {"answer": "yes", "confidence": 0.25},
        {"answer": "no"},
        {"uniform": True},
    ]
    assert json.loads(json.dumps(predictions)) == predictions


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_a_confidence_that_is_a_numpy_number_can_be_written_down(kind: type) -> None:
    """As most models have it."""
    predictions = TASK.predict(Model([Answer("yes", kind(0.5))]), [question("a")])
    assert json.loads(json.dumps(predictions)) == [{"answer": "yes", "confidence": 0.5}]


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ({"answer": "yes"}, None),
        ({"answer": ""}, None),
        ({"answer": "\ud800\u2028"}, None),
        ({"uniform": True}, None),
        ({"answer": "x" * MOST_ANSWER_CHARACTERS}, None),
        ({"answer": "x" * (MOST_ANSWER_CHARACTERS + 1)}, "10,001 characters"),
        ({}, "no text"),
        ({"answer": None}, "no text"),
        ({"answer": 2}, "no text"),
        ({"answer": ["yes"]}, "no text"),
        ({"uniform": False}, "no text"),
        ({"uniform": "yes"}, "no text"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_scored_says_why(prediction: dict[str, Any], reason: str | None) -> None:
    found = TASK.invalid(prediction)
    if reason is None:
        assert found is None
        for metric in metrics().values():
            metric.rows([prediction], [VqaTarget(("yes",) * 10)])
    else:
        assert found is not None
        assert reason in found


def test_a_prediction_that_is_valid_for_its_text_is_scored_by_its_text() -> None:
    """{"uniform": "yes"} is no uniform answer; the two checks must agree on that."""
    prediction = {"answer": "yes", "uniform": "no"}
    assert TASK.invalid(prediction) is None
    rows = metrics()["accuracy"].rows([prediction], [VqaTarget(("yes",) * 10)])
    np.testing.assert_array_equal(rows, [[1.0, 1.0]])
