"""What a retrieval run ranked first: the captions of a visual and the visuals of a caption, from
the scores that a run folder keeps. Knows no page and no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.types import CaptionedVisual

from .samples import Reading

if TYPE_CHECKING:
    from harness.types import FloatArray

CAPTIONS, VISUALS = 10, 5  # shown of a ranking


@dataclass(frozen=True)
class Found:
    """One result: the place of the sample that it belongs to, which of its captions it is, its
    score, and whether it is right."""

    sample: int
    caption: int
    score: float
    right: bool


class Rankings:
    """Scores (visuals, captions) of a run, both in the data's order."""

    def __init__(self, scores: FloatArray, captions: Sequence[int]) -> None:
        """`captions`: how many each visual has."""
        self._scores = scores
        ends = np.cumsum([0, *captions])
        self._first = ends[:-1]
        self._owner = np.repeat(np.arange(len(captions)), captions)
        self.captions = captions

    def captions_of(self, visual: int) -> list[Found]:
        """The best captions of a visual, best first."""
        row = np.asarray(self._scores[visual], dtype=np.float64)
        return [
            Found(int(self._owner[c]), int(c - self._first[self._owner[c]]), float(row[c]), right)
            for c in _best(row, CAPTIONS)
            for right in [bool(self._owner[c] == visual)]
        ]

    def visuals_of(self, visual: int, caption: int) -> list[Found]:
        """The best visuals of one of a visual's captions, best first."""
        column = np.asarray(self._scores[:, self._first[visual] + caption], dtype=np.float64)
        return [
            Found(int(v), caption, float(column[v]), bool(v == visual))
            for v in _best(column, VISUALS)
        ]


def _best(scores: FloatArray, most: int) -> list[int]:
    """The places of the highest, ties in order."""
    order: list[int] = np.argsort(-scores, kind="stable")[:most].tolist()
    return order


def read_rankings(reading: Reading) -> Rankings | None:
    """None where the run keeps no scores, or not of these samples: of a set that is not here, of
    several galleries, or too large to be kept."""
    path = reading.run.path / "scores.npy"
    source = reading.source
    if source.dataset is None or not path.is_file():
        return None
    entries = [source[place].input for place in range(source.count)]
    if not all(isinstance(entry, CaptionedVisual) for entry in entries):
        return None
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
        kept = _kept(path.with_suffix(".json"))
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    captions = [len(entry.texts) for entry in entries]
    if kept != [entry.visual.id for entry in entries]:
        return None
    if scores.shape != (len(entries), sum(captions)) or scores.dtype.kind != "f":
        return None
    return Rankings(scores, captions)


def _kept(path: Path) -> list[str]:
    visuals = json.loads(path.read_text(encoding="utf-8"))["visuals"]
    return [str(id) for id in visuals]
