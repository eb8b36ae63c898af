"""The floor `chance`: any possible answer with equal probability, scored exactly where that can be
computed and drawn where it cannot. Decodes no picture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from harness.errors import BadInput
from harness.types import (
    Dataset,
    Expression,
    LoadRequest,
    ModelDescription,
    MomentQuery,
    Picture,
    Question,
    UniformAnswer,
    Visual,
)

MOMENTS = 5  # drawn for each query, as many as R@5 asks for


class Chance:
    """Every capability without looking.

    Answers, choices and the order of captions and visuals are scored by their exact expectation:
    all are given the same score. A caption is one of the train part's, a box has two corners
    anywhere in the picture, a moment two ends anywhere in the clip, each with equal probability.
    What is drawn depends on the seed and on what is asked, not on the order of samples.
    """

    description = ModelDescription()

    def __init__(self, seed: int = 0, train: Callable[[], Dataset] | None = None) -> None:
        self._seed, self._train = seed, train

    def answer(self, questions: Sequence[Question]) -> list[UniformAnswer]:
        return [UniformAnswer() for _ in questions]

    def caption(self, visuals: Sequence[Visual]) -> list[str]:
        if self._train is None:
            raise BadInput("there is no training part to draw captions from")
        samples = self._train().samples
        captions = []
        for visual in visuals:
            draw = self._drawing(visual.id)
            references = samples[int(draw.integers(len(samples)))].target.references
            captions.append(str(references[int(draw.integers(len(references)))]))
        return captions

    def embed_visuals(self, visuals: Sequence[Visual]) -> np.ndarray:
        return np.zeros((len(visuals), 1), dtype=np.float32)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), 1), dtype=np.float32)

    def locate(self, expressions: Sequence[Expression]) -> list[tuple[float, float, float, float]]:
        boxes = []
        for expression in expressions:
            width, height = size_of(expression.visual)
            draw = self._drawing(f"{expression.visual.id}\n{expression.text}")
            x, y = np.sort(draw.random(2)) * width, np.sort(draw.random(2)) * height
            boxes.append((float(x[0]), float(y[0]), float(x[1]), float(y[1])))
        return boxes

    def find_moments(self, queries: Sequence[MomentQuery]) -> list[list[tuple[float, float]]]:
        found = []
        for query in queries:
            draw = self._drawing(f"{query.visual.id}\n{query.text}")
            if query.candidates:
                order = draw.permutation(len(query.candidates))
                found.append([query.candidates[place] for place in order])
                continue
            ends = np.sort(draw.random((MOMENTS, 2)), axis=1) * query.visual.duration
            found.append([(float(start), float(end)) for start, end in ends])
        return found

    def _drawing(self, what: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self._seed}\n{what}".encode()).digest()
        return np.random.Generator(np.random.Philox(int.from_bytes(digest[:8], "little")))


def size_of(picture: Picture) -> tuple[int, int]:
    """Width and height, without decoding."""
    if picture.size is None:
        raise BadInput(f"picture {picture.id}: its size is not in the annotations")
    return picture.size


def load_chance(request: LoadRequest) -> Chance:
    return Chance(request.seed, request.train)
