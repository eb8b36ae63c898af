"""The leaderboard as a page: what its template shows of each table, with a plot. Ranks nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compare import Difference

from . import plots
from .leaderboard import Leaderboard, Row, Table, TaskBoard
from .pages import write_page
from .published import Published
from .ranking import Pair

_RINGS = ("shuffled", "blind")


@dataclass(frozen=True)
class PairView:
    """Two models, `other` the one with the better score. `page`: of the two side by side, if there
    is one."""

    other: str
    first: str
    difference: Difference
    page: str


@dataclass(frozen=True)
class MetricCell:
    value: float | None
    ci95: tuple[float, float] | None
    percent: bool
    reason: str


@dataclass(frozen=True)
class TableView:
    table: Table
    id: str
    plot: plots.Forest | None
    controls: Sequence[str]
    rings: bool
    pairs: Sequence[PairView]
    metrics: Sequence[tuple[str, Sequence[MetricCell]]]


@dataclass(frozen=True)
class TaskView:
    board: TaskBoard
    id: str
    tables: Sequence[TableView]
    unranked: Sequence[tuple[Row, bool]]


def write(
    path: Path,
    board: Leaderboard,
    published: Sequence[Published],
    links: Mapping[str, str],
    pair_pages: Mapping[tuple[str, str], str],
) -> None:
    """`links`: slug of a run -> its page; `pair_pages`: slugs of two runs -> the page of both."""
    write_page(
        path,
        "leaderboard.html",
        tasks=[_task(task, pair_pages) for task in board.tasks],
        unreadable=board.unreadable,
        published=published,
        links=links,
    )


def _task(board: TaskBoard, pair_pages: Mapping[tuple[str, str], str]) -> TaskView:
    id = re.sub(r"[^a-z0-9]+", "-", board.task.lower())
    tables = [
        _table(table, f"{id}-{place}", pair_pages)
        for place, table in enumerate(board.tables, start=1)
    ]
    unranked = [
        (row, table.percent) for table in board.tables for row in table.standing("not ranked")
    ]
    unranked += [(row, _percent(row)) for row in board.unfinished]
    return TaskView(board, id, tables, unranked)


def _percent(row: Row) -> bool:
    result: Mapping[str, Any] = row.run.run.result if row.run else {}
    entry = (result.get("metrics") or {}).get(result.get("primary"), {})
    return bool(entry.get("percent", True))


def _table(table: Table, id: str, pair_pages: Mapping[tuple[str, str], str]) -> TableView:
    ranked = table.standing("ranked")
    controls = {
        name: None
        for row in ranked
        for name, control in row.controls.items()
        if control.gain is not None or name in _RINGS
    }
    names = {row.run.slug: row.model for row in ranked if row.run is not None}
    return TableView(
        table,
        id,
        _plot(table, id),
        sorted(controls, key=lambda name: name not in _RINGS),
        any(_rings(row) for row in ranked),
        [_pair(pair, names, pair_pages) for pair in table.pairs],
        _metrics(ranked),
    )


def _pair(
    pair: Pair, names: Mapping[str, str], pair_pages: Mapping[tuple[str, str], str]
) -> PairView:
    first, other = pair.first.slug, pair.other.slug
    return PairView(names[other], names[first], pair.difference, pair_pages.get((first, other), ""))


def _metrics(ranked: Sequence[Row]) -> list[tuple[str, list[MetricCell]]]:
    """Every metric that any of the models has, with each model's value."""
    results = [row.run.run.result["metrics"] for row in ranked if row.run is not None]
    names = dict.fromkeys(name for metrics in results for name in metrics)
    return [(name, [_cell(metrics.get(name) or {}) for metrics in results]) for name in names]


def _cell(entry: Mapping[str, Any]) -> MetricCell:
    ci95 = entry.get("ci95")
    return MetricCell(
        entry.get("value"),
        None if ci95 is None else (float(ci95[0]), float(ci95[1])),
        bool(entry.get("percent", True)),
        str(entry.get("reason", "")),
    )


def _rings(row: Row) -> list[float]:
    values = [row.controls[name].value for name in _RINGS if name in row.controls]
    return [value for value in values if value is not None]


def _plot(table: Table, id: str) -> plots.Forest | None:
    scale = 100.0 if table.percent else 1.0
    marks = []
    for row in table.standing("ranked"):
        if row.value is None:
            continue
        marks.append(
            plots.Mark(
                row.model,
                scale * row.value,
                None if row.ci95 is None else (scale * row.ci95[0], scale * row.ci95[1]),
                [scale * ring for ring in _rings(row)],
            )
        )
    if not marks:
        return None
    lines = [
        plots.Line(row.model, scale * row.value)
        for row in table.standing("floor", "ceiling")
        if row.value is not None
    ]
    title = f"{table.metric} on {table.task}"
    return plots.forest(id, title, marks, lines, table.metric, plots.in_words(marks, lines))
