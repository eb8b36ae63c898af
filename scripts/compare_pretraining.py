"""What pretraining is worth: VL-BERT or ViLBERT fine-tuned for all of Toybox's tasks at once from
its pretraining and from nothing, under one budget, and held against each other on the test parts.

    python scripts/compare_pretraining.py vilbert -o DIR [--epochs 1] [--set NAME=VALUE ...]

Prints what pretraining learned and a table of paired differences, for the model's card. Goes on
where it was stopped.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.baselines.retrain import EVERYTHING
from harness.compare import compare_pair
from harness.evaluate import EvalRequest, evaluate
from harness.registry import find_model, find_task
from harness.saved import SavedRun, find_runs, what_differs

# pictures with texts are what masked words and regions are learned from
PRETRAINED_ON = tuple(
    task for task in EVERYTHING if not task.startswith(("temporal-localization", "video-retrieval"))
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", choices=["vlbert", "vilbert"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=1, help="of fine-tuning (1)")
    parser.add_argument("--pretraining-epochs", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="for both fine-tunings")
    asked = parser.parse_args()
    folder, model = asked.output, asked.model
    options = [f"epochs={asked.epochs}", *asked.set]
    pretraining = [f"epochs={asked.pretraining_epochs}"]
    train(model, PRETRAINED_ON, folder / "pretrained", pretraining, "--pretrain")
    train(model, EVERYTHING, folder / "without", options, "--no-eval")
    start = [f"start={folder / 'pretrained'}"]
    train(model, EVERYTHING, folder / "with", [*options, *start], "--no-eval")
    card = (folder / "pretrained" / "card.md").read_text(encoding="utf-8")
    print(card[card.index("On the validation part") :])
    print("| task | without | with | difference | 95% interval | p |")
    print("| --- | --- | --- | --- | --- | --- |")
    for task in EVERYTHING:
        print(row(model, task, folder), flush=True)
    return 0


def train(
    model: str, tasks: Sequence[str], folder: Path, options: Sequence[str], flag: str
) -> None:
    """`harness train`, unless the folder is finished."""
    if (folder / "card.md").is_file():
        return
    words = [word for task in tasks for word in ("--task", task)]
    words += [word for option in options for word in ("--set", option)]
    command = [sys.executable, "-m", "harness", "train", "--model", model, *words]
    subprocess.run([*command, "-o", str(folder), flag], check=True, stdout=sys.stderr)


def row(model: str, task: str, folder: Path) -> str:
    """The primary metric on the test part, without pretraining, with it, and the difference."""
    without, pretrained = (run(model, task, folder, name) for name in ("without", "with"))
    assert not what_differs(without, pretrained)
    found = compare_pair(without, pretrained).primary
    assert found.first is not None
    assert found.other is not None
    assert found.difference is not None
    assert found.ci95 is not None
    low, high = (100 * value for value in found.ci95)
    return (
        f"| {task}, {found.metric} | {100 * found.first:.1f} | {100 * found.other:.1f} | "
        f"{100 * found.difference:+.1f} | {low:+.1f} to {high:+.1f} | {found.p:.4f} |"
    )


def run(model: str, task: str, folder: Path, name: str) -> SavedRun:
    """The finished run of weights on a task, evaluated now if there is none."""
    output = folder / f"runs-{name}" / task.replace("/", "--")
    if not list(output.rglob("rows.parquet")):
        limit = find_model(model).searched if find_task(task)[0].whole_set else None
        evaluate(
            EvalRequest(
                *(task, model),
                weights=folder / name,
                output=output,
                limit=limit,
                device="cpu",
                controls="none",
                floors=False,
            )
        )
    return find_runs(output)[0]


if __name__ == "__main__":
    sys.exit(main())
