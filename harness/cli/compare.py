"""`harness compare`: is one run better than another, and which samples moved."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from harness.compare import Comparison, Difference, Flipped
    from harness.explain import Explanation

_SHOWN = 4  # samples that moved each way
_ALPHA = 0.05


@click.command("compare")
@click.argument("first", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument(
    "others", metavar="RUN_B [...]", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--explain", is_flag=True, help="Score all again by each known convention.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of a data set's files, to explain."
)
@click.option(
    "--flipped",
    type=click.Path(path_type=Path),
    help="File to write the samples that moved to, a line each (jsonl).",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    first: Path,
    others: tuple[Path, ...],
    explain: bool,
    data_dir: Path | None,
    flipped: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Compare runs on the same samples: RUN_B and any others, each against RUN_A.

    A run is a run folder or its run.json; a folder that holds runs of several tasks is compared
    task by task. Ends with 3 where runs cannot be compared, 4 where one is incomplete.
    """
    from harness.errors import BadInput, NotComparable

    if data_dir is not None and not explain:
        raise BadInput("--data-dir is used by --explain only; leave it out")
    if flipped is not None and explain:
        raise BadInput("--flipped and --explain are two questions; ask one at a time")
    try:
        if explain:
            _explain((first, *others), data_dir, as_json)
        else:
            _compare((first, *others), flipped, seed, as_json)
    except NotComparable as error:
        for line in error.fields:
            click.echo(f"harness: not comparable: {line}", err=True)
        if not explain and all("variant: " in line for line in error.fields):
            click.echo("harness: --explain scores both runs by the same conventions", err=True)
        if any("harness: " in line for line in error.fields):
            said = "score the samples.jsonl of the older run again (harness score)"
            click.echo(f"harness: {said}", err=True)
        raise SystemExit(error.exit_code) from None


def _compare(paths: Sequence[Path], flipped: Path | None, seed: int, as_json: bool) -> None:
    from harness.compare import as_json as in_json
    from harness.compare import compare, flipped_lines

    comparisons = compare(paths, seed)
    if flipped is not None:
        write_lines(flipped, (line for one in comparisons for line in flipped_lines(one)))
    if as_json:
        content = {"comparisons": [in_json(one) for one in comparisons]}
        click.echo(json.dumps(content, indent=1, allow_nan=False))
        return
    console = plain_console()
    for comparison in comparisons:
        _print(console, comparison, len(comparisons))


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """A jsonl file; BadInput if it cannot be written."""
    from harness.errors import BadInput

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="ascii")
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror})") from None


def plain_console() -> Console:
    from rich.console import Console

    from .show import WIDTH

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


# ---------------------------------------------------------------- differences


def _print(console: Console, comparison: Comparison, comparisons: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    first, other = comparison.first, comparison.other
    n = first.result["data"]["n"]
    console.print(
        f"\n  [bold]{escape(other.model)}[/bold] against [bold]{escape(first.model)}[/bold] on "
        f"[bold]{first.task}[/bold] {first.split}, {n:,} samples about {comparison.groups:,} "
        "visuals\n",
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    corrected = ("Holm",) if comparisons > 1 else ()
    for heading in ("first", "other", "change", "95% interval", "p", *corrected, "detectable"):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, one in enumerate(comparison.differences):
        cells = _cells(one, comparisons > 1)
        table.add_row(f"  {escape(one.metric)}", *cells, style="bold" if index == 0 else None)
    console.print(table)
    console.print()
    console.print(f"  {verdict(comparison.primary, other.model)}", soft_wrap=True, markup=False)
    for line in _lines(comparison, comparisons):
        console.print(f"  {line}", soft_wrap=True, markup=False)


def _cells(one: Difference, corrected: bool) -> tuple[str, ...]:
    ci95 = one.ci95
    return (
        number(one.first, one.percent),
        number(one.other, one.percent),
        number(one.difference, one.percent, sign=True),
        "n/a" if ci95 is None else " to ".join(number(b, one.percent, sign=True) for b in ci95),
        p_value(one.p),
        *((p_value(one.p_holm),) if corrected else ()),
        number(one.detectable, one.percent),
    )


def number(value: float | None, percent: bool, sign: bool = False) -> str:
    """As the tables show it: percentages with one place, others with two."""
    if value is None:
        return "n/a"
    digits = 1 if percent else 2
    value = round(100 * value if percent else value, digits) + 0.0  # no -0.0
    return f"{value:{'+' if sign else ''},.{digits}f}"


def p_value(p: float | None) -> str:
    return "" if p is None else f"{p:.4f}" if p < 0.001 else f"{p:.3f}"


def verdict(primary: Difference, model: str) -> str:
    """In words: whether the difference is real, and what could have been seen."""
    if primary.p_holm is None:
        return f"{primary.metric}: nothing can be said of the difference"
    if primary.p_holm < _ALPHA:
        way = "better" if primary.better > 0 else "worse"
        return f"{primary.metric}: {model} is {way} (p = {p_value(primary.p_holm)})"
    told = f"{primary.metric}: no difference can be told (p = {p_value(primary.p_holm)})"
    if primary.detectable is None:
        return f"{told}, and of so few visuals none could be"
    seen = number(primary.detectable, primary.percent)
    return f"{told}; one of {seen} would be found four times in five"


def _lines(comparison: Comparison, comparisons: int) -> list[str]:
    lines = []
    if comparison.flipped is not None:
        lines += moved_lines(comparison.flipped, comparison.primary.percent)
    else:
        lines.append(f"moved      {comparison.primary.metric} is no mean over samples")
    if comparisons > 1:
        lines.append(f"Holm       corrected over {comparisons} comparisons")
    lines += [f"note       {note}" for note in comparison.notes]
    lines.append(f"first      {comparison.first.path}")
    lines.append(f"other      {comparison.other.path}")
    return lines


def moved_lines(flipped: Flipped, percent: bool) -> list[str]:
    lines = []
    for way, moved in (("better", flipped.better), ("worse", flipped.worse)):
        some = ", ".join(
            f"{one.id} ({number(one.before, percent)} to {number(one.after, percent)})"
            for one in moved[:_SHOWN]
        )
        more = ", ..." if len(moved) > _SHOWN else ""
        lines.append(f"{way:<10} {len(moved):,} samples{': ' if moved else ''}{some}{more}")
    return lines


# ---------------------------------------------------------------- conventions


def _explain(paths: Sequence[Path], data_dir: Path | None, as_json: bool) -> None:
    from harness.explain import as_json as in_json
    from harness.explain import explain

    explanations = explain(paths, data_dir)
    if as_json:
        content = {"explanations": [in_json(one) for one in explanations]}
        click.echo(json.dumps(content, indent=1, allow_nan=False))
        return
    console = plain_console()
    for one in explanations:
        _print_explanation(console, one)


def _print_explanation(console: Console, one: Explanation) -> None:
    from rich.markup import escape
    from rich.table import Table

    percent = one.percent
    console.print(
        f"\n  {one.metric} of [bold]{escape(one.other.model)}[/bold] against "
        f"[bold]{escape(one.first.model)}[/bold] on [bold]{one.first.task}[/bold] "
        f"{one.first.split}, both by each convention\n",
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  convention", no_wrap=True)
    for heading in ("first", "other", "gap", "accounts for"):
        table.add_column(heading, justify="right", no_wrap=True)
    reported = (one.reported_first, one.reported_other)
    cells = [number(value, percent) for value in reported]
    table.add_row("  as reported", *cells, number(one.gap, percent, sign=True), "", style="bold")
    for each in one.conventions:
        cells = [number(value, percent) for value in (each.first, each.other)]
        gaps = [number(value, percent, sign=True) for value in (each.gap, each.accounts)]
        table.add_row(f"  {escape(each.name)}", *cells, *gaps)
    console.print(table)
    console.print()
    for each in one.conventions:
        if each.reason:
            console.print(f"  {each.name}: {each.reason}", soft_wrap=True, markup=False)
    for line in one.otherwise:
        console.print(f"  differs too, no scoring changes it: {line}", soft_wrap=True, markup=False)
    console.print(f"  first      {one.first.path}", soft_wrap=True, markup=False)
    console.print(f"  other      {one.other.path}", soft_wrap=True, markup=False)
