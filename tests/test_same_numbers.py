"""Results and intervals are the same numbers, to the last digit, for any order of samples and any
batch size, of every task."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness.evaluate import EvalRequest, evaluate
from harness.registry import embedded_tasks, find_task, load_attribute
from harness.score import report, score
from harness.store import Record, read_log
from harness.types import Json

Cli = Callable[..., CompletedProcess[str]]

pytestmark = pytest.mark.usefixtures("small_toybox")


def mixed_records(task: str, folder: Path) -> dict[str, Record]:
    """Of every third sample the prior's prediction, of the others the oracle's, but that each
    eleventh is missing and each thirteenth failed: values of all kinds, and bounds."""
    logs = []
    for model in ("prior", "oracle"):
        rules = {"java-metrics": "off"} if "captioning" in task else {}
        request = EvalRequest(
            task, model, controls="none", floors=False, rules=rules, output=folder
        )
        logs.append(read_log(evaluate(request).path / "samples.jsonl"))
    records = {}
    for number, id in enumerate(sorted(logs[0])):
        record = logs[0 if number % 3 == 0 else 1][id]
        if number % 13 == 4:
            record = Record(id, record.group, None, False, "failed")
        if number % 11 != 5:
            records[id] = record
    return records


@pytest.mark.parametrize("name", embedded_tasks())
def test_the_order_of_samples_changes_no_digit(name: str, tmp_path: Path) -> None:
    if name == "vqa/easy-vqa":
        pytest.skip("scored as vqa/toybox is, and there is no oracle")
    task_spec, data_spec = find_task(name)
    task, dataset = load_attribute(task_spec.load), load_attribute(data_spec.load)(None, "test")
    records = mixed_records(name, tmp_path)
    samples = list(dataset.samples)
    breakdowns = task_spec.breakdowns
    first = report(
        task_spec, dataset, score(task, dataset, samples, records, breakdowns), "float32"
    )
    assert first["coverage"]["missing"] > 0
    assert any("bounds" in entry for entry in first["metrics"].values())
    for order in ("backwards", "shuffled"):
        samples.reverse() if order == "backwards" else random.Random(1).shuffle(samples)
        scored = score(task, dataset, samples, records, breakdowns)
        again = report(task_spec, dataset, scored, "float32")
        for metric, entry in first["metrics"].items():
            assert again["metrics"][metric] == entry, order
        assert again == first  # breakdowns and coverage


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("vqa", "nce"),
        ("captioning", "show-attend-tell"),
        ("retrieval", "nce"),
        ("spatial-localization", "vlbert"),
        ("temporal-localization", "nce"),
    ],
)
def test_the_batch_size_changes_no_digit(cli: Cli, task: str, model: str) -> None:
    """With the bundled weights, controls included; a tokenizer without Java."""
    found = [numbers(cli, task, model, size) for size in (1, 7, 64)]
    assert found[0]["metrics"]
    assert found[0] == found[1] == found[2]


def numbers(cli: Cli, task: str, model: str, batch_size: int) -> Json:
    bare = ("--limit", 24, "--no-floors", "--json", "--device", "cpu")
    rule = ("--rule", "java-metrics=off") if task == "captioning" else ()
    arguments: tuple[Any, ...] = ("--task", task, "--model", model, *bare, *rule)
    done = cli("eval", *arguments, "--batch-size", batch_size)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    return {part: result[part] for part in ("metrics", "breakdowns", "controls", "coverage")}
