"""The cases of this folder, scored as `harness score` scores files; README.md explains them."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import BadInput
from harness.registry import find_task
from harness.rescore import ScoreRequest, score_predictions
from harness.specs import DatasetSpec
from harness.tasks.targets import (
    BoxTarget,
    CaptionTarget,
    ChunkTarget,
    MomentTarget,
    RetrievalTarget,
    VcrTarget,
    VqaTarget,
)
from harness.types import (
    CaptionedVisual,
    Clip,
    Dataset,
    Expression,
    Json,
    MomentQuery,
    Picture,
    Question,
    ReasonedQuestion,
    Sample,
    Uncaptioned,
)

FOLDER = Path(__file__).parent
FAMILIES = {
    "boxes": "spatial-localization",
    "captions": "captioning",
    "didemo": "temporal-localization/didemo",
    "moments": "temporal-localization",
    "retrieval": "retrieval",
    "vcr": "vqa/vcr",
    "vqa": "vqa",
}
CLOSE = 1e-6
FLOATS = ("NaN", "Infinity", "-Infinity")  # JSON has no such numbers


def cases() -> list[Json]:
    files = sorted(FOLDER.glob("*.json"))
    return [case for file in files for case in json.loads(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["metric"] + " " + case["name"])
def test_a_case_has_the_outcome_that_is_pinned(
    case: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = case["expect"]
    outcome = outcome_of(case, tmp_path, monkeypatch)
    if isinstance(expected, str):
        assert outcome == expected
    else:
        assert outcome == pytest.approx(expected, abs=CLOSE)


def test_every_case_is_in_the_form_that_the_readme_describes() -> None:
    for case in cases():
        assert set(case) | {"official"} == {"name", "metric", "input", "expect", "why", "official"}
        assert case["metric"].partition("/")[0] in FAMILIES, case["name"]
        assert case["expect"] in ("error", "n/a") or isinstance(case["expect"], int | float)
        assert "\n" not in case["why"] + case.get("official", "")
        either = {"predictions", "targets"}, {"scores", "captions"}
        assert set(case["input"]) - {"rules", "allow_missing"} in either, case["name"]
    names = [(case["metric"].partition("/")[0], case["name"]) for case in cases()]
    assert len(names) == len(set(names))


# ---------------------------------------------------------------- a case as files to score


def outcome_of(case: Json, folder: Path, monkeypatch: pytest.MonkeyPatch) -> float | str:
    """The metric's value, "n/a", or "error" if the input is refused in one line."""
    family, _, metric = case["metric"].partition("/")
    given: Json = case["input"]
    spec, _ = find_task(FAMILIES[family])
    cases_spec = DatasetSpec("cases", "made up", f"{__name__}:open_case", ("test",), "data-dir")
    found = dataclasses.replace(spec, breakdowns=()), cases_spec
    monkeypatch.setattr("harness.rescore.find_task", lambda name: found)
    (folder / "case.json").write_text(json.dumps([family, given]), encoding="utf-8")
    rules = {**given.get("rules", {}), **({"java-metrics": "off"} if family == "captions" else {})}
    request = ScoreRequest(
        write_results(family, given, folder),
        task=spec.name,
        data_dir=folder,
        allow_missing=given.get("allow_missing", False),
        rules=rules,
        output=folder / "runs",
    )
    try:
        result = score_predictions(request).result
    except BadInput as error:
        named = str(error).startswith(str(request.predictions)) and "\n" not in str(error)
        return "error" if named else f"an error that names no file: {error}"
    if metric in ("invalid", "missing"):
        return int(result["coverage"][metric])
    value = result["metrics"][metric]["value"]
    return "n/a" if value is None else float(value)


def write_results(family: str, given: Json, folder: Path) -> Path:
    """The predictions in the field's own result file."""
    if family == "retrieval":
        np.save(folder / "scores.npy", np.array(with_floats(given["scores"])))
        return folder / "scores.npy"
    if family == "vcr":
        return write_vcr_csv(given["predictions"], folder / "results.csv")
    key = {"captions": "image_id", "vqa": "question_id"}.get(family, "id")
    records = [
        {key if name == "id" else name: with_floats(value) for name, value in record.items()}
        for record in given["predictions"]
    ]
    (folder / "results.json").write_text(json.dumps(records), encoding="utf-8")
    return folder / "results.json"


def write_vcr_csv(predictions: list[Json], path: Path) -> Path:
    reasons = [f"rationale_conditioned_on_a{i}_{j}" for i in range(4) for j in range(4)]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["annot_id", *(f"answer_{i}" for i in range(4)), *reasons])
        for one in predictions:
            rows.writerow([one["id"], *one["answer_scores"], *chain(*one["reason_scores"])])
    return path


def with_floats(value: Any, inside: bool = False) -> Any:
    """The same with the numbers that JSON lacks, which stand as texts within lists."""
    if isinstance(value, list):
        return [with_floats(item, inside=True) for item in value]
    return float(value) if inside and value in FLOATS else value


def open_case(root: Path, split: str) -> Dataset:
    """The targets of the case in a folder."""
    if split != "test":
        raise BadInput(f"a case has no part {split!r}")
    family, given = json.loads((root / "case.json").read_text(encoding="utf-8"))
    targets = given.get("targets")
    if targets is None:
        targets = [{"id": str(i), "captions": n} for i, n in enumerate(given["captions"])]
    samples = [Sample(one["id"], *MAKE[family](one), group=one["id"]) for one in targets]
    return Dataset("cases", "test", samples, sha256="0" * 64)


def picture(one: Json) -> Picture:
    return Picture(one["id"], lambda: np.zeros((8, 8, 3), dtype=np.uint8), size=(100, 100))


def clip(one: Json) -> Clip:
    return Clip(one["id"], lambda count: np.zeros((count, 8, 8, 3), dtype=np.uint8), 30.0)


def vcr_sample(one: Json) -> tuple[ReasonedQuestion, VcrTarget]:
    four = ("a", "b", "c", "d")
    entry = ReasonedQuestion(picture(one), "why?", four, four, (), four[one["answer"]])
    return entry, VcrTarget(one["answer"], one["reason"])


def retrieval_sample(one: Json) -> tuple[CaptionedVisual, RetrievalTarget]:
    texts = tuple(f"caption {one['id']}-{i}" for i in range(one["captions"]))
    return CaptionedVisual(picture(one), texts), RetrievalTarget(len(texts))


def pairs(values: list[Any]) -> tuple[Any, ...]:
    return tuple((first, second) for first, second in values)


MAKE: dict[str, Callable[[Json], tuple[Any, Any]]] = {
    "boxes": lambda one: (Expression(picture(one), "it"), BoxTarget(tuple(one["box"]))),
    "captions": lambda one: (Uncaptioned(picture(one)), CaptionTarget(tuple(one["references"]))),
    "didemo": lambda one: (MomentQuery(clip(one), "it"), ChunkTarget(pairs(one["times"]))),
    "moments": lambda one: (MomentQuery(clip(one), "it"), MomentTarget(pairs(one["moments"]))),
    "retrieval": retrieval_sample,
    "vcr": vcr_sample,
    "vqa": lambda one: (Question(picture(one), "what?"), VqaTarget(tuple(one["answers"]))),
}
