"""The ceiling `oracle`: reads the scene that Toybox drew instead of the picture or the clip. What
it misses is lost to any model: annotators who differ, captions that fit another scene too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.errors import BadInput
from harness.tasks.datasets.toybox import (
    describing,
    describing_facts,
    narrating,
    questions,
    reasoning,
    referring,
)
from harness.tasks.datasets.toybox.clips import ClipScene
from harness.tasks.datasets.toybox.scenes import Scene, Thing
from harness.types import (
    Answer,
    Choice,
    Clip,
    Expression,
    LoadRequest,
    ModelDescription,
    MomentQuery,
    Picture,
    Question,
    Visual,
)


class Oracle:
    """Every capability by rules, on scenes. A shuffled scene may lack what a text speaks of: then
    any answer is as good."""

    description = ModelDescription()

    def __init__(self) -> None:
        self._said: dict[str, frozenset[Any]] = {}  # the facts of texts: batches meet the same

    def answer(self, asked: Sequence[Question]) -> list[Answer | Choice]:
        return [_choose(one) if one.choices else _answer(one) for one in asked]

    def caption(self, visuals: Sequence[Visual]) -> list[str]:
        return [_caption(visual) for visual in visuals]

    def score_pairs(self, visuals: Sequence[Visual], texts: Sequence[str]) -> np.ndarray:
        """The share of what a text says that holds in the scene."""
        parse = (
            narrating.parse_facts if isinstance(visuals[0], Clip) else describing_facts.parse_facts
        )
        for text in texts:
            if text not in self._said:
                self._said[text] = parse(text)
        said = [self._said[text] for text in texts]
        number = {fact: place for place, fact in enumerate({f for facts in said for f in facts})}
        pairs = [(row, number[fact]) for row, facts in enumerate(said) for fact in facts]
        owner, fact = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        counts = np.maximum(np.bincount(owner, minlength=len(texts)), 1)
        scores = np.zeros((len(visuals), len(texts)))
        for row, visual in zip(scores, visuals, strict=True):
            holds = np.zeros(len(number))
            holds[[number[f] for f in number.keys() & _facts(visual)]] = 1.0
            row[:] = np.bincount(owner, holds[fact], minlength=len(texts)) / counts
        return scores

    def locate(
        self, expressions: Sequence[Expression]
    ) -> list[tuple[float, float, float, float] | None]:
        return [_box(expression) for expression in expressions]

    def find_moments(self, queries: Sequence[MomentQuery]) -> list[list[tuple[float, float]]]:
        return [_moments(query) for query in queries]


def _answer(question: Question) -> Answer:
    answer = questions.answer(questions.parse(question.text), _scene(question.visual))
    return Answer(answer or "no")


def _choose(question: Question) -> Choice:
    """The right answer, or once it is given the one reason that is true of the scene."""
    scene = _scene(question.visual)
    by_box: dict[tuple[float, ...], Thing] = {thing.box: thing for thing in scene.things}
    if any(named.box not in by_box for named in question.objects):
        return Choice(0)  # of another scene
    things = [by_box[named.box] for named in question.objects]
    if question.given:
        true = [reasoning.holds(reason, things, scene) for reason in question.choices]
        return Choice(true.index(True) if any(true) else 0)
    kind, slots = reasoning.parse_question(question.text)
    right = reasoning.answer(kind, slots, things, scene)
    return Choice(question.choices.index(right) if right in question.choices else 0)


def _caption(visual: Visual) -> str:
    if isinstance(visual, Clip):
        return narrating.oracle_caption(_clip_scene(visual))
    return describing.oracle_caption(_scene(visual))


def _facts(visual: Visual) -> frozenset[Any]:
    if isinstance(visual, Clip):
        return narrating.facts_of(_clip_scene(visual))
    return describing_facts.facts_of(_scene(visual))


def _box(expression: Expression) -> tuple[float, float, float, float] | None:
    thing = referring.resolve(expression.text, _scene(expression.visual))
    return thing.box if thing else None


def _moments(query: MomentQuery) -> list[tuple[float, float]]:
    """The one moment that is right: R@5 is n/a."""
    scene = _clip_scene(query.visual)
    found = narrating.find_event(query.text, scene)
    return [found] if found else [(0.0, query.visual.duration)]


def _scene(picture: Picture) -> Scene:
    if not isinstance(picture.scene, Scene):
        raise BadInput(_NO_SCENE)
    return picture.scene


def _clip_scene(clip: Clip) -> ClipScene:
    if not isinstance(clip.scene, ClipScene):
        raise BadInput(_NO_SCENE)
    return clip.scene


_NO_SCENE = "oracle reads the scenes that Toybox drew; other pictures have none"


def load_oracle(request: LoadRequest) -> Oracle:
    if not request.dataset.startswith("toybox"):
        raise BadInput(_NO_SCENE)
    return Oracle()
