"""VCR: which of four answers is right, and given that one, which of four reasons. Scored by three
accuracies: Q->A, QA->R, and both right, Q->AR. Knows no data set.

A prediction is {"answer": index, "reason": index}, or the scores of the choices: "answer_scores"
(4) and "reason_scores" (4), or "reason_scores" {"0": (4), ... "3": (4)} by the answer they were
conditioned on, of which those of the right answer count (r2c, models/eval_q2ar.py). Tied best
scores share the hit.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.types import (
    Answerer,
    Choice,
    Dataset,
    Json,
    Metric,
    Question,
    ReasonedQuestion,
    Sample,
    Shown,
    UniformAnswer,
)

from .datasets.vcr_results import read_vcr_csv
from .targets import VcrTarget

if TYPE_CHECKING:
    from harness.types import FloatArray

CHOICES = 4
_COLUMNS = {"Q->A": 0, "QA->R": 1, "Q->AR": 2}


class VcrTask:
    """A Task: asks an Answerer twice about each item, first for the answer, then, with the right
    answer given, for the reason."""

    form = '{"answer": 0, "reason": 2}'

    def predict(self, model: Answerer, inputs: Sequence[ReasonedQuestion]) -> list[Json]:
        answers = model.answer([_answer_step(entry) for entry in inputs])
        reasons = model.answer([_reason_step(entry) for entry in inputs])
        return [
            {**_as_json("answer", answer), **_as_json("reason", reason)}
            for answer, reason in zip(answers, reasons, strict=True)
        ]

    def invalid(self, prediction: Json) -> str | None:
        return _wrong(prediction, "answer") or _wrong(prediction, "reason")

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> list[Metric]:
        return [
            Metric(name, "four choices, reason given the right answer", _rows, _Mean(column))
            for name, column in _COLUMNS.items()
        ]

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        """The leaderboard's csv."""
        return read_vcr_csv(path)

    def show(self, sample: Sample) -> Shown:
        entry, target = sample.input, sample.target
        lines = [("question", entry.text)]
        for what, choices, right in (
            ("answer", entry.answers, target.answer),
            ("reason", entry.reasons, target.reason),
        ):
            for index, text in enumerate(choices):
                lines.append((f"{what} {index}{' (right)' if index == right else ''}", text))
        boxes = [(f"[{index}]", one.box) for index, one in enumerate(entry.objects)]
        return Shown(lines, boxes=boxes)

    def show_prediction(self, prediction: Json, sample: Sample | None) -> Shown:
        lines = []
        for what in ("answer", "reason"):
            best = _best(prediction, what, None if sample is None else sample.target)
            entry = None if sample is None else sample.input
            for index in best:
                choices = () if entry is None else getattr(entry, f"{what}s")
                number = f"{what} {index}"
                lines.append((number, choices[index]) if choices else (what, number))
        return Shown(lines)


TASK = VcrTask()


def _answer_step(entry: ReasonedQuestion) -> Question:
    return Question(entry.visual, entry.text, entry.answers, entry.kind, entry.objects)


def _reason_step(entry: ReasonedQuestion) -> Question:
    return Question(entry.visual, entry.text, entry.reasons, entry.kind, entry.objects, entry.given)


def _as_json(what: str, choice: Any) -> Json:
    if isinstance(choice, UniformAnswer):
        return {f"{what}_scores": [0.0] * CHOICES}
    if not isinstance(choice, Choice):
        raise TypeError(f"a question with choices wants a Choice, not {type(choice).__name__}")
    scores = {f"{what}_scores": [float(s) for s in choice.scores]} if len(choice.scores) else {}
    return {what: operator.index(choice.index), **scores}


def _wrong(prediction: Json, what: str) -> str | None:
    """Why an answer or a reason cannot be scored."""
    index, scores = prediction.get(what), prediction.get(f"{what}_scores")
    if index is not None:
        if type(index) is not int or not 0 <= index < CHOICES:
            return f"{what} {index!r} is none of the choices 0 to {CHOICES - 1}"
        return None
    if scores is None:
        return f"no {what!r} and no '{what}_scores'"
    by_answer = isinstance(scores, dict) and what == "reason"  # an answer is conditioned on none
    given = list(scores.values()) if by_answer else [scores]
    if by_answer and set(scores) != {str(index) for index in range(CHOICES)}:
        return f"'{what}_scores' lacks those conditioned on some answer"
    for four in given:
        if not isinstance(four, list) or len(four) != CHOICES:
            return f"'{what}_scores' are not {CHOICES} numbers"
        if not all(type(s) in (int, float) and -math.inf < s < math.inf for s in four):
            return f"'{what}_scores' are not {CHOICES} finite numbers"
    return None


def _rows(predictions: Sequence[Json | None], targets: Sequence[VcrTarget]) -> FloatArray:
    """(samples, 4): the three hits, each in [0, 1], and 1."""
    rows = np.zeros((len(targets), 4))
    rows[:, 3] = 1.0
    for row, prediction, target in zip(rows, predictions, targets, strict=True):
        if prediction is not None:
            row[0] = _hit(prediction, "answer", target.answer, target)
            row[1] = _hit(prediction, "reason", target.reason, target)
            row[2] = row[0] * row[1]
    return rows


def _hit(prediction: Json, what: str, right: int, target: VcrTarget) -> float:
    if prediction.get(what) is not None:
        return float(prediction[what] == right)
    scores = prediction[f"{what}_scores"]
    if isinstance(scores, dict):
        scores = scores[str(target.answer)]
    best = max(scores)
    return float(scores[right] == best) / float(scores.count(best))


def _best(prediction: Json, what: str, target: VcrTarget | None) -> list[int]:
    """The choice that was taken, or all that share the best score."""
    if prediction.get(what) is not None:
        return [int(prediction[what])]
    scores = prediction[f"{what}_scores"]
    if isinstance(scores, dict):
        if target is None:
            return []
        scores = scores[str(target.answer)]
    return [index for index, score in enumerate(scores) if score == max(scores)]


class _Mean:
    """(..., 4) sums of rows -> (...) the mean of a column; nan where nothing was drawn."""

    def __init__(self, column: int) -> None:
        self._column = column

    def __call__(self, sums: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[..., self._column] / sums[..., 3])
