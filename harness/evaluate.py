"""One evaluation from request to finished run folder: data, model, predictions, yardsticks, scores,
run.json. What `harness eval` does; prints nothing and knows no task.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .artifacts import write_artifacts
from .errors import BadInput
from .provenance import environment
from .registry import can_do, find_model, find_task, load_attribute, model_specs
from .score import check_names, report, write_rows
from .setting import EvalRequest, Setting, Stage, silent
from .specs import DatasetSpec, ModelSpec, TaskSpec
from .store import SCHEMA, Run, is_complete, locked, open_run
from .types import Dataset, Json, Task
from .yardsticks import floors_and_ceilings, run_controls

__all__ = ["EvalRequest", "Finished", "Stage", "evaluate"]


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder and the content of its run.json."""

    path: Path
    result: Json
    resumed: bool


def evaluate(request: EvalRequest, stage: Stage | None = None) -> Finished:
    """Runs a model on a task and writes the run folder; goes on with an unfinished one.

    Raises HarnessError for anything the user can mend; the run folder then says "failed" and the
    same command goes on from what it holds.
    """
    task_spec, data_spec = find_task(request.task)
    model_spec = find_model(request.model)
    _check_fit(request, task_spec, data_spec, model_spec)
    device = choose_device(request.device, model_spec)
    dataset: Dataset = load_attribute(data_spec.load)(
        request.data_dir, request.split or data_spec.test_split
    )
    samples = dataset.samples[: request.limit]
    if not samples:
        raise BadInput(f"{request.task} {dataset.split}: no samples to evaluate")
    check_names(f"{request.task} {dataset.split}", samples)
    task: Task = load_attribute(task_spec.load)
    setting = Setting(
        request, task_spec, data_spec, task, dataset, samples, device, stage or silent
    )
    if request.prior_from:
        setting.open_prior_part()  # refused before anything is computed
    model = setting.load(model_spec, request.weights)
    decides = _what_decides(setting, model_spec, model)
    while True:
        run = open_run(request.output, task_spec.name, data_spec.name, model_spec.name, decides)
        with locked(run):
            if not is_complete(run):  # else another process has just finished it
                return _run(setting, run, model_spec, model, decides)


def choose_device(asked: str, model: ModelSpec) -> str:
    """The device to run on: for "auto" a GPU where there is one. Floors need none, and no torch to
    find that out."""
    if model.kind != "model" or asked == "cpu":
        return "cpu"
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no GPU here; use --device cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_rules(task: TaskSpec, rules: Mapping[str, str]) -> None:
    """BadInput unless every rule is one of the task's, with one of its choices."""
    for name, choice in rules.items():
        if name not in task.rules:
            known = ", ".join(task.rules) or "none"
            raise BadInput(f"{task.name} has no rule {name!r}; its rules: {known}")
        if choice not in task.rules[name]:
            raise BadInput(
                f"rule {name} of {task.name} is no {choice!r}; choose {', '.join(task.rules[name])}"
            )


def check_data(dataset: DatasetSpec, root: Path | None, split: str) -> None:
    """BadInput unless the data set has this part ("": any) and its folder is given where it needs
    one."""
    if split and split not in dataset.splits:
        raise BadInput(f"{dataset.name} has no split {split!r}; it has {', '.join(dataset.splits)}")
    if root is not None and not root.is_dir():
        what = "is a file, not a folder" if root.is_file() else "no such folder"
        raise BadInput(f"{root}: {what}; correct --data-dir")
    if root is not None and dataset.where == "embedded":
        raise BadInput(f"{dataset.name} is embedded; leave out --data-dir")
    if root is None and dataset.where == "data-dir":
        raise BadInput(
            f"{dataset.name} is not bundled; give its folder with --data-dir "
            "(docs/data.md says what goes there)"
        )


def _check_fit(
    request: EvalRequest, task: TaskSpec, dataset: DatasetSpec, model: ModelSpec
) -> None:
    if not can_do(model, task):
        able = sorted(name for name, spec in model_specs().items() if can_do(spec, task))
        raise BadInput(
            f"model {model.name} cannot do task {task.name} (it would have to "
            f"{task.capability}); models that can: {', '.join(able)}"
        )
    check_rules(task, request.rules)
    if task.whole_set and request.keep_going:
        raise BadInput(f"{task.name} is predicted as a whole; leave out --keep-going")
    if request.weights is not None and model.kind != "model":
        raise BadInput(f"{model.name} has no weights; leave out --weights")
    check_data(dataset, request.data_dir, request.split)
    name = f"{task.name}/{dataset.name}"
    if request.weights is None and model.datasets is not None and name not in model.datasets:
        if not model.train:
            raise BadInput(f"{model.name} works on {', '.join(model.datasets)} only, not on {name}")
        raise BadInput(
            f"{model.name} has no weights for {name}: train it (harness train --task {name} "
            f"--model {model.name}) and give --weights, or take {', '.join(model.datasets)}"
        )


def _what_decides(setting: Setting, spec: ModelSpec, model: Any) -> Json:
    """Everything that decides a prediction: the run id is its hash."""
    request = setting.request
    return {
        "model": spec.name,
        "weights_sha256": model.description.weights_sha256,
        "options": dict(model.description.options),
        "dtype": request.dtype,
        "task": setting.task_spec.name,
        "dataset": setting.dataset.name,
        "data_sha256": setting.dataset.sha256,
        "split": setting.dataset.split,
        "limit": request.limit,
        "seed": request.seed,
        "harness": __version__,
        **_what_it_saw(setting, spec),
    }


def _run(setting: Setting, run: Run, spec: ModelSpec, model: Any, decides: Json) -> Finished:
    result = _manifest(setting, spec, model, decides)
    run.write("run.json", {**result, "status": "started"})
    began = time.perf_counter()
    try:
        records = setting.predict(model, setting.samples, run.log, "samples")
        predicted = time.perf_counter()
        write_artifacts(setting, run.path, model, records)
        scored = setting.score(setting.samples, records, slow=True)
        write_rows(run.path / "rows.parquet", scored, records)
        also = _what_it_saw(setting, spec)
        dtype = setting.request.dtype
        result |= report(setting.task_spec, setting.dataset, scored, dtype, also)
        result["controls"] = run_controls(setting, run, spec, model, scored)
        if spec.kind == "model" and setting.request.floors:
            result |= floors_and_ceilings(setting, scored)
    except (Exception, KeyboardInterrupt) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        run.write("run.json", {**result, "status": "failed", "reason": reason})
        raise
    result["timing"] = {
        "predict_seconds": round(predicted - began, 3),
        "total_seconds": round(time.perf_counter() - began, 3),
        "resumed": run.resumed,
    }
    status = "failed" if scored.coverage.failed else "complete"
    result = {**result, "status": status}
    if scored.coverage.failed:
        result["reason"] = f"{scored.coverage.failed} samples failed; the same command tries again"
    run.write("run.json", result)
    return Finished(run.path, result, run.resumed)


def _what_it_saw(setting: Setting, spec: ModelSpec) -> dict[str, str]:
    """Which files a floor was fitted on, if not on the data set's own part."""
    if spec.kind != "floor" or not setting.request.prior_from:
        return {}
    return {"prior-from": setting.open_prior_part().sha256[:12]}


def _manifest(setting: Setting, spec: ModelSpec, model: Any, decides: Json) -> Json:
    description = model.description
    request = {
        **asdict(setting.request),
        "prior_from": [str(path) for path in setting.request.prior_from],
    }
    official = request.pop("official")
    if official is not None:
        request |= {f"official_{what}": value for what, value in official.items()}
    return {
        "schema": SCHEMA,
        "status": "started",
        "task": setting.task_spec.name,
        "data": {
            "dataset": setting.dataset.name,
            "split": setting.dataset.split,
            "sha256": setting.dataset.sha256,
            "n": len(setting.samples),
            "groups": len({sample.group for sample in setting.samples}),
            "notes": list(setting.dataset.notes),
        },
        "model": {
            "name": spec.name,
            "weights_sha256": description.weights_sha256,
            "parameters": description.parameters,
            "options": dict(description.options),
        },
        "seed": setting.request.seed,
        "device": setting.device,
        "dtype": setting.request.dtype,
        "request": {key: str(v) if isinstance(v, Path) else v for key, v in request.items()},
        "decides": decides,
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **environment(),
    }
