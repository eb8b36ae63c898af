"""`harness reproduce`: a run made again from its manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.reproduce import Reproduction

_SHOWN = 4  # samples whose prediction is another


@click.command("reproduce")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("reproduced"),
    show_default=True,
    help="Folder of the run folders made anew.",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where the data set's files are here."
)
@click.option("--weights", type=click.Path(path_type=Path), help="Where the weights are here.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to run it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(
    run: Path,
    output: Path,
    data_dir: Path | None,
    weights: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Run RUN's request again and say whether its predictions are the same result: the same texts,
    numbers within 1e-5 + 1e-6 |x|. If not, which fields of the manifest changed.

    Ends with 0 for the same, 1 for other predictions, 3 where they cannot be compared.
    """
    from harness.errors import CHECK_FAILED, NotComparable
    from harness.reproduce import as_json as in_json
    from harness.reproduce import reproduce

    from .progress import shown_progress

    try:
        with shown_progress(quiet=as_json) as stage:
            found = reproduce(run, output, data_dir, weights, device, stage)
    except NotComparable as error:
        for line in error.fields:
            click.echo(f"harness: not comparable: {line}", err=True)
        raise SystemExit(error.exit_code) from None
    if as_json:
        click.echo(json.dumps(in_json(found), indent=1))
    else:
        _print(found)
    if not found.same:
        raise SystemExit(CHECK_FAILED)


def _print(found: Reproduction) -> None:
    n = found.run.result["data"]["n"]
    if found.same:
        click.echo(f"\n  the same result: {n:,} predictions")
    else:
        some = ", ".join(found.differing[:_SHOWN])
        more = ", ..." if len(found.differing) > _SHOWN else ""
        click.echo(f"\n  other predictions: {len(found.differing):,} of {n:,}: {some}{more}")
    if found.by_ties:
        click.echo(f"  ranks of {found.by_ties:,} samples differ among scores that are the same")
    for line in found.changed:
        click.echo(f"  changed    {line}")
    if not found.same and not found.changed:
        click.echo("  changed    no field of the manifest: the model itself is not deterministic")
    click.echo(f"  run        {found.run.path}")
    click.echo(f"  again      {found.again.path}")
