"""Gathers all that is wrong with a file, so that a user learns of it at once and not one fault a
run. Knows no data set and no format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import BadInput


class Faulty(BadInput):
    """All that is wrong with a file: its message is the first line of `lines`."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(lines[0])
        self.lines = tuple(lines)


@dataclass
class Faults:
    """What is wrong with a file, by kind."""

    path: Path
    mend: str
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, where: str, what: str) -> None:
        self.places.setdefault(what, []).append(where)

    def check(self) -> None:
        """Raises Faulty if there is any fault: a line for each kind, with the first example."""
        lines = []
        for what, places in self.places.items():
            more = f" (and {len(places) - 1:,} more)" if len(places) > 1 else ""
            lines.append(f"{self.path}: {places[0]} {what}{more}; {self.mend}")
        if lines:
            raise Faulty(lines)


def lines_of(error: BadInput) -> tuple[str, ...]:
    """All that an error has to tell, a line each."""
    return error.lines if isinstance(error, Faulty) else (str(error),)
