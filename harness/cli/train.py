"""`harness train`: a bundled model on any data set with a training part."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.evaluate import Finished


@click.command("train")
@click.option("--task", required=True, metavar="TASK[/DATASET]", help="What to train for.")
@click.option("--model", required=True, metavar="MODEL", help="What to train.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of a data set's files.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Weights folder to write; trained/MODEL--TASK--DATASET unless given.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N training samples.")
@click.option(
    "--set", "options", multiple=True, metavar="NAME=VALUE", help="Change the recipe; repeatable."
)
@click.option("--restart", is_flag=True, help="Start anew where a stopped training would go on.")
@click.option("--no-eval", is_flag=True, help="Do not measure the result on the test part.")
def command(
    task: str,
    model: str,
    data_dir: Path | None,
    output: Path | None,
    device: str,
    seed: int,
    limit: int | None,
    options: tuple[str, ...],
    restart: bool,
    no_eval: bool,
) -> None:
    """Train a model on a data set's train part, and measure it on its test part.

    Writes config.json, model.safetensors, vocab.txt, curve.json and card.md. The same command goes
    on with a training that was stopped.
    """
    from dataclasses import replace

    from harness.errors import BadInput
    from harness.evaluate import choose_device
    from harness.registry import can_do, find_model, find_task, load_attribute
    from harness.types import TrainRequest

    from .show import show

    task_spec, data_spec = find_task(task)
    model_spec = find_model(model)
    if not model_spec.train or not can_do(model_spec, task_spec):
        raise BadInput(f"model {model_spec.name} cannot be trained for {task_spec.name}")
    changes = dict(_name_and_value(option) for option in options)
    name = f"{task_spec.name}/{data_spec.name}"
    folder = output or Path("trained") / f"{model_spec.name}--{name.replace('/', '--')}"
    load = load_attribute(data_spec.load)
    train = load(data_dir, data_spec.train_split)
    train = replace(train, samples=train.samples[:limit])
    validation = load(data_dir, data_spec.validation_split) if data_spec.validation_split else None
    folder.mkdir(parents=True, exist_ok=True)
    request = TrainRequest(
        task=task_spec.name,
        dataset=data_spec.name,
        train=train,
        validation=validation,
        output=folder,
        command="harness " + shlex.join(sys.argv[1:]),
        device=choose_device(device, model_spec),
        seed=seed,
        resume=not restart,
        options=changes,
    )
    load_attribute(model_spec.train)(request)
    click.echo(f"weights: {folder}")
    if no_eval:
        return
    splits = (data_spec.test_split, *data_spec.also_measured)
    for finished in measure(folder, name, model_spec.name, splits, data_dir, request.device, seed):
        show(finished, as_json=False)


def measure(
    folder: Path,
    task: str,
    model: str,
    splits: Sequence[str],
    data_dir: Path | None = None,
    device: Any = "cpu",
    seed: int = 0,
) -> list[Finished]:
    """Evaluates a weights folder on each split and writes the tables at the end of its card, in
    place of earlier ones."""
    from harness.evaluate import EvalRequest, evaluate

    from .show import plain_table

    card = folder / "card.md"
    text = card.read_text(encoding="utf-8").partition("\n## Measured")[0]
    results = []
    for split in splits:
        request = EvalRequest(
            task,
            model,
            split=split,
            data_dir=data_dir,
            weights=folder,
            device=device,
            seed=seed,
        )
        results.append(evaluate(request))
        table = "\n".join(line.rstrip() for line in plain_table(results[-1].result).splitlines())
        text += f"\n## Measured on {split}\n\n```{table}\n```\n"
    card.write_text(text, encoding="utf-8")
    return results


def _name_and_value(option: str) -> tuple[str, str]:
    from harness.errors import BadInput

    name, separator, value = option.partition("=")
    if not separator:
        raise BadInput(f"--set {option}: must be NAME=VALUE")
    return name, value
