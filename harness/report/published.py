"""What papers and their authors' repositories report, for a table of its own: harness did not make
these numbers, does not know how they were made, and ranks nothing by them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A reported result as it stands in its source: `value` may be in per cent or not. `note`:
    under which condition, where that is said."""

    task: str
    split: str
    model: str
    note: str
    metric: str
    value: str
    source: str


@cache
def published() -> tuple[Published, ...]:
    """All of them, in the order of tasks."""
    entries = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    return tuple(
        Published(metric=metric, value=value, **{k: v for k, v in entry.items() if k != "results"})
        for entry in entries
        for metric, value in entry["results"].items()
    )
