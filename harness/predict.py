"""The predict loop: samples -> prediction log, in batches, going on where the log ends.

Sees inputs, never targets: a model is handed `sample.input` and nothing else.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import BadInput, HarnessError
from .store import Record, append, drop_failed
from .types import Json, Sample, SetTask, Task

Progress = Callable[[int, int], None]  # (samples done, samples in all)


def predict(
    task: Task,
    model: Any,
    samples: Sequence[Sample],
    log: Path,
    *,
    batch_size: int,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> dict[str, Record]:
    """Predicts every sample that the log does not hold yet, and returns all records by id.

    Batches are cut at fixed places, so that a run which was killed sees the batches it would have
    seen anyhow. A bad picture or a model's exception ends the run with what is done kept; with
    `keep_going` the samples it concerns are recorded as failed and the rest go on.
    """
    done = drop_failed(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file, (log.parent / "timing.jsonl").open("a") as timing:
        for start in range(0, len(samples), batch_size):
            batch = samples[start : start + batch_size]
            if all(sample.id in done for sample in batch):
                continue
            began = time.perf_counter()
            records = _predict_batch(task, model, batch, keep_going)
            fresh = [record for record in records if record.id not in done]
            append(file, fresh)
            done.update((record.id, record) for record in fresh)
            seconds = round(time.perf_counter() - began, 6)
            entry = {"log": log.name, "start": start, "samples": len(batch), "seconds": seconds}
            timing.write(json.dumps(entry) + "\n")
            if progress:
                progress(min(start + batch_size, len(samples)), len(samples))
    return done


def predict_set(
    task: SetTask,
    model: Any,
    samples: Sequence[Sample],
    log: Path,
    *,
    batch_size: int,
    progress: Progress | None = None,
    known: Path | None = None,
) -> dict[str, Record]:
    """The same for a task whose predictions depend on the whole set: the log is written at the end,
    and until then the task keeps what it has in the folder named like the log. Of that folder only
    the model's own scores stay, in the run folder."""
    done = drop_failed(log)
    if all(sample.id in done for sample in samples):
        return done
    folder = log.parent / f"{log.stem}-parts"
    folder.mkdir(parents=True, exist_ok=True)
    report = progress or (lambda done, total: None)
    began = time.perf_counter()
    try:
        predictions = task.predict_set(model, samples, folder, batch_size, report, known)
        records = _records(task, samples, predictions)
    except HarnessError:
        raise
    except Exception as error:
        raise BadInput(_model_failed(samples, error)) from error
    with log.open("ab") as file:
        append(file, [record for record in records if record.id not in done])
    seconds = round(time.perf_counter() - began, 6)
    with (log.parent / "timing.jsonl").open("a") as timing:
        entry = {"log": log.name, "start": 0, "samples": len(samples), "seconds": seconds}
        timing.write(json.dumps(entry) + "\n")
    if log.stem == "samples":
        for path in folder.glob("scores.*"):
            path.replace(log.with_name(path.name))
    shutil.rmtree(folder)
    return done | {record.id: record for record in records}


def _predict_batch(
    task: Task, model: Any, batch: Sequence[Sample], keep_going: bool
) -> list[Record]:
    try:
        return _records(task, batch, task.predict(model, [sample.input for sample in batch]))
    except HarnessError:
        if not keep_going:
            raise
    except Exception as error:
        if not keep_going:
            raise BadInput(_model_failed(batch, error)) from error
    if len(batch) > 1:  # one by one, to find which sample it was
        return [record for one in batch for record in _predict_batch(task, model, [one], True)]
    sample = batch[0]
    try:
        return _records(task, batch, task.predict(model, [sample.input]))
    except Exception as error:
        return [Record(sample.id, sample.group, None, False, _one_line(error))]


def _records(task: Task, batch: Sequence[Sample], predictions: Sequence[Json]) -> list[Record]:
    if len(predictions) != len(batch):
        raise BadInput(
            f"the model gave {len(predictions)} predictions for {len(batch)} samples "
            f"({batch[0].id} ...): mend the model"
        )
    reasons = [task.invalid(prediction) for prediction in predictions]
    return [
        Record(
            sample.id, sample.group, _as_json(prediction, reason is None), reason is None, reason
        )
        for sample, prediction, reason in zip(batch, predictions, reasons, strict=True)
    ]


def _as_json(prediction: Json, valid: bool) -> Json:
    """The prediction as the log will give it back; ValueError or TypeError if it cannot hold it. An
    invalid one may hold NaN or infinities, which JSON lacks: they are kept as text."""
    if not valid:
        loose = json.loads(json.dumps(prediction), parse_constant=str)
        prediction = dict(loose)
    stored: Json = json.loads(json.dumps(prediction, allow_nan=False))
    return stored


def _model_failed(batch: Sequence[Sample], error: Exception) -> str:
    return (
        f"the model failed on samples {batch[0].id} to {batch[-1].id}: {_one_line(error)}; what "
        "was predicted is kept (`harness --debug eval` shows where; --keep-going records such "
        "samples as failed)"
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, HarnessError) else f"{type(error).__name__}: {text}"
