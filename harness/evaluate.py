"""One evaluation from request to finished run folder: data, model, predictions, controls, floors,
scores, run.json. What `harness eval` does; prints nothing and knows no task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from . import controls
from .errors import BadInput, HarnessError
from .predict import predict
from .provenance import environment
from .registry import can_do, find_model, find_task, load_attribute, model_specs
from .score import Scored, Value, score, signature, write_rows
from .stats import paired_difference
from .store import SCHEMA, Record, Run, locked, open_run
from .types import Dataset, DatasetSpec, Json, LoadRequest, ModelSpec, Sample, Task, TaskSpec

Stage = Callable[[str, int, int], None]  # (what is being done, samples done, samples in all)


@dataclass(frozen=True)
class EvalRequest:
    """What `harness eval` is asked. `split` "" is the data set's test split."""

    task: str
    model: str
    split: str = ""
    data_dir: Path | None = None
    weights: Path | None = None
    limit: int | None = None
    batch_size: int = 64
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0
    controls: Literal["none", "sample", "full"] = "sample"
    keep_going: bool = False
    output: Path = Path("runs")


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder and the content of its run.json."""

    path: Path
    result: Json
    resumed: bool


@dataclass(frozen=True)
class _Setting:
    """What every step of one evaluation shares."""

    request: EvalRequest
    task_spec: TaskSpec
    data_spec: DatasetSpec
    task: Task
    dataset: Dataset
    samples: Sequence[Sample]
    device: str
    stage: Stage

    def load(self, model: ModelSpec, weights: Path | None = None) -> Any:
        """The model, ready to predict. BadInput if anything keeps it from loading."""
        request = LoadRequest(
            task=self.task_spec.name,
            dataset=self.data_spec.name,
            device=self.device,
            dtype=self.request.dtype,
            seed=self.request.seed,
            weights=weights,
            train=self.open_prior_part,
        )
        try:
            return load_attribute(model.load)(request)
        except HarnessError:
            raise
        except Exception as error:  # a plug-in's code: anything can happen
            raise BadInput(
                f"model {model.name} ({model.load}) fails to load: {error!r}; mend it, or "
                "uninstall the package that offers it (--debug shows where)"
            ) from error

    def open_prior_part(self) -> Dataset:
        return self.open(self.data_spec.prior_split or self.data_spec.train_split)

    def open(self, split: str) -> Dataset:
        if split == self.dataset.split:
            return self.dataset
        dataset: Dataset = load_attribute(self.data_spec.load)(self.request.data_dir, split)
        return dataset

    def score(self, samples: Sequence[Sample], records: Mapping[str, Record]) -> Scored:
        breakdowns = self.task_spec.breakdowns
        return score(self.task, self.dataset, samples, records, breakdowns, self.request.seed)


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
    if len({sample.id for sample in samples}) < len(samples):
        raise BadInput(
            f"{request.task} {dataset.split}: two samples have one id; mend the data set"
        )
    task: Task = load_attribute(task_spec.load)
    setting = _Setting(
        request, task_spec, data_spec, task, dataset, samples, device, stage or _silent
    )
    model = setting.load(model_spec, request.weights)
    decides = _what_decides(setting, model_spec, model)
    run = open_run(request.output, task_spec.name, data_spec.name, model_spec.name, decides)
    with locked(run):
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


def _check_fit(
    request: EvalRequest, task: TaskSpec, dataset: DatasetSpec, model: ModelSpec
) -> None:
    if not can_do(model, task):
        able = sorted(name for name, spec in model_specs().items() if can_do(spec, task))
        raise BadInput(
            f"model {model.name} cannot do task {task.name} (it would have to "
            f"{task.capability}); models that can: {', '.join(able)}"
        )
    if request.split and request.split not in dataset.splits:
        raise BadInput(
            f"{task.name}/{dataset.name} has no split {request.split!r}; "
            f"it has {', '.join(dataset.splits)}"
        )
    if request.data_dir is not None and not request.data_dir.is_dir():
        raise BadInput(f"{request.data_dir}: no such folder; correct --data-dir")
    if request.data_dir is None and dataset.where == "data-dir":
        raise BadInput(
            f"{task.name}/{dataset.name} is not bundled; give its folder with --data-dir "
            "(docs/data.md says what goes there)"
        )
    name = f"{task.name}/{dataset.name}"
    if request.weights is None and model.datasets is not None and name not in model.datasets:
        hint = f": train it (harness train --task {name} --model {model.name}) and give --weights"
        raise BadInput(
            f"{model.name} has nothing to load for {name}{hint if model.train else ''}; "
            f"without --weights it does {', '.join(model.datasets)}"
        )


def _what_decides(setting: _Setting, spec: ModelSpec, model: Any) -> Json:
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
    }


def _run(setting: _Setting, run: Run, spec: ModelSpec, model: Any, decides: Json) -> Finished:
    result = _manifest(setting, spec, model, decides)
    run.write("run.json", {**result, "status": "started"})
    began = time.perf_counter()
    try:
        records = _predict(setting, model, setting.samples, run.log, "samples")
        predicted = time.perf_counter()
        scored = setting.score(setting.samples, records)
        write_rows(run.path / "rows.parquet", scored, records)
        result |= report(setting.task_spec, setting.dataset, scored, setting.request.dtype)
        result["controls"] = _controls(setting, run, spec, model, scored)
        if spec.kind == "model":
            result |= _floors_and_ceiling(setting)
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


def _predict(
    setting: _Setting, model: Any, samples: Sequence[Sample], log: Path, what: str
) -> dict[str, Record]:
    return predict(
        setting.task,
        model,
        samples,
        log,
        batch_size=setting.request.batch_size,
        keep_going=setting.request.keep_going,
        progress=lambda done, total: setting.stage(what, done, total),
    )


def _manifest(setting: _Setting, spec: ModelSpec, model: Any, decides: Json) -> Json:
    description = model.description
    request = asdict(setting.request)
    return {
        "schema": SCHEMA,
        "status": "started",
        "task": setting.task_spec.name,
        "data": {
            "dataset": setting.dataset.name,
            "split": setting.dataset.split,
            "sha256": setting.dataset.sha256,
            "n": len(setting.samples),
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


def report(task: TaskSpec, dataset: Dataset, scored: Scored, dtype: str) -> Json:
    """The part of run.json that scoring makes."""
    coverage = scored.coverage
    return {
        "metrics": {
            metric.name: {
                **as_json(scored.values[metric.name]),
                "invalid": coverage.missing + coverage.failed + coverage.invalid,
                "signature": signature(metric, task.name, dataset, len(scored.samples), dtype),
            }
            for metric in scored.metrics
        },
        "primary": scored.metrics[0].name,
        "breakdowns": {
            tag: {name: as_json(value) for name, value in parts.items()}
            for tag, parts in scored.breakdowns.items()
        },
        "coverage": asdict(coverage),
    }


def as_json(value: Value) -> Json:
    return {"value": value.value, "ci95": value.ci95 and list(value.ci95), "n": value.n}


# ---------------------------------------------------------------- controls, floors, ceiling


def _controls(
    setting: _Setting, run: Run, spec: ModelSpec, model: Any, scored: Scored
) -> dict[str, Json]:
    """The model without the right pictures, on a share of the samples, paired with the model
    itself on that share. A control that cannot be had says why."""
    request = setting.request
    if request.controls == "none" or spec.kind != "model":
        return {}
    most = len(setting.samples) if request.controls == "full" else controls.SHARE
    part = controls.share(setting.samples, most, request.seed)
    found: dict[str, Json] = {}
    folder = run.path / "controls"
    if len({sample.group for sample in part}) > 1:
        changed = controls.shuffled(part, request.seed)
        found["shuffled"] = _control(setting, folder, "shuffled", model, changed, scored)
    else:
        found["shuffled"] = {"reason": "needs two pictures or more"}
    mean = _mean_picture(setting)
    found["blind"] = _control(setting, folder, "blind", model, controls.blind(part, mean), scored)
    if spec.blind and request.weights is None:
        try:
            blind_model = setting.load(find_model(spec.blind))
            found[spec.blind] = _control(setting, folder, spec.blind, blind_model, part, scored)
        except HarnessError as error:
            found[spec.blind] = {"reason": str(error)}
    return found


def _mean_picture(setting: _Setting) -> Any:
    """Of the train part's pictures, or where that part is absent of the evaluated ones."""
    try:
        train = setting.open(setting.data_spec.train_split)
        mean = controls.mean_picture(train.samples, f"{train.name}/{train.split}")
        mean.read()
        return mean
    except HarnessError:
        return controls.mean_picture(setting.samples, f"{setting.dataset.name}/evaluated")


def _control(
    setting: _Setting,
    folder: Path,
    name: str,
    model: Any,
    samples: Sequence[Sample],
    scored: Scored,
) -> Json:
    # another share of the samples deals other pictures: it has a log of its own
    log = folder / f"{name}-{len(samples)}.jsonl"
    records = _predict(setting, model, samples, log, f"control {name}")
    control = setting.score(samples, records)
    place = {sample.id: index for index, sample in enumerate(scored.samples)}
    same = [place[sample.id] for sample in samples]
    found: Json = {}
    for metric in control.metrics:
        own = scored.rows[metric.name][same]
        difference, ci95 = paired_difference(
            metric.aggregate, own, control.rows[metric.name], control.groups, setting.request.seed
        )
        found[metric.name] = {
            **as_json(control.values[metric.name]),
            "gain": {"value": difference, "ci95": ci95 and list(ci95)},
        }
    return found


def _floors_and_ceiling(setting: _Setting) -> Json:
    """Every floor and ceiling that can do the task, on the same samples."""
    found: dict[str, dict[str, Json]] = {"floors": {}, "ceilings": {}}
    name = f"{setting.task_spec.name}/{setting.data_spec.name}"
    for spec in model_specs().values():
        fits = spec.datasets is None or name in spec.datasets
        if spec.kind == "model" or not can_do(spec, setting.task_spec) or not fits:
            continue
        kind = found["floors" if spec.kind == "floor" else "ceilings"]
        setting.stage(spec.name, 0, 0)
        try:
            scored = _score_floor(setting, spec)
        except HarnessError as error:
            kind[spec.name] = {"reason": str(error)}
            continue
        kind[spec.name] = {
            **{metric: as_json(value) for metric, value in scored.values.items()},
            "breakdowns": report(setting.task_spec, setting.dataset, scored, "")["breakdowns"],
        }
    return dict(found)


def _score_floor(setting: _Setting, spec: ModelSpec) -> Scored:
    model = setting.load(spec)
    predictions = setting.task.predict(model, [sample.input for sample in setting.samples])
    records = {
        sample.id: Record(sample.id, sample.group, prediction)
        for sample, prediction in zip(setting.samples, predictions, strict=True)
    }
    return setting.score(setting.samples, records)


def _silent(what: str, done: int, total: int) -> None:
    pass
