"""`harness check`: runs against the reference that a repository keeps, for CI."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from harness.check import Checked, Outcome

_STYLES = {"passed": "green", "dropped": "bold red"}


@click.command("check")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    default=Path("reports/reference"),
    show_default=True,
    help="Folder of the references.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    metavar="POINTS",
    help="Fail on any drop of more, real or not.",
)
@click.option("--all", "every", is_flag=True, help="Fail where a reference has no run.")
@click.option("--junit", type=click.Path(path_type=Path), help="JUnit XML file to write.")
@click.option("--summary", type=click.Path(path_type=Path), help="Markdown file to write.")
@click.option(
    "--flipped",
    type=click.Path(path_type=Path),
    help="File to write the samples that moved to, a line each (jsonl).",
)
@click.option("--update", is_flag=True, help="Show the change, then make the runs the reference.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    runs: tuple[Path, ...],
    against: Path,
    max_drop: float | None,
    every: bool,
    junit: Path | None,
    summary: Path | None,
    flipped: Path | None,
    update: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Hold RUNS, run folders or folders of them, against the reference of the same task, data set
    and model.

    \b
    0  no primary metric really dropped
    1  one did: one-sided paired permutation test, p < .05 after Holm over all checks
    2  a run or its reference is absent or unreadable
    3  a run cannot be compared with its reference
    4  a run is incomplete
    """
    from harness.check import as_json as in_json
    from harness.check import check, flipped_lines
    from harness.check import update as write_references
    from harness.check_report import junit as in_xml
    from harness.check_report import junit_of_error, markdown, markdown_of_error
    from harness.errors import HarnessError

    reports = _Reports(junit, summary, flipped)
    stopped = "the check was stopped before it ended"  # found there by whoever looks if it is
    reports.write(junit_of_error(stopped), markdown_of_error(stopped, 130), [])
    try:
        outcome = check(runs, against, max_drop, seed, new_reference=update)
    except HarnessError as error:
        reason, code = " ".join(str(error).split()), error.exit_code
        reports.write(junit_of_error(reason), markdown_of_error(reason, code), [], ended=True)
        if as_json:
            content = {"exit_code": code, "error": reason, "checks": [], "warnings": []}
            click.echo(json.dumps(content, indent=1))
        raise
    code = outcome.exit_code(every)
    lines = flipped_lines(outcome)
    reports.write(in_xml(outcome, every), markdown(outcome, code), lines, ended=True)
    if as_json:
        click.echo(json.dumps(in_json(outcome, code), indent=1))
    else:
        _print(outcome)
    if update:
        written = write_references(outcome, against)
        code = _said_what_was_written(outcome, written, against, quiet=as_json)
    raise SystemExit(code)


@dataclass(frozen=True)
class _Reports:
    """Where the reports of a check go, None for those not asked for."""

    junit: Path | None
    summary: Path | None
    flipped: Path | None

    def write(
        self, xml: str, markdown: str, flipped: list[dict[str, Any]], ended: bool = False
    ) -> None:
        """Over what is there; once the check has `ended`, after what is in $GITHUB_STEP_SUMMARY
        too."""
        from .compare import write_lines

        if self.junit is not None:
            _write(self.junit, xml)
        if self.summary is not None:
            _write(self.summary, markdown)
        if self.flipped is not None:
            write_lines(self.flipped, flipped)
        of_step = os.environ.get("GITHUB_STEP_SUMMARY")
        if of_step and ended:
            _write(Path(of_step), markdown, append=True)


def _write(path: Path, text: str, append: bool = False) -> None:
    from harness.errors import BadInput

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if append else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror})") from None


def _said_what_was_written(
    outcome: Outcome, written: list[Path], against: Path, quiet: bool
) -> int:
    """What --update ends with: 4 where a run was left out, else 0."""
    from harness.errors import GOOD, INCOMPLETE

    if not quiet:
        plural = "" if len(written) == 1 else "s"
        click.echo(f"\n  wrote {len(written)} reference{plural} to {against}")
    left_out = [one.run for one in outcome.checked if one.run.incomplete is not None]
    for run in left_out:
        click.echo(f"harness: {run.path}: left out: {run.incomplete}", err=True)
    return INCOMPLETE if left_out else GOOD


# ---------------------------------------------------------------- the table


def _print(outcome: Outcome) -> None:
    from rich.markup import escape
    from rich.table import Table

    from .compare import plain_console

    console = plain_console()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  check", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("before", "after", "change", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in outcome.checked:
        verdict = f"[{_STYLES.get(one.verdict, 'yellow')}]{one.verdict}[/]"
        table.add_row(f"  {escape(one.name)}", verdict, *_cells(one))
    console.print()
    console.print(table)
    console.print()
    for one in outcome.checked:
        _print_reasons(console, one)
    for warning in outcome.warnings:
        console.print(f"  warning: {warning}", soft_wrap=True, markup=False, style="yellow")


def _print_reasons(console: Console, one: Checked) -> None:
    from .compare import moved_lines

    for reason in one.reasons:
        console.print(f"  {one.name}: {reason}", soft_wrap=True, markup=False)
    if one.verdict == "dropped" and one.flipped is not None and one.difference is not None:
        for line in moved_lines(one.flipped, one.difference.percent):
            console.print(f"    {line}", soft_wrap=True, markup=False)


def _cells(one: Checked) -> tuple[str, ...]:
    from .compare import number, p_value

    found = one.difference
    if found is None:
        return "", "", "", ""
    return (
        number(found.first, found.percent),
        number(found.other, found.percent),
        number(found.difference, found.percent, sign=True),
        p_value(one.p_holm),
    )
