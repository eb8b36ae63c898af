"""A page of two runs side by side: whether one is better, the samples that moved, and where the
difference lies. Tests nothing anew: ranks and p are those of the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.compare import Moved, flipped
from harness.saved import SavedRun
from harness.score import metric_of_counts, value_at_once
from harness.stats import RESAMPLES, OfCounts, resampled_counts, tail95
from harness.store import Record, read_log
from harness.types import Metric, Shown

from . import plots
from .drawings import Drawings
from .explorer import key_of
from .leaderboard import Table
from .pages import write_page
from .ranking import Pair
from .samples import Sources
from .shown import prediction_shown, sample_shown, task_of

if TYPE_CHECKING:
    from harness.types import FloatArray

SHOWN = 50  # samples that moved, each way
_PARTS = 12  # values of a tag in the plot, the most frequent


@dataclass(frozen=True)
class Part:
    """A metric of the two runs, or the primary one on the samples with a tag; `difference` is the
    other's minus the first's."""

    name: str
    n: int
    first: float
    other: float
    ci95: tuple[float, float] | None

    @property
    def difference(self) -> float:
        return self.other - self.first


@dataclass(frozen=True)
class MovedSample:
    """A sample that moved: what it asks and what the two runs said. `place`: in the data's order,
    None where the data set is not here. `drawn`: its picture or strip of frames, as Drawings has
    it. `seconds`: how long its clip is."""

    moved: Moved
    place: int | None
    asked: Shown
    first: Shown
    other: Shown
    drawn: Mapping[str, Any]
    seconds: float | None


def write(
    folder: Path,
    name: str,
    table: Table,
    pair: Pair,
    links: Mapping[str, str],
    samples: Samples,
    seed: int = 0,
) -> None:
    """Writes the page `name` of the report in `folder`. `links`: slug of a run -> its page;
    `samples`: of the table's runs."""
    opened = table.ranking.opened
    assert opened is not None
    primary = opened.metrics[0]
    first, other = pair.first.run, pair.other.run
    moved = flipped(primary, first, other)
    parts = _parts(opened.metrics, first, other, opened.task_spec.breakdowns, seed)
    names = {row.run.slug: row.model for row in table.rows if row.run is not None}
    root = "../" * name.count("/")
    write_page(
        folder / name,
        "compare.html",
        root=root,
        table=table,
        first=names[pair.first.slug],
        other=names[pair.other.slug],
        better=None if pair.better is None else names[pair.better.slug],
        difference=pair.difference,
        pairs=len(table.pairs),
        counts=moved and (len(moved.better), len(moved.worse)),
        better_samples=[] if moved is None else samples.of(moved.better[:SHOWN], first, other),
        worse_samples=[] if moved is None else samples.of(moved.worse[:SHOWN], first, other),
        tags=[(tag, rows, _plot(tag, rows, table)) for tag, rows in parts.by_tag.items()],
        metrics=[(metric, parts.by_metric[metric.name]) for metric in opened.metrics],
        links=[root + links[slug] if slug in links else "" for slug in _slugs(pair)],
        together=f"#with={key_of(folder / 'runs' / pair.first.slug, folder)}&sort=apart",
        runs=[str(first.path), str(other.path)],
    )


def _slugs(pair: Pair) -> tuple[str, str]:
    return pair.first.slug, pair.other.slug


# ---------------------------------------------------------------- the samples that moved


class Samples:
    """What the samples of a table's runs ask, where their data set can be opened, and what the runs
    predicted; read once for all pairs."""

    def __init__(self, run: SavedRun, sources: Sources, drawings: Drawings) -> None:
        self._task = task_of(run)
        self._source = sources.of(run)
        self._drawings = drawings
        here = self._source.dataset is not None
        count = self._source.count if here else 0
        self._places = {self._source[place].id: place for place in range(count)}
        self._logs: dict[Path, Mapping[str, Record]] = {}

    def of(self, moved: Sequence[Moved], first: SavedRun, other: SavedRun) -> list[MovedSample]:
        logs = self._log(first), self._log(other)
        return [self._moved(one, *(log.get(one.id) for log in logs)) for one in moved]

    def _log(self, run: SavedRun) -> Mapping[str, Record]:
        if run.path not in self._logs:
            self._logs[run.path] = read_log(run.path / "samples.jsonl")
        return self._logs[run.path]

    def _moved(self, one: Moved, first: Record | None, other: Record | None) -> MovedSample:
        place = self._places.get(one.id)
        sample = None if place is None else self._source[place]
        said = [prediction_shown(self._task, sample, record) for record in (first, other)]
        if sample is None:
            return MovedSample(one, None, Shown([]), said[0], said[1], {}, None)
        visual = sample.input.visual
        asked = sample_shown(self._task, sample)
        seconds = getattr(visual, "duration", None)
        return MovedSample(
            one, place, asked, said[0], said[1], self._drawings.draw(visual), seconds
        )


# ---------------------------------------------------------------- where the difference lies


@dataclass(frozen=True)
class _Parts:
    by_metric: Mapping[str, Part]
    by_tag: Mapping[str, Sequence[Part]]


@dataclass(frozen=True)
class _Measured:
    """A difference before its interval is known."""

    name: str
    n: int
    values: tuple[float, float]
    counted: tuple[OfCounts, OfCounts]
    groups: int


def _parts(
    metrics: Sequence[Metric], first: SavedRun, other: SavedRun, tags: Sequence[str], seed: int
) -> _Parts:
    """Every metric, and the primary one by tag, with intervals from one set of resamples."""
    groups = first.groups
    everything = np.ones(len(groups), dtype=bool)
    measured = [_measure(m.name, m, first, other, everything) for m in metrics]
    tagged: dict[str, list[_Measured]] = {}
    for tag in tags if metrics[0].weighted is None else ():
        column = f"tag:{tag}"
        if column in first.table.columns:
            values = first.table[column]
            frequent = sorted(values.value_counts().index[:_PARTS], key=str)
            tagged[tag] = [
                _measure(str(value), metrics[0], first, other, (values == value).to_numpy(bool))
                for value in frequent
            ]
    every = [*measured, *(one for found in tagged.values() for one in found)]
    intervals = dict(zip(map(id, every), _intervals(every, len(set(groups)), seed), strict=True))

    def part(one: _Measured) -> Part:
        return Part(one.name, one.n, *one.values, intervals[id(one)])

    return _Parts(
        {one.name: part(one) for one in measured},
        {tag: [part(one) for one in found] for tag, found in tagged.items()},
    )


def _measure(
    name: str, metric: Metric, first: SavedRun, other: SavedRun, which: FloatArray
) -> _Measured:
    rows = [run.rows(metric.name) for run in (first, other)]
    values = [value_at_once(metric, one[which]) for one in rows]
    if not which.all():  # a row of zeros has no say
        rows = [np.where(which[:, None], one, 0.0) for one in rows]
    counted = [metric_of_counts(metric, one, first.groups)[0] for one in rows]
    groups = len({group for group, said in zip(first.groups, which, strict=True) if said})
    number = int(which.sum())
    return _Measured(name, number, (values[0], values[1]), (counted[0], counted[1]), groups)


def _intervals(
    measured: Sequence[_Measured], groups: int, seed: int
) -> list[tuple[float, float] | None]:
    """The 95% interval of each difference; every resample of groups serves them all."""
    if groups < 2:
        return [None] * len(measured)
    draws: list[list[FloatArray]] = [[] for _ in measured]
    with np.errstate(invalid="ignore", divide="ignore"):
        for counts in resampled_counts(groups, RESAMPLES, seed):
            for place, one in enumerate(measured):
                first, other = (counted(counts) for counted in one.counted)
                draws[place].append(other - first)
    return [
        _middle(np.concatenate(found), one.groups)
        for found, one in zip(draws, measured, strict=True)
    ]


def _middle(draws: FloatArray, groups: int) -> tuple[float, float] | None:
    draws = draws[np.isfinite(draws)]
    if groups < 2 or len(draws) == 0:
        return None
    tail = tail95(groups)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _plot(tag: str, parts: Sequence[Part], table: Table) -> plots.Forest | None:
    """The differences by a tag, with those that may be nothing in muted colour."""
    scale = 100.0 if table.percent else 1.0
    sign = 1 if table.higher_is_better else -1
    marks = []
    for part in parts:
        if not np.isfinite(part.difference):
            continue
        ci95 = None if part.ci95 is None else (scale * part.ci95[0], scale * part.ci95[1])
        colour = "muted"
        if ci95 is not None and (ci95[0] > 0 or ci95[1] < 0):
            colour = "good" if sign * part.difference > 0 else "bad"
        label = f"{part.name} ({part.n:,})"
        marks.append(plots.Mark(label, scale * part.difference, ci95, colour=colour))
    if not marks:
        return None
    named = tag.replace("_", " ")
    axis = f"change of {table.metric}{', points' if table.percent else ''}"
    title = f"Change of {table.metric} by {named}"
    words = plots.in_words(marks)
    return plots.forest(f"by-{named}", title, marks, [plots.Line("no change", 0.0)], axis, words)
