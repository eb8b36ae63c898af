"""The floors chance and prior, and the oracle ceiling. None decodes a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.errors import BadInput
from harness.tasks.datasets.toybox.questions import answer as answer_from_scene
from harness.tasks.datasets.toybox.questions import parse
from harness.tasks.datasets.toybox.scenes import Scene
from harness.types import (
    Answer,
    Dataset,
    LoadRequest,
    ModelDescription,
    Question,
    UniformAnswer,
)


class Chance:
    """Any answer of the vocabulary with equal probability."""

    description = ModelDescription()

    def answer(self, questions: Sequence[Question]) -> list[UniformAnswer]:
        return [UniformAnswer() for _ in questions]


class Prior:
    """The most frequent answer of the training part: to the exact question if it was asked there,
    else to questions of its type, else to all. Among equally frequent ones, the first seen."""

    def __init__(self, train: Dataset) -> None:
        counts: dict[tuple[str, str], Counter[str]] = {}
        for sample in train.samples:
            question: Question = sample.input
            votes = Counter(sample.target.answers)
            for context in _contexts(question):
                counts.setdefault(context, Counter()).update(votes)
        self._answers = {context: votes.most_common(1)[0][0] for context, votes in counts.items()}
        self.description = ModelDescription(
            options={"fitted_on": f"{train.name}/{train.split}", "train_sha256": train.sha256}
        )

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [Answer(self._most_frequent(question)) for question in questions]

    def _most_frequent(self, question: Question) -> str:
        known = (context for context in _contexts(question) if context in self._answers)
        return self._answers[next(known)]


def _contexts(question: Question) -> tuple[tuple[str, str], ...]:
    """From the finest context to the coarsest."""
    return (
        ("question", question.text.strip().lower()),
        ("type", question.kind),
        ("all", ""),
    )


class Oracle:
    """Parses the question and evaluates it on the scene that Toybox drew: what is lost to
    annotators who differ is lost to any model."""

    description = ModelDescription()

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [Answer(self._answer(question)) for question in questions]

    def _answer(self, question: Question) -> str:
        scene = question.visual.scene
        if not isinstance(scene, Scene):
            raise BadInput("oracle reads the scenes that Toybox drew; other pictures have none")
        # A shuffled picture may lack what the question speaks of: then any answer is as good.
        return answer_from_scene(parse(question.text), scene) or "no"


def load_chance(request: LoadRequest) -> Chance:
    return Chance()


def load_prior(request: LoadRequest) -> Prior:
    if request.train is None:
        raise BadInput(f"{request.task}/{request.dataset} has no training part to fit prior on")
    return Prior(request.train())


def load_oracle(request: LoadRequest) -> Oracle:
    if request.dataset != "toybox":
        raise BadInput("oracle reads the scenes that Toybox drew: use it with a toybox task")
    return Oracle()
