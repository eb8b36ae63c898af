"""`harness eval`: a model on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("eval")
@click.option("--task", required=True, metavar="TASK[/DATASET]", help="What to evaluate on.")
@click.option("--model", required=True, metavar="MODEL", help="What to evaluate.")
@click.option("--split", default="", help="Part of the data set; its test part unless given.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of a data set's files.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights folder to use.")
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
@click.option("--keep-going", is_flag=True, help="Record samples that fail, and go on.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the run folders.",
)
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of a table.")
def command(as_json: bool, **options: Any) -> None:
    """Evaluate a model on a task: predict, score, and set it beside its controls and floors.

    The same command goes on with a run that was stopped, and starts a new one after a finished
    one.
    """
    from harness.errors import INCOMPLETE
    from harness.evaluate import EvalRequest, evaluate

    from .progress import shown_progress
    from .show import show

    with shown_progress(quiet=as_json) as stage:
        finished = evaluate(EvalRequest(**options), stage)
    show(finished, as_json)
    coverage = finished.result["coverage"]
    if coverage["missing"] or coverage["failed"]:
        raise SystemExit(INCOMPLETE)
