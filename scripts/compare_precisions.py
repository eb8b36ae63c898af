"""Runs every bundled model on every task it has weights for, on the processor in fp32 and then on a
device in fp32 and bf16, and counts the predictions that are not the same.

    python scripts/compare_precisions.py [--device cuda] [--limit 200]

Prints a Markdown table. Ends with 1 if a prediction in fp32 on the device differs, 0 otherwise.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.registry import can_do, embedded_tasks, find_task, model_specs
from harness.setting import EvalRequest

ABSOLUTE, RELATIVE = 1e-5, 1e-6  # what scores may differ by and be the same result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda or cpu (cuda)")
    parser.add_argument("--limit", type=int, default=200, help="samples of each task (200)")
    options = parser.parse_args()
    settings = [("cpu", "float32"), (options.device, "float32"), (options.device, "bfloat16")]
    print("| model | task | metric | " + " | ".join(f"{d} {t}" for d, t in settings), end=" ")
    print("| other predictions, fp32 | other predictions, bf16 |")
    print("| --- | --- | --- " + "| --- " * (len(settings) + 2) + "|")
    differ = 0
    for model, task in cells():
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                run(model, task, device, dtype, options.limit, Path(folder) / f"{i}")
                for i, (device, dtype) in enumerate(settings)
            ]
        metric, predictions = runs[0][0], [found for _, _, found in runs]
        changed = [count_changed(predictions[0], other) for other in predictions[1:]]
        scores = " | ".join(f"{value:.4f}" for _, value, _ in runs)
        counts = " | ".join(f"{count} of {len(predictions[0])}" for count in changed)
        print(f"| {model} | {task} | {metric} | {scores} | {counts} |", flush=True)
        differ += changed[0]
    return 1 if differ else 0


def cells() -> list[tuple[str, str]]:
    """Every bundled model with every embedded task it has weights for."""
    return [
        (model.name, task)
        for model in model_specs().values()
        for task in embedded_tasks()
        if model.kind == "model"
        and can_do(model, find_task(task)[0])
        and task in (model.datasets or ())
    ]


def run(
    model: str, task: str, device: Any, dtype: Any, limit: int, folder: Path
) -> tuple[str, float, dict[str, Any]]:
    """The primary metric, its value, and the predictions by sample."""
    request = EvalRequest(
        task, model, device=device, dtype=dtype, limit=limit, output=folder, controls="none"
    )
    finished = evaluate(request)
    metrics = finished.result["metrics"]
    name = next(iter(metrics))
    lines = (finished.path / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return name, metrics[name]["value"], {one["id"]: one["prediction"] for one in records}


def count_changed(first: dict[str, Any], second: dict[str, Any]) -> int:
    return sum(not same(value, second.get(name)) for name, value in first.items())


def same(a: Any, b: Any) -> bool:
    """Equal but for numbers that are close."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= ABSOLUTE + RELATIVE * abs(a)
    return bool(a == b)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except BadInput as error:
        raise SystemExit(f"compare_precisions: {error}") from None
