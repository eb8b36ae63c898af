"""`harness score`: predictions that any system has already made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .rules import chosen_rules, rule_options

_ROLES = ("annotations", "questions", "refs", "instances", "durations", "mapping", "names")


@click.command("score")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--task", required=True, metavar="TASK[/DATASET]", help="What was predicted.")
@click.option(
    "--name",
    default="",
    help="What to call the system; its run's model, or the file, unless given.",
)
@click.option("--split", default="", help="Part of the data set; its test part unless given.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of a data set's files.")
@click.option("--annotations", type=click.Path(path_type=Path), help="Official annotations file.")
@click.option("--questions", type=click.Path(path_type=Path), help="VQA: questions file.")
@click.option("--refs", type=click.Path(path_type=Path), help="RefCOCO: refs(unc).p.")
@click.option("--instances", type=click.Path(path_type=Path), help="RefCOCO: instances.json.")
@click.option("--durations", type=click.Path(path_type=Path), help="Charades: Charades_v1_*.csv.")
@click.option("--names", type=click.Path(path_type=Path), help="Flickr: names of a split.")
@click.option("--mapping", type=click.Path(path_type=Path), help="MSVD: youtube_mapping.txt.")
@rule_options
@click.option("--allow-missing", is_flag=True, help="Count missing predictions as wrong.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the run folders.",
)
@click.option("--json", "as_json", is_flag=True, help="Print run.json instead of a table.")
def command(
    predictions: Path,
    name: str,
    as_json: bool,
    rules: tuple[str, ...],
    tokenizer: str | None,
    **options: Any,
) -> None:
    """Score saved PREDICTIONS: a .jsonl of {"id", "prediction"} lines, or the field's own file:
    COCO captions or VQA results (json), boxes or moments (json), VCR (csv), a matrix of scores for
    retrieval (npy)."""
    from harness.errors import INCOMPLETE
    from harness.rescore import ScoreRequest, score_predictions

    from .show import show

    given = {role: options.pop(role) for role in _ROLES}
    request = ScoreRequest(
        predictions,
        name=name,
        files={role: path for role, path in given.items() if path is not None},
        rules=chosen_rules(rules, tokenizer),
        **options,
    )
    finished = score_predictions(request)
    show(finished, as_json)
    coverage = finished.result["coverage"]
    if coverage["missing"] or coverage["failed"]:
        raise SystemExit(INCOMPLETE)
