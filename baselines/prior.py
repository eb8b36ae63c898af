"""The floor `prior`: the most frequent answer, caption, box or moment of the train part, from the
finest context that it has seen to the coarsest. Decodes no picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Generic, TypeVar

import numpy as np

from harness.errors import BadInput
from harness.types import (
    Answer,
    CaptionedVisual,
    Choice,
    Dataset,
    Expression,
    LoadRequest,
    ModelDescription,
    MomentQuery,
    Question,
    ReasonedQuestion,
    Sample,
    Uncaptioned,
    Visual,
)

from .chance import MOMENTS, size_of

_T = TypeVar("_T", bound=Hashable)
_ENTRIES = 2000  # whose words are counted: frequencies of words need no more
_CELLS = 10  # boxes and moments are counted by tenths of the picture's sides, of the clip's length


def load_prior(request: LoadRequest) -> Any:
    """The prior of the kind that the task asks for, fitted on the train part."""
    if request.train is None:
        raise BadInput(f"{request.task}/{request.dataset} has no training part to fit prior on")
    train = request.train()
    kinds: dict[type, Any] = {
        Question: PriorAnswers,
        ReasonedQuestion: PriorChoices,
        Uncaptioned: PriorCaption,
        CaptionedVisual: PriorTexts,
        Expression: PriorBoxes,
        MomentQuery: PriorMoments,
    }
    asked = type(train.samples[0].input)
    if asked not in kinds:
        raise BadInput(f"prior cannot do {request.task}, which asks for {asked.__name__}")
    return kinds[asked](train)


def fitted_on(train: Dataset) -> ModelDescription:
    return ModelDescription(
        options={"fitted_on": f"{train.name}/{train.split}", "train_sha256": train.sha256}
    )


class _Counts(Generic[_T]):
    """How often each thing was seen in each context."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, Counter[_T]] = {}

    def see(self, things: Mapping[_T, int], *contexts: Hashable) -> None:
        for context in contexts:
            self._counts.setdefault(context, Counter()).update(things)

    def ranked(self, *contexts: Hashable) -> Iterator[_T]:
        """Most frequent first: of the first context that is known, then what the coarser ones add.
        Among equally frequent ones, the first seen."""
        said: set[_T] = set()
        for context in contexts:
            for thing, _ in self._counts.get(context, Counter()).most_common():
                if thing not in said:
                    said.add(thing)
                    yield thing


# ---------------------------------------------------------------- questions


class PriorAnswers:
    """The most frequent answer: to the exact question if it was asked there, else to questions of
    its type, else to all."""

    def __init__(self, train: Dataset) -> None:
        self.description = fitted_on(train)
        counts: dict[Hashable, Counter[str]] = {}
        for sample in train.samples:
            votes = Counter(sample.target.answers)
            for context in _question_contexts(sample.input):
                counts.setdefault(context, Counter()).update(votes)
        self._best = {context: votes.most_common(1)[0][0] for context, votes in counts.items()}

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [Answer(self._most_frequent(question)) for question in questions]

    def _most_frequent(self, question: Question) -> str:
        known = (context for context in _question_contexts(question) if context in self._best)
        return self._best[next(known)]


class PriorChoices:
    """Of the choices, the one whose text was most often right there: for the exact question, else
    for questions of its type, else for all. Choices never seen tie, and the first is taken."""

    def __init__(self, train: Dataset) -> None:
        self.description = fitted_on(train)
        self._right: dict[Hashable, Counter[str]] = {}
        for sample in train.samples:
            entry: ReasonedQuestion = sample.input
            self._see(entry, entry.answers[sample.target.answer])
            self._see(entry, entry.reasons[sample.target.reason])

    def answer(self, questions: Sequence[Question]) -> list[Choice]:
        return [self._choose(question) for question in questions]

    def _see(self, entry: ReasonedQuestion, text: str) -> None:
        for context in _question_contexts(entry):
            self._right.setdefault(context, Counter())[_plain(text)] += 1

    def _choose(self, question: Question) -> Choice:
        for context in _question_contexts(question):
            counts = [self._right.get(context, Counter())[_plain(c)] for c in question.choices]
            if any(counts):
                return Choice(counts.index(max(counts)))
        return Choice(0)


def _question_contexts(question: Question | ReasonedQuestion) -> tuple[tuple[str, str], ...]:
    """From the finest to the coarsest."""
    return ("question", _plain(question.text)), ("type", question.kind), ("all", "")


def _plain(text: str) -> str:
    return text.strip().lower()


# ---------------------------------------------------------------- captions


class PriorCaption:
    """The most frequent caption, whatever is shown."""

    def __init__(self, train: Dataset) -> None:
        self.description = fitted_on(train)
        counts: Counter[str] = Counter()
        for sample in train.samples:
            counts.update(sample.target.references)
        self._caption = counts.most_common(1)[0][0]

    def caption(self, visuals: Sequence[Visual]) -> list[str]:
        return [self._caption for _ in visuals]


class PriorTexts:
    """Scores a caption by how frequent its words are in (up to 2,000, evenly spread) entries of the
    train part, the same for every visual."""

    def __init__(self, train: Dataset) -> None:
        self.description = fitted_on(train)
        counts: Counter[str] = Counter()
        entries = min(_ENTRIES, len(train.samples))
        for place in range(entries):
            sample = train.samples[place * len(train.samples) // entries]
            for text in sample.input.texts:
                counts.update(_plain(text).split())
        total = sum(counts.values()) + len(counts) + 1
        self._unknown = log(1 / total)
        self._frequency = {word: log((count + 1) / total) for word, count in counts.items()}

    def embed_visuals(self, visuals: Sequence[Visual]) -> np.ndarray:
        return np.ones((len(visuals), 1))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[self._score(text)] for text in texts])

    def _score(self, text: str) -> float:
        words = sorted(_plain(text).split())  # in one order, so that the same words score the same
        return sum(self._frequency.get(word, self._unknown) for word in words) / max(1, len(words))


# ---------------------------------------------------------------- boxes and moments


@dataclass
class _Mean:
    """The mean of what fell into one cell."""

    total: np.ndarray
    count: int = 0

    def add(self, values: np.ndarray) -> None:
        self.total = self.total + values
        self.count += 1

    def value(self) -> np.ndarray:
        return np.asarray(self.total / self.count)


class _PriorCells:
    """Cells of shares of a whole, ranked by how often they were right for a text, then for all;
    each stands for the mean of what fell into it."""

    def __init__(self, seen: Iterator[tuple[str, np.ndarray]]) -> None:
        self._counts: _Counts[tuple[int, ...]] = _Counts()
        self._means: dict[tuple[int, ...], _Mean] = {}
        for text, shares in seen:
            cell = tuple(np.round(shares * _CELLS).astype(int).tolist())
            self._counts.see({cell: 1}, ("text", _plain(text)), ("all", ""))
            self._means.setdefault(cell, _Mean(np.zeros(len(shares)))).add(shares)

    def ranked(self, text: str) -> Iterator[np.ndarray]:
        for cell in self._counts.ranked(("text", _plain(text)), ("all", "")):
            yield self._means[cell].value()


class PriorBoxes:
    """The most frequent box, as a share of the picture: for the exact expression if it was there,
    else for all."""

    def __init__(self, train: Dataset) -> None:
        self.description = fitted_on(train)
        self._cells = _PriorCells(map(_shares_of_picture, train.samples))

    def locate(self, expressions: Sequence[Expression]) -> list[tuple[float, float, float, float]]:
        return [self._box(expression) for expression in expressions]

    def _box(self, expression: Expression) -> tuple[float, float, float, float]:
        width, height = size_of(expression.visual)
        x1, y1, x2, y2 = next(self._cells.ranked(expression.text)).tolist()
        return x1 * width, y1 * height, x2 * width, y2 * height


def _shares_of_picture(sample: Sample) -> tuple[str, np.ndarray]:
    width, height = size_of(sample.input.visual)
    return sample.input.text, np.array(sample.target.box) / (width, height, width, height)


class PriorMoments:
    """The most frequent moments, as shares of the clip: for the exact sentence if it was there,
    then for all. Where a data set has candidates (DiDeMo), these by how often annotators chose
    them, whatever the sentence, as its authors' own prior does."""

    def __init__(self, train: Dataset) -> None:
        self.description = fitted_on(train)
        self._chosen: Counter[tuple[float, float]] = Counter()
        self._cells: _PriorCells | None = None
        if train.samples[0].input.candidates:
            for sample in train.samples:
                self._chosen.update(_chosen_candidates(sample))
        else:
            self._cells = _PriorCells(_shares_of_clips(train.samples))

    def find_moments(self, queries: Sequence[MomentQuery]) -> list[list[tuple[float, float]]]:
        return [self._moments(query) for query in queries]

    def _moments(self, query: MomentQuery) -> list[tuple[float, float]]:
        if self._cells is None:
            return sorted(query.candidates, key=lambda moment: -self._chosen[moment])
        duration = query.visual.duration
        best = zip(range(MOMENTS), self._cells.ranked(query.text), strict=False)
        return [(float(s) * duration, float(e) * duration) for _, (s, e) in best]


def _shares_of_clips(samples: Sequence[Sample]) -> Iterator[tuple[str, np.ndarray]]:
    for sample in samples:
        for start, end in sample.target.moments:
            duration = max(sample.input.visual.duration, end)
            if duration > 0:
                yield sample.input.text, np.array((start, end)) / duration


def _chosen_candidates(sample: Sample) -> Iterator[tuple[float, float]]:
    """The candidates that annotators chose, as (start, end) in seconds."""
    by_start = sorted({start for start, _ in sample.input.candidates})
    by_end = sorted({end for _, end in sample.input.candidates})
    for first, last in sample.target.times:
        yield by_start[first], by_end[last]
