"""What predictions are scored against, a dataclass a task. Knows no data set, no metric and no
file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VqaTarget:
    """The annotators' answers to one question as they wrote them, one an annotator: ten in the
    official sets, at least one anywhere."""

    answers: tuple[str, ...]


@dataclass(frozen=True)
class VcrTarget:
    """The places, from 0 on, of the right answer and the right reason among the choices."""

    answer: int
    reason: int


@dataclass(frozen=True)
class CaptionTarget:
    """What people wrote about one picture or clip: captions as they stand in the files, at least
    one."""

    references: tuple[str, ...]


@dataclass(frozen=True)
class BoxTarget:
    """The right box: x1, y1, x2, y2 in pixels, the far ends exclusive."""

    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class MomentTarget:
    """The right moments of one query, (start, end) in seconds: at least one, any of which will
    do."""

    moments: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ChunkTarget:
    """DiDeMo's: what each annotator chose, (first, last) chunk of five seconds from 0 on, both
    included; four annotators and sometimes more."""

    times: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RetrievalTarget:
    """How many captions of one visual there are to find, and how many of them have a foil."""

    texts: int
    foils: int = 0
