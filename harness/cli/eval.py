"""`harness eval`: a model on a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .official import official_options, take_official
from .rules import chosen_rules, rule_options

if TYPE_CHECKING:
    from harness.evaluate import EvalRequest, Finished, Stage


@click.command("eval")
@click.option(
    "--task", required=True, metavar="TASK[/DATASET]", help="What to evaluate on, or all."
)
@click.option("--model", required=True, metavar="MODEL", help="What to evaluate.")
@click.option("--split", default="", help="Part of the data set; its test part unless given.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of a data set's files.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights to use: a folder that `harness train` wrote, or a released file.",
)
@official_options
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N samples.")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Published numbers are made in float32.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--controls",
    type=click.Choice(["none", "sample", "full"]),
    default="sample",
    show_default=True,
    help="Score without the right pictures too, on 1,000 samples or on all.",
)
@click.option(
    "--floors/--no-floors",
    default=True,
    show_default=True,
    help="Score chance, prior and, where there is one, the ceiling beside the model.",
)
@click.option("--keep-going", is_flag=True, help="Record samples that fail, and go on.")
@rule_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the run folders.",
)
@click.option("--report", is_flag=True, help="Make a page of the samples, in the run's folder.")
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of a table.")
def command(
    task: str,
    as_json: bool,
    report: bool,
    rules: tuple[str, ...],
    tokenizer: str | None,
    **options: Any,
) -> None:
    """Evaluate a model on a task: predict, score, and set it beside its controls and floors.

    The same command goes on with a run that was stopped, and starts a new one after a finished
    one. `--task all` runs every embedded task that the model can do.
    """
    from harness.evaluate import EvalRequest, evaluate

    from .progress import shown_progress
    from .show import show

    official = take_official(options)
    request = EvalRequest(task, **options, rules=chosen_rules(rules, tokenizer), official=official)
    if task == "all":
        _evaluate_all(request, as_json, report)
        return
    with shown_progress(quiet=as_json) as stage:
        finished = evaluate(request, stage)
        page = _report(request, finished, stage) if report else None
    show(finished, as_json, page)
    _exit([finished])


def _report(request: EvalRequest, finished: Finished, stage: Stage) -> Path:
    from harness.report.explorer import write_alone

    return write_alone(finished.path, data_dir=request.data_dir, stage=stage)


def _evaluate_all(request: EvalRequest, as_json: bool, report: bool) -> None:
    """Every embedded task, one line a task in one table. A task that fails is named there, the
    rest go on, and the exit code says so."""
    import dataclasses

    from harness.errors import BAD_INPUT, BadInput, HarnessError
    from harness.evaluate import evaluate
    from harness.registry import can_do, embedded_tasks, find_model, find_task

    from .progress import shown_progress
    from .show import show_all

    if request.data_dir or request.weights or request.prior_from or request.rules:
        raise BadInput("--task all runs the embedded tasks as they are; name one for that option")
    model = find_model(request.model)
    finished: list[Finished] = []
    pages: list[Path] = []
    reasons: dict[str, str] = {}
    tasks = embedded_tasks()
    able = [task for task in tasks if can_do(model, find_task(task)[0])]
    if not able:
        raise BadInput(f"{model.name} can do no embedded task")
    unable = [task for task in tasks if task not in able]
    for task in able:
        try:
            with shown_progress(quiet=as_json) as stage:
                named = _named(stage, task)
                finished.append(evaluate(dataclasses.replace(request, task=task), named))
                if report:
                    pages.append(_report(request, finished[-1], named))
        except HarnessError as error:
            reasons[task] = str(error)
    show_all(model.name, finished, reasons, unable, as_json, pages)
    if reasons:
        raise SystemExit(BAD_INPUT)
    _exit(finished)


def _named(stage: Stage, task: str) -> Stage:
    return lambda what, done, total: stage(f"{task} {what}", done, total)


def _exit(finished: Sequence[Finished]) -> None:
    from harness.errors import INCOMPLETE

    if any(one.result["coverage"][what] for one in finished for what in ("missing", "failed")):
        raise SystemExit(INCOMPLETE)
