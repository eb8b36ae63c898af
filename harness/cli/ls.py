"""`harness ls`: tasks, data sets, models, and which model can do which task."""

from __future__ import annotations

import json

import click

from harness.registry import can_do, find_task, how_to_get, model_specs, task_as_in, task_specs
from harness.specs import DatasetSpec, ModelSpec, TaskSpec

_NAME = 22  # characters


@click.command("ls")
@click.argument("task", required=False)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def command(task: str | None, as_json: bool) -> None:
    """List tasks, data sets, models, and who can do what; of one TASK also its metrics, the rules
    by which they can be made, and each data set's parts and files."""
    if task:
        shown = find_task(task)[0].name  # or a near-miss name is suggested
        tasks = [task_specs()[shown]]
    else:
        tasks = list(task_specs().values())
    models = list(model_specs().values())
    if as_json:
        click.echo(json.dumps(_content(tasks, models), indent=1))
    elif task:
        _show_task(tasks[0], models)
    else:
        _show_all(tasks, models)


def _show_all(tasks: list[TaskSpec], models: list[ModelSpec]) -> None:
    click.echo("Tasks and their data sets (the first is the default; * needs --data-dir or pip)")
    for task in tasks:
        names = [one.name + ("" if how_to_get(one) is None else " *") for one in task.datasets]
        click.echo(f"  {task.name:<{_NAME}}  {task.summary}")
        click.echo(f"  {'':<{_NAME}}  {', '.join(names)}")
    click.echo("\nModels")
    for model in models:
        kind = "" if model.kind == "model" else f" [{model.kind}]"
        also = f" (also {', '.join(model.aliases)})" if model.aliases else ""
        click.echo(f"  {model.name:<{_NAME}}  {model.summary}{also}{kind}")
        able = [name for task in tasks for name in _forms(task, model)]
        everything = [name for task in tasks for name in _forms(task, None)]
        doing = "every task" if able == everything else ", ".join(able) or "no task here"
        click.echo(f"  {'':<{_NAME}}  {doing}; {_where(model)}")
    click.echo("\n`harness ls TASK` shows a task's metrics, rules, parts and files.")


def _show_task(task: TaskSpec, models: list[ModelSpec]) -> None:
    click.echo(f"{task.name}: {task.summary}")
    _show_form(task)
    for dataset in task.datasets:
        needed = how_to_get(dataset)
        click.echo(f"\n  {task.name}/{dataset.name}: {dataset.summary}")
        click.echo(
            f"    {'parts':<10}{', '.join(dataset.splits)}; unless asked {dataset.test_split}"
        )
        click.echo(f"    {'is':<10}{'here' if needed is None else f'had by {needed}'}")
        if dataset.files:
            roles = [f"--{role}" for role in dataset.files]
            roles += [f"[--{role}]" for role in dataset.optional_files]
            click.echo(f"    {'score':<10}takes {' '.join(roles)}")
        if dataset.variant is not None:
            _show_form(task_as_in(task, dataset), "    ")
    able = [model.name for model in models if _forms(task, model)]
    click.echo(f"\n  models: {', '.join(able)}")


def _show_form(task: TaskSpec, indent: str = "  ") -> None:
    click.echo(f"{indent}{'metrics':<10}{'; '.join(task.metrics)}")
    for name, choices in task.rules.items():
        click.echo(f"{indent}{'rule':<10}{name}={'|'.join(choices)}")


def _forms(task: TaskSpec, model: ModelSpec | None) -> list[str]:
    """What a model can do of a task: the task, and the data sets that have a form of their own."""
    forms = {task.name: task}
    for dataset in task.datasets:
        if dataset.variant is not None and dataset.variant.capability != task.capability:
            forms[f"{task.name}/{dataset.name}"] = task_as_in(task, dataset)
    return [name for name, form in forms.items() if model is None or can_do(model, form)]


def _where(model: ModelSpec) -> str:
    if model.datasets is None:
        return "on any data set"
    if all("/toybox" in name for name in model.datasets):
        return "on Toybox only" if model.kind != "model" else "without --weights on Toybox"
    return "without --weights on " + ", ".join(model.datasets)


def _content(tasks: list[TaskSpec], models: list[ModelSpec]) -> dict[str, object]:
    return {
        "tasks": {
            task.name: {
                "summary": task.summary,
                "metrics": task.metrics,
                "rules": task.rules,
                "datasets": {one.name: _dataset(task, one) for one in task.datasets},
            }
            for task in tasks
        },
        "models": {
            model.name: {
                "summary": model.summary,
                "kind": model.kind,
                "aliases": model.aliases,
                "tasks": [name for task in tasks for name in _forms(task, model)],
                "datasets": model.datasets,
            }
            for model in models
        },
    }


def _dataset(task: TaskSpec, dataset: DatasetSpec) -> dict[str, object]:
    form = task_as_in(task, dataset)
    return {
        "summary": dataset.summary,
        "splits": dataset.splits,
        "here": how_to_get(dataset) is None,
        "get": how_to_get(dataset),
        "metrics": form.metrics,
        "rules": form.rules,
        "files": [*dataset.files, *dataset.optional_files],
    }
