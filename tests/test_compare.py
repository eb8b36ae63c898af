"""Differences of made-up metrics: values, signs, what does not apply, correction over runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compare import Comparison, Difference, corrected, difference, permutation
from harness.explain import conventions
from harness.saved import SavedRun
from harness.score import bounds_of, per_sample
from harness.specs import TaskSpec
from harness.types import Metric

Array = npt.NDArray[np.float64]


def mean(sums: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def never(*given: object) -> Any:
    raise AssertionError("rows are stored, not made")


def metric(**fields: Any) -> Metric:
    return Metric("m", "v", never, **({"aggregate": mean} | fields))


def rows_of(values: Any) -> Array:
    values = np.asarray(values, dtype=float)
    return np.stack([values, np.ones(len(values))], axis=1)


GROUPS = [f"{index // 2:03}" for index in range(200)]
RIGHT = np.random.default_rng(0).random(200) < 0.7


# ---------------------------------------------------------------- differences


def test_the_difference_is_the_second_minus_the_first() -> None:
    found = difference(metric(), rows_of(RIGHT), rows_of(np.ones(200)), GROUPS)
    assert found.difference == pytest.approx(1 - RIGHT.mean())
    assert found.first == pytest.approx(RIGHT.mean())
    assert found.ci95 is not None
    assert found.ci95[0] < 1 - RIGHT.mean() < found.ci95[1]
    assert found.p == 1 / 10_001
    assert found.better > 0


def test_a_lower_rank_is_better() -> None:
    rank = metric(higher_is_better=False, percent=False, low=1.0, high=math.inf)
    found = difference(rank, rows_of(np.full(200, 5.0)), rows_of(np.full(200, 4.0)), GROUPS)
    assert found.difference == -1
    assert found.better == 1


def test_what_does_not_apply_to_a_run_has_no_difference() -> None:
    found = difference(metric(), rows_of(RIGHT), rows_of(np.full(200, np.nan)), GROUPS)
    assert found.first is not None
    assert (found.other, found.difference, found.p, found.ci95) == (None, None, None, None)
    assert math.isnan(found.better)


def test_of_a_single_group_nothing_is_told() -> None:
    found = difference(metric(), rows_of(RIGHT), rows_of(np.ones(200)), ["one"] * 200)
    assert found.difference is not None
    assert (found.p, found.ci95, found.detectable) == (None, None, None)


def test_groups_that_copy_one_another_add_no_certainty() -> None:
    a, b = rows_of(RIGHT[:20]), rows_of(~RIGHT[:20])
    names = [f"{index:02}" for index in range(20)]
    once = permutation(metric(), a, b, names)
    tenfold = permutation(metric(), np.repeat(a, 10, 0), np.repeat(b, 10, 0), sorted(names * 10))
    assert tenfold == once


def test_the_detectable_difference_is_found_in_four_of_five_comparisons() -> None:
    generator = np.random.default_rng(8)
    noise = generator.normal(0, 0.3, (150, 2, 200))
    stated = [
        difference(metric(), rows_of(a), rows_of(b), GROUPS).detectable or 0 for a, b in noise[:15]
    ]
    sure = np.mean(stated)
    found = sum(
        permutation(metric(), rows_of(a), rows_of(b + sure), GROUPS).two_sided < 0.05
        for a, b in noise
    )
    assert 0.7 <= found / 150 <= 0.9


# ---------------------------------------------------------------- Holm over runs


def comparison(*values: float | None) -> Comparison:
    names = ("main", "second")
    run = SavedRun(Path("run"), {})
    differences = [
        Difference(name, True, True, 0.0, 0.1, 0.1, None, p, p, p, None)
        for name, p in zip(names, values, strict=True)
    ]
    return Comparison(run, run, 9, differences, None, ())


def test_primary_metrics_are_corrected_together_whatever_their_names() -> None:
    other = comparison(0.03, 0.5)
    renamed = replace(
        other, differences=[replace(other.differences[0], metric="CIDEr"), other.differences[1]]
    )
    found = corrected([comparison(0.01, 0.04), renamed, comparison(None, None)])
    assert [one.differences[0].p_holm for one in found] == pytest.approx([0.02, 0.03, None])
    assert [one.differences[1].p_holm for one in found] == pytest.approx([0.08, 0.5, None])
    assert [one.differences[0].p for one in found] == [0.01, 0.03, None]


# ---------------------------------------------------------------- samples alone, and bounds


def test_a_mean_has_values_of_samples_alone_and_a_corpus_metric_has_none() -> None:
    rows = rows_of([0.0, 1.0, 0.5])
    np.testing.assert_array_equal(per_sample(metric(), rows), [0.0, 1.0, 0.5])
    assert per_sample(metric(aggregate=lambda s: np.sqrt(mean(s))), rows) is None
    assert per_sample(metric(weighted=never), rows) is None
    silent = np.vstack([rows, [0.0, 0.0]])
    np.testing.assert_array_equal(per_sample(metric(), silent), [0.0, 1.0, 0.5, np.nan])


def test_samples_of_several_queries_weigh_as_many() -> None:
    rows = np.array([[2.0, 4.0], [1.0, 1.0]])
    np.testing.assert_array_equal(per_sample(metric(counted=1), rows), [0.5, 1.0])
    assert per_sample(metric(), rows) is None  # not counted: no plain mean of the two
    assert bounds_of(metric(counted=1), rows, np.array([True, False])) == (0.6, 1.0)


def test_bounds_span_what_unscored_samples_could_have_been() -> None:
    rows = rows_of([1, 1, 0, 0])
    assert bounds_of(metric(), rows, np.array([False, False, True, True])) == (0.5, 1.0)
    assert bounds_of(metric(), rows, np.array([False, False, False, True])) == (0.5, 0.75)
    rank = metric(low=1.0, high=math.inf, higher_is_better=False)
    ranks = rows_of([1, 3, 8])
    assert bounds_of(rank, ranks, np.array([False, False, True])) == pytest.approx((4.0, 5 / 3))


# ---------------------------------------------------------------- conventions


def test_every_choice_of_every_rule_is_a_convention_and_so_are_the_runs_own() -> None:
    rules = {"box": ("exclusive", "plus-one"), "half": ("counts", "fails")}
    task = TaskSpec("t", "made up", "locate", ("m",), (), "nowhere:T", rules=rules)
    both = {"box": "plus-one", "half": "fails"}
    names = [name for name, _ in conventions(task, {}, both)]
    assert names == ["default", "box=plus-one, half=fails", "box=plus-one", "half=fails"]
