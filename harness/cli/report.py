"""`harness report`: what a person opens after an evaluation."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Folder of the report.",
)
@click.option(
    "--samples/--no-samples",
    default=True,
    show_default=True,
    help="With pages of samples and of pairs of runs, or the leaderboard alone.",
)
@click.option(
    "--all-thumbnails",
    is_flag=True,
    help="Draw every picture and clip, not those of each run's 1,000 worst only.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of a data set's files, if they are not where the run found them.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(
    runs: tuple[Path, ...],
    output: Path,
    samples: bool,
    all_thumbnails: bool,
    data_dir: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Make a report of RUNS, run folders or folders of them: a leaderboard for each task, and pages
    of samples, in a folder that needs no server.

    Runs that failed, lack samples, or are of other data are shown as what they are.
    """
    import json

    from harness.report.site import write_report

    from .progress import shown_progress

    with shown_progress(quiet=as_json) as stage:
        written = write_report(
            runs,
            output,
            samples=samples,
            all_visuals=all_thumbnails,
            data_dir=data_dir,
            seed=seed,
            stage=stage,
        )
    if as_json:
        content = {
            "index": str(written.index),
            "runs": written.runs,
            "pairs": written.pairs,
            "failed": list(written.failed),
        }
        click.echo(json.dumps(content, indent=1))
        return
    for reason in written.failed:
        click.echo(f"harness: {reason}", err=True)
    click.echo(f"  report  {written.index}")
    for form in ("md", "csv", "json"):
        click.echo(f"          {written.index.with_name(f'leaderboard.{form}')}")
