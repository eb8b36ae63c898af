"""Finished runs read back from their folders: run.json, the rows of each metric, and the metrics
that make values of those rows again. Knows no task and compares nothing but what two numbers must
share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BadInput, HarnessError, Incomplete
from .registry import find_task, load_attribute
from .specs import DatasetSpec, TaskSpec
from .store import SCHEMA
from .types import Dataset, Json, Metric, Task

if TYPE_CHECKING:
    import pandas as pd

    from .types import FloatArray


@dataclass(frozen=True)
class SavedRun:
    """A run folder and the content of its run.json."""

    path: Path
    result: Json

    @property
    def task(self) -> str:
        """ "task/dataset"."""
        return f"{self.result['task']}/{self.result['data']['dataset']}"

    @property
    def split(self) -> str:
        return str(self.result["data"]["split"])

    @property
    def model(self) -> str:
        return str(self.result["model"]["name"])

    @property
    def primary(self) -> str:
        return str(self.result["primary"])

    @property
    def incomplete(self) -> str | None:
        """Why the run is incomplete, or None."""
        if self.result.get("status") == "started":
            return "it was started and not finished"
        reason = str(self.result.get("reason") or "it failed")
        if self.result.get("status") != "complete":
            return reason
        coverage = self.result["coverage"]
        lacking = int(coverage["missing"]) + int(coverage["failed"])
        return f"{lacking} samples have no prediction" if lacking else None

    @property
    def invalid(self) -> int:
        """Samples whose prediction cannot be scored, which leave the run complete."""
        return int(self.result["coverage"].get("invalid", 0))

    @cached_property
    def table(self) -> pd.DataFrame:
        """rows.parquet in the order of ids. BadInput if it is absent, damaged or of other
        samples."""
        path = self.path / "rows.parquet"
        if not path.is_file():
            raise BadInput(f"{path}: there is no such file; score the run again (harness score)")
        import pandas as pd

        try:
            table = pd.read_parquet(path)
            table = table.sort_values("id", kind="stable").reset_index(drop=True)
            ids, n = table["id"], int(self.result["data"]["n"])
            _ = table["group"], table["valid"]
        except Exception as error:  # pyarrow has many errors of its own
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise BadInput(
                f"{path}: cannot be read ({reason}); score the run again (harness score)"
            ) from None
        if len(ids) != n or ids.duplicated().any():
            raise BadInput(
                f"{path}: holds {len(ids)} rows where run.json says {n} samples; score the run "
                "again (harness score)"
            )
        return table

    @property
    def ids(self) -> list[str]:
        return [str(id) for id in self.table["id"]]

    @property
    def groups(self) -> list[str]:
        return [str(group) for group in self.table["group"]]

    def rows(self, metric: str) -> FloatArray:
        """(samples, statistics), samples in the order of their ids."""
        columns = _columns(self.table, metric)
        return self.table[columns].to_numpy(dtype=np.float64)

    @property
    def metric_names(self) -> list[str]:
        """The metrics that have rows, primary first."""
        return [name for name in self.result["metrics"] if _columns(self.table, name)]

    @property
    def request(self) -> Json:
        return dict(self.result.get("request") or {})


def _columns(table: pd.DataFrame, metric: str) -> list[str]:
    found = []
    for column in table.columns:
        name, _, number = str(column).rpartition(".")
        if name == metric and number.isdigit():
            found.append((int(number), str(column)))
    return [column for _, column in sorted(found)]


# ---------------------------------------------------------------- finding and reading


def read_run(path: Path) -> SavedRun:
    """A run from its folder or its run.json. BadInput if it is absent, damaged or not ours."""
    file = path / "run.json" if path.is_dir() else path
    if not file.is_file():
        raise BadInput(f"{file}: there is no such run; name a run folder or its run.json")
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(result, dict):
            raise ValueError("it is no object")
        if int(result["schema"]) > SCHEMA:
            raise BadInput(f"{file}: was written by a newer harness; update this one")
        data = result["data"]
        shape = (result["task"], data["dataset"], data["split"], data["sha256"], data["n"])
        _ = shape, result["model"]["name"], result["status"]
        if result["status"] == "complete":
            entry = result["metrics"][result["primary"]]
            _ = entry["signature"], entry["value"], result["coverage"]["missing"]
    except HarnessError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise BadInput(f"{file}: is no run of harness ({reason}); run or score it again") from None
    return SavedRun(file.parent, result)


def find_runs(path: Path) -> list[SavedRun]:
    """The run of a run folder or run.json, or every run below a folder, in the order of paths.
    BadInput if there is none."""
    if not path.exists():
        raise BadInput(f"{path}: there is no such run or folder; correct the path")
    if path.is_file() or (path / "run.json").is_file():
        return [read_run(path)]
    found = sorted(path.rglob("run.json"))
    if not found:
        raise BadInput(f"{path}: there is no run in this folder; name one that holds run.json")
    return [read_run(file) for file in found]


def need_complete(run: SavedRun) -> None:
    """Incomplete unless every sample of the run has a prediction."""
    reason = run.incomplete
    if reason is not None:
        raise Incomplete(f"{run.path}: incomplete: {reason}; finish it, then compare")


# ---------------------------------------------------------------- what two numbers must share


def what_differs(first: SavedRun, other: SavedRun) -> list[str]:
    """What keeps two complete runs from being compared, a line a field with both values."""
    return what_data_differs(first, other) or signatures_differ(first, other)


def what_data_differs(first: SavedRun, other: SavedRun) -> list[str]:
    """In what the two runs are not of the same samples."""
    lines = []
    for name in ("task", "dataset", "split", "sha256", "n"):
        a, b = (_of_data(run, name) for run in (first, other))
        if a != b:
            lines.append(f"{'data sha256' if name == 'sha256' else name}: {a} | {b}")
    if lines:
        return lines
    if first.ids != other.ids:
        only = sorted(set(first.ids) ^ set(other.ids))
        lines.append(f"samples: {len(only)} ids are in one run only, the first is {only[0]!r}")
    elif first.groups != other.groups:
        lines.append("groups: the runs group the same samples otherwise")
    return lines


def _of_data(run: SavedRun, name: str) -> Any:
    return run.result["task"] if name == "task" else run.result["data"][name]


def signatures_differ(first: SavedRun, other: SavedRun) -> list[str]:
    """Fields of the signatures of metrics that both have, a line a field with both values."""
    lines: dict[str, None] = {}
    for name in shared_metrics(first, other):
        a, b = (signature_fields(run, name) for run in (first, other))
        for field in (*a, *(field for field in b if field not in a)):
            if a.get(field) != b.get(field):
                where = f"{name} {field}" if field == "variant" else field
                lines[f"{where}: {a.get(field, 'none')} | {b.get(field, 'none')}"] = None
    return list(lines)


def shared_metrics(first: SavedRun, other: SavedRun) -> list[str]:
    """Metrics that both runs have a signature of, in the order of the first."""
    theirs = other.result["metrics"]
    return [
        name
        for name, entry in first.result["metrics"].items()
        if "signature" in entry and "signature" in theirs.get(name, {})
    ]


def signature_fields(run: SavedRun, metric: str) -> dict[str, str]:
    parts = str(run.result["metrics"][metric]["signature"]).split("|")
    return {name: value for name, _, value in (part.partition(":") for part in parts)}


# ---------------------------------------------------------------- metrics


@dataclass(frozen=True)
class Opened:
    """What turns a run's rows into values: the task in the data set's form, and its metrics that
    have rows. `notes`: which metrics of the run cannot be had, and why."""

    task_spec: TaskSpec
    data_spec: DatasetSpec
    metrics: Sequence[Metric]
    notes: tuple[str, ...] = ()


def open_metrics(run: SavedRun) -> Opened:
    """The metrics of a run by the rules that it was scored by. The data set is opened only if the
    task needs it to name its metrics, and a note says so where it cannot be."""
    task_spec, data_spec = find_task(run.task)
    task: Task = load_attribute(task_spec.load)
    rules = dict(run.request.get("rules") or {})
    wanted = run.metric_names
    data = run.result["data"]
    unopened = Dataset(data["dataset"], data["split"], (), data["sha256"])
    offered = _offered(task, unopened, rules)
    notes: tuple[str, ...] = ()
    if any(name not in offered for name in wanted):
        try:
            offered = {m.name: m for m in task.metrics(open_dataset(run, data_spec), rules)}
        except HarnessError as error:
            left_out = ", ".join(name for name in wanted if name not in offered)
            notes = (f"left out: {left_out}: the data set cannot be opened: {error}",)
    found = [offered[name] for name in wanted if name in offered]
    for metric in found:
        signed = signature_fields(run, metric.name).get("variant")
        if signed != metric.variant:
            raise BadInput(
                f"{run.path}: {metric.name} was made as {signed!r}, this harness makes "
                f"{metric.variant!r}; score its samples.jsonl again (harness score)"
            )
    return Opened(task_spec, data_spec, found, notes)


def _offered(task: Task, dataset: Dataset, rules: Mapping[str, str]) -> dict[str, Metric]:
    """Metrics by name; none of a task that looks into the samples of a data set without any."""
    try:
        return {metric.name: metric for metric in task.metrics(dataset, rules)}
    except HarnessError:
        raise
    except Exception:  # a plug-in's code: anything can happen
        return {}


def open_dataset(run: SavedRun, spec: DatasetSpec, data_dir: Path | None = None) -> Dataset:
    """The part of the data set that the run was made on. BadInput if it cannot be opened, or is
    another by its checksum."""
    request = run.request
    files = {role: Path(path) for role, path in (request.get("files") or {}).items()}
    root = data_dir or (Path(request["data_dir"]) if request.get("data_dir") else None)
    if spec.where == "data-dir" and root is None and not files:
        raise BadInput(f"{run.task} needs its files: give --data-dir")
    dataset: Dataset
    if files and data_dir is None:
        dataset = load_attribute(spec.load_files)(files, run.split)
    else:
        dataset = load_attribute(spec.load)(root, run.split)
    if dataset.sha256 != run.result["data"]["sha256"]:
        raise BadInput(
            f"{run.task} {run.split} is now {dataset.sha256[:12]}, the run was made on "
            f"{run.result['data']['sha256'][:12]}; give the same files"
        )
    return dataset


def by_task(runs: Sequence[SavedRun]) -> dict[tuple[str, str], list[SavedRun]]:
    """Runs by (task/dataset, split)."""
    found: dict[tuple[str, str], list[SavedRun]] = {}
    for run in runs:
        found.setdefault((run.task, run.split), []).append(run)
    return found
