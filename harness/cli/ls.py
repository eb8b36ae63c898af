"""`harness ls`: tasks, data sets, models, and which model can do which task."""

from __future__ import annotations

import json

import click

from harness.registry import can_do, how_to_get, model_specs, task_specs
from harness.types import DatasetSpec, ModelSpec, TaskSpec


@click.command("ls")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def command(as_json: bool) -> None:
    """List tasks, data sets (here, or how to get them), models, and who can do what."""
    tasks, models = list(task_specs().values()), list(model_specs().values())
    if as_json:
        click.echo(json.dumps(_content(tasks, models), indent=1))
        return
    click.echo("Tasks and their data sets (the first is the default)")
    for task in tasks:
        click.echo(f"  {task.name:<22}{task.summary}; {', '.join(task.metrics)}")
        for dataset in task.datasets:
            click.echo(f"    {task.name + '/' + dataset.name:<20}{_state(dataset)}")
            click.echo(f"    {'':<20}{dataset.summary}; {', '.join(dataset.splits)}")
    click.echo("\nModels and the tasks they can do")
    for model in models:
        able = ", ".join(task.name for task in tasks if can_do(model, task)) or "none"
        also = f" (also {', '.join(model.aliases)})" if model.aliases else ""
        kind = "" if model.kind == "model" else f" [{model.kind}]"
        click.echo(f"  {model.name:<22}{model.summary}{also}{kind}")
        click.echo(f"    {'':<20}{able}; {_where(model)}")


def _state(dataset: DatasetSpec) -> str:
    needed = how_to_get(dataset)
    return "here" if needed is None else f"needs {needed}"


def _where(model: ModelSpec) -> str:
    if model.datasets is None:
        return "on any data set"
    if model.kind != "model":
        return "on " + ", ".join(model.datasets) + " only"
    return "without --weights on " + ", ".join(model.datasets)


def _content(tasks: list[TaskSpec], models: list[ModelSpec]) -> dict[str, object]:
    return {
        "tasks": {
            task.name: {
                "summary": task.summary,
                "metrics": task.metrics,
                "datasets": {
                    dataset.name: {
                        "summary": dataset.summary,
                        "splits": dataset.splits,
                        "here": how_to_get(dataset) is None,
                        "get": how_to_get(dataset),
                    }
                    for dataset in task.datasets
                },
            }
            for task in tasks
        },
        "models": {
            model.name: {
                "summary": model.summary,
                "kind": model.kind,
                "aliases": model.aliases,
                "tasks": [task.name for task in tasks if can_do(model, task)],
                "datasets": model.datasets,
            }
            for model in models
        },
    }
