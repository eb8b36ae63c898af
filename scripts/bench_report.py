"""How long the explorer of a large run takes to be built, how much memory, how soon its first page
is there, and how large the largest page is. Run it with:

    python scripts/bench_report.py [--samples 100000] [--pages 40]

The data are made up in the official layout of VQA v2, without pictures: thumbnails are excluded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

_ANSWERS = ["yes", "no", "2", "1", "white", "black", "red", "man", "frisbee", "on the table"]
_KINDS = [f"what is the kind {number}" for number in range(65)]  # as many as VQA v2 has


@dataclass(frozen=True)
class Opened:
    """A page: until it stood there, the files that it needed but for thumbnails, its cards."""

    seconds: float
    bytes: int
    cards: int


# ---------------------------------------------------------------- made-up data


def write_questions(folder: Path, count: int) -> Path:
    """So many questions, five a picture, with ten answers each, in VQA v2's two files of val."""
    chance = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    asked, annotated = [], []
    for number in range(count):
        both = {"question_id": number, "image_id": number // 5}
        words = chance.choices(["the", "man", "what", "colour", "holding", "left"], k=9)
        asked.append(both | {"question": f"{' '.join(words)}?"})
        usual = chance.choice(_ANSWERS)
        given = [usual if chance.random() < 0.7 else chance.choice(_ANSWERS) for _ in range(10)]
        annotated.append(
            both
            | {
                "question_type": chance.choice(_KINDS),
                "answer_type": chance.choice(["yes/no", "number", "other"]),
                "multiple_choice_answer": usual,
                "answers": [{"answer": answer, "answer_id": i} for i, answer in enumerate(given)],
            }
        )
    questions = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    questions.write_text(json.dumps({"questions": asked}), encoding="utf-8")
    annotations = folder / "v2_mscoco_val2014_annotations.json"
    annotations.write_text(json.dumps({"annotations": annotated}), encoding="utf-8")
    return folder


def write_run(run: Path, data: Path, count: int, seed: int) -> Path:
    """A run folder of random answers over them, with the rows of its metrics and without intervals,
    which take minutes and which no page of samples needs."""
    import numpy as np
    import pandas as pd

    from harness.registry import find_task, load_attribute
    from harness.store import SCHEMA, Record, append, write_json

    task_spec, data_spec = find_task("vqa/vqav2")
    dataset = load_attribute(data_spec.load)(data, "val")
    chance = random.Random(seed)
    records = [
        Record(
            *(sample.id, sample.group),
            {"answer": chance.choice(_ANSWERS), "confidence": round(chance.random(), 6)},
        )
        for sample in dataset.samples
    ]
    run.mkdir()
    with (run / "samples.jsonl").open("wb") as log:
        append(log, records)
    columns: dict[str, Any] = {
        "id": [sample.id for sample in dataset.samples],
        "group": [sample.group for sample in dataset.samples],
        "valid": True,
        "tag:answer_type": [sample.tags["answer_type"] for sample in dataset.samples],
        "tag:question_type": [sample.tags["question_type"] for sample in dataset.samples],
    }
    entries: dict[str, Any] = {}
    for metric in load_attribute(task_spec.load).metrics(dataset, {}):
        predictions = [record.prediction for record in records]
        rows = metric.rows(predictions, [sample.target for sample in dataset.samples])
        columns |= {f"{metric.name}.{i}": rows[:, i] for i in range(rows.shape[1])}
        entries[metric.name] = {
            "value": float(np.mean(metric.aggregate(rows))),
            "ci95": None,
            "n": count,
            "percent": True,
            "signature": f"metric:{metric.name}|variant:{metric.variant}",
        }
    pd.DataFrame(columns).to_parquet(run / "rows.parquet", index=False)
    about = {"dataset": "vqav2", "split": "val", "sha256": dataset.sha256, "n": count}
    write_json(
        run / "run.json",
        {
            "schema": SCHEMA,
            "status": "complete",
            "task": "vqa",
            "data": about,
            "model": {"name": "random"},
            "primary": "accuracy",
            "metrics": entries,
            "coverage": {"scored": count, "missing": 0, "failed": 0, "invalid": 0},
            "request": {"data_dir": str(data)},
        },
    )
    return run


# ---------------------------------------------------------------- what is measured


_BUILD = """
import json, resource, sys, time
from pathlib import Path
began = time.perf_counter()
from harness.report import explorer, pages
from harness.saved import read_run
root, *runs = map(Path, sys.argv[1:])
pages.write_assets(root)
read = [read_run(run) for run in runs]
homes = [root / "runs" / run.name for run in runs]
page = explorer.write(read[0], homes[0], root=root, others=[(read[1], homes[1])])
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "page": str(page),
    "seconds": seconds,
    "cpu_seconds": peak.ru_utime + peak.ru_stime,
    "mib": peak.ru_maxrss / 1024,
}))
explorer.write(read[1], homes[1], root=root)  # to be shown beside, not measured
"""


def build(root: Path, first: Path, other: Path) -> dict[str, Any]:
    """Builds the page of the first run in a process of its own: its path, seconds and peak memory
    in MiB; then the other's."""
    command = [sys.executable, "-c", _BUILD, str(root), str(first), str(other)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(browser: Any, path: Path, views: Sequence[str]) -> list[Opened]:
    """Opens the page at each of these views, the part of an address after "#", anew."""
    return list(_measured(browser, path, views))


def _measured(browser: Any, path: Path, views: Sequence[str]) -> Iterator[Opened]:
    for view in views:
        page = browser.new_page()
        files: set[Path] = set()
        page.on("request", lambda request, files=files: files.add(_file(request.url)))
        began = time.perf_counter()
        page.goto(f"{path.resolve().as_uri()}#{view}")
        page.wait_for_selector("#explorer[data-ready]")
        seconds = time.perf_counter() - began
        needed = [file for file in files if file.is_file() and file.suffix != ".webp"]
        cards = page.locator("#list > li").count()
        yield Opened(seconds, sum(file.stat().st_size for file in needed), cards)
        page.close()


def _file(url: str) -> Path:
    return Path(unquote(urlparse(url).path))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=40, help="how many pages are opened")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        print(f"{arguments.samples:,} questions are made up ...", file=sys.stderr)
        data = write_questions(folder / "data", arguments.samples)
        runs = [write_run(folder / n, data, arguments.samples, int(n)) for n in ("1", "2")]
        built = build(folder / "site", *runs)
        print(f"built      {built['seconds']:.1f} s ({built['cpu_seconds']:.1f} s of CPU)")
        print(f"memory     {built['mib']:,.0f} MiB at most")
        site = folder / "site"
        own = [*(site / "runs" / "1").rglob("*.*"), *(site / "asked").rglob("*.*")]
        total = sum(path.stat().st_size for path in own)
        print(f"on disk    {len(own):,} files, {total / 1e6:.1f} MB")
        _open_pages(Path(built["page"]), arguments.samples, arguments.pages)


def _open_pages(path: Path, samples: int, count: int) -> None:
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if found is None:
        print("no Chromium on the path: no page was opened")
        return
    chance = random.Random(2)
    last = -(-samples // 50)
    orders = ["worst", "best", "data"]
    views = [f"sort={orders[i % 3]}&page={chance.randint(1, last)}" for i in range(count)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        measure(browser, path, [""])  # the browser's own start is not the page's
        first = measure(browser, path, [""] * 5)
        others = measure(browser, path, views)
        key = hashlib.sha256(b"runs/2").hexdigest()[:12]
        beside = [f"with={key}&differ=predictions&{view}" for view in views]
        both = measure(browser, path, beside)
        browser.close()
    seconds = sorted(one.seconds for one in first)
    print(f"first page {seconds[2]:.2f} s (of 5: {seconds[0]:.2f} to {seconds[-1]:.2f})")
    print(f"           {first[0].bytes / 1e6:.2f} MB")
    _say("any page", others)
    _say("beside", both)


def _say(what: str, pages: Sequence[Opened]) -> None:
    largest, slowest = max(one.bytes for one in pages), max(one.seconds for one in pages)
    print(f"{what:<10} {largest / 1e6:.2f} MB, {slowest:.2f} s at most, of {len(pages)}")


if __name__ == "__main__":
    main()
