"""Open visual question answering: official VQA accuracy, and the field's result files.

A prediction is {"answer": text} with an optional "confidence", or {"uniform": true}: any answer of
the vocabulary with equal probability (the chance floor), scored by its exact expectation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import BadInput
from harness.metrics.vqa import Variant, normalize_answer, vqa_accuracy
from harness.types import (
    Answer,
    Answerer,
    Dataset,
    Json,
    Metric,
    Question,
    Sample,
    Shown,
    UniformAnswer,
)

from .datasets.json_files import read_json
from .targets import VqaTarget

if TYPE_CHECKING:
    from harness.types import FloatArray

MOST_ANSWER_CHARACTERS = 10_000


class VqaTask:
    """A Task: asks an Answerer, scores by VQA accuracy in its two named variants."""

    form = '{"answer": "yes"}'

    def predict(self, model: Answerer, inputs: Sequence[Question]) -> list[Json]:
        predictions: list[Json] = []
        for answer in model.answer(inputs):
            if isinstance(answer, UniformAnswer):
                predictions.append({"uniform": True})
            elif not isinstance(answer, Answer):
                raise TypeError(f"an open question wants an Answer, not {type(answer).__name__}")
            elif answer.confidence is None:
                predictions.append({"answer": answer.text})
            else:
                predictions.append({"answer": answer.text, "confidence": float(answer.confidence)})
        return predictions

    def invalid(self, prediction: Json) -> str | None:
        if prediction.get("uniform") is True:
            return None
        answer = prediction.get("answer")
        if not isinstance(answer, str):
            return "no text under 'answer'"
        if len(answer) > MOST_ANSWER_CHARACTERS:
            return f"the answer has {len(answer):,} characters"
        return None

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> list[Metric]:
        return [
            _metric("accuracy", "official", dataset.answers),
            _metric("accuracy-always-normalise", "always-normalise", dataset.answers),
        ]

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        """The official results format, [{"question_id": ..., "answer": "..."}, ...]."""
        content = read_json(path, "write it again")
        if not isinstance(content, list):
            raise BadInput(
                f'{path}: must be a list of {{"question_id", "answer"}} objects; write it so'
            )
        results: dict[str, Json] = {}
        for number, entry in enumerate(content):
            id, answer = _result(path, number, entry)
            if id in results:
                raise BadInput(
                    f"{path}: record {number}: question_id {id} comes a second time; keep one"
                )
            results[id] = {"answer": answer}
        return results

    def show(self, sample: Sample) -> Shown:
        answers = Counter(sample.target.answers).most_common()
        counted = ", ".join(f"{answer} ({count})" for answer, count in answers)
        return Shown([("question", sample.input.text), ("answers", counted)])

    def show_prediction(self, prediction: Json, sample: Sample | None) -> Shown:
        anything = "any answer of the vocabulary, with equal probability"
        return Shown([("answer", str(prediction.get("answer", anything)))])


TASK = VqaTask()


def _result(path: Path, number: int, entry: object) -> tuple[str, str]:
    if not isinstance(entry, dict) or "question_id" not in entry or "answer" not in entry:
        raise BadInput(f"{path}: record {number}: needs question_id and answer; add them")
    if not isinstance(entry["answer"], str):
        raise BadInput(f"{path}: record {number}: answer is no text; write it in quotes")
    return str(entry["question_id"]), entry["answer"]


def _metric(name: str, variant: Variant, vocabulary: tuple[str, ...]) -> Metric:
    """Accuracy as a mean; a sample's statistics are (accuracy, 1)."""

    by_form: dict[str, list[str]] = {}
    for answer in vocabulary:
        by_form.setdefault(normalize_answer(answer), []).append(answer)

    def uniform(target: VqaTarget) -> float:
        """The mean accuracy over the vocabulary. Only an answer whose normal form some annotator
        gave can score; equal answers have equal normal forms."""
        if not vocabulary:
            raise BadInput("the data set has no answer vocabulary, over which chance is uniform")
        forms = {normalize_answer(answer) for answer in target.answers}
        likely = [answer for form in forms for answer in by_form.get(form, ())]
        scores = [vqa_accuracy(answer, target.answers, variant) for answer in sorted(likely)]
        return sum(scores) / len(vocabulary)

    def rows(predictions: Sequence[Json | None], targets: Sequence[VqaTarget]) -> FloatArray:
        scores = [
            uniform(target)
            if prediction is not None and prediction.get("uniform") is True
            else _accuracy(prediction, target, variant)
            for prediction, target in zip(predictions, targets, strict=True)
        ]
        return np.array([(score, 1.0) for score in scores]).reshape(-1, 2)

    return Metric(name, variant, rows, mean_of_rows)


def mean_of_rows(sums: FloatArray) -> FloatArray:
    """(..., 2) sums of (value, 1) -> (...) means; nan where nothing was drawn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def _accuracy(prediction: Json | None, target: VqaTarget, variant: Variant) -> float:
    if prediction is None:
        return 0.0
    return vqa_accuracy(prediction["answer"], target.answers, variant)
