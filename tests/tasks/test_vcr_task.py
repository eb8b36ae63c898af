"""The task of answers and reasons: what a model is asked, rows against a plain count, invalid
ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.tasks.specs import VQA
from harness.tasks.targets import VcrTarget
from harness.tasks.vcr import TASK
from harness.types import (
    Choice,
    Dataset,
    Json,
    Metric,
    NamedBox,
    Picture,
    Question,
    ReasonedQuestion,
    Sample,
    UniformAnswer,
)

DATASET = Dataset("set", "test", (), "")
NAMES = ("Q->A", "QA->R", "Q->AR")


def metrics() -> dict[str, Metric]:
    return {metric.name: metric for metric in TASK.metrics(DATASET, {})}


def entry(name: str) -> ReasonedQuestion:
    return ReasonedQuestion(
        visual=Picture(name, lambda: np.zeros((1, 1, 3), dtype=np.uint8)),
        text=f"Why is [0] {name}?",
        answers=tuple(f"{name} answer {place}" for place in range(4)),
        reasons=tuple(f"{name} reason {place}" for place in range(4)),
        objects=(NamedBox((0, 0, 9, 9), "person"),),
        given=f"{name} answer 2",
        kind="why",
    )


class Model:
    """Gives what `answer` says and remembers what it was asked."""

    def __init__(self, answer: Callable[[Question], Any]) -> None:
        self.choose = answer
        self.asked: list[Question] = []

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        self.asked += questions
        return [self.choose(question) for question in questions]


# ---------------------------------------------------------------- predictions


def test_the_model_is_asked_for_the_answer_and_given_the_right_one_for_the_reason() -> None:
    model = Model(lambda question: Choice(0))
    entries = [entry("a"), entry("b")]
    TASK.predict(model, entries)
    assert [question.text for question in model.asked] == [one.text for one in entries] * 2
    assert [question.choices for question in model.asked] == [
        *(one.answers for one in entries),
        *(one.reasons for one in entries),
    ]
    assert [question.given for question in model.asked] == ["", "", "a answer 2", "b answer 2"]
    assert all(question.objects == entries[0].objects for question in model.asked)
    assert all(question.kind == "why" for question in model.asked)


def test_choices_become_json_objects_in_order() -> None:
    def choose(question: Question) -> Choice | UniformAnswer:
        if question.given:
            return UniformAnswer()
        if question.text == "Why is [0] a?":
            return Choice(3)
        return Choice(1, (0.1, np.float32(0.5), 0.25, 0))  # type: ignore[arg-type]

    predictions = TASK.predict(Model(choose), [entry("a"), entry("b")])
    even = {"reason_scores": [0.0] * 4}
    assert predictions == [
        {"answer": 3, **even},
        {"answer": 1, "answer_scores": [0.1, 0.5, 0.25, 0], **even},
    ]
    assert json.loads(json.dumps(predictions)) == predictions
    assert [TASK.invalid(prediction) for prediction in predictions] == [None, None]


@pytest.mark.parametrize("scores", [np.array([0.1, 0.5, 0.2, 0.2]), [0.1, 0.5, 0.2, 0.2]])
def test_numbers_and_scores_may_be_numpy_s(scores: Any) -> None:
    choice = Choice(np.int64(1), scores)  # type: ignore[arg-type]
    (prediction,) = TASK.predict(Model(lambda question: choice), [entry("a")])
    expected = {"answer": 1, "reason": 1}
    assert prediction == expected | {f"{w}_scores": [0.1, 0.5, 0.2, 0.2] for w in expected}
    assert json.loads(json.dumps(prediction)) == prediction


@pytest.mark.parametrize("given", [None, "2", 2, {"answer": 2}, Choice("2"), Choice(1.7)])  # type: ignore[arg-type]
def test_what_is_no_choice_is_a_fault_of_the_model(given: Any) -> None:
    with pytest.raises(TypeError):
        TASK.predict(Model(lambda question: given), [entry("a")])


def test_more_answers_than_reasons_are_a_fault_of_the_model() -> None:
    class Uneven:
        def answer(self, questions: Sequence[Question]) -> list[Choice]:
            return [Choice(0)] * (1 if questions[0].given else 2)

    with pytest.raises(ValueError, match="shorter"):
        TASK.predict(Uneven(), [entry("a"), entry("b")])


EVEN = [0.25] * 4
BY_ANSWER = {str(place): EVEN for place in range(4)}


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ({"answer": 0, "reason": 3}, None),
        ({"answer_scores": EVEN, "reason": 3}, None),
        ({"answer_scores": [-3, 0, 10**300, 1.5], "reason_scores": BY_ANSWER}, None),
        ({"answer": 0, "answer_scores": "of no account", "reason_scores": EVEN}, None),
        ({}, "no 'answer'"),
        ({"answer": 1}, "no 'reason'"),
        ({"answer": None, "reason": None}, "no 'answer'"),
        ({"answer": 4, "reason": 0}, "answer 4"),
        ({"answer": -1, "reason": 0}, "answer -1"),
        ({"answer": 0, "reason": 9}, "reason 9"),
        ({"answer": True, "reason": 0}, "answer True"),
        ({"answer": 1.0, "reason": 0}, "answer 1.0"),
        ({"answer": "1", "reason": 0}, "answer '1'"),
        ({"answer": [1], "reason": 0}, "answer [1]"),
        ({"answer_scores": EVEN[:3], "reason": 0}, "not 4 numbers"),
        ({"answer_scores": [*EVEN, 0], "reason": 0}, "not 4 numbers"),
        ({"answer_scores": "1234", "reason": 0}, "not 4 numbers"),
        ({"answer_scores": [0, 0, math.nan, 1], "reason": 0}, "finite"),
        ({"answer_scores": [0, 0, math.inf, 1], "reason": 0}, "finite"),
        ({"answer_scores": [0, 0, "1", 1], "reason": 0}, "finite"),
        ({"answer_scores": [0, 0, True, 1], "reason": 0}, "finite"),
        ({"answer_scores": [0, 0, None, 1], "reason": 0}, "finite"),
        ({"answer": 0, "reason_scores": {"0": EVEN, "1": EVEN, "2": EVEN}}, "some answer"),
        ({"answer": 0, "reason_scores": {**BY_ANSWER, "4": EVEN}}, "some answer"),
        ({"answer": 0, "reason_scores": {}}, "some answer"),
        ({"answer": 0, "reason_scores": {**BY_ANSWER, "3": [1, 2]}}, "not 4 numbers"),
        ({"answer": 0, "reason_scores": {**BY_ANSWER, "3": None}}, "not 4 numbers"),
        ({"answer": 0, "reason_scores": [EVEN] * 4}, "finite"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_scored_says_why(prediction: Json, reason: str | None) -> None:
    found = TASK.invalid(prediction)
    if reason is None:
        assert found is None
        for metric in metrics().values():
            metric.rows([prediction], [VcrTarget(0, 0)])
    else:
        assert found is not None
        assert reason in found


def test_scores_of_answers_cannot_depend_on_the_answer() -> None:
    """Else scores that name each answer for itself would always be right."""
    always = {str(place): [float(place == other) for other in range(4)] for place in range(4)}
    assert TASK.invalid({"answer_scores": always, "reason": 0}) is not None


numbers = st.integers() | st.floats() | st.just(10**400)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("0123x"), inner),
    max_leaves=8,
)
fours = st.lists(numbers, min_size=4, max_size=4)
values = anything | fours | st.fixed_dictionaries(dict.fromkeys("0123", fours))


@given(st.dictionaries(st.sampled_from(["answer", "reason"]), values), values, values)
def test_whatever_stands_there_is_scored_or_has_a_reason(
    prediction: Json, answer_scores: Any, reason_scores: Any
) -> None:
    prediction |= {"answer_scores": answer_scores, "reason_scores": reason_scores}
    if TASK.invalid(prediction) is None:
        for metric in metrics().values():
            rows = metric.rows([prediction], [VcrTarget(1, 2)])
            assert np.all((rows >= 0) & (rows <= 1))


# ---------------------------------------------------------------- rows


def slow_share(scores: list[int], right: int) -> float:
    best = [place for place in range(4) if scores[place] == max(scores)]
    return 1 / len(best) if right in best else 0.0


def random_predictions(
    seed: int, count: int
) -> tuple[list[Json | None], list[VcrTarget], list[tuple[float, float]]]:
    """Of every form, with ties, and the hits they should have."""
    generator = np.random.default_rng(seed)
    forms = generator.integers(0, 4, count).tolist()
    answers, reasons = generator.integers(0, 4, (2, count)).tolist()
    chosen = generator.integers(0, 4, (count, 2)).tolist()
    scores = generator.integers(0, 3, (count, 5, 4)).tolist()
    predictions: list[Json | None] = []
    hits: list[tuple[float, float]] = []
    for form, right, why, (first, second), table in zip(
        forms, answers, reasons, chosen, scores, strict=True
    ):
        by_answer = {str(place): table[1 + place] for place in range(4)}
        answer_hit, reason_hit = slow_share(table[0], right), slow_share(table[1], why)
        if form == 0:
            predictions.append(None)
            hits.append((0, 0))
        elif form == 1:
            predictions.append({"answer": first, "reason": second})
            hits.append((float(first == right), float(second == why)))
        elif form == 2:
            predictions.append({"answer_scores": table[0], "reason_scores": table[1]})
            hits.append((answer_hit, reason_hit))
        else:
            predictions.append({"answer_scores": table[0], "reason_scores": by_answer})
            hits.append((answer_hit, slow_share(table[1 + right], why)))
    return predictions, list(map(VcrTarget, answers, reasons)), hits


def test_10_000_random_predictions_score_as_counted() -> None:
    predictions, targets, hits = random_predictions(0, 10_000)
    assert all(p is None or TASK.invalid(p) is None for p in predictions)
    expected = np.array([(answer, reason, answer * reason, 1) for answer, reason in hits])
    for column, (name, metric) in enumerate(metrics().items()):
        rows = metric.rows(predictions, targets)
        np.testing.assert_allclose(rows, expected, atol=1e-12, rtol=0)
        value = metric.aggregate(rows.sum(axis=0))
        assert value == pytest.approx(expected[:, column].mean(), abs=1e-12)
        assert name == NAMES[column]
        assert 0.02 < value < 0.5


def test_the_metrics_are_those_of_the_spec() -> None:
    for dataset in VQA.datasets:
        if dataset.variant is not None:
            assert dataset.variant.metrics == tuple(metrics()) == NAMES
            assert not dataset.variant.rules
    assert all(metric.percent and metric.higher_is_better for metric in metrics().values())


def hits_of(prediction: Json, target: VcrTarget) -> list[float]:
    return [float(m.aggregate(m.rows([prediction], [target])[0])) for m in metrics().values()]


def test_both_must_be_right() -> None:
    assert hits_of({"answer": 1, "reason": 2}, VcrTarget(1, 2)) == [1, 1, 1]
    assert hits_of({"answer": 1, "reason": 2}, VcrTarget(0, 2)) == [0, 1, 0]
    assert hits_of({"answer": 1, "reason": 2}, VcrTarget(1, 0)) == [1, 0, 0]


def test_tied_best_scores_share_the_hit() -> None:
    scores = {"answer_scores": [1, 1, 0, 0], "reason_scores": [0, 0, 0, 0]}
    assert hits_of(scores, VcrTarget(1, 2)) == [0.5, 0.25, 0.125]
    assert hits_of(scores, VcrTarget(3, 2)) == [0, 0.25, 0]


def test_the_reason_is_judged_given_the_right_answer_whatever_was_chosen() -> None:
    by_answer = {str(place): [float(place == reason) for reason in range(4)] for place in range(4)}
    prediction = {"answer_scores": [1, 0, 0, 0], "reason_scores": by_answer}
    assert hits_of(prediction, VcrTarget(2, 2)) == [0, 1, 0]
    assert hits_of(prediction, VcrTarget(2, 0)) == [0, 0, 0]


def test_a_model_without_preference_scores_a_quarter_and_a_sixteenth() -> None:
    (prediction,) = TASK.predict(Model(lambda question: UniformAnswer()), [entry("a")])
    assert hits_of(prediction, VcrTarget(3, 1)) == [0.25, 0.25, 0.0625]


def test_a_missing_prediction_has_the_worst_row_and_counts() -> None:
    for metric in metrics().values():
        rows = metric.rows([None, {"answer": 0, "reason": 0}], [VcrTarget(0, 0)] * 2)
        np.testing.assert_array_equal(rows, [[0, 0, 0, 1], [1, 1, 1, 1]])
        assert metric.aggregate(rows.sum(axis=0)) == 0.5


def test_no_samples_have_rows_but_no_value() -> None:
    for metric in metrics().values():
        assert metric.rows([], []).shape == (0, 4)
        assert np.isnan(metric.aggregate(np.zeros(4)))


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 4)), min_size=1, max_size=12))
def test_weighted_rows_give_the_metric_of_repeated_samples(drawn: list[tuple[int, int]]) -> None:
    predictions, targets, _ = random_predictions(1, 100)
    weights = np.array([weight for _, weight in drawn], dtype=np.float64)
    once = [place for place, _ in drawn]
    repeated = [place for place, weight in drawn for _ in range(weight)]
    for metric in metrics().values():
        rows = metric.rows([predictions[i] for i in once], [targets[i] for i in once])
        again = metric.rows([predictions[i] for i in repeated], [targets[i] for i in repeated])
        expected = metric.aggregate(again.sum(axis=0))
        np.testing.assert_allclose(metric.aggregate(weights @ rows), expected, atol=1e-12)
        several = metric.aggregate(np.stack([weights, 2 * weights]) @ rows)
        np.testing.assert_allclose(several, [expected, expected], atol=1e-12)


# ---------------------------------------------------------------- files and people


def test_the_leaderboard_s_csv_is_scored_given_the_right_answer(tmp_path: Path) -> None:
    columns = [f"answer_{place}" for place in range(4)]
    columns += [f"rationale_conditioned_on_a{i}_{j}" for i in range(4) for j in range(4)]
    scores = [0.0] * 20
    scores[1], scores[4 + 4 * 2 + 3] = 1.0, 1.0  # answer 1, and given answer 2 reason 3
    path = tmp_path / "results.csv"
    lines = [",".join(["annot_id", *columns]), ",".join(["val-0", *map(str, scores)])]
    path.write_text("\n".join(lines), encoding="utf-8")
    prediction = TASK.read_results(path, DATASET)["val-0"]
    assert TASK.invalid(prediction) is None
    assert hits_of(prediction, VcrTarget(2, 3)) == [0, 1, 0]
    assert hits_of(prediction, VcrTarget(1, 3)) == [1, 0.25, 0.25]
    path.write_text("annot_id\nval-0", encoding="utf-8")
    with pytest.raises(BadInput, match="no column"):
        TASK.read_results(path, DATASET)


def test_a_person_sees_all_choices_and_which_are_right() -> None:
    shown = TASK.show(Sample("1", entry("late"), VcrTarget(2, 0), "late"))
    lines = dict(shown.lines)
    assert lines["question"] == "Why is [0] late?"
    assert lines["answer 2 (right)"] == "late answer 2"
    assert lines["reason 0 (right)"] == "late reason 0"
    assert lines["answer 1"] == "late answer 1"
    assert len(shown.lines) == 9
    assert list(shown.boxes) == [("[0]", (0, 0, 9, 9))]
