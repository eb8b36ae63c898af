"""Two runs on the same samples: differences paired by sample and clustered by group, with interval,
p, what could have been seen, and the samples that moved. What `harness compare` does; prints
nothing and knows no task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import BadInput, NotComparable
from .paired import (
    Losses,
    Permutation,
    detectable_difference,
    holm,
    losses,
    of_swaps,
    of_swaps_by_weights,
    permutation_test,
    standard_error,
)
from .saved import (
    Opened,
    SavedRun,
    by_task,
    find_runs,
    need_complete,
    open_metrics,
    shared_metrics,
    what_differs,
)
from .score import metric_of_counts, per_sample, value_at_once
from .stats import draws_of, middle95
from .types import Json, Metric

if TYPE_CHECKING:
    from .types import FloatArray


@dataclass(frozen=True)
class Difference:
    """A metric of two runs on the same samples. `difference` is the second's minus the first's;
    `p_worse` is one-sided, that the second is worse; `detectable` the true difference that such a
    comparison finds four times in five. None where the metric does not apply to one of them, or
    nothing can be said."""

    metric: str
    percent: bool
    higher_is_better: bool
    first: float | None
    other: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    p: float | None
    p_worse: float | None
    p_holm: float | None
    detectable: float | None

    @property
    def better(self) -> float:
        """The difference, positive where the second is better; nan where there is none."""
        sign = 1 if self.higher_is_better else -1
        return math.nan if self.difference is None else sign * self.difference


@dataclass(frozen=True)
class Moved:
    """A sample whose value of a per-sample metric is another in the second run."""

    id: str
    group: str
    before: float
    after: float


@dataclass(frozen=True)
class Flipped:
    """The samples on which the second run is better or worse, those that moved most first."""

    metric: str
    better: Sequence[Moved]
    worse: Sequence[Moved]


@dataclass(frozen=True)
class Comparison:
    """A run set against another. `flipped` is of the primary metric; None if that is no mean over
    samples. `notes`: what was left out, and why."""

    first: SavedRun
    other: SavedRun
    groups: int
    differences: Sequence[Difference]
    flipped: Flipped | None
    notes: tuple[str, ...]

    @property
    def primary(self) -> Difference:
        return self.differences[0]


def compare(paths: Sequence[Path], seed: int = 0) -> list[Comparison]:
    """Every run against the first, task by task; p corrected by Holm over tasks and runs.

    A path is a run folder, a run.json, or a folder of runs of several tasks, which are paired by
    task, data set and split. Raises BadInput for runs that are absent or unreadable, NotComparable
    and Incomplete.
    """
    pairs = find_pairs(paths)
    for pair in pairs:
        for run in pair:
            need_complete(run)
    refuse([(pair, what_differs(*pair)) for pair in pairs])
    return corrected([compare_pair(*pair, seed=seed) for pair in pairs])


def refuse(found: Sequence[tuple[tuple[SavedRun, SavedRun], Sequence[str]]]) -> None:
    """NotComparable if anything differs that must not, with the runs of each line where there are
    several pairs."""
    lines = []
    for (a, b), fields in found:
        where = f"{a.path} | {b.path}: " if len(found) > 1 else ""
        lines += [f"{where}{field}" for field in fields]
    if lines:
        raise NotComparable(lines)


def find_pairs(paths: Sequence[Path]) -> list[tuple[SavedRun, SavedRun]]:
    """(run of the first path, run of another). A single run is set against a single one whatever
    their tasks, to be refused with what differs; folders of several are matched by task."""
    given = [find_runs(path) for path in paths]
    if all(len(runs) == 1 for runs in given):
        return [(given[0][0], runs[0]) for runs in given[1:]]
    sorted_runs = [by_task(runs) for runs in given]
    for path, found in zip(paths, sorted_runs, strict=True):
        for (task, split), runs in found.items():
            if len(runs) > 1:
                raise BadInput(
                    f"{path}: holds {len(runs)} runs of {task} {split}; name one of them, such as "
                    f"{runs[0].path}"
                )
    first = sorted_runs[0]
    pairs = []
    for path, found in zip(paths[1:], sorted_runs[1:], strict=True):
        odd = sorted(set(first) ^ set(found))
        if odd:
            task, split = odd[0]
            here = paths[0] if odd[0] in first else path
            raise BadInput(
                f"{task} {split} is in {here} only; give folders with runs of the same tasks"
            )
        pairs += [(first[key][0], found[key][0]) for key in first]
    return pairs


def compare_pair(
    first: SavedRun, other: SavedRun, opened: Opened | None = None, seed: int = 0
) -> Comparison:
    """Two comparable runs by every metric that both have, p uncorrected."""
    opened = opened or open_metrics(first)
    both = set(shared_metrics(first, other)) & set(other.metric_names)
    metrics = [metric for metric in opened.metrics if metric.name in both]
    if not metrics or metrics[0].name != first.primary:
        raise BadInput(
            f"{other.path}: the primary metric {first.primary} of {first.path} cannot be compared; "
            "score both again (harness score)"
        )
    groups = first.groups
    differences = [
        difference(metric, first.rows(metric.name), other.rows(metric.name), groups, seed)
        for metric in metrics
    ]
    lacking = [name for name in first.metric_names if name not in both]
    notes = (
        *opened.notes,
        *(f"{name}: only {first.path} has it" for name in lacking),
        *(
            f"{run.path}: {run.invalid:,} samples are invalid and count as wrong"
            for run in (first, other)
            if run.invalid
        ),
    )
    return Comparison(
        first, other, len(set(groups)), differences, flipped(metrics[0], first, other), notes
    )


def difference(
    metric: Metric, first: FloatArray, other: FloatArray, groups: Sequence[str], seed: int = 0
) -> Difference:
    """A metric of rows `other` minus that of rows `first`, both (samples, statistics) of the same
    samples."""
    a, b = value_at_once(metric, first), value_at_once(metric, other)
    common = (metric.name, metric.percent, metric.higher_is_better)
    nothing = (None,) * 5
    if math.isnan(a) or math.isnan(b):
        known = [None if math.isnan(v) else v for v in (a, b)]
        return Difference(*common, known[0], known[1], None, *nothing)
    of_a, number = metric_of_counts(metric, first, groups)
    of_b, _ = metric_of_counts(metric, other, groups)
    if number < 2:
        return Difference(*common, a, b, b - a, *nothing)
    # each resample draws the same groups for both
    draws = draws_of(lambda counts: of_b(counts) - of_a(counts), number, seed)
    tested = permutation(metric, first, other, groups, seed)
    found = detectable_difference(
        standard_error(draws, number),
        tested,
        b - a,
        number,
        _losses(metric, first, other, groups),
    )
    return Difference(
        *common,
        *(a, b, b - a),
        middle95(draws, number),
        tested.two_sided,
        tested.below if metric.higher_is_better else tested.above,
        tested.two_sided,
        None if math.isnan(found) else found,
    )


def _losses(
    metric: Metric, first: FloatArray, other: FloatArray, groups: Sequence[str]
) -> Losses | None:
    """What further losses of the worse run do to the difference; None unless the metric is a mean
    over samples of which the least is the worst, and the worse run has something to lose."""
    alone = [per_sample(metric, rows) for rows in (first, other)]
    if not metric.higher_is_better or alone[0] is None or alone[1] is None:
        return None
    says = np.flatnonzero(np.isfinite(alone[0]) & np.isfinite(alone[1])).tolist()
    weights = np.ones(len(first)) if metric.counted is None else first[:, metric.counted]
    a, b = (one[says] for one in (alone[0], alone[1]))
    better, worse = (b, a) if weights[says] @ (b - a) > 0 else (a, b)
    if weights[says] @ (worse - metric.low) <= 0:
        return None
    return losses(better, worse, weights[says], [groups[place] for place in says], metric.low)


def permutation(
    metric: Metric, first: FloatArray, other: FloatArray, groups: Sequence[str], seed: int = 0
) -> Permutation:
    """The paired permutation test of two runs' rows by a metric."""
    if metric.weighted is not None:
        swapped, number = of_swaps_by_weights(metric.weighted, first, other, groups)
        width = 2 * first.size // max(1, number) + 1
        return permutation_test(swapped, number, seed, width=width)
    swapped, number = of_swaps(metric.aggregate, first, other, groups)
    return permutation_test(swapped, number, seed)


def flipped(metric: Metric, first: SavedRun, other: SavedRun) -> Flipped | None:
    """The samples that moved each way by a metric that is a mean over samples, else None."""
    rows = first.rows(metric.name), other.rows(metric.name)
    before, after = (per_sample(metric, one) for one in rows)
    if before is None or after is None:
        return None
    change = (after - before) * (1 if metric.higher_is_better else -1)
    moved = np.flatnonzero(np.abs(change) > 1e-9)
    ids, groups = first.ids, first.groups
    found = sorted(moved.tolist(), key=lambda i: (-abs(change[i]), ids[i]))
    listed = [(i, Moved(ids[i], groups[i], float(before[i]), float(after[i]))) for i in found]
    return Flipped(
        metric.name,
        [one for i, one in listed if change[i] > 0],
        [one for i, one in listed if change[i] < 0],
    )


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """With Holm's correction over tasks and runs: the primary metrics of all comparisons are one
    family; so is every other metric of one name."""
    families: dict[str, list[tuple[int, int]]] = {}
    for place, comparison in enumerate(comparisons):
        for number, one in enumerate(comparison.differences):
            if one.p is not None:
                family = "" if number == 0 else one.metric
                families.setdefault(family, []).append((place, number))
    adjusted: dict[tuple[int, int], float] = {}
    for members in families.values():
        values = [comparisons[place].differences[number].p or 0.0 for place, number in members]
        adjusted |= dict(zip(members, holm(values), strict=True))
    return [
        replace(
            comparison,
            differences=[
                replace(one, p_holm=adjusted.get((place, number)))
                for number, one in enumerate(comparison.differences)
            ],
        )
        for place, comparison in enumerate(comparisons)
    ]


# ---------------------------------------------------------------- as JSON


def as_json(comparison: Comparison) -> Json:
    flips = comparison.flipped
    return {
        "task": comparison.first.task,
        "split": comparison.first.split,
        "n": comparison.first.result["data"]["n"],
        "groups": comparison.groups,
        "first": _named(comparison.first),
        "other": _named(comparison.other),
        "primary": comparison.primary.metric,
        "metrics": {
            one.metric: {
                "first": one.first,
                "other": one.other,
                "difference": one.difference,
                "ci95": one.ci95 and list(one.ci95),
                "p": one.p,
                "p_holm": one.p_holm,
                "detectable": one.detectable,
            }
            for one in comparison.differences
        },
        "flipped": flips and {"better": len(flips.better), "worse": len(flips.worse)},
        "notes": list(comparison.notes),
    }


def _named(run: SavedRun) -> Json:
    return {"run": str(run.path), "model": run.model}


def flipped_lines(comparison: Comparison) -> list[Json]:
    """A line for each sample that moved, for --flipped."""
    flips = comparison.flipped
    if flips is None:
        return []
    return [
        {
            "task": comparison.first.task,
            "split": comparison.first.split,
            "metric": flips.metric,
            "first": str(comparison.first.path),
            "other": str(comparison.other.path),
            "id": one.id,
            "group": one.group,
            "before": one.before,
            "after": one.after,
            "change": way,
        }
        for way, moved in (("better", flips.better), ("worse", flips.worse))
        for one in moved
    ]
