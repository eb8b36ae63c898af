"""Scoring predictions that any system has already made, from our jsonl or the field's own result
files. What `harness score` does; prints nothing and knows no task.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import BadInput
from .evaluate import Finished, check_rules
from .media.checksums import sha256_of_file
from .provenance import environment
from .registry import find_task, load_attribute
from .score import check_names, report, write_rows
from .setting import EvalRequest, Setting
from .specs import DatasetSpec, TaskSpec
from .store import SCHEMA, Record, Run, append, locked, open_run
from .types import Dataset, Json, Sample, Task
from .yardsticks import floors_and_ceilings


@dataclass(frozen=True)
class ScoreRequest:
    """What `harness score` is asked: predictions of any system, already made.

    `files` are official files by their role ("questions", "annotations"), in place of a data set's
    own.
    """

    predictions: Path
    task: str
    name: str = ""
    split: str = ""
    data_dir: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    allow_missing: bool = False
    rules: Mapping[str, str] = field(default_factory=dict)
    prior_from: tuple[Path, ...] = ()
    seed: int = 0
    output: Path = Path("runs")


def score_predictions(request: ScoreRequest) -> Finished:
    """Scores a file of predictions into a run folder.

    BadInput for ids that the data set lacks, and for missing ones unless `allow_missing`.
    """
    task_spec, data_spec = find_task(request.task)
    if not request.predictions.is_file():
        what = "is a folder" if request.predictions.is_dir() else "no such file of predictions"
        raise BadInput(f"{request.predictions}: {what}; correct the path")
    check_rules(task_spec, request.rules)
    name = _name(request)
    if request.files:
        data_spec = _data_set_of_files(request, task_spec, data_spec)
    task: Task = load_attribute(task_spec.load)
    dataset = _dataset_to_score(request, data_spec)
    check_names(f"{request.task} {dataset.split}", dataset.samples)
    predictions = read_predictions(task, request.predictions, dataset)
    _check_ids(request, dataset, predictions)
    groups = {sample.id: sample.group for sample in dataset.samples}
    records = {}
    for id, prediction in predictions.items():
        reason = "failed" if prediction is None else task.invalid(prediction)
        records[id] = Record(id, groups[id], prediction, reason is None, reason)
    dtype, also = _how_made(request.predictions)
    decides = {
        "predictions_sha256": sha256_of_file(request.predictions),
        "task": task_spec.name,
        "dataset": dataset.name,
        "data_sha256": dataset.sha256,
        "split": dataset.split,
        "seed": request.seed,
    }
    run = open_run(request.output, task_spec.name, dataset.name, name, decides)
    setting = Setting(
        EvalRequest(
            f"{task_spec.name}/{data_spec.name}",
            name,
            split=dataset.split,
            data_dir=request.data_dir,
            seed=request.seed,
            rules=request.rules,
            prior_from=request.prior_from,
        ),
        task_spec,
        data_spec,
        task,
        dataset,
        dataset.samples[:],
    )
    if request.prior_from:
        setting.open_prior_part()  # refused before anything is scored
    with locked(run):
        scored = setting.score(setting.samples, records, slow=True)
        _write_log(run, setting.samples, records)
        write_rows(run.path / "rows.parquet", scored, records)
        result: Json = {
            "schema": SCHEMA,
            "status": "failed" if scored.coverage.unscored else "complete",
            "task": task_spec.name,
            "data": {
                "dataset": dataset.name,
                "split": dataset.split,
                "sha256": dataset.sha256,
                "n": len(setting.samples),
                "groups": len({sample.group for sample in setting.samples}),
                "notes": list(dataset.notes),
            },
            "model": {"name": name, "weights_sha256": None, "parameters": None},
            "predictions": str(request.predictions),
            "request": _as_json(request),
            "decides": decides,
            "seed": request.seed,
            "device": None,
            "dtype": dtype,
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "controls": {},
            **report(task_spec, dataset, scored, dtype, also),
            **floors_and_ceilings(setting, scored),
            **environment(),
        }
        if scored.coverage.unscored:
            result["reason"] = f"{scored.coverage.unscored} samples have no prediction"
        run.write("run.json", result)
    return Finished(run.path, result, False)


def _as_json(request: ScoreRequest) -> Json:
    return {
        **{name: str(v) if isinstance(v, Path) else v for name, v in vars(request).items()},
        "files": {role: str(path) for role, path in request.files.items()},
        "rules": dict(request.rules),
        "prior_from": [str(path) for path in request.prior_from],
    }


def _name(request: ScoreRequest) -> str:
    """What to call the system: as asked, or as the run whose log this is, or as the file."""
    if request.name:
        name = request.name
    else:
        beside = request.predictions.with_name("run.json")
        try:
            name = str(json.loads(beside.read_text(encoding="utf-8"))["model"]["name"])
        except (OSError, ValueError, KeyError, TypeError):
            name = request.predictions.stem
    if name in ("", ".", "..") or not set("/\\\0").isdisjoint(name):
        raise BadInput(f"--name {name!r} is to name a folder; take a plain word")
    return name


def _how_made(predictions: Path) -> tuple[str, dict[str, str]]:
    """The dtype, and which files a floor was fitted on, of the run whose log this is; "unstated"
    for a file of another kind."""
    try:
        run = json.loads(predictions.with_name("run.json").read_text(encoding="utf-8"))
        own = predictions.name == "samples.jsonl"
        seen = run["decides"].get("prior-from")
        return (str(run["dtype"]), {"prior-from": str(seen)} if seen else {}) if own else _UNSTATED
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _UNSTATED


_UNSTATED: tuple[str, dict[str, str]] = ("unstated", {})


def _write_log(run: Run, samples: Sequence[Sample], records: Mapping[str, Record]) -> None:
    run.log.unlink(missing_ok=True)
    with run.log.open("ab") as log:
        append(log, [records[sample.id] for sample in samples if sample.id in records])


def _data_set_of_files(request: ScoreRequest, task: TaskSpec, dataset: DatasetSpec) -> DatasetSpec:
    """The data set whose official files are given: the named one, or the task's first that has a
    file format of its own."""
    named = "/" in request.task
    able = [one for one in task.datasets if one.files and (one is dataset or not named)]
    if not able:
        raise BadInput(f"{request.task} is not read from separate files; leave those options out")
    roles = (*able[0].files, *able[0].optional_files)
    strange = [role for role in request.files if role not in roles]
    if strange:
        takes = ", ".join(f"--{role}" for role in roles)
        raise BadInput(f"{task.name}/{able[0].name} takes {takes}; leave out --{strange[0]}")
    absent = [role for role in able[0].files if role not in request.files]
    if absent:
        raise BadInput(f"{task.name}/{able[0].name} also needs --{absent[0]}; give both files")
    return able[0]


def _dataset_to_score(request: ScoreRequest, data_spec: DatasetSpec) -> Dataset:
    split = request.split or data_spec.test_split
    if split not in data_spec.splits:
        raise BadInput(
            f"{request.task} has no split {split!r}; it has {', '.join(data_spec.splits)}"
        )
    if not request.files:
        opened: Dataset = load_attribute(data_spec.load)(request.data_dir, split)
        return opened
    dataset: Dataset = load_attribute(data_spec.load_files)(request.files, split)
    return dataset


def _check_ids(
    request: ScoreRequest, dataset: Dataset, predictions: Mapping[str, Json | None]
) -> None:
    known = {sample.id for sample in dataset.samples}
    strange = [id for id in predictions if id not in known]
    if strange:
        raise BadInput(
            f"{request.predictions}: {len(strange):,} of {len(predictions):,} ids are not in "
            f"{dataset.name} {dataset.split}, the first is {strange[0]!r}; check both, and --split"
        )
    missing = [id for id in known if id not in predictions]
    if missing and not request.allow_missing:
        raise BadInput(
            f"{request.predictions}: {len(missing)} of {len(known)} ids have no prediction, the "
            f"first is {min(missing)!r}; add them, or count them as wrong with --allow-missing"
        )


def read_predictions(task: Task, path: Path, dataset: Dataset) -> Mapping[str, Json | None]:
    """Sample id -> prediction, None for a sample that failed. A file ending in .jsonl holds our
    lines, {"id": ..., "prediction": {...}}; any other is the task's to read."""
    if path.suffix != ".jsonl":
        return task.read_results(path, dataset)
    form = getattr(task, "form", "{...}")
    if getattr(task, "reads_jsonl", False) and not _is_ours(path):
        return task.read_results(path, dataset)
    predictions: dict[str, Json | None] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            id, prediction = entry["id"], entry["prediction"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BadInput(
                f'{path}: line {number}: must be {{"id": "...", "prediction": {form}}}; write it so'
            ) from None
        if not isinstance(id, str) or not isinstance(prediction, dict | None):
            raise BadInput(
                f"{path}: line {number}: id must be text and prediction an object such as {form}"
            )
        if id in predictions:
            raise BadInput(f"{path}: line {number}: id {id!r} comes a second time; keep one")
        predictions[id] = prediction
    return predictions


def _is_ours(path: Path) -> bool:
    """Whether the first line is one of ours."""
    first = next((line for line in _lines(path) if line.strip()), "")
    try:
        return "prediction" in json.loads(first)
    except (ValueError, TypeError, RecursionError):
        return True


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}; write it again") from None
