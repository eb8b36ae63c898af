"""Entry points -> specs. Bundled tasks and models come through the same door as anyone's package.

Loads light specs only; what a spec names is imported by `load_attribute` when it is used.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import BadInput
from .specs import DatasetSpec, ModelSpec, TaskSpec, TaskVariant

TASKS = "harness.tasks"
MODELS = "harness.models"


def task_specs() -> dict[str, TaskSpec]:
    """Every installed task by name. BadInput if a package's entry point is broken."""
    return _by_name(TASKS, TaskSpec)


def model_specs() -> dict[str, ModelSpec]:
    """Every installed model by name. BadInput if a package's entry point is broken, or takes a name
    or an alias that another has."""
    models: dict[str, ModelSpec] = _by_name(MODELS, ModelSpec)
    taken = {name: name for name in models}
    for model in models.values():
        for alias in model.aliases:
            if alias in taken:
                raise BadInput(
                    f"models {taken[alias]} and {model.name} are both called {alias!r}; uninstall "
                    "the package that offers one"
                )
            taken[alias] = model.name
    return models


def find_task(name: str) -> tuple[TaskSpec, DatasetSpec]:
    """The task and data set of "task" (its default data set) or "task/dataset"; the task in the
    form that the data set has of it."""
    task_name, _, dataset_name = name.partition("/")
    tasks = task_specs()
    if task_name not in tasks:
        raise BadInput(_unknown("task", task_name, tasks))
    task = tasks[task_name]
    datasets = {dataset.name: dataset for dataset in task.datasets}
    if dataset_name and dataset_name not in datasets:
        raise BadInput(_unknown(f"data set of {task_name}", dataset_name, datasets))
    dataset = datasets[dataset_name] if dataset_name else task.datasets[0]
    return task_as_in(task, dataset), dataset


def task_as_in(task: TaskSpec, dataset: DatasetSpec) -> TaskSpec:
    """The task in the form that a data set has of it."""
    if dataset.variant is None:
        return task
    fields = {
        one.name: getattr(dataset.variant, one.name) for one in dataclasses.fields(TaskVariant)
    }
    return dataclasses.replace(task, **fields)


def embedded_tasks() -> list[str]:
    """The "task/dataset" names that need no files."""
    return [
        f"{task.name}/{dataset.name}"
        for task in task_specs().values()
        for dataset in task.datasets
        if dataset.where == "embedded"
    ]


def find_model(name: str) -> ModelSpec:
    """The model of a name or an alias."""
    models = model_specs()
    by_alias = {alias: spec for spec in models.values() for alias in spec.aliases}
    found = models.get(name) or by_alias.get(name)
    if found is None:
        raise BadInput(_unknown("model", name, [*models, *by_alias]))
    return found


def can_do(model: ModelSpec, task: TaskSpec) -> bool:
    return task.capability in model.capabilities


def how_to_get(dataset: DatasetSpec) -> str | None:
    """What a user must do to have a data set, or None if it is here already."""
    if dataset.where == "package" and importlib.util.find_spec(dataset.package) is None:
        return f"pip install 'harness[{dataset.extra}]'"
    return "--data-dir DIR" if dataset.where == "data-dir" else None


def load_attribute(path: str) -> Any:
    """The object that "module:attribute" names."""
    module_name, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module_name), attribute)


def _by_name(group: str, kind: type) -> dict[str, Any]:
    """Specs by their own names, in the order of names. An editable install may be listed twice."""
    offers: dict[str, EntryPoint] = {}
    specs: dict[str, Any] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        spec = _load(entry, kind)
        other = offers.setdefault(spec.name, entry)
        if other.value != entry.value:
            raise BadInput(
                f"{_package(other)} and {_package(entry)} both offer {group} {spec.name!r} "
                f"({other.value} and {entry.value}); uninstall one"
            )
        specs[spec.name] = spec
    return dict(sorted(specs.items()))


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "an unknown package"


def _load(entry: EntryPoint, kind: type) -> Any:
    package = _package(entry)
    try:
        spec = entry.load()
    except Exception as error:  # another package's code: anything can happen
        raise BadInput(
            f"{package}: entry point {entry.name} = {entry.value} fails to load ({error!r}); "
            "mend or uninstall that package"
        ) from error
    if not isinstance(spec, kind):
        raise BadInput(f"{package}: {entry.value} is no {kind.__name__}; mend that package")
    return spec


def _unknown(what: str, name: str, known: Iterable[str] | Mapping[str, Any]) -> str:
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(names)}"
    return f"unknown {what} {name!r}{hint} (`harness ls` shows all)"
