"""Retrains the bundled weights (`make baselines`), several at once. What is finished is left alone,
what was stopped goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from harness.cli.train import measure
from harness.finished_training import NOTED

WEIGHTS = Path(__file__).resolve().parent / "weights"
# one set of weights for all that a transformer over words and regions does on Toybox
_QUESTIONS = ("vqa/toybox", "vqa/toybox-vcr")
EVERYTHING = (
    *_QUESTIONS,
    "spatial-localization/toybox",
    "retrieval/toybox",
    "temporal-localization/toybox",
    "video-retrieval/toybox",
)
BUNDLED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("show-attend-tell", ("captioning/toybox",)),  # first: its CNN sees the frames of clips too
    ("vlbert", EVERYTHING),
    ("vilbert", EVERYTHING),
    ("nce", ("retrieval/toybox",)),
    ("nce", ("video-retrieval/toybox",)),
    ("nce", ("vqa/toybox",)),
    ("nce", ("vqa/toybox-vcr",)),
    ("nce", ("spatial-localization/toybox",)),
    ("nce", ("temporal-localization/toybox",)),
    ("show-attend-tell", ("spatial-localization/toybox",)),
    ("temporal-attention", ("video-captioning/toybox",)),
    ("temporal-attention", ("temporal-localization/toybox",)),
    ("vlbert-blind", _QUESTIONS),
    ("vlbert", ("vqa/easy-vqa",)),
    ("vlbert-blind", ("vqa/easy-vqa",)),
)


def folder_of(model: str, tasks: tuple[str, ...]) -> Path:
    """Named after its task, or after the data set of its several tasks."""
    named = tasks[0].replace("/", "--") if len(tasks) == 1 else "toybox"
    return WEIGHTS / f"{model}--{named}"


def finished(folder: Path) -> bool:
    """Trained and measured: the card is written last."""
    card = folder / "card.md"
    return card.is_file() and "## Measured" in card.read_text(encoding="utf-8")


@click.command()
@click.option("--jobs", type=click.IntRange(min=1), default=2, help="Trainings at once.")
@click.option("--again", is_flag=True, help="Train finished files anew.")
@click.option("--measure", "only_measure", is_flag=True, help="Only write the cards' tables anew.")
@click.option("--only", multiple=True, metavar="FOLDER", help="Only folders so named; repeatable.")
def main(jobs: int, again: bool, only_measure: bool, only: tuple[str, ...]) -> None:
    """Train every bundled file that is not finished."""
    wanted = [pair for pair in BUNDLED if not only or folder_of(*pair).name in only]
    if only_measure:
        for model, tasks in wanted:
            click.echo(folder_of(model, tasks).name)
            list(measure(folder_of(model, tasks), tasks, model))
        return
    left = [pair for pair in wanted if again or not finished(folder_of(*pair))]
    with ThreadPoolExecutor(jobs) as pool:
        codes = list(pool.map(lambda pair: _train(pair[0], pair[1], _threads(jobs)), left))
    if any(codes):
        raise SystemExit(1)
    click.echo(f"{len(wanted) - len(left)} files were finished, {len(left)} trained: {WEIGHTS}")


def _threads(jobs: int) -> int:
    return max(1, (os.cpu_count() or 1) // jobs)


def _train(model: str, tasks: tuple[str, ...], threads: int) -> int:
    folder = folder_of(model, tasks)
    asked = [word for task in tasks for word in ("--task", task)]
    # the card tells this command, which anyone can run; the folder is where the weights are bundled
    words = [*asked, "--model", model, "-o", os.path.relpath(folder)]
    if finished(folder):  # --again
        (folder / NOTED).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    click.echo(f"harness train {' '.join(words)}")
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with (folder / "train.log").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "train", *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if done.returncode:
        click.echo(f"{folder.name} failed: see {folder / 'train.log'}", err=True)
    else:
        (folder / "train.log").unlink()
    return done.returncode


if __name__ == "__main__":
    main()
