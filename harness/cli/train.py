"""`harness train`: a bundled model on any data set with a training part."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.evaluate import Finished
    from harness.specs import DatasetSpec, ModelSpec, TaskSpec
    from harness.types import TrainPart


_TABLES = "\n## Measured"  # what a card's tables begin with


@click.command("train")
@click.option(
    "--task",
    "tasks",
    required=True,
    multiple=True,
    metavar="TASK[/DATASET]",
    help="What to train for; repeatable, where one set of weights can serve several tasks.",
)
@click.option("--model", required=True, metavar="MODEL", help="What to train.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of a data set's files.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Weights folder to write; trained/MODEL--TASK--DATASET unless given, MODEL--DATASETS for "
    "several tasks.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N training samples.")
@click.option(
    "--set", "options", multiple=True, metavar="NAME=VALUE", help="Change the recipe; repeatable."
)
@click.option(
    "--restart",
    is_flag=True,
    help="Start anew where a stopped training would go on or a finished one would stay.",
)
@click.option("--no-eval", is_flag=True, help="Do not measure the result on the test part.")
@click.option(
    "--pretrain",
    is_flag=True,
    help="Learn from the tasks' texts and captions alone, for later trainings to start from "
    "(--set start=DIR). Measures no task.",
)
def command(
    tasks: tuple[str, ...],
    model: str,
    data_dir: Path | None,
    output: Path | None,
    device: str,
    seed: int,
    limit: int | None,
    options: tuple[str, ...],
    restart: bool,
    no_eval: bool,
    pretrain: bool,
) -> None:
    """Train a model on a data set's train part, and measure it on its test part.

    Writes config.json, model.safetensors, vocab.txt, curve.json and card.md. The same command goes
    on with a training that was stopped, and with measuring one that is finished.
    """
    from harness.evaluate import choose_device
    from harness.finished_training import asked_of, finished_before, note_finished
    from harness.registry import find_model, load_attribute
    from harness.store import make_folder
    from harness.types import TrainRequest

    from .show import show

    model_spec = find_model(model)
    specs = _tasks_of(tasks, model_spec, pretrain)
    names = [f"{task.name}/{data.name}" for task, data in specs]
    changes = dict(_name_and_value(option) for option in options)
    parts = [_open(task, data, data_dir, limit) for task, data in specs]
    named = "pretraining" if pretrain else _named(names)
    folder = output or Path("trained") / f"{model_spec.name}--{named}"
    make_folder(folder)
    request = TrainRequest(
        **vars(parts[0]),
        output=folder,
        command="harness " + shlex.join(sys.argv[1:]),
        device=choose_device(device, model_spec),
        seed=seed,
        resume=not restart,
        options=changes,
        also=tuple(parts[1:]),
    )
    asked = asked_of(request, model_spec.name, pretrain)
    if finished_before(folder, asked, restart):
        click.echo(f"weights: {folder}, trained before; --restart trains anew")
    else:
        load_attribute(model_spec.pretrain if pretrain else model_spec.train)(request)
        note_finished(folder, asked)
        click.echo(f"weights: {folder}")
    if no_eval or pretrain or _measured(folder):
        return
    for finished in measure(folder, names, model_spec.name, data_dir, request.device, seed):
        show(finished, as_json=False)


def _named(tasks: Sequence[str]) -> str:
    """vqa--toybox for one task; for several, their data sets."""
    if len(tasks) == 1:
        return tasks[0].replace("/", "--")
    return "+".join(dict.fromkeys(task.rpartition("/")[2] for task in tasks))


def _measured(folder: Path) -> bool:
    """The tables stand in the card, which is written when all are measured."""
    card = folder / "card.md"
    return card.is_file() and _TABLES in card.read_text(encoding="utf-8")


def _tasks_of(
    tasks: Sequence[str], model: ModelSpec, pretrain: bool
) -> list[tuple[TaskSpec, DatasetSpec]]:
    """BadInput where the model cannot be trained for one of them, or not for several. Pretraining
    takes the texts of any task."""
    from harness.errors import BadInput
    from harness.registry import can_do, find_task

    specs = [find_task(task) for task in tasks]
    if pretrain and not model.pretrain:
        raise BadInput(f"model {model.name} has no pretraining: leave out --pretrain")
    for task, _ in specs:
        if not pretrain and not (model.train and can_do(model, task)):
            raise BadInput(f"model {model.name} cannot be trained for {task.name}")
    if len(specs) > 1 and not model.trains_together:
        raise BadInput(f"model {model.name} is trained for one task at a time: give one --task")
    if len({(task.name, data.name) for task, data in specs}) < len(specs):
        raise BadInput("--task: one is given twice")
    return specs


def _open(task: TaskSpec, data: DatasetSpec, data_dir: Path | None, limit: int | None) -> TrainPart:
    """A training goes without a validation part whose files are not there, and says so."""
    from dataclasses import replace

    from harness.errors import MissingFile
    from harness.registry import load_attribute
    from harness.types import TrainPart

    load = load_attribute(data.load)
    train = load(data_dir, data.train_split)
    train = replace(train, samples=train.samples[:limit])
    validation = None
    if data.validation_split:
        try:
            validation = load(data_dir, data.validation_split)
        except MissingFile as missing:
            click.echo(f"harness: nothing is measured while training: {missing}", err=True)
    return TrainPart(task.name, data.name, train, validation)


def measure(
    folder: Path,
    tasks: Sequence[str],
    model: str,
    data_dir: Path | None = None,
    device: Any = "cpu",
    seed: int = 0,
) -> Iterator[Finished]:
    """Evaluates a weights folder for each task, on all its test splits, and writes the tables at
    the end of its card, in place of earlier ones."""
    from harness.evaluate import EvalRequest, evaluate
    from harness.registry import find_model, find_task

    from .show import plain_table

    card = folder / "card.md"
    text = card.read_text(encoding="utf-8").partition(_TABLES)[0]
    for task in tasks:
        spec, data = find_task(task)
        of_task = f"{task} " if len(tasks) > 1 else ""
        limit = find_model(model).searched if spec.whole_set else None
        for split in (data.test_split, *(data.also_measured if limit is None else ())):
            request = EvalRequest(
                task,
                model,
                split=split,
                data_dir=data_dir,
                weights=folder,
                device=device,
                seed=seed,
                limit=limit,
            )
            finished = evaluate(request)
            table = "\n".join(line.rstrip() for line in plain_table(finished.result).splitlines())
            text += f"\n## Measured on {of_task}{split}\n\n```{table}\n```\n"
            yield finished
    card.write_text(text, encoding="utf-8")


def _name_and_value(option: str) -> tuple[str, str]:
    from harness.errors import BadInput

    name, separator, value = option.partition("=")
    if not separator:
        raise BadInput(f"--set {option}: must be NAME=VALUE")
    return name, value
