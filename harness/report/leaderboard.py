"""The leaderboard: a table for each set of runs that may be ranked together, with floors and
ceiling beside the models, and every run that has no rank with the reason. Knows no form that it
is written in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .collect import Collected, Collection, Unreadable, collect
from .ranking import Pair, Ranking, divide, how_they_differ, rank

Interval: TypeAlias = tuple[float, float] | None
Standing: TypeAlias = Literal["ranked", "floor", "ceiling", "not ranked"]


@dataclass(frozen=True)
class Control:
    """The model without the right picture. `gain`: the model minus the control on the same
    samples. All None where it was not computed, for `reason`."""

    value: float | None
    gain: float | None
    ci95: Interval
    reason: str = ""

    @property
    def beaten(self) -> bool:
        """False where the gain may be nothing."""
        return self.ci95 is None or self.ci95[0] > 0


@dataclass(frozen=True)
class Row:
    """A model, or a floor or ceiling, on a table's samples. `run` is None for a yardstick that was
    scored beside the models only. `bounds` are the worst and best case of a run that lacks
    samples. `warnings`: what a reader must not miss."""

    model: str
    standing: Standing
    rank: int | None = None
    value: float | None = None
    ci95: Interval = None
    bounds: Interval = None
    n: int | None = None
    better: Sequence[str] = ()
    controls: Mapping[str, Control] = field(default_factory=dict)
    coverage: Mapping[str, int] = field(default_factory=dict)
    parameters: int | None = None
    samples_per_second: float | None = None
    device: str = ""
    status: str = "complete"
    reason: str = ""
    warnings: Sequence[str] = ()
    run: Collected | None = None


@dataclass(frozen=True)
class Table:
    """Runs that share data, split, samples and signature: ranked ones first, best first, then
    floors and ceiling, then complete runs without a rank. `differs`: in what they cannot be
    compared with the task's first table."""

    task: str
    split: str
    sha256: str
    n: int
    groups: int | None
    metric: str
    percent: bool
    higher_is_better: bool
    signature: str
    rows: Sequence[Row]
    ranking: Ranking
    differs: Sequence[str] = ()

    def standing(self, *standings: Standing) -> list[Row]:
        return [row for row in self.rows if row.standing in standings]

    @property
    def pairs(self) -> Sequence[Pair]:
        return self.ranking.pairs


@dataclass(frozen=True)
class TaskBoard:
    """A task's tables, and its runs that are not complete."""

    task: str
    tables: Sequence[Table]
    unfinished: Sequence[Row]


@dataclass(frozen=True)
class Leaderboard:
    tasks: Sequence[TaskBoard]
    unreadable: Sequence[Unreadable]


def leaderboard_of(paths: Sequence[Path], seed: int = 0) -> Leaderboard:
    """The leaderboard of all runs in these folders. BadInput if there is none."""
    return leaderboard_from(collect(paths), seed)


def leaderboard_from(collection: Collection, seed: int = 0) -> Leaderboard:
    by_task: dict[str, list[Collected]] = {}
    for one in collection.runs:
        by_task.setdefault(one.run.task, []).append(one)
    boards = [_board(task, by_task[task], seed) for task in sorted(by_task)]
    return Leaderboard(boards, collection.unreadable)


def _board(task: str, runs: Sequence[Collected], seed: int) -> TaskBoard:
    groups = divide([one for one in runs if one.status == "complete"])
    names = _names(runs)
    tables = [_table(group, groups[0], names, seed) for group in groups]
    unfinished = [_unfinished(one, names) for one in runs if one.status != "complete"]
    return TaskBoard(task, tables, unfinished)


def _names(runs: Sequence[Collected]) -> dict[int, str]:
    """What each run's model is called in the tables of a task: its name, and the first digits of
    its weights where several have that name."""
    weights: dict[str, set[str | None]] = {}
    for one in runs:
        model = one.run.result["model"]
        weights.setdefault(one.run.model, set()).add(model.get("weights_sha256"))
    names = {}
    for one in runs:
        digits = one.run.result["model"].get("weights_sha256")
        several = digits is not None and len(weights[one.run.model]) > 1
        names[id(one)] = f"{one.run.model} ({str(digits)[:6]})" if several else one.run.model
    return names


# ---------------------------------------------------------------- a table


def _table(
    group: Sequence[Collected], first: Sequence[Collected], names: Mapping[int, str], seed: int
) -> Table:
    ranking = rank(group, seed)
    run = group[0].run
    data, entry = run.result["data"], run.result["metrics"][run.primary]
    yardsticks = list(_yardsticks(group, ranking))
    floors = {row.model: row.value for row in yardsticks if row.standing == "floor"}
    rows = [
        _row(
            *(place.run, names[id(place.run)], floors),
            rank=place.rank,
            better=[names[id(better)] for better in place.better],
        )
        for place in ranking.places
    ]
    rows += yardsticks
    rows += [_row(one, names[id(one)], floors, reason=why) for one, why in ranking.left_out]
    return Table(
        run.task,
        run.split,
        str(data["sha256"]),
        int(data["n"]),
        data.get("groups"),
        run.primary,
        bool(entry.get("percent", True)),
        bool(entry.get("higher_is_better", True)),
        str(entry["signature"]),
        rows,
        ranking,
        how_they_differ(group, first) if group is not first else (),
    )


def _row(
    one: Collected,
    name: str,
    floors: Mapping[str, float | None],
    rank: int | None = None,
    better: Sequence[str] = (),
    reason: str = "",
) -> Row:
    """A complete run of a model."""
    result = one.run.result
    entry = result["metrics"][one.run.primary]
    controls = dict(_controls(result, one.run.primary))
    sign = 1 if entry.get("higher_is_better", True) else -1
    return Row(
        name,
        "not ranked" if rank is None else "ranked",
        rank,
        entry["value"],
        _pair(entry["ci95"]),
        _pair(entry.get("bounds")),
        entry["n"],
        better,
        controls,
        result["coverage"],
        result["model"].get("parameters") or None,
        _speed(result),
        str(result.get("device", "")),
        reason=reason,
        warnings=[*_warnings(controls), *_floor_warnings(entry, floors, sign), *_gaps(result)],
        run=one,
    )


def _yardsticks(group: Sequence[Collected], ranking: Ranking) -> Iterator[Row]:
    """Floors and ceilings: those that were run themselves, the newest of each, and those scored
    beside the best model that has them."""
    own: dict[str, Collected] = {}
    for one in sorted(group, key=lambda one: str(one.run.result.get("started_at"))):
        if one.kind != "model":
            own[one.run.model] = one
    beside: dict[str, tuple[Standing, Any]] = {}
    standings: tuple[tuple[str, Standing], ...] = (("floors", "floor"), ("ceilings", "ceiling"))
    order = [place.run for place in ranking.places] + list(group)
    for one in order:
        for section, standing in standings:
            for name, entry in (one.run.result.get(section) or {}).items():
                value = entry.get(one.run.primary) or {}
                if value.get("value") is not None:
                    beside.setdefault(name, (standing, value))
    for standing in ("floor", "ceiling"):
        for name in sorted({*own, *beside}):
            if name in own and own[name].kind == standing:
                entry = own[name].run.result["metrics"][own[name].run.primary]
                run = own[name]
            elif name not in own and beside[name][0] == standing:
                entry, run = beside[name][1], None
            else:
                continue
            value, ci95 = entry["value"], _pair(entry["ci95"])
            coverage = run.run.result["coverage"] if run else {}
            yield Row(name, standing, None, value, ci95, n=entry["n"], coverage=coverage, run=run)


def _controls(result: Mapping[str, Any], metric: str) -> Iterator[tuple[str, Control]]:
    for name, entry in (result.get("controls") or {}).items():
        if metric in entry:
            gain = entry[metric].get("gain") or {}
            value = entry[metric].get("value")
            yield name, Control(value, gain.get("value"), _pair(gain.get("ci95")))
        else:
            yield name, Control(None, None, None, str(entry.get("reason", "not computed")))


def _warnings(controls: Mapping[str, Control]) -> Iterator[str]:
    for name, control in controls.items():
        if not control.beaten:
            yield f"does not beat its control {name}"


def _floor_warnings(
    entry: Mapping[str, Any], floors: Mapping[str, float | None], sign: int
) -> Iterator[str]:
    """A floor that the model's interval does not leave behind."""
    if entry["ci95"] is None:
        return
    worst = min(sign * bound for bound in entry["ci95"])
    for name, floor in floors.items():
        if floor is not None and worst <= sign * floor:
            yield f"not clearly above the floor {name}"


def _gaps(result: Mapping[str, Any]) -> Iterator[str]:
    invalid = result["coverage"].get("invalid")
    if invalid:
        yield f"{invalid:,} predictions cannot be scored and count as wrong"


def _unfinished(one: Collected, names: Mapping[int, str]) -> Row:
    """A run that failed, was not finished, or lacks samples, with what there is of it."""
    result = one.run.result
    metrics = result.get("metrics") or {}
    entry = metrics.get(result.get("primary"), {})
    return Row(
        names[id(one)],
        "not ranked",
        value=entry.get("value"),
        bounds=_pair(entry.get("bounds")),
        n=entry.get("n"),
        coverage=result.get("coverage") or {},
        parameters=result["model"].get("parameters") or None,
        device=str(result.get("device", "")),
        status=one.status,
        reason=one.reason or "",
        run=one,
    )


def _speed(result: Mapping[str, Any]) -> float | None:
    """Samples predicted a second; None where the run was stopped in between."""
    timing = result.get("timing") or {}
    seconds = timing.get("predict_seconds")
    if not seconds or timing.get("resumed"):
        return None
    return float(result["data"]["n"]) / float(seconds)


def _pair(found: Any) -> Interval:
    return None if found is None else (float(found[0]), float(found[1]))
