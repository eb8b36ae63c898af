"""A report as a folder: the leaderboard in every form, a page of samples for each run, and a page
for each two runs of a table. No server and no network is needed to read it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from harness.errors import BadInput, HarnessError

from . import compare_page, explorer, leaderboard_page
from .collect import Collected, collect
from .drawings import Drawings
from .leaderboard import Leaderboard, Table, leaderboard_from
from .leaderboard_files import as_csv, as_json, as_markdown
from .pages import write_assets, write_text
from .published import published
from .samples import Sources

Stage: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Written:
    """What was written: the page to open, how many pages of runs and pairs, and which could not be
    made, with the reason."""

    index: Path
    runs: int
    pairs: int
    failed: Sequence[str]


def write_report(
    paths: Sequence[Path],
    folder: Path,
    *,
    samples: bool = True,
    all_visuals: bool = False,
    data_dir: Path | None = None,
    seed: int = 0,
    stage: Stage | None = None,
) -> Written:
    """Writes the report of all runs in `paths` into `folder`. `samples`: with the pages of runs
    and of pairs; `all_visuals`: with a thumbnail of every visual, not of those of each run's worst
    samples only; `data_dir`: where the data set's files are, if not where the runs found them.
    BadInput where there is no run or the folder cannot be written."""
    said = stage or (lambda what, done, total: None)
    collection = collect(paths)
    _keep_apart(collection.runs, folder)
    board = leaderboard_from(collection, seed)
    try:
        write_assets(folder, samples)
    except OSError as error:
        raise BadInput(
            f"{folder}: cannot be written ({error.strerror}); give another folder with -o"
        ) from None
    links: dict[str, str] = {}
    pairs: dict[tuple[str, str], str] = {}
    failed: list[str] = []
    if samples:
        sources = Sources(data_dir)
        visuals = None if all_visuals else explorer.VISUALS
        links, failed = _write_runs(collection.runs, folder, visuals, sources, said)
        pairs = _write_pairs(board, folder, links, sources, seed, said)
    _write_leaderboard(board, folder, links, pairs)
    return Written(folder / "index.html", len(links), len(pairs), failed)


def _keep_apart(runs: Sequence[Collected], folder: Path) -> None:
    """BadInput if the pages of runs would lie among the runs themselves."""
    pages = (folder / "runs").resolve()
    for one in runs:
        if one.run.path.resolve().is_relative_to(pages):
            raise BadInput(
                f"{folder}: the report's pages would lie among the runs in {folder / 'runs'}; give "
                "another folder with -o"
            )


def _write_leaderboard(
    board: Leaderboard,
    folder: Path,
    links: Mapping[str, str],
    pairs: Mapping[tuple[str, str], str],
) -> None:
    reported = published()
    write_text(folder / "leaderboard.md", as_markdown(board, reported))
    write_text(folder / "leaderboard.csv", as_csv(board))
    write_text(folder / "leaderboard.json", as_json(board, reported))
    leaderboard_page.write(folder / "index.html", board, reported, links, pairs)


def _write_runs(
    runs: Sequence[Collected],
    folder: Path,
    visuals: int | None,
    sources: Sources,
    said: Stage,
) -> tuple[dict[str, str], list[str]]:
    """The explorer of each run: slug -> its page from the report's folder, and which runs have
    none, with the reason. What has no predictions at all has no page either."""
    links, failed = {}, []
    for done, one in enumerate(runs):
        said("samples", done, len(runs))
        if not (one.run.path / "samples.jsonl").is_file():
            continue
        home = folder / "runs" / one.slug
        same = [other for other in runs if other is not one and _same_data(one, other)]
        others = [(other.run, folder / "runs" / other.slug) for other in same]
        try:
            page = explorer.write(
                *(one.run, home), root=folder, others=others, visuals=visuals, sources=sources
            )
        except HarnessError as error:
            failed.append(f"{one.run.path}: no page of samples: {error}")
            continue
        links[one.slug] = os.path.relpath(page, folder)
    said("samples", len(runs), len(runs))
    return links, failed


def _same_data(one: Collected, other: Collected) -> bool:
    a, b = one.run, other.run
    same = ("dataset", "split", "sha256", "n")
    return (
        a.task == b.task
        and all(a.result["data"][name] == b.result["data"][name] for name in same)
        and (b.path / "samples.jsonl").is_file()
    )


def _write_pairs(
    board: Leaderboard,
    folder: Path,
    links: Mapping[str, str],
    sources: Sources,
    seed: int,
    said: Stage,
) -> dict[tuple[str, str], str]:
    """The page of each pair of a table: slugs of both -> it, from the report's folder."""
    tables = [table for task in board.tasks for table in task.tables]
    total = sum(len(table.pairs) for table in tables)
    pages: dict[tuple[str, str], str] = {}
    drawings = Drawings(folder / "visuals")
    for table in tables:
        if not table.pairs:
            continue
        samples = compare_page.Samples(table.pairs[0].first.run, sources, drawings)
        for pair in table.pairs:
            said("pairs", len(pages), total)
            name = _pair_name(table, pair.first, pair.other)
            compare_page.write(folder, name, table, pair, links, samples, seed)
            pages[pair.first.slug, pair.other.slug] = name
    said("pairs", total, total)
    return pages


def _pair_name(table: Table, first: Collected, other: Collected) -> str:
    """compare/vqa--toybox/nce--vlbert-1a2b3c4d.html"""
    task, model, _ = first.slug.split("/")
    digits = hashlib.sha256(f"{first.slug} {other.slug}".encode()).hexdigest()[:8]
    return f"compare/{task}/{model}--{other.slug.split('/')[1]}-{digits}.html"
