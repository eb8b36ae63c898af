"""Open visual question answering: official VQA accuracy, and the field's result files.

A prediction is {"answer": text} with an optional "confidence", or {"uniform": true}: any answer of
the vocabulary with equal probability (the chance floor), scored by its exact expectation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import BadInput
from harness.metrics.vqa import Variant, vqa_accuracy
from harness.types import Answerer, Dataset, Json, Metric, Question, UniformAnswer

from .vqa_target import VqaTarget

if TYPE_CHECKING:
    from harness.types import FloatArray

MOST_ANSWER_CHARACTERS = 10_000


class VqaTask:
    """A Task: asks an Answerer, scores by VQA accuracy in its two named variants."""

    def predict(self, model: Answerer, inputs: Sequence[Question]) -> list[Json]:
        predictions: list[Json] = []
        for answer in model.answer(inputs):
            if isinstance(answer, UniformAnswer):
                predictions.append({"uniform": True})
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

    def metrics(self, dataset: Dataset) -> list[Metric]:
        return [
            _metric("accuracy", "official", dataset.answers),
            _metric("accuracy-always-normalise", "always-normalise", dataset.answers),
        ]

    def read_results(self, path: Path) -> dict[str, Json]:
        """The official results format, [{"question_id": ..., "answer": "..."}, ...]."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise BadInput(
                f"{path}: line {error.lineno}, column {error.colno}: broken JSON ({error.msg}); "
                "write the file again"
            ) from None
        except (OSError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(f"{path}: cannot be read ({error}); correct the path") from None
        if not isinstance(content, list):
            raise BadInput(f'{path}: must be a list of {{"question_id", "answer"}} objects')
        results: dict[str, Json] = {}
        for number, entry in enumerate(content):
            id, answer = _result(path, number, entry)
            if id in results:
                raise BadInput(
                    f"{path}: record {number}: question_id {id} comes a second time; keep one"
                )
            results[id] = {"answer": answer}
        return results


TASK = VqaTask()


def _result(path: Path, number: int, entry: object) -> tuple[str, str]:
    if not isinstance(entry, dict) or "question_id" not in entry or "answer" not in entry:
        raise BadInput(f"{path}: record {number}: needs question_id and answer; add them")
    if not isinstance(entry["answer"], str):
        raise BadInput(f"{path}: record {number}: answer is no text; write it in quotes")
    return str(entry["question_id"]), entry["answer"]


def _metric(name: str, variant: Variant, vocabulary: tuple[str, ...]) -> Metric:
    """Accuracy as a mean; a sample's statistics are (accuracy, 1)."""

    def rows(predictions: Sequence[Json | None], targets: Sequence[VqaTarget]) -> FloatArray:
        scores = [
            _accuracy(prediction, target, variant, vocabulary)
            for prediction, target in zip(predictions, targets, strict=True)
        ]
        return np.array([(score, 1.0) for score in scores]).reshape(-1, 2)

    return Metric(name, variant, rows, mean_of_rows)


def mean_of_rows(sums: FloatArray) -> FloatArray:
    """(..., 2) sums of (value, 1) -> (...) means; nan where nothing was drawn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def _accuracy(
    prediction: Json | None, target: VqaTarget, variant: Variant, vocabulary: tuple[str, ...]
) -> float:
    if prediction is None:
        return 0.0
    if prediction.get("uniform") is True:
        if not vocabulary:
            raise BadInput("the data set has no answer vocabulary, over which chance is uniform")
        # only answers that an annotator gave can score
        return sum(vqa_accuracy(a, target.answers, variant) for a in vocabulary) / len(vocabulary)
    return vqa_accuracy(prediction["answer"], target.answers, variant)
