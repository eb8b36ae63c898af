"""Run folders for the tests of `compare`, `check` and `reproduce`, made of any predictions without
a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.types import Json, Sample

Predict = Callable[[int, Sample], Json | None]


@pytest.fixture
def saved_run(small_toybox: None, tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder: (name, predict(number, sample) -> prediction or None, ...) -> folder.
    Words given by name change run.json."""

    def write(
        name: str,
        predict: Predict,
        *,
        task: str = "vqa/toybox",
        model: str = "fake",
        split: str = "test",
        limit: int | None = None,
        rules: Mapping[str, str] | None = None,
        dtype: str = "float32",
        backwards: bool = False,
        **changes: Any,
    ) -> Path:
        from harness.registry import find_task, load_attribute
        from harness.score import report, score, write_rows
        from harness.store import Record, append, write_json

        task_spec, data_spec = find_task(task)
        code = load_attribute(task_spec.load)
        dataset = load_attribute(data_spec.load)(None, split)
        samples = list(dataset.samples[:limit])
        given = {sample.id: predict(number, sample) for number, sample in enumerate(samples)}
        if backwards:
            samples.reverse()
        records = {}
        for sample in samples:
            prediction = given[sample.id]
            reason = "failed" if prediction is None else code.invalid(prediction)
            records[sample.id] = Record(sample.id, sample.group, prediction, reason is None, reason)
        scored = score(code, dataset, samples, records, rules=rules or {})
        folder = tmp_path / name
        folder.mkdir(parents=True)
        with (folder / "samples.jsonl").open("ab") as log:
            append(log, list(records.values()))
        write_rows(folder / "rows.parquet", scored, records)
        data = {"dataset": dataset.name, "split": split, "sha256": dataset.sha256}
        result: Json = {
            "schema": 1,
            "status": "failed" if scored.coverage.failed else "complete",
            "task": task_spec.name,
            "data": {**data, "n": len(samples), "notes": []},
            "model": {"name": model, "weights_sha256": None, "parameters": 0},
            "request": {"rules": dict(rules or {}), "data_dir": None, "output": str(tmp_path)},
            "started_at": "2024-01-01T00:00:00Z",
            **report(task_spec, dataset, scored, dtype),
            **changes,
        }
        write_json(folder / "run.json", result)
        return folder

    return write


@pytest.fixture
def right() -> Callable[[Sample], Json]:
    """The answer that most annotators of a question gave."""

    def answer(sample: Sample) -> Json:
        answers = list(sample.target.answers)
        return {"answer": max(sorted(set(answers)), key=answers.count)}

    return answer
