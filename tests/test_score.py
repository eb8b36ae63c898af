"""The score step with made-up metrics: which are computed, over whom, how a number is signed."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness import __version__
from harness.score import Coverage, Scored, report, score, signature, write_rows
from harness.specs import TaskSpec
from harness.stats import resampled_counts, tail95
from harness.store import Record
from harness.types import Dataset, Json, Metric, Sample, Shown

Array = npt.NDArray[np.float64]

SAMPLES = [
    Sample(f"s{i}", f"input {i}", float(i), f"group {i // 2}", {"half": "ab"[i // 6]})
    for i in range(12)
]
DATASET = Dataset("set", "test", SAMPLES, "0123456789abcdef")
SPEC = TaskSpec("task", "made up", "answer", ("mean",), (), "nowhere:TASK")


def records(**values: float) -> dict[str, Record]:
    """Every sample's prediction is its target, but for those named."""
    predicted = {sample.id: sample.target for sample in SAMPLES} | values
    groups = {sample.id: sample.group for sample in SAMPLES}
    return {id: Record(id, groups[id], {"value": value}) for id, value in predicted.items()}


def values_of(predictions: Sequence[Json | None], targets: Sequence[Any]) -> Array:
    """(samples, 2): the predicted value, 0 where there is none, and 1."""
    values = [0.0 if one is None else float(one["value"]) for one in predictions]
    return np.stack([np.array(values), np.ones(len(values))], axis=1)


def mean(sums: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def metric(name: str = "mean", **fields: Any) -> Metric:
    plain: dict[str, Any] = {"variant": "v", "rows": values_of, "aggregate": mean}
    return Metric(name, **(plain | fields))


class FakeTask:
    """Offers these metrics, or those that a function makes of the rules."""

    def __init__(self, *metrics: Metric, by: Callable[..., Sequence[Metric]] | None = None) -> None:
        self._metrics = by or (lambda dataset, rules: metrics)

    def predict(self, model: Any, inputs: Sequence[Any]) -> Sequence[Json]:
        raise NotImplementedError

    def invalid(self, prediction: Json) -> str | None:
        raise NotImplementedError

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> Sequence[Metric]:
        return self._metrics(dataset, rules)

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        raise NotImplementedError

    def show(self, sample: Sample) -> Shown:
        raise NotImplementedError


def scored(*metrics: Metric, given: Mapping[str, Record] | None = None, **more: Any) -> Scored:
    return score(FakeTask(*metrics), DATASET, SAMPLES, given or records(), **more)


def never(*arguments: object) -> Any:
    raise AssertionError("nothing is asked of this metric")


# ---------------------------------------------------------------- which metrics are computed


def test_an_absent_metric_is_named_with_its_reason_and_nothing_is_asked_of_it() -> None:
    absent = metric("METEOR", rows=never, aggregate=never, absent="no Java", slow=True)
    for slow in (False, True):
        found = scored(metric(), absent, slow=slow)
        assert list(found.values) == list(found.rows) == ["mean"]
        assert found.absent == {"METEOR": "no Java"}
        metrics = report(SPEC, DATASET, found, "float32")["metrics"]
        assert metrics["METEOR"] == {"value": None, "reason": "not computed: no Java"}
        assert metrics["mean"]["value"] == 5.5


def test_a_slow_metric_is_computed_only_where_slow_ones_are_wanted() -> None:
    slow = metric("slow", rows=never, aggregate=never, slow=True)
    found = scored(metric(), slow)
    assert list(found.values) == ["mean"]
    assert "slow" not in report(SPEC, DATASET, found, "float32")["metrics"]
    found = scored(metric(), metric("slow", slow=True), slow=True)
    assert found.values["slow"] == found.values["mean"]


def test_slow_metrics_are_computed_beside_the_rest() -> None:
    """Each waits for the other to begin: one after the other they would wait in vain."""
    began = {name: threading.Event() for name in ("first", "second", "quick")}

    def waits_for(own: str, *others: str) -> Callable[..., Array]:
        def rows(predictions: Sequence[Json | None], targets: Sequence[Any]) -> Array:
            began[own].set()
            assert all(began[other].wait(timeout=20) for other in others)
            return values_of(predictions, targets)

        return rows

    found = scored(
        metric("first", rows=waits_for("first", "second", "quick"), slow=True),
        metric("quick", rows=waits_for("quick", "first", "second")),
        metric("second", rows=waits_for("second", "first", "quick"), slow=True),
        slow=True,
    )
    assert list(found.values) == list(found.rows) == ["first", "quick", "second"]  # as offered


def test_what_goes_wrong_in_a_slow_metric_is_not_lost() -> None:
    def rows(predictions: Sequence[Json | None], targets: Sequence[Any]) -> Array:
        raise RuntimeError("the jar ended")

    with pytest.raises(RuntimeError, match="the jar ended"):
        scored(metric(), metric("slow", rows=rows, slow=True), slow=True)


def test_metrics_of_one_scoring_get_the_same_predictions_and_targets() -> None:
    """So that they can share what they make of them."""
    given: list[tuple[int, int]] = []

    def rows(predictions: Sequence[Json | None], targets: Sequence[Any]) -> Array:
        given.append((id(predictions), id(targets)))
        return values_of(predictions, targets)

    scored(*(metric(f"{n}", rows=rows, slow=n > 1) for n in range(4)), slow=True)
    assert len(given) == 4
    assert len(set(given)) == 1


def test_the_rules_are_passed_to_the_task() -> None:
    def by_rules(dataset: Dataset, rules: Mapping[str, str]) -> list[Metric]:
        assert dataset is DATASET
        return [metric(variant=rules.get("convention", "default"))]

    task = FakeTask(by=by_rules)
    for rules, variant in (({"convention": "other"}, "other"), ({}, "default"), (None, "default")):
        found = score(task, DATASET, SAMPLES, records(), rules=rules)
        assert found.metrics[0].variant == variant
        signed = report(SPEC, DATASET, found, "float32")["metrics"]["mean"]["signature"]
        assert f"|variant:{variant}|" in signed


# ---------------------------------------------------------------- what does not apply


def test_what_does_not_apply_is_none_and_reads_back_from_json() -> None:
    def of_nothing(sums: Array) -> Array:
        return np.asarray(sums[..., 0] * np.nan)

    found = scored(metric(), metric("R@5", aggregate=of_nothing))
    value = found.values["R@5"]
    assert (value.value, value.ci95) == (None, None)
    written = json.dumps(report(SPEC, DATASET, found, "float32"), allow_nan=False)
    entry = json.loads(written)["metrics"]["R@5"]
    assert entry["value"] is None
    assert entry["ci95"] is None
    assert "metric:R@5" in entry["signature"]


def test_an_endless_range_reads_back_from_json() -> None:
    found = scored(metric("rank", low=1.0, high=math.inf, higher_is_better=False, percent=False))
    entry = json.loads(json.dumps(report(SPEC, DATASET, found, ""), allow_nan=False))["metrics"]
    assert entry["rank"]["range"] == [1.0, None]
    assert (entry["rank"]["higher_is_better"], entry["rank"]["percent"]) == (False, False)


def test_n_counts_the_samples_that_have_a_say() -> None:
    def of_the_first_half(predictions: Sequence[Json | None], targets: Sequence[Any]) -> Array:
        rows = values_of(predictions, targets)
        rows[[target >= 6 for target in targets]] = 0.0
        return rows

    found = scored(metric(), metric("part", rows=of_the_first_half), breakdowns=("half",))
    assert found.values["mean"].n == 12  # the first has the value 0, and a say
    assert found.values["part"].n == 6
    assert found.values["part"].value == 2.5
    primary = score(
        FakeTask(metric("part", rows=of_the_first_half)), DATASET, SAMPLES, records(), ("half",)
    )
    halves = primary.breakdowns["half"]
    assert (halves["a"].value, halves["a"].n) == (2.5, 6)
    assert (halves["b"].value, halves["b"].ci95, halves["b"].n) == (None, None, 0)


def test_a_tag_that_samples_lack_leaves_them_out_of_its_breakdown() -> None:
    tagged = [*SAMPLES[:6], *(Sample(s.id, s.input, s.target, s.group) for s in SAMPLES[6:])]
    found = score(FakeTask(metric()), DATASET, tagged, records(), ("half", "other"))
    assert {name: value.n for name, value in found.breakdowns["half"].items()} == {"a": 6}
    assert set(found.breakdowns) == {"half"}  # no heading without a line


# ---------------------------------------------------------------- metrics that no sum gives


def weighted_median(weights: Array, rows: Array) -> Array:
    order = np.argsort(rows[:, 0], kind="stable")
    reached = np.cumsum(weights[..., order], axis=-1)
    place = np.argmax(reached >= reached[..., -1:] / 2, axis=-1)
    return np.asarray(rows[order, 0][place])


def test_a_weighted_metric_takes_the_place_of_sums_and_has_an_interval() -> None:
    median = metric("median", aggregate=never, weighted=weighted_median, high=math.inf)
    found = scored(median, breakdowns=("half",), seed=3)
    value = found.values["median"]
    assert value.value == 5.0
    rows = found.rows["median"]
    resampled = [
        weighted_median(np.repeat(counts, 2, axis=1), rows)  # two samples a group
        for counts in resampled_counts(6, 1000, seed=3)
    ]
    expected = np.quantile(np.concatenate(resampled), [tail95(6), 1 - tail95(6)])
    assert value.interval == "percentile"
    assert value.ci95 == pytest.approx(tuple(expected))
    assert {name: part.value for name, part in found.breakdowns["half"].items()} == {
        "a": 2.0,
        "b": 8.0,
    }


# ---------------------------------------------------------------- who is scored


def test_missing_failed_and_invalid_samples_are_counted_as_worst() -> None:
    given = records()
    del given["s11"]
    given["s10"] = Record("s10", "group 5", None, False, "failed")
    given["s9"] = Record("s9", "group 4", {"value": 1e9}, False, "cannot be scored")
    found = scored(metric(), given=given)
    assert found.coverage == Coverage(12, scored=9, missing=1, failed=1, invalid=1)
    assert found.coverage.unscored == 2
    assert found.values["mean"].value == sum(range(9)) / 12
    assert report(SPEC, DATASET, found, "")["metrics"]["mean"]["invalid"] == 3


def test_rows_are_written_with_every_statistic(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    found = scored(metric(), metric("twice"))
    write_rows(tmp_path / "rows.parquet", found, records())
    table = pandas.read_parquet(tmp_path / "rows.parquet")
    assert list(table["id"]) == [sample.id for sample in SAMPLES]
    assert list(table["tag:half"]) == [sample.tags["half"] for sample in SAMPLES]
    assert list(table["mean.0"]) == list(table["twice.0"]) == [float(i) for i in range(12)]
    assert set(table["twice.1"]) == {1.0}


# ---------------------------------------------------------------- signatures


def test_a_signature_names_what_decides_a_number_and_what_else_does() -> None:
    plain = signature(metric(), "task", DATASET, 12, "float32", {})
    assert plain == (
        "metric:mean|variant:v|data:task/set|split:test|sha256:0123456789ab|n:12|dtype:float32|"
        f"harness:{__version__}"
    )
    also = signature(metric(), "task", DATASET, 12, "float32", {"prior-from": "abc"})
    assert also == plain.replace("|harness:", "|prior-from:abc|harness:")


def test_every_metric_of_a_report_is_signed_with_what_else_decides_it() -> None:
    found = scored(metric(), metric("twice"))
    metrics = report(SPEC, DATASET, found, "float32", {"prior-from": "abc"})["metrics"]
    assert all("|prior-from:abc|" in entry["signature"] for entry in metrics.values())
    assert len({entry["signature"] for entry in metrics.values()}) == 2
    plain = report(SPEC, DATASET, found, "float32")["metrics"]
    assert not any("prior-from" in entry["signature"] for entry in plain.values())


# ---------------------------------------------------------------- how intervals are made, bounds


def each_a_group(hits: str) -> list[Sample]:
    return [Sample(f"s{i}", None, float(hit), f"g{i}") for i, hit in enumerate(hits)]


def entry_of(samples: Sequence[Sample], one: Metric, **values: float | None) -> Json:
    """The metric's entry in run.json where every sample's prediction is its target, but for those
    named; None: it has none."""
    predicted = {sample.id: sample.target for sample in samples} | values
    given = {
        id: Record(id, "", None if value is None else {"value": value})
        for id, value in predicted.items()
    }
    found = score(FakeTask(one), Dataset("set", "test", samples, "0" * 64), samples, given)
    entry: Json = report(SPEC, DATASET, found, "float32")["metrics"]["mean"]
    return entry


def test_a_plain_proportion_of_independent_samples_has_wilsons_interval() -> None:
    entry = entry_of(each_a_group("1" * 81 + "0" * 182), metric())
    assert entry["interval"] == "wilson"
    assert entry["ci95"] == pytest.approx([0.2553, 0.3662], abs=5e-5)


@pytest.mark.parametrize(
    "samples",
    [
        [Sample(f"s{i}", None, float(i % 2), f"g{i // 2}") for i in range(40)],
        [Sample(f"s{i}", None, 0.3 * (i % 4), f"g{i}") for i in range(40)],
    ],
    ids=["groups of two", "parts of a hit"],
)
def test_any_other_mean_has_bca(samples: list[Sample]) -> None:
    assert entry_of(samples, metric())["interval"] == "bca"


def test_hits_outside_of_zero_to_one_are_no_proportion() -> None:
    assert entry_of(each_a_group("10" * 20), metric(high=10.0))["interval"] == "bca"


def test_bounds_stand_below_full_coverage_only() -> None:
    samples = each_a_group("1" * 8 + "0" * 2)
    assert "bounds" not in entry_of(samples, metric())
    entry = entry_of(samples, metric(), s0=None, s9=None)
    assert entry["value"] == pytest.approx(0.7)
    assert entry["bounds"] == pytest.approx([0.7, 0.9])
    assert entry["invalid"] == 2

    def root(sums: Array) -> Array:
        return np.asarray(np.sqrt(mean(sums)))

    assert "bounds" not in entry_of(samples, metric(aggregate=root), s0=None)
