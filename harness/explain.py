"""A gap between two runs under every known convention of their task: both are scored again from
their predictions by each rule. What `harness compare --explain` adds; prints nothing and knows no
task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .compare import find_pairs, refuse
from .errors import BadInput, HarnessError
from .registry import find_task, load_attribute
from .saved import SavedRun, need_complete, open_dataset, signature_fields, what_data_differs
from .score import value_at_once
from .specs import TaskSpec
from .store import Record, read_log
from .types import Json, Metric, Sample, Task


@dataclass(frozen=True)
class Convention:
    """Both runs by one convention; `reason` where it cannot be had. `accounts` is how much of the
    gap that was reported goes away when both are scored by it."""

    name: str
    metric: str
    first: float | None = None
    other: float | None = None
    accounts: float | None = None
    reason: str = ""

    @property
    def gap(self) -> float | None:
        return None if self.first is None or self.other is None else self.other - self.first


@dataclass(frozen=True)
class Explanation:
    """A gap as it was reported, each run by its own rules, and by every convention alike.
    `otherwise`: fields of the signatures that no scoring can change, such as the dtype."""

    first: SavedRun
    other: SavedRun
    metric: str
    percent: bool
    reported_first: float
    reported_other: float
    conventions: Sequence[Convention]
    otherwise: tuple[str, ...]

    @property
    def gap(self) -> float:
        return self.reported_other - self.reported_first


def explain(paths: Sequence[Path], data_dir: Path | None = None) -> list[Explanation]:
    """Every run against the first, as in compare; their signatures may differ. BadInput if the
    data set or a run's predictions cannot be read."""
    pairs = find_pairs(paths)
    for pair in pairs:
        for run in pair:
            need_complete(run)
    refuse([(pair, what_data_differs(*pair)) for pair in pairs])
    return [_explain(first, other, data_dir) for first, other in pairs]


def _explain(first: SavedRun, other: SavedRun, data_dir: Path | None) -> Explanation:
    task_spec, data_spec = find_task(first.task)
    task: Task = load_attribute(task_spec.load)
    dataset = open_dataset(first, data_spec, data_dir or _a_data_dir(other))
    wanted = set(first.ids)
    samples = [sample for sample in dataset.samples if sample.id in wanted]
    records = _records(first, wanted), _records(other, wanted)
    primary = first.primary
    reported = [_reported(run, primary) for run in (first, other)]
    gap = reported[1] - reported[0]
    found: list[Convention] = []
    seen: set[tuple[str, str]] = set()
    percent = True
    for name, rules in conventions(task_spec, _rules(first), _rules(other)):
        for metric in task.metrics(dataset, rules):
            if not _is_form_of(metric.name, primary) or (metric.name, metric.variant) in seen:
                continue
            seen.add((metric.name, metric.variant))
            percent = metric.percent
            label = name if metric.name == primary else f"{metric.name}, {name}"
            found.append(_under(label, metric, samples, records, gap))
    return Explanation(
        first, other, primary, percent, reported[0], reported[1], found, _otherwise(first, other)
    )


def conventions(
    task: TaskSpec, first: Mapping[str, str], other: Mapping[str, str]
) -> list[tuple[str, dict[str, str]]]:
    """(name, rules): the task's own, those of either run, and each rule's every choice alone."""
    default = {name: choices[0] for name, choices in task.rules.items()}
    sets = [default, default | dict(first), default | dict(other)]
    sets += [default | {n: choice} for n, choices in task.rules.items() for choice in choices]
    found: dict[str, dict[str, str]] = {}
    for rules in sets:
        changed = [f"{n}={choice}" for n, choice in rules.items() if choice != default.get(n)]
        found.setdefault(", ".join(changed) or "default", rules)
    return list(found.items())


def _is_form_of(metric: str, primary: str) -> bool:
    """Whether a metric is the primary by another rule: its name is then the primary's and a dash
    and the rule's, such as accuracy-always-normalise."""
    return metric == primary or metric.startswith(f"{primary}-")


def _under(
    name: str,
    metric: Metric,
    samples: Sequence[Sample],
    records: tuple[Mapping[str, Record], Mapping[str, Record]],
    reported: float,
) -> Convention:
    if metric.absent:
        return Convention(name, metric.name, reason=metric.absent)
    targets = [sample.target for sample in samples]
    values = []
    try:
        for of_run in records:
            given = (of_run.get(sample.id) for sample in samples)
            predictions = [r.prediction if r is not None and r.valid else None for r in given]
            values.append(value_at_once(metric, metric.rows(predictions, targets)))
    except HarnessError as error:
        return Convention(name, metric.name, reason=str(error))
    a, b = values
    if math.isnan(a) or math.isnan(b):
        return Convention(name, metric.name, reason=metric.na)
    return Convention(name, metric.name, a, b, reported - (b - a))


def _records(run: SavedRun, wanted: set[str]) -> dict[str, Record]:
    log = run.path / "samples.jsonl"
    if not log.is_file():
        raise BadInput(f"{log}: there is no such file; --explain scores the predictions again")
    records = read_log(log)
    lacking = wanted - set(records)
    if lacking:
        raise BadInput(f"{log}: lacks sample {min(lacking)!r}; run the evaluation again")
    return records


def _reported(run: SavedRun, metric: str) -> float:
    value = run.result["metrics"].get(metric, {}).get("value")
    if value is None:
        raise BadInput(f"{run.path}: has no value of {metric}, so there is no gap to explain")
    return float(value)


def _rules(run: SavedRun) -> dict[str, str]:
    return dict(run.request.get("rules") or {})


def _a_data_dir(run: SavedRun) -> Path | None:
    root = run.request.get("data_dir")
    return Path(root) if root and Path(root).is_dir() else None


def _otherwise(first: SavedRun, other: SavedRun) -> tuple[str, ...]:
    a, b = (signature_fields(run, first.primary) for run in (first, other))
    return tuple(
        f"{field}: {a.get(field, 'none')} | {b.get(field, 'none')}"
        for field in {**a, **b}
        if field != "variant" and a.get(field) != b.get(field)
    )


def as_json(explanation: Explanation) -> Json:
    one = explanation
    return {
        "task": one.first.task,
        "metric": one.metric,
        "first": {"run": str(one.first.path), "value": one.reported_first},
        "other": {"run": str(one.other.path), "value": one.reported_other},
        "gap": one.gap,
        "conventions": [
            {
                "name": each.name,
                "metric": each.metric,
                "first": each.first,
                "other": each.other,
                "gap": each.gap,
                "accounts": each.accounts,
                **({"reason": each.reason} if each.reason else {}),
            }
            for each in one.conventions
        ],
        "otherwise": list(one.otherwise),
    }
