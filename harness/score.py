"""The score step: prediction records and targets -> rows -> metrics with intervals.

Every sample of the data set counts, once: a missing, failed or invalid one has the worst row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .specs import TaskSpec
from .stats import OfCounts, all_alike95, interval95_of, of_counts, of_counts_by_weights
from .store import Record
from .types import Dataset, Json, Metric, Sample, Task

if TYPE_CHECKING:
    from pathlib import Path

    from .types import FloatArray


@dataclass(frozen=True)
class Value:
    """A metric over some samples, of which `n` have a say. `value` is None where the metric does
    not apply ("n/a"), `ci95` where nothing can be said (fewer than two groups)."""

    value: float | None
    ci95: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Coverage:
    """How many of the samples were scored, have no prediction, failed, or cannot be scored."""

    samples: int
    scored: int
    missing: int
    failed: int
    invalid: int

    @property
    def unscored(self) -> int:
        """Samples without a prediction: the run is incomplete."""
        return self.missing + self.failed


@dataclass(frozen=True)
class Scored:
    """Metrics with the per-sample rows that they come from."""

    samples: Sequence[Sample]
    metrics: Sequence[Metric]  # those that can be computed here
    absent: Mapping[str, str]  # metric -> why it could not be computed
    rows: Mapping[str, FloatArray]  # metric -> (samples, statistics)
    values: Mapping[str, Value]
    breakdowns: Mapping[str, Mapping[str, Value]]  # tag -> its value -> primary metric
    coverage: Coverage

    @property
    def groups(self) -> list[str]:
        return [sample.group for sample in self.samples]


def score(
    task: Task,
    dataset: Dataset,
    samples: Sequence[Sample],
    records: Mapping[str, Record],
    breakdowns: Sequence[str] = (),
    seed: int = 0,
    rules: Mapping[str, str] | None = None,
    slow: bool = False,
) -> Scored:
    """Scores `samples` of a data set from the records that there are for them. Without `slow`,
    metrics that take long are left out."""
    found = [records.get(sample.id) for sample in samples]
    predictions = [r.prediction if r is not None and r.valid else None for r in found]
    targets = [sample.target for sample in samples]
    offered = task.metrics(dataset, rules or {})
    absent = {metric.name: metric.absent for metric in offered if metric.absent}
    metrics = [metric for metric in offered if not metric.absent and (slow or not metric.slow)]
    rows = _rows(metrics, predictions, targets)
    values = {m.name: value_of(m, rows[m.name], samples, seed) for m in metrics}
    primary = metrics[0]
    parts = {
        tag: _by_tag(primary, rows[primary.name], samples, tag, seed)
        for tag in breakdowns
        if any(tag in sample.tags for sample in samples)
    }
    return Scored(samples, metrics, absent, rows, values, parts, _coverage(found))


def _rows(
    metrics: Sequence[Metric], predictions: Sequence[Json | None], targets: Sequence[Any]
) -> dict[str, FloatArray]:
    """Metric -> rows; slow ones, which wait for another process, beside the rest."""
    beside = [metric for metric in metrics if metric.slow]
    with ThreadPoolExecutor(max_workers=max(1, len(beside))) as pool:
        waited = {m.name: pool.submit(m.rows, predictions, targets) for m in beside}
        found = {m.name: m.rows(predictions, targets) for m in metrics if not m.slow}
        found |= {name: future.result() for name, future in waited.items()}
    return {metric.name: found[metric.name] for metric in metrics}


def value_of(metric: Metric, rows: FloatArray, samples: Sequence[Sample], seed: int) -> Value:
    """A metric of these rows, with the interval from resampling groups. Where all samples are
    alike at an end of the metric's range, resampling shows no spread, and the interval is Wilson's
    for that many groups."""
    counted, groups = metric_of_counts(metric, rows, [sample.group for sample in samples])
    value = value_at_once(metric, rows)
    n = int(np.count_nonzero(np.any(rows != 0, axis=1)))
    if metric.counted is not None:
        n = round(float(rows[:, metric.counted].sum()))
    elif metric.weighted is not None:
        n = int(np.count_nonzero(np.isfinite(rows)))
    if math.isnan(value):
        return Value(None, None, n)
    ci95 = interval95_of(counted, groups, seed)
    no_spread = ci95 is not None and math.isclose(*ci95, rel_tol=1e-12)
    if no_spread:  # but for rounding
        ci95 = value, value
    if no_spread and math.isfinite(metric.high) and value in (metric.low, metric.high):
        ci95 = all_alike95(value, metric.low, metric.high, groups)
    return Value(value, ci95, n)


def metric_of_counts(
    metric: Metric, rows: FloatArray, groups: Sequence[str]
) -> tuple[OfCounts, int]:
    """A metric of these rows as a function of how often each group counts, and how many there
    are."""
    if metric.weighted is None:
        return of_counts(metric.aggregate, rows, groups)
    return of_counts_by_weights(metric.weighted, rows, groups)


def value_at_once(metric: Metric, rows: FloatArray) -> float:
    """A metric of these rows, each counted once."""
    if metric.weighted is not None:
        return float(metric.weighted(np.ones(len(rows)), rows))
    order = np.lexsort(rows.T)  # one order of addition whatever the order of samples
    return float(metric.aggregate(rows[order].sum(axis=0)))


def _by_tag(
    metric: Metric, rows: FloatArray, samples: Sequence[Sample], tag: str, seed: int
) -> dict[str, Value]:
    members: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        if tag in sample.tags:
            members.setdefault(sample.tags[tag], []).append(index)
    return {
        name: value_of(metric, rows[members[name]], [samples[i] for i in members[name]], seed)
        for name in sorted(members)
    }


def _coverage(found: Sequence[Record | None]) -> Coverage:
    missing = sum(record is None for record in found)
    failed = sum(record is not None and record.prediction is None for record in found)
    invalid = sum(
        record is not None and record.prediction is not None and not record.valid
        for record in found
    )
    scored = len(found) - missing - failed - invalid
    return Coverage(len(found), scored, missing, failed, invalid)


def signature(
    metric: Metric, task: str, dataset: Dataset, n: int, dtype: str, also: Mapping[str, str]
) -> str:
    """How a number was made, in one line; two numbers are comparable if theirs are equal. `also`
    is what else decides it, such as what a floor was fitted on."""
    parts = {
        "metric": metric.name,
        "variant": metric.variant,
        "data": f"{task}/{dataset.name}",
        "split": dataset.split,
        "sha256": dataset.sha256[:12],
        "n": n,
        "dtype": dtype,
        **also,
        "harness": __version__,
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())


def report(
    task: TaskSpec,
    dataset: Dataset,
    scored: Scored,
    dtype: str,
    also: Mapping[str, str] | None = None,
) -> Json:
    """The part of run.json that scoring makes."""
    coverage, n = scored.coverage, len(scored.samples)
    metrics: Json = {
        metric.name: {
            **as_json(scored.values[metric.name]),
            "invalid": coverage.missing + coverage.failed + coverage.invalid,
            "range": [metric.low, metric.high if math.isfinite(metric.high) else None],
            "higher_is_better": metric.higher_is_better,
            "percent": metric.percent,
            "signature": signature(metric, task.name, dataset, n, dtype, also or {}),
            **({"reason": metric.na} if scored.values[metric.name].value is None else {}),
        }
        for metric in scored.metrics
    }
    for name, reason in scored.absent.items():
        metrics[name] = {"value": None, "reason": f"not computed: {reason}"}
    return {
        "metrics": metrics,
        "primary": scored.metrics[0].name,
        "breakdowns": {
            tag: {name: as_json(value) for name, value in parts.items()}
            for tag, parts in scored.breakdowns.items()
        },
        "coverage": asdict(coverage),
    }


def as_json(value: Value) -> Json:
    return {"value": value.value, "ci95": value.ci95 and list(value.ci95), "n": value.n}


def write_rows(path: Path, scored: Scored, records: Mapping[str, Record]) -> None:
    """rows.parquet: a line a sample, with id, group, tags, whether its prediction was valid, and
    each metric's statistics as columns "metric.0", "metric.1", ..."""
    import pandas as pd

    columns: dict[str, Any] = {
        "id": [sample.id for sample in scored.samples],
        "group": scored.groups,
        "valid": [sample.id in records and records[sample.id].valid for sample in scored.samples],
    }
    for tag in sorted({tag for sample in scored.samples for tag in sample.tags}):
        columns[f"tag:{tag}"] = [sample.tags.get(tag) for sample in scored.samples]
    for name, rows in scored.rows.items():
        for statistic in range(rows.shape[1]):
            columns[f"{name}.{statistic}"] = rows[:, statistic]
    pd.DataFrame(columns).to_parquet(path, index=False)
