"""A sample and a prediction as their task shows them to a person, whatever a plug-in's code does.
Knows no task by name."""

from __future__ import annotations

import json

from harness.registry import find_task, load_attribute
from harness.saved import SavedRun
from harness.store import Record
from harness.types import Sample, Shown, Task


def task_of(run: SavedRun) -> Task | None:
    """None where its package is not here any more."""
    try:
        task: Task = load_attribute(find_task(run.task)[0].load)
    except Exception:  # a plug-in's code: anything can happen
        return None
    return task


def sample_shown(task: Task | None, sample: Sample) -> Shown:
    """What it asks and what is right."""
    if task is None:
        return Shown([])
    try:
        return task.show(sample)
    except Exception as error:  # a plug-in's code: anything can happen
        return Shown([("not shown", repr(error))])


def prediction_shown(task: Task | None, sample: Sample | None, record: Record | None) -> Shown:
    """What was predicted, as JSON where the task has no better way, or why there is nothing."""
    if record is None:
        return Shown([("no prediction", "missing")])
    if record.prediction is None:
        return Shown([("no prediction", record.reason or "failed")])
    logged = Shown([("prediction", json.dumps(record.prediction, ensure_ascii=False))])
    if not record.valid:
        return Shown([("invalid", record.reason or "it cannot be scored"), *logged.lines])
    show = getattr(task, "show_prediction", None)
    if show is None:
        return logged
    try:
        shown: Shown = show(record.prediction, sample)
    except Exception as error:  # a plug-in's code: anything can happen
        return Shown([*logged.lines, ("not shown", repr(error))])
    return shown
