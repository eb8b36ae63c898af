"""Run folders, whatever state they are in, as what reports read: none is dropped, and one that
cannot be ranked or shown says why. Knows no page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from harness.errors import BadInput, HarnessError
from harness.saved import SavedRun, read_run

Status: TypeAlias = Literal["complete", "incomplete", "failed", "started"]
Kind: TypeAlias = Literal["model", "floor", "ceiling"]


@dataclass(frozen=True)
class Collected:
    """A run of the report. `slug`: the folder of its pages below runs/, plain ASCII and unique in
    the report whatever the run and its model are called. `kind` is the model's, as its spec has it;
    "model" where none is installed."""

    run: SavedRun
    slug: str
    kind: Kind = "model"

    @property
    def status(self) -> Status:
        """`incomplete`: it came to its end with samples missing."""
        said = str(self.run.result["status"])
        if said in ("started", "failed"):
            return "started" if said == "started" else "failed"
        return "incomplete" if self.run.incomplete else "complete"

    @property
    def reason(self) -> str | None:
        """Why it is not complete, in a line."""
        return self.run.incomplete


@dataclass(frozen=True)
class Unreadable:
    """A folder that looks like a run and cannot be read."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Collection:
    runs: Sequence[Collected]
    unreadable: Sequence[Unreadable]


def collect(paths: Sequence[Path]) -> Collection:
    """Every run in the given folders, each once, in the order of paths. BadInput if a path is
    absent or there is no run at all."""
    found: dict[Path, SavedRun] = {}
    unreadable: dict[Path, Unreadable] = {}
    for path in paths:
        for folder in _folders(path):
            key = folder.resolve()
            if key in found or key in unreadable:
                continue
            try:
                found[key] = read_run(folder)
            except HarnessError as error:
                unreadable[key] = Unreadable(folder, str(error))
    if not found and not unreadable:
        named = ", ".join(str(path) for path in paths)
        raise BadInput(f"{named}: there is no run in here; make one with harness eval")
    return Collection(_named(list(found.values())), list(unreadable.values()))


def _folders(path: Path) -> Iterator[Path]:
    """Folders with a run.json, or with predictions and none."""
    if not path.exists():
        raise BadInput(f"{path}: there is no such run or folder; correct the path")
    if path.is_file():
        yield path.parent
        return
    files = (*path.rglob("run.json"), *path.rglob("samples.jsonl"))
    yield from sorted({file.parent for file in files})


def _named(runs: Sequence[SavedRun]) -> list[Collected]:
    taken: set[str] = set()
    named = []
    kinds = _kinds()
    for run in runs:
        slug = _slug(run)
        if slug in taken:
            slug += "-" + hashlib.sha256(str(run.path.resolve()).encode()).hexdigest()[:8]
        taken.add(slug)
        named.append(Collected(run, slug, kinds.get(run.model, "model")))
    return named


def _kinds() -> dict[str, Kind]:
    from harness.registry import model_specs

    try:
        return {name: spec.kind for name, spec in model_specs().items()}
    except HarnessError:  # another package's broken plug-in is no reason to show no report
        return {}


def _slug(run: SavedRun) -> str:
    """vqa--toybox/vlbert/c8450f081ba6-1"""
    parts = (run.task.replace("/", "--"), run.model, run.path.resolve().name)
    return "/".join(_plain(part) for part in parts)


def _plain(name: str) -> str:
    """A folder name of letters, digits, dots and dashes; a name that is changed by that ends in a
    hash of itself, so that two remain two."""
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", name).strip(".-")[:48] or "unnamed"
    if plain == name:
        return name
    return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:6]}"
