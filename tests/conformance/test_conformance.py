"""The cases of harness.conformance, scored as `harness score` scores files, and random ones;
docs/conformance.md explains them."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest

from harness.conformance.cases import (
    CLOSE,
    FAMILIES,
    Case,
    Reply,
    families_of,
    read_reply,
    request_of,
    verdict_of,
    written_cases,
)
from harness.conformance.own import dataset_of, own_reply, write_results
from harness.conformance.random_cases import random_cases
from harness.errors import BadInput
from harness.registry import find_task
from harness.rescore import ScoreRequest, score_predictions
from harness.specs import DatasetSpec
from harness.types import Dataset

CASES = written_cases()
RANDOM_SEED = 20


def case_named(id: str) -> Case:
    return next(case for case in CASES if case.id == id)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.id} {case.metric}")
def test_a_case_has_the_outcome_that_is_pinned(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = outcome_of(case, tmp_path, monkeypatch)
    if isinstance(case.expect, str):
        assert outcome == case.expect
    else:
        assert outcome == pytest.approx(case.expect, abs=CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_our_metrics_meet_the_plain_references_on_random_cases(family: str) -> None:
    for case in random_cases([family], 60, RANDOM_SEED):
        reply = own_reply(request_of(case))
        assert verdict_of(case, reply) == "pass", (case.id, case.metric, case.expect, str(reply))


@pytest.mark.parametrize("family", FAMILIES)
def test_random_cases_are_of_every_metric_and_differ(family: str) -> None:
    cases = random_cases([family], 60, RANDOM_SEED)
    for metric in {case.metric for case in cases}:
        outcomes = {case.expect for case in cases if case.metric == metric}
        assert len(outcomes) >= 3, metric
    assert random_cases([family], 60, RANDOM_SEED) == cases
    assert random_cases([family], 60, RANDOM_SEED + 1) != cases
    assert random_cases([family], 5, RANDOM_SEED) == cases[:5]  # one does not move the others


def test_random_cases_do_not_touch_the_generator_that_others_use() -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    random_cases(["boxes"], 3, 0)
    assert random.random() == expected


def test_every_case_is_in_the_form_that_the_manual_describes() -> None:
    for case in CASES:
        assert case.expect in ("error", "n/a") or isinstance(case.expect, int | float)
        assert "\n" not in case.why + case.official
        assert case.pitfall.what
        assert case.pitfall.source
        either = {"predictions", "targets"}, {"scores", "captions"}
        assert set(case.input) - {"rules", "allow_missing"} in either, case.id
        json.dumps(request_of(case), allow_nan=False)
    assert len(CASES) == 140
    assert len({case.id for case in CASES}) == len(CASES)


def test_every_pitfall_that_is_described_has_a_case() -> None:
    from importlib.resources import files

    for family in FAMILIES:
        content = json.loads((files("harness.conformance") / f"{family}.json").read_text("utf-8"))
        used = {case["pitfall"] for case in content["cases"]}
        assert used == set(content["pitfalls"]), family


def test_a_task_chooses_its_families() -> None:
    assert families_of("vqa") == ["vqa", "vcr"]
    assert families_of("vqa/vcr") == ["vcr"]
    assert families_of("") == list(FAMILIES)
    with pytest.raises(BadInput, match="there are some for captioning, vqa"):
        families_of("chess")


# ---------------------------------------------------------------- answers and verdicts


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ({"scores": {"m": 0.25}}, "number", ""),
        ({"scores": {"m": 1}}, "number", ""),
        ({"scores": {"m": None}}, "n/a", ""),
        ({"scores": {"m": "n/a"}}, "n/a", ""),
        ({"error": "id 1\ntwice"}, "refused", "id 1 twice"),
        ({"unsupported": "no such metric"}, "unsupported", "no such metric"),
        ({"scores": {"m": float("nan")}}, "broken", "gave NaN"),
        ({"scores": {"m": float("-inf")}}, "broken", "gave an infinite score"),
        ({"scores": {"m": 10**400}}, "broken", "gave an infinite score"),
        ({"scores": {"m": True}}, "broken", "gave 'True', which is no number"),
        ({"scores": {"m": "0.5"}}, "broken", "gave '0.5', which is no number"),
        ({"scores": {"other": 1}}, "broken", "gave no score of 'm'"),
        ({"scores": [1]}, "broken", 'gave no "scores"'),
        ({}, "broken", 'gave no "scores"'),
    ],
)
def test_an_answer_is_read_or_called_what_it_is(
    content: dict[str, object], kind: str, said: str
) -> None:
    reply = read_reply(content, "m")
    assert (reply.kind, reply.said) == (kind, said)


def test_only_the_documented_outcome_passes() -> None:
    half, refused, absent = (
        case_named("boxes/missing-id-allowed"),
        case_named("boxes/missing-id"),
        case_named("captions/one-image-cider"),
    )
    assert (half.expect, refused.expect, absent.expect) == (0.5, "error", "n/a")
    verdicts = {
        "number": ("pass", "fail", "fail"),
        "refused": ("fail", "pass", "fail"),
        "n/a": ("fail", "fail", "pass"),
        "broken": ("fail", "fail", "fail"),
        "lost": ("fail", "fail", "fail"),
        "unsupported": ("unsupported",) * 3,
    }
    for kind, expected in verdicts.items():
        reply = Reply(kind, 0.5)  # type: ignore[arg-type]
        assert tuple(verdict_of(case, reply) for case in (half, refused, absent)) == expected
    assert verdict_of(half, Reply("number", 0.5 + 2e-6)) == "fail"
    assert verdict_of(half, Reply("number", 0.5 - 5e-7)) == "pass"


# ---------------------------------------------------------------- a case as files to score


def outcome_of(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> float | str:
    """The metric's value, "n/a", or "error" if the input is refused in one line."""
    request = request_of(case)
    spec, _ = find_task(case.task)
    cases_spec = DatasetSpec("cases", "made up", f"{__name__}:open_case", ("test",), "data-dir")
    found = dataclasses.replace(spec, breakdowns=()), cases_spec
    monkeypatch.setattr("harness.rescore.find_task", lambda name: found)
    (folder / "case.json").write_text(json.dumps([case.family, request]), encoding="utf-8")
    captions = case.family == "captions"
    asked = ScoreRequest(
        write_results(case.family, request, folder),
        task=spec.name,
        data_dir=folder,
        allow_missing=request["allow_missing"],
        rules={**request["rules"], **({"java-metrics": "off"} if captions else {})},
        output=folder / "runs",
    )
    try:
        result = score_predictions(asked).result
    except BadInput as error:
        named = str(error).startswith(str(asked.predictions)) and "\n" not in str(error)
        return "error" if named else f"an error that names no file: {error}"
    if case.metric in ("invalid", "missing"):
        return int(result["coverage"][case.metric])
    value = result["metrics"][case.metric]["value"]
    return "n/a" if value is None else float(value)


def open_case(root: Path, split: str) -> Dataset:
    """The targets of the case in a folder."""
    if split != "test":
        raise BadInput(f"a case has no part {split!r}")
    family, request = json.loads((root / "case.json").read_text(encoding="utf-8"))
    return dataset_of(family, request)
