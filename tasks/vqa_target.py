"""What an open visual question is scored against. Knows no data set, no metric and no file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VqaTarget:
    """The annotators' answers to one question as they wrote them, one an annotator: ten in the
    official sets, at least one anywhere."""

    answers: tuple[str, ...]
