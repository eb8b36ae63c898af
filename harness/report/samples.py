"""A run's samples, read for a report: which there are and in what order, where each one's
prediction stands in the log, what it scored, its tags; and the data set they come from, where it is
here and still the same. Knows no task and draws nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError
from harness.registry import find_task
from harness.saved import SavedRun, open_dataset, open_metrics
from harness.score import per_sample
from harness.store import Record
from harness.types import Dataset, Metric, Sample, Task

from .shown import task_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from harness.types import FloatArray

_KEPT_SAMPLES = 20_000  # of one data set, made once for all its runs


class Status(IntEnum):
    """What became of a sample."""

    SCORED = 0
    MISSING = 1
    FAILED = 2
    INVALID = 3


@dataclass(frozen=True)
class Scores:
    """What each sample scored alone by one metric: (samples,) in the data's order, nan where it has
    no say."""

    metric: Metric
    values: FloatArray


# ---------------------------------------------------------------- data sets


@dataclass(frozen=True)
class Source:
    """A data set as a report sees it: the samples of a run by their place, made when asked for.
    `closed`: why there are none here, "" where there are."""

    dataset: Dataset | None
    count: int
    closed: str = ""
    _made: dict[int, Sample] = field(default_factory=dict)

    def __getitem__(self, place: int) -> Sample:
        assert self.dataset is not None
        if place not in self._made:
            sample = self.dataset.samples[place]
            if len(self._made) >= _KEPT_SAMPLES:
                return sample
            self._made[place] = sample
        return self._made[place]


class Sources:
    """Data sets by what runs say of them, each opened once for all runs of a report."""

    def __init__(self, data_dir: Path | None = None) -> None:
        """`data_dir`: where files are, if not where a run found them."""
        self.data_dir = data_dir
        self._opened: dict[str, Source] = {}

    def of(self, run: SavedRun) -> Source:
        data, request = run.result["data"], run.request
        asked = [run.task, data, request.get("data_dir"), request.get("files")]
        key = json.dumps(asked, sort_keys=True, default=str)
        if key not in self._opened:
            self._opened[key] = self._open(run)
        return self._opened[key]

    def _open(self, run: SavedRun) -> Source:
        count = int(run.result["data"]["n"])
        try:
            _, spec = find_task(run.task)
            data_dir = self.data_dir if spec.where == "data-dir" else None
            dataset = open_dataset(run, spec, data_dir)
            if len(dataset.samples) < count:
                reason = f"it has {len(dataset.samples):,} samples now, the run {count:,}"
                return Source(None, count, reason)
        except HarnessError as error:
            return Source(None, count, str(error))
        except Exception as error:  # a plug-in's code: anything can happen
            return Source(None, count, f"it cannot be opened: {error!r}")
        return Source(dataset, count)


# ---------------------------------------------------------------- a run's samples


@dataclass(frozen=True)
class Reading:
    """The samples of a run in the data's order. `status` (samples,); `tags`: name -> the value of
    each sample, None where it has none; `scores`, the primary metric's first where it can be said
    of one sample; `notes`: what could not be had, and why, a line each."""

    run: SavedRun
    task: Task | None
    source: Source
    ids: Sequence[str]
    groups: Sequence[str]
    status: npt.NDArray[np.uint8]
    tags: dict[str, list[str | None]]
    scores: Sequence[Scores]
    notes: Sequence[str]
    _places: npt.NDArray[np.int64]  # in samples.jsonl, -1 for none

    def records(self) -> Iterator[Record | None]:
        """What is logged of each sample, one after the other; None of one that is missing."""
        if not (self._places >= 0).any():
            yield from [None] * len(self._places)
            return
        with (self.run.path / "samples.jsonl").open("rb") as log:
            for place in self._places.tolist():
                if place < 0:
                    yield None
                    continue
                log.seek(place)
                yield _record(log.readline())

    @cached_property
    def worst_first(self) -> npt.NDArray[np.int64]:
        """Places of the samples, the worst score first and those without any last; the data's order
        where there are no scores."""
        if not self.scores:
            return np.arange(len(self.ids))
        first = self.scores[0]
        key = first.values if first.metric.higher_is_better else -first.values
        return np.argsort(np.where(np.isnan(key), np.inf, key), kind="stable")


def read_samples(run: SavedRun, sources: Sources) -> Reading:
    """Reads a run in whatever state it is: without rows, with a torn log, of a data set that is not
    here or is another now."""
    source, notes = sources.of(run), list[str]()
    table = _table(run, notes)
    logged, damaged = _log(run.path / "samples.jsonl")
    if damaged:
        notes.append(
            f"{damaged} lines of samples.jsonl are damaged; their samples count as missing"
        )
    if source.dataset is not None:
        samples = [source[place] for place in range(source.count)]
        ids, groups = [one.id for one in samples], [one.group for one in samples]
        tags = _tags([one.tags for one in samples])
        del samples
    elif table is not None:
        ids, groups = [str(id) for id in table["id"]], [str(group) for group in table["group"]]
        tags = _table_tags(table)
    else:
        ids = list(logged)
        groups, tags = [""] * len(ids), {}
        lacking = source.count - len(ids)
        if lacking > 0:
            notes.append(f"{lacking:,} samples are missing whose names are not known here")
    strange = len(set(logged) - set(ids))
    if strange:
        notes.append(f"{strange:,} predictions are of no sample of this data set; not shown")
    found = [logged.get(id) for id in ids]
    status = [Status.MISSING if one is None else one.status for one in found]
    places = [-1 if one is None else one.place for one in found]
    return Reading(
        run,
        task_of(run),
        source,
        ids,
        groups,
        np.array(status, dtype=np.uint8),
        tags,
        [] if table is None else _scores(run, table, ids, notes),
        notes,
        np.array(places, dtype=np.int64),
    )


# ---------------------------------------------------------------- rows


def _table(run: SavedRun, notes: list[str]) -> pd.DataFrame | None:
    try:
        return run.table
    except HarnessError as error:
        notes.append(f"there are no scores: {error}")
        return None


def _tags(tagged: Sequence[Any]) -> dict[str, list[str | None]]:
    found = sorted({name for tags in tagged for name in tags})
    return {name: [_text(tags.get(name)) for tags in tagged] for name in found}


def _table_tags(table: pd.DataFrame) -> dict[str, list[str | None]]:
    columns = [str(name) for name in table.columns if str(name).startswith("tag:")]
    return {
        name.removeprefix("tag:"): [
            None if missing else str(value)
            for value, missing in zip(table[name], table[name].isna(), strict=True)
        ]
        for name in columns
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _scores(
    run: SavedRun, table: pd.DataFrame, ids: Sequence[str], notes: list[str]
) -> list[Scores]:
    """Of each metric that is a mean over samples; the primary one first."""
    if not run.result.get("metrics"):
        notes.append("there are no scores: the run was not scored to its end")
        return []
    try:
        metrics = open_metrics(run).metrics
    except HarnessError as error:
        notes.append(f"there are no scores of single samples: {error}")
        return []
    except Exception as error:  # a plug-in's code: anything can happen
        notes.append(f"there are no scores of single samples: {error!r}")
        return []
    row = {str(id): number for number, id in enumerate(table["id"])}
    places = np.array([row.get(id, -1) for id in ids], dtype=np.int64)
    found = []
    for metric in metrics:
        columns = [name for name in table.columns if _is_of(str(name), metric.name)]
        columns.sort(key=lambda name: int(str(name).rpartition(".")[2]))
        alone = per_sample(metric, table[columns].to_numpy(dtype=np.float64))
        if alone is not None:
            found.append(Scores(metric, np.where(places < 0, np.nan, alone[places])))
    if found and found[0].metric.name != run.primary:
        notes.append(
            f"{run.primary} is no mean over samples; what one scored is its {found[0].metric.name}"
        )
    return found


def _is_of(column: str, metric: str) -> bool:
    name, _, number = column.rpartition(".")
    return name == metric and number.isdigit()


# ---------------------------------------------------------------- the log


@dataclass(frozen=True)
class _Logged:
    place: int
    status: Status


def _log(path: Path) -> tuple[dict[str, _Logged], int]:
    """Where each id's record stands in the log, and how many lines are damaged. The log is only
    read: a run may be writing it."""
    found: dict[str, _Logged] = {}
    damaged = place = 0
    if not path.is_file():
        return found, damaged
    with path.open("rb") as log:
        for line in log:
            record = _record(line) if line.endswith(b"\n") else None
            if record is None:
                damaged += 1
            else:
                found[record.id] = _Logged(place, _status(record))
            place += len(line)
    return found, damaged


def _record(line: bytes) -> Record | None:
    try:
        return Record(**json.loads(line.decode("ascii")))
    except (ValueError, TypeError, RecursionError):
        return None


def _status(record: Record) -> Status:
    if record.prediction is None:
        return Status.FAILED
    return Status.SCORED if record.valid else Status.INVALID
