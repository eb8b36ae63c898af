"""Captioning of pictures and of clips: BLEU, ROUGE-L, CIDEr, METEOR and SPICE by the rules of
coco-caption, and its result files. Knows no data set.

A prediction is {"caption": text}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from harness.errors import BadInput
from harness.metrics.caption import (
    Captions,
    bleu_aggregate,
    bleu_rows,
    cider_aggregate,
    cider_rows,
    rouge_l_aggregate,
    rouge_l_rows,
)
from harness.metrics.caption_meteor import meteor_aggregate, meteor_reason, meteor_rows
from harness.metrics.caption_spice import spice_aggregate, spice_reason, spice_rows
from harness.types import Captioner, Dataset, Json, Metric, Sample, Shown, Uncaptioned

from .datasets.json_files import read_json
from .targets import CaptionTarget

if TYPE_CHECKING:
    from harness.types import FloatArray

    Rows: TypeAlias = Callable[[Sequence[Json | None], Sequence[Any]], FloatArray]
    Aggregate: TypeAlias = Callable[[FloatArray], FloatArray]

_Predictions: TypeAlias = Sequence[Json | None]
_Targets: TypeAlias = Sequence[CaptionTarget]
_T = TypeVar("_T")

MOST_CAPTION_CHARACTERS = 10_000


class CaptioningTask:
    """A Task: asks a Captioner, scores against all references of a sample.

    Rules: `tokenizer` "ptb" (ours, which equals the official one) or "java" (the official one);
    `java-metrics` "on" or "off", which leaves METEOR and SPICE out.
    """

    form = '{"caption": "A red circle."}'

    def predict(self, model: Captioner, inputs: Sequence[Uncaptioned]) -> list[Json]:
        captions = model.caption([entry.visual for entry in inputs])
        return [{"caption": caption} for caption in captions]

    def invalid(self, prediction: Json) -> str | None:
        caption = prediction.get("caption")
        if not isinstance(caption, str):
            return "no text under 'caption'"
        if len(caption) > MOST_CAPTION_CHARACTERS:
            return f"the caption has {len(caption):,} characters"
        return None

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> list[Metric]:
        tokenizer = rules.get("tokenizer", "ptb")
        texts = _remembered(partial(_tokenised, tokenizer))
        captions = _remembered(lambda *given: Captions(*texts(*given)))
        bleu = _remembered(lambda *given: bleu_rows(captions(*given)))
        off = "switched off" if rules.get("java-metrics") == "off" else ""

        def metric(name: str, how: str, rows: Rows, aggregate: Aggregate, **more: Any) -> Metric:
            return Metric(name, f"{how},tokenizer={tokenizer}", rows, aggregate, **more)

        return [
            metric(
                "CIDEr",
                "coco-caption CIDEr-D",
                lambda *given: _cider_rows(captions(*given)),
                cider_aggregate,
                high=10.0,
                na="n-grams weigh by how few samples have them: a single sample has no CIDEr",
            ),
            *(
                metric(f"BLEU-{k}", "coco-caption", bleu, partial(bleu_aggregate, order=k))
                for k in (1, 2, 3, 4)
            ),
            metric(
                "ROUGE-L",
                "coco-caption",
                lambda *given: rouge_l_rows(captions(*given)),
                rouge_l_aggregate,
            ),
            metric(
                "METEOR",
                "1.5 jar",
                lambda *given: meteor_rows(*texts(*given)),
                meteor_aggregate,
                absent=off or meteor_reason(),
                slow=True,
            ),
            metric(
                "SPICE",
                "1.0 jar",
                lambda *given: spice_rows(*texts(*given)),
                spice_aggregate,
                absent=off or spice_reason(),
                slow=True,
            ),
        ]

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        """The COCO results format, [{"image_id": ..., "caption": "..."}, ...]; "video_id" and "id"
        serve as well."""
        content = read_json(path, "write it again")
        if not isinstance(content, list):
            raise BadInput(
                f'{path}: must be a list of {{"image_id", "caption"}} objects; write it so'
            )
        results: dict[str, Json] = {}
        for number, entry in enumerate(content):
            id, caption = _result(path, number, entry)
            if id in results:
                raise BadInput(
                    f"{path}: record {number}: image_id {id} comes a second time; keep one"
                )
            results[id] = {"caption": caption}
        return results

    def show(self, sample: Sample) -> Shown:
        references = sample.target.references
        return Shown([(f"reference {i + 1}", text) for i, text in enumerate(references)])

    def show_prediction(self, prediction: Json, sample: Sample | None) -> Shown:
        return Shown([("caption", prediction["caption"])])


TASK = CaptioningTask()


def _result(path: Path, number: int, entry: object) -> tuple[str, str]:
    keys = ("image_id", "video_id", "id")
    named = [key for key in keys if isinstance(entry, dict) and key in entry]
    if not isinstance(entry, dict) or not named or "caption" not in entry:
        raise BadInput(f"{path}: record {number}: needs image_id and caption; add them")
    if not isinstance(entry["caption"], str):
        raise BadInput(f"{path}: record {number}: caption is no text; write it in quotes")
    return str(entry[named[0]]), entry["caption"]


# ---------------------------------------------------------------- metrics


def _remembered(compute: Callable[[_Predictions, _Targets], _T]) -> Callable[..., _T]:
    """`compute`, which remembers what it made of the last predictions and targets, so that metrics
    of one scoring share it. Slow metrics ask from a thread of their own."""
    lock = Lock()
    last: list[tuple[object, object, _T]] = []

    def remembering(predictions: _Predictions, targets: _Targets) -> _T:
        with lock:
            if not last or last[0][0] is not predictions or last[0][1] is not targets:
                last[:] = [(predictions, targets, compute(predictions, targets))]
            return last[0][2]

    return remembering


def _tokenised(
    tokenizer: str, predictions: _Predictions, targets: _Targets
) -> tuple[list[str | None], list[list[str]]]:
    """Hypotheses, None where there is none, and references, as tokens with spaces between."""
    given = [prediction["caption"] for prediction in predictions if prediction is not None]
    texts = given + [text for target in targets for text in target.references]
    tokens = iter(_tokenize(tokenizer, texts))
    hypotheses = [None if prediction is None else next(tokens) for prediction in predictions]
    return hypotheses, [[next(tokens) for _ in target.references] for target in targets]


def _tokenize(tokenizer: str, texts: list[str]) -> list[str]:
    if tokenizer == "java":
        from harness.metrics.java_tokenizer import tokenize_all_with_java

        return tokenize_all_with_java(texts)
    from harness.metrics.ptb_tokenizer import tokenize_all

    return tokenize_all(texts)


def _cider_rows(captions: Captions) -> FloatArray:
    """Rows of nan for a single sample, whose CIDEr is 0 whatever it says: "n/a"."""
    if captions.samples == 1:
        return np.array([[np.nan, 1.0]])
    return cider_rows(captions)
