"""Our own metrics held against the cases, by the steps of `harness score`: predictions written as
the field's result file, read by the task, ids checked, then scored. Knows tasks by name only."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.errors import BadInput
from harness.registry import find_task, load_attribute
from harness.rescore import ScoreRequest, _check_ids, read_predictions
from harness.score import value_at_once
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
    Task,
    Uncaptioned,
)

from .cases import FAMILIES, Reply

_FAMILY_OF = {task: family for family, task in FAMILIES.items()}
_FLOATS = ("NaN", "Infinity", "-Infinity")  # JSON has no such numbers


def own_reply(request: Json) -> Reply:
    """What our metrics make of a case. Raises whatever a bug of theirs raises."""
    with tempfile.TemporaryDirectory(prefix="harness-conformance-") as folder:
        try:
            value = _score(request, Path(folder))
        except BadInput as error:
            return Reply("refused", said=" ".join(str(error).replace(folder, "").split()))
    return Reply("n/a") if np.isnan(value) else Reply("number", value)


def _score(request: Json, folder: Path) -> float:
    family = _FAMILY_OF[request["task"]]
    spec, _ = find_task(request["task"])
    task: Task = load_attribute(spec.load)
    dataset = dataset_of(family, request)
    path = write_results(family, request, folder)
    read = read_predictions(task, path, dataset)
    asked = ScoreRequest(path, request["task"], allow_missing=request["allow_missing"])
    _check_ids(asked, dataset, read)
    missing = len(dataset.samples) - len(read)
    invalid = {id for id, one in read.items() if one is None or task.invalid(one) is not None}
    if request["metric"] in ("missing", "invalid"):
        return float(missing if request["metric"] == "missing" else len(invalid))
    rules = {**request["rules"], **({"java-metrics": "off"} if family == "captions" else {})}
    metric = next(m for m in task.metrics(dataset, rules) if m.name == request["metric"])
    samples = dataset.samples
    predictions = [None if one.id in invalid else read.get(one.id) for one in samples]
    rows = metric.rows(predictions, [one.target for one in samples])
    return value_at_once(metric, rows)


# ---------------------------------------------------------------- predictions as files


def write_results(family: str, given: Json, folder: Path) -> Path:
    """The predictions in the field's own result file, in `folder`."""
    if family == "retrieval":
        np.save(folder / "scores.npy", np.array(with_floats(given["scores"])))
        return folder / "scores.npy"
    if family == "vcr":
        return _write_vcr_csv(given["predictions"], folder / "results.csv")
    key = {"captions": "image_id", "vqa": "question_id"}.get(family, "id")
    records = [
        {key if name == "id" else name: with_floats(value) for name, value in record.items()}
        for record in given["predictions"]
    ]
    (folder / "results.json").write_text(json.dumps(records), encoding="utf-8")
    return folder / "results.json"


def _write_vcr_csv(predictions: list[Json], path: Path) -> Path:
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
    return float(value) if inside and value in _FLOATS else value


# ---------------------------------------------------------------- targets as a data set


def dataset_of(family: str, given: Json) -> Dataset:
    """The targets of a case as a data set, with inputs that nobody looks at."""
    targets = given.get("targets")
    if targets is None:
        targets = [{"id": str(i), "captions": n} for i, n in enumerate(given["captions"])]
    samples = [Sample(one["id"], *_MAKE[family](one), group=one["id"]) for one in targets]
    return Dataset("cases", "test", samples, sha256="0" * 64)


def _picture(one: Json) -> Picture:
    return Picture(one["id"], lambda: np.zeros((8, 8, 3), dtype=np.uint8), size=(100, 100))


def _clip(one: Json) -> Clip:
    return Clip(one["id"], lambda count: np.zeros((count, 8, 8, 3), dtype=np.uint8), 30.0)


def _captioned(one: Json) -> tuple[CaptionedVisual, SimpleNamespace]:
    texts = tuple(f"caption {one['id']}-{i}" for i in range(one["captions"]))
    return CaptionedVisual(_picture(one), texts), SimpleNamespace(texts=len(texts), foils=0)


def _reasoned(one: Json) -> tuple[ReasonedQuestion, SimpleNamespace]:
    four = ("a", "b", "c", "d")
    entry = ReasonedQuestion(_picture(one), "why?", four, four, (), four[one["answer"]])
    return entry, SimpleNamespace(answer=one["answer"], reason=one["reason"])


def _pairs(values: list[Any]) -> tuple[Any, ...]:
    return tuple((first, second) for first, second in values)


# A target is what has the fields that its task reads: the engine imports no task's classes.
_MAKE: dict[str, Callable[[Json], tuple[Any, Any]]] = {
    "boxes": lambda one: (
        Expression(_picture(one), "it"),
        SimpleNamespace(box=tuple(one["box"])),
    ),
    "captions": lambda one: (
        Uncaptioned(_picture(one)),
        SimpleNamespace(references=tuple(one["references"])),
    ),
    "didemo": lambda one: (
        MomentQuery(_clip(one), "it"),
        SimpleNamespace(times=_pairs(one["times"])),
    ),
    "moments": lambda one: (
        MomentQuery(_clip(one), "it"),
        SimpleNamespace(moments=_pairs(one["moments"])),
    ),
    "retrieval": _captioned,
    "vcr": _reasoned,
    "vqa": lambda one: (
        Question(_picture(one), "what?"),
        SimpleNamespace(answers=tuple(one["answers"])),
    ),
}
