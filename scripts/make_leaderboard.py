"""Evaluates the bundled models and floors on every embedded task, and makes the report of them.
Runs that are there already, of the same weights, data, samples and version, are kept, so the same
command goes on where it was stopped.

    python scripts/make_leaderboard.py --runs build/leaderboard --output reports [--limit 100]

Retrieval is searched among as many entries as the slowest model's card is, by all models, so that
they can be ranked together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import __version__
from harness.errors import HarnessError
from harness.evaluate import EvalRequest, evaluate
from harness.registry import (
    can_do,
    embedded_tasks,
    find_task,
    load_attribute,
    model_specs,
)
from harness.report.site import write_report
from harness.saved import SavedRun, read_run
from harness.specs import ModelSpec
from harness.types import Dataset, LoadRequest


@dataclass(frozen=True)
class Wanted:
    task: str
    model: ModelSpec
    limit: int | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("build/leaderboard"))
    parser.add_argument("--output", type=Path, default=Path("reports"))
    parser.add_argument("--limit", type=int, help="only the first N samples of each task")
    parser.add_argument("--tasks", nargs="+", help="of the embedded ones; all unless given")
    parser.add_argument("--models", nargs="+", help="of the bundled ones; all unless given")
    parser.add_argument("--samples", action="store_true", help="pages of samples too")
    given = parser.parse_args()
    wanted = list(every_run(given.tasks, given.models, given.limit))
    kept = [run for one in wanted if (run := evaluated(one, given.runs)) is not None]
    if not kept:
        sys.exit("make_leaderboard: there is nothing to rank")
    written = write_report(kept, given.output, samples=given.samples)
    print(written.index)


def every_run(
    tasks: list[str] | None, models: list[str] | None, limit: int | None
) -> Iterator[Wanted]:
    """Floors first, for they are quick; ceilings stand beside every model anyway."""
    specs = [spec for spec in model_specs().values() if spec.kind != "ceiling"]
    specs.sort(key=lambda spec: spec.kind != "floor")
    for task in tasks or embedded_tasks():
        task_spec, _ = find_task(task)
        able = [spec for spec in specs if can_do(spec, task_spec) and bundled_for(spec, task)]
        searched = [spec.searched for spec in able if spec.searched] if task_spec.whole_set else []
        most = min((n for n in (limit, *searched) if n is not None), default=None)
        for spec in able:
            if not models or spec.name in models:
                yield Wanted(task, spec, most)


def bundled_for(spec: ModelSpec, task: str) -> bool:
    return spec.datasets is None or task in spec.datasets


def evaluated(wanted: Wanted, runs: Path) -> Path | None:
    """The folder of a finished run: one that is there, else a new one. None where it failed, which
    is said and stops nothing."""
    name = f"{wanted.task} {wanted.model.name}"
    try:
        found = finished(wanted, runs)
        if found is not None:
            print(f"{name}: kept", flush=True)
            return found.path
        print(f"{name}: runs", flush=True)
        request = EvalRequest(
            wanted.task, wanted.model.name, limit=wanted.limit, output=runs, floors=True
        )
        return evaluate(request).path
    except HarnessError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return None


def finished(wanted: Wanted, runs: Path) -> SavedRun | None:
    """The newest complete run of the same model, weights, data, samples and version."""
    task_spec, data_spec = find_task(wanted.task)
    folder = runs / f"{task_spec.name}--{data_spec.name}" / wanted.model.name
    found = [read_run(path) for path in sorted(folder.glob("*/run.json"))]
    found = [run for run in found if run.result["status"] == "complete"]
    if not found:
        return None
    data = load_attribute(data_spec.load)(None, data_spec.test_split)
    same = {
        "limit": wanted.limit,
        "split": data.split,
        "data_sha256": data.sha256,
        "weights_sha256": weights_of(wanted),
        "harness": __version__,
        "seed": 0,
        "dtype": "float32",
    }
    fitting = [r for r in found if same.items() <= r.result.get("decides", {}).items()]
    return max(fitting, key=lambda run: str(run.result["started_at"]), default=None)


def weights_of(wanted: Wanted) -> str | None:
    if wanted.model.kind != "model":
        return None
    task_spec, data_spec = find_task(wanted.task)

    def train_part() -> Dataset:  # what a model may choose its captions from
        part: Dataset = load_attribute(data_spec.load)(None, data_spec.train_split)
        return part

    request = LoadRequest(task_spec.name, data_spec.name, train=train_part)
    digest: str | None = load_attribute(wanted.model.load)(request).description.weights_sha256
    return digest


if __name__ == "__main__":
    main()
