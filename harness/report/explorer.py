"""The explorer: a run's samples as pages, what was asked, what was right and what was predicted, to
be filtered and sorted, in a folder that needs no server and no network. Knows no task.

For site.py: `write(run, folder, root=...)` makes the page of one run, `folder`/index.html, and
returns its path. `root` is the report's folder, where pages.write_assets puts assets/ and where
what several runs share (questions, pictures) is kept once: every explorer of a report is given the
same one. `others` are further runs of the same data, each with the folder of its own explorer in
the same report: the page then offers "where the two disagree".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.saved import SavedRun
from harness.store import read_log

from .pages import write_page

VISUALS = 1000  # thumbnails drawn for a run unless all are asked for


def write(
    run: SavedRun,
    folder: Path,
    *,
    root: Path,
    others: Sequence[tuple[SavedRun, Path]] = (),
    visuals: int | None = VISUALS,
    data_dir: Path | None = None,
) -> Path:
    """Writes `folder`/index.html and what it needs, and returns its path. `visuals`: for how many
    pictures or clips thumbnails are drawn, those of the worst samples first; None for all.
    `data_dir`: where the data set's files are, if not where the run found them."""
    log = run.path / "samples.jsonl"
    write_page(
        folder / "index.html",
        "explorer.html",
        root=f"{os.path.relpath(root, folder)}/",
        title=f"{run.model} on {run.task}",
        samples=[(one.id, str(one.prediction)) for one in list(read_log(log).values())[:50]],
    )
    return folder / "index.html"
