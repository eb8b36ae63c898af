"""The score step: prediction records and targets -> rows -> metrics with intervals.

Every sample of the data set counts, once: a missing, failed or invalid one has the worst row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .errors import BadInput
from .specs import TaskSpec
from .stats import (
    OfCounts,
    all_alike95,
    bca95_of,
    interval95_of,
    leaving_out,
    of_counts,
    of_counts_by_weights,
    wilson95,
)
from .store import Record
from .types import Dataset, Json, Metric, Sample, Task

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from .types import FloatArray


@dataclass(frozen=True)
class Value:
    """A metric over some samples, of which `n` have a say. `value` is None where the metric does
    not apply ("n/a"), `ci95` where nothing can be said (fewer than two groups). `interval`: how
    `ci95` was made, "wilson", "bca" or "percentile"."""

    value: float | None
    ci95: tuple[float, float] | None
    n: int
    interval: str = ""


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
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # worst, best case

    @property
    def groups(self) -> list[str]:
        return [sample.group for sample in self.samples]


def check_names(where: str, samples: Sequence[Sample]) -> None:
    """BadInput where two samples have one id, or where no file could hold an id, a group or a tag:
    JSON may spell half of a surrogate pair, UTF-8 has none."""
    if len({sample.id for sample in samples}) < len(samples):
        raise BadInput(f"{where}: two samples have one id; mend the data set")
    for sample in samples:
        for name in (sample.id, sample.group, *sample.tags, *sample.tags.values()):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise BadInput(
                    f"{where}: sample {sample.id!a}: {name!a} holds half of a surrogate "
                    "pair, which no file can hold; mend the data set"
                ) from None


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
    unsure = np.array([prediction is None for prediction in predictions], dtype=bool)
    bounds = {m.name: bounds_of(m, rows[m.name], unsure) for m in metrics} if unsure.any() else {}
    return Scored(
        *(samples, metrics, absent, rows, values, parts, _coverage(found)),
        {name: both for name, both in bounds.items() if both is not None},
    )


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
    """A metric of these rows with its interval: Wilson's for a plain proportion of independent
    samples, else from resampling groups, BCa where sums give the metric and percentile where they
    do not. Where all samples are alike at an end of the metric's range, resampling shows no spread,
    and the interval is Wilson's for that many groups."""
    counted, groups = metric_of_counts(metric, rows, [sample.group for sample in samples])
    value = value_at_once(metric, rows)
    n = int(np.count_nonzero(np.any(rows != 0, axis=1)))
    if metric.counted is not None:
        n = round(float(rows[:, metric.counted].sum()))
    elif metric.weighted is not None:
        n = int(np.count_nonzero(np.isfinite(rows)))
    if math.isnan(value):
        return Value(None, None, n)
    hits = _hits(metric, rows) if groups == len(samples) > 1 else None
    if hits is not None:
        return Value(value, wilson95(hits, groups), n, "wilson")
    if metric.weighted is not None:
        how, ci95 = "percentile", interval95_of(counted, groups, seed)
    else:
        left_out = leaving_out(metric.aggregate, rows, [sample.group for sample in samples])
        how, ci95 = "bca", bca95_of(counted, left_out, seed)
    no_spread = ci95 is not None and math.isclose(*ci95, rel_tol=1e-12)
    if no_spread:  # but for rounding
        ci95 = value, value
    if no_spread and math.isfinite(metric.high) and value in (metric.low, metric.high):
        ci95, how = all_alike95(value, metric.low, metric.high, groups), "wilson"
    return Value(value, ci95, n, how if ci95 else "")


def _hits(metric: Metric, rows: FloatArray) -> int | None:
    """How many samples were right, of a plain proportion: every sample has a say, alone a 0 or a 1,
    and the metric is their mean; else None."""
    if (metric.low, metric.high) != (0.0, 1.0):
        return None
    if metric.counted is not None and (rows[:, metric.counted] != 1).any():
        return None
    alone = per_sample(metric, rows)
    if alone is None or not np.isin(alone, (0.0, 1.0)).all():
        return None
    return int(alone.sum())


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


def bounds_of(
    metric: Metric, rows: FloatArray, unsure: npt.NDArray[np.bool_]
) -> tuple[float, float] | None:
    """The worst and the best that the metric could be if the `unsure` samples had been scored: all
    wrong, as they count now, and all right. None unless it is a mean over samples with a range."""
    best = metric.high if metric.higher_is_better else metric.low
    alone = per_sample(metric, rows)
    if alone is None or not math.isfinite(best):
        return None
    weights = np.ones(len(rows)) if metric.counted is None else rows[:, metric.counted]
    says = np.isfinite(alone)
    right = np.where(unsure, best, alone)
    return value_at_once(metric, rows), _mean(right[says], weights[says])


def per_sample(metric: Metric, rows: FloatArray) -> FloatArray | None:
    """(samples,) the metric of each sample alone, nan for one that has no say; None unless the
    metric is the mean of these, each weighted by its queries: no corpus metric, no median."""
    if metric.weighted is not None or len(rows) == 0:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        alone = np.asarray(metric.aggregate(rows), dtype=np.float64)
    weights = np.ones(len(rows)) if metric.counted is None else rows[:, metric.counted]
    says = np.any(rows != 0, axis=1) & (weights > 0)
    if not says.any() or not np.isfinite(alone[says]).all():
        return None
    mean = _mean(alone[says], weights[says])
    if not math.isclose(mean, value_at_once(metric, rows), rel_tol=1e-9, abs_tol=1e-12):
        return None
    return np.where(says, alone, np.nan)


def _mean(values: FloatArray, weights: FloatArray) -> float:
    """The weighted mean, added up in one order whatever the order of samples."""
    order = np.lexsort((weights, values))
    return float(np.average(values[order], weights=weights[order]))


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
            **({"interval": how} if (how := scored.values[metric.name].interval) else {}),
            **(
                {"bounds": list(scored.bounds[metric.name])} if metric.name in scored.bounds else {}
            ),
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
