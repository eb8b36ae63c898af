"""A result as a person reads it: one table with the score, its interval, floors, controls,
breakdown, coverage, signature and where the run is. Reads run.json's content only."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from harness.evaluate import Finished

_FEW_GROUPS = 30
WIDTH = 104  # columns where there is no terminal to ask


def show(finished: Finished, as_json: bool, page: Path | None = None) -> None:
    """Prints a finished run, and where the page of its samples is if there is one; with `as_json`,
    run.json and the paths of the run folder and of the page."""
    if as_json:
        paths = {"run": str(finished.path), **({"report": str(page)} if page else {})}
        click.echo(json.dumps({**finished.result, **paths}, indent=1))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    _print(console, finished.result)
    console.print(f"  run        {finished.path}", soft_wrap=True, markup=False)
    if page is not None:
        console.print(f"  report     {page}", soft_wrap=True, markup=False)


def show_all(
    model: str,
    finished: Sequence[Finished],
    reasons: Mapping[str, str],
    unable: Sequence[str],
    as_json: bool,
    pages: Sequence[Path] = (),
) -> None:
    """Prints several tasks' primary metrics, a line each, why others failed, what the model is not
    made for, and the `pages` of their samples; with `as_json`, an object with the list of
    run.json's."""
    if as_json:
        runs = [{**one.result, "run": str(one.path)} for one in finished]
        content = {"runs": runs, "reasons": reasons, "cannot": list(unable)}
        if pages:
            content["reports"] = [str(page) for page in pages]
        click.echo(json.dumps(content, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"  {model}", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for heading in ("score", "95% interval", "samples", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in finished:
        result = one.result
        value = result["metrics"][result["primary"]]
        name = f"  {result['task']}/{result['data']['dataset']}"
        seconds = f"{result['timing']['total_seconds']:.1f}"
        table.add_row(name, result["primary"], *_cells(value, value["percent"]), seconds)
    console.print()
    console.print(table)
    console.print()
    for task, reason in reasons.items():
        console.print(f"  {task}: {reason}", soft_wrap=True, markup=False, style="yellow")
    for one in finished:
        named = f"{one.result['task']}/{one.result['data']['dataset']}"
        for line in (*_unscored(one.result), *_unbeaten(one.result)):
            console.print(f"  {named}: {line}", soft_wrap=True, markup=False, style="yellow")
    if unable:
        console.print(f"  cannot do: {', '.join(unable)}", soft_wrap=True, markup=False)
    for one in finished:
        console.print(f"  run  {one.path}", soft_wrap=True, markup=False, style="dim")
    for page in pages:
        console.print(f"  report  {page}", soft_wrap=True, markup=False, style="dim")


def plain_table(result: dict[str, Any]) -> str:
    """The table as text without colours."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=WIDTH, highlight=False)
    _print(console, result)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _print(console: Console, result: dict[str, Any]) -> None:
    from rich.markup import escape

    data, model = result["data"], result["model"]
    size = f", {model['parameters']:,} parameters" if model.get("parameters") else ""
    console.print(
        f"\n  [bold]{escape(model['name'])}[/bold] on [bold]{result['task']}/{data['dataset']}"
        f"[/bold] {data['split']}, {data['n']:,} samples{size}\n"
    )
    primary = result["primary"]
    shown = [
        (name, value, "", value.get("percent", True)) for name, value in result["metrics"].items()
    ]
    console.print(_table(shown, True))
    for heading, rows in _sections(result, primary):
        console.print(f"\n  [dim]{escape(heading)}[/dim]")
        percent = result["metrics"][primary]["percent"]
        console.print(_table([(*row, percent) for row in rows]))
    warnings = list(_warnings(result, primary))
    if warnings:
        console.print()
    for line in warnings:
        console.print(f"  {line}", soft_wrap=True, markup=False, style="yellow")
    console.print()
    for line in _closing_lines(result):
        console.print(f"  {line}", soft_wrap=True, markup=False)


_Row: TypeAlias = tuple[str, dict[str, Any], str]  # name, value, note


def _table(rows: list[tuple[str, dict[str, Any], str, bool]], first: bool = False) -> Table:
    """Columns of the same widths in every table, so that they stand under each other."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=first, header_style="dim")
    table.add_column("", width=28, no_wrap=True)
    table.add_column("score", width=7, justify="right")
    table.add_column("95% interval", width=17, justify="right")
    table.add_column("samples", width=8, justify="right")
    table.add_column("", no_wrap=True)
    for index, (name, value, note, percent) in enumerate(rows):
        indent = "  " if first else "    "
        style = "bold" if first and index == 0 else None
        table.add_row(indent + escape(name), *_cells(value, percent), escape(note), style=style)
    return table


def _sections(result: dict[str, Any], primary: str) -> Iterator[tuple[str, list[_Row]]]:
    """(heading, rows)."""
    percent = result["metrics"][primary]["percent"]
    floors = {**result.get("floors", {}), **result.get("ceilings", {})}
    if floors:
        ceilings = result.get("ceilings", {})
        yield (
            "floors and ceiling",
            [
                (
                    name,
                    entry.get(primary, {}),
                    "ceiling" if name in ceilings else _gain(entry.get(primary, {}), percent),
                )
                for name, entry in floors.items()
            ],
        )
    if result.get("controls"):
        yield (
            "controls: the model without the right picture",
            [
                (
                    name,
                    entry.get(primary, {}),
                    _gain(entry.get(primary, {}), percent),
                )
                for name, entry in result["controls"].items()
            ],
        )
    ceiling: dict[str, Any] = next(iter(result.get("ceilings", {}).values()), {})
    for tag, parts in result["breakdowns"].items():
        best = ceiling.get("breakdowns", {}).get(tag, {})
        yield (
            f"{primary} by {tag.replace('_', ' ')}",
            [(name, value, _of_ceiling(best.get(name), percent)) for name, value in parts.items()],
        )


def _of_ceiling(best: dict[str, Any] | None, percent: bool) -> str:
    return f"ceiling {_number(best['value'], percent)}" if best else ""


def _gain(entry: dict[str, Any], percent: bool) -> str:
    """ "" where there is none."""
    gain, scale = entry.get("gain", {}), 100 if percent else 1
    if gain.get("value") is None:
        return ""
    better = f"model {scale * gain['value']:+.1f}"
    if gain["ci95"] is None:
        return better
    low, high = (scale * bound for bound in gain["ci95"])
    return f"{better} [{low:+.1f}, {high:+.1f}]"


def _warnings(result: dict[str, Any], primary: str) -> Iterator[str]:
    """What a reader must not miss: yardsticks that could not be had, controls not beaten."""
    for name, entry in result["metrics"].items():
        if "reason" in entry:
            yield f"{name}: {entry['reason']}"
    groups = result["data"].get("groups", _FEW_GROUPS)
    if groups < 2:
        yield "no intervals: all samples are about one visual"
    elif groups < _FEW_GROUPS:
        yield f"warning: the samples are about {groups} visuals only; intervals are rough"
    sections = (result.get(name, {}) for name in ("floors", "ceilings", "controls"))
    for name, entry in (pair for section in sections for pair in section.items()):
        if "reason" in entry:
            yield f"{name}: not computed: {entry['reason']}"
    yield from _unscored(result)
    yield from _unbeaten(result)


def _unscored(result: dict[str, Any]) -> Iterator[str]:
    """That samples without a score count as wrong; the bounds say what they could have been."""
    coverage = result["coverage"]
    counts = [f"{coverage[name]:,} {name}" for name in ("missing", "failed", "invalid")]
    there = [count for count in counts if not count.startswith("0 ")]
    if there:
        yield f"warning: {', '.join(there)} of {coverage['samples']:,} samples count as wrong"


def _unbeaten(result: dict[str, Any]) -> Iterator[str]:
    """Floors and controls that the score does not beat: the whole interval of its gain must lie
    above 0."""
    primary = result["primary"]
    for name, entry in {**result.get("floors", {}), **result.get("controls", {})}.items():
        ci95 = entry.get(primary, {}).get("gain", {}).get("ci95")
        if ci95 is not None and ci95[0] <= 0:
            yield f"warning: the model does not beat {name}"


def _cells(value: dict[str, Any], percent: bool) -> tuple[str, str, str]:
    if value.get("value") is None:
        return "n/a", "", ""
    ci95 = value["ci95"]
    low_high = "n/a" if ci95 is None else " - ".join(_number(bound, percent) for bound in ci95)
    return _number(value["value"], percent), low_high, f"{value['n']:,}"


def _number(value: float | None, percent: bool) -> str:
    if value is None:
        return "n/a"
    return f"{100 * value:.1f}" if percent else f"{value:,.1f}"


def _closing_lines(result: dict[str, Any]) -> Iterator[str]:
    coverage = result["coverage"]
    counts = ", ".join(
        f"{coverage[name]:,} {name}" for name in ("scored", "missing", "failed", "invalid")
    )
    yield f"coverage   {counts}"
    for name, entry in result["metrics"].items():
        if "bounds" in entry:
            worst, best = (_number(bound, entry["percent"]) for bound in entry["bounds"])
            yield f"bounds     {name}: {worst} if the rest is wrong, {best} if it is right"
    for note in result["data"].get("notes", ()):
        yield f"data       {note}"
    yield f"signature  {result['metrics'][result['primary']]['signature']}"
    timing = result.get("timing")
    if timing:
        rate = result["data"]["n"] / max(timing["predict_seconds"], 1e-9)
        resumed = " (went on with an earlier start)" if timing["resumed"] else ""
        speed = f", {rate:,.0f} samples/s" if not timing["resumed"] else ""
        yield (
            f"time       {timing['predict_seconds']:.1f} s to predict{speed}, "
            f"{timing['total_seconds']:.1f} s in all on {result['device']}, "
            f"{result['dtype']}{resumed}"
        )
