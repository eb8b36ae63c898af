"""The score step: prediction records and targets -> rows -> metrics with intervals.

Every sample of the data set counts, once: a missing, failed or invalid one has the worst row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from . import __version__
from .stats import all_alike95, group_sums, interval95
from .store import Record
from .types import Dataset, Json, Metric, Sample, Task, TaskSpec

if TYPE_CHECKING:
    from pathlib import Path

    from .types import FloatArray


@dataclass(frozen=True)
class Value:
    """A metric over some samples. `ci95` is None where nothing can be said (fewer than two
    groups)."""

    value: float
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
    metrics: Sequence[Metric]
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
) -> Scored:
    """Scores `samples` of a data set from the records that there are for them."""
    found = [records.get(sample.id) for sample in samples]
    predictions = [r.prediction if r is not None and r.valid else None for r in found]
    targets = [sample.target for sample in samples]
    metrics = task.metrics(dataset)
    rows = {metric.name: metric.rows(predictions, targets) for metric in metrics}
    values = {m.name: value_of(m, rows[m.name], samples, seed) for m in metrics}
    primary = metrics[0]
    parts = {tag: _by_tag(primary, rows[primary.name], samples, tag, seed) for tag in breakdowns}
    return Scored(samples, metrics, rows, values, parts, _coverage(found))


def value_of(metric: Metric, rows: FloatArray, samples: Sequence[Sample], seed: int) -> Value:
    """A metric of these rows, with the interval from resampling groups. Where all samples are
    alike at an end of the metric's range, resampling shows no spread, and the interval is Wilson's
    for that many groups."""
    sums = group_sums(rows, [sample.group for sample in samples])
    value = float(metric.aggregate(sums.sum(axis=0)))
    ci95 = interval95(metric.aggregate, sums, seed)
    if ci95 is not None and ci95[0] == ci95[1] and value in (metric.low, metric.high):
        ci95 = all_alike95(value, metric.low, metric.high, len(sums))
    return Value(value, ci95, len(samples))


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


def signature(metric: Metric, task: str, dataset: Dataset, n: int, dtype: str) -> str:
    """How a number was made, in one line; two numbers are comparable if theirs are equal."""
    parts = {
        "metric": metric.name,
        "variant": metric.variant,
        "data": f"{task}/{dataset.name}",
        "split": dataset.split,
        "sha256": dataset.sha256[:12],
        "n": n,
        "dtype": dtype,
        "harness": __version__,
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())


def report(task: TaskSpec, dataset: Dataset, scored: Scored, dtype: str) -> Json:
    """The part of run.json that scoring makes."""
    coverage = scored.coverage
    return {
        "metrics": {
            metric.name: {
                **as_json(scored.values[metric.name]),
                "invalid": coverage.missing + coverage.failed + coverage.invalid,
                "signature": signature(metric, task.name, dataset, len(scored.samples), dtype),
            }
            for metric in scored.metrics
        },
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
