"""Temporal localization: the moments of a clip that a sentence describes, by R@n at IoU m and mean
IoU, or by DiDeMo's rule over chunks of five seconds. Knows no data set.

A prediction is {"moments": [[start, end], ...]}, best first: seconds, or for DiDeMo the first and
the last chunk, from 0 on, both included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from harness.metrics.moment import (
    DIDEMO_STATISTICS,
    STATISTICS,
    Chunks,
    Moment,
    Protocol,
    didemo_rows,
    didemo_statistic,
    moment_rows,
    moment_statistic,
    parse_chunks,
    parse_moments,
)
from harness.types import Dataset, Json, Metric, MomentFinder, MomentQuery, Sample, Shown

from .datasets.moment_results import read_moment_results
from .targets import ChunkTarget, MomentTarget

if TYPE_CHECKING:
    from harness.types import FloatArray

    Aggregate = Callable[[FloatArray], FloatArray]

PRIMARY = "R@1, IoU=0.5"
CHUNK_SECONDS = 5
_SHOWN = 5  # moments of a prediction that a person sees
_TOO_FEW = "some query has fewer moments than it ranks: give as many"


class TemporalLocalizationTask:
    """A Task: asks a MomentFinder, scores moments in seconds.

    Rule: `moments` "plain", "tall" or "2d-tan" (see metrics/moment.py).
    """

    form = '{"moments": [[start, end], ...]}'
    reads_jsonl = True  # the field's moment files may have a record a line

    def predict(self, model: MomentFinder, inputs: Sequence[MomentQuery]) -> list[Json]:
        return [
            {"moments": [[float(start), float(end)] for start, end in moments]}
            for moments in model.find_moments(inputs)
        ]

    def invalid(self, prediction: Json) -> str | None:
        moments = parse_moments(prediction.get("moments"))
        return moments if isinstance(moments, str) else None

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> list[Metric]:
        protocol = cast(Protocol, rules.get("moments", "plain"))
        names = (PRIMARY, *(name for name in STATISTICS if name != PRIMARY))
        rows = partial(_rows, protocol=protocol)
        return [
            Metric(name, f"protocol={protocol}", rows, _mean(name), na=_TOO_FEW) for name in names
        ]

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        """Lists of moments by id; datasets/moment_results.py says in which forms."""
        return read_moment_results(path)

    def show(self, sample: Sample) -> Shown:
        moments = [("right", start, end) for start, end in sample.target.moments]
        return Shown([("sentence", sample.input.text)], moments=moments)

    def show_prediction(self, prediction: Json, sample: Sample | None) -> Shown:
        return _ranked(cast(list[Moment], parse_moments(prediction["moments"])))


class DidemoTask(TemporalLocalizationTask):
    """The same with DiDeMo's rule: runs of whole chunks, three best of the annotators."""

    def predict(self, model: MomentFinder, inputs: Sequence[MomentQuery]) -> list[Json]:
        return [
            {"moments": [_chunks(start, end) for start, end in moments]}
            for moments in model.find_moments(inputs)
        ]

    def invalid(self, prediction: Json) -> str | None:
        chunks = parse_chunks(prediction.get("moments"))
        return chunks if isinstance(chunks, str) else None

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> list[Metric]:
        return [
            Metric(
                name, "DiDeMo three best annotators", _didemo_rows, _didemo_mean(name), na=_TOO_FEW
            )
            for name in DIDEMO_STATISTICS
        ]

    def show(self, sample: Sample) -> Shown:
        times = [
            (f"annotator {i + 1}", CHUNK_SECONDS * first, CHUNK_SECONDS * (last + 1))
            for i, (first, last) in enumerate(sample.target.times)
        ]
        return Shown([("sentence", sample.input.text)], moments=times)

    def show_prediction(self, prediction: Json, sample: Sample | None) -> Shown:
        chunks = cast(list[Chunks], parse_chunks(prediction["moments"]))
        return _ranked([(CHUNK_SECONDS * a, CHUNK_SECONDS * (b + 1)) for a, b in chunks])


TASK = TemporalLocalizationTask()
DIDEMO = DidemoTask()


def _ranked(moments: Sequence[tuple[float, float]]) -> Shown:
    """The best few, in seconds."""
    best = moments[:_SHOWN]
    text = ", ".join(f"{start:.2f} to {end:.2f} s" for start, end in best) or "none"
    return Shown(
        [("moments", f"{text} ..." if len(moments) > len(best) else text)],
        moments=[(f"predicted {i}", start, end) for i, (start, end) in enumerate(best, start=1)],
    )


def _rows(
    predictions: Sequence[Json | None], targets: Sequence[MomentTarget], protocol: Protocol
) -> FloatArray:
    given = [
        None if prediction is None else cast(list[Moment], parse_moments(prediction["moments"]))
        for prediction in predictions
    ]
    return moment_rows(given, [target.moments for target in targets], protocol)


def _didemo_rows(predictions: Sequence[Json | None], targets: Sequence[ChunkTarget]) -> FloatArray:
    given = [
        None if prediction is None else cast(list[Chunks], parse_chunks(prediction["moments"]))
        for prediction in predictions
    ]
    return didemo_rows(given, [target.times for target in targets])


def _mean(name: str) -> Aggregate:
    return partial(moment_statistic, name=name)


def _didemo_mean(name: str) -> Aggregate:
    return partial(didemo_statistic, name=name)


def _chunks(start: float, end: float) -> list[int]:
    """The run of chunks that a moment in seconds is nearest to; for one too short for a run, the
    chunk that its middle lies in. An inverted moment stays inverted."""
    first, last = round(start / CHUNK_SECONDS), round(end / CHUNK_SECONDS) - 1
    if last < first and start <= end:
        first = last = int((start + end) / 2 // CHUNK_SECONDS)
    return [first, last]
