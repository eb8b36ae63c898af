"""What training curves measure, of models whose predictions are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from harness.baselines.validation import validate
from harness.tasks.targets import (
    BoxTarget,
    CaptionTarget,
    MomentTarget,
    RetrievalTarget,
    VcrTarget,
    VqaTarget,
)
from harness.types import (
    Answer,
    CaptionedVisual,
    Choice,
    Clip,
    Dataset,
    Expression,
    MomentQuery,
    Picture,
    Question,
    ReasonedQuestion,
    Sample,
    Uncaptioned,
)


def refuse(*_: Any) -> Any:
    raise AssertionError("nothing is to be decoded")


def picture(name: str) -> Picture:
    return Picture(name, refuse)


def dataset_of(inputs: Sequence[Any], targets: Sequence[Any]) -> Dataset:
    samples = [
        Sample(str(place), asked, target, asked.visual.id)
        for place, (asked, target) in enumerate(zip(inputs, targets, strict=True))
    ]
    return Dataset("made-up", "val", samples, "0" * 64)


class ScoresPairs:
    """By a table: the visual's id and the text."""

    def __init__(self, liked: set[tuple[str, str]]) -> None:
        self.liked = liked
        self.asked: list[int] = []

    def score_pairs(self, visuals: Sequence[Picture], texts: Sequence[str]) -> Any:
        self.asked.append(len(visuals))
        return np.array([[float((v.id, t) in self.liked) for t in texts] for v in visuals])


class Embeds:
    """The same as products of two vectors: one dimension for each visual."""

    def __init__(self, liked: set[tuple[str, str]]) -> None:
        self.liked = liked
        self.ids = sorted({name for name, _ in liked})

    def embed_visuals(self, visuals: Sequence[Picture]) -> Any:
        return np.array([[float(v.id == name) for name in self.ids] for v in visuals])

    def embed_texts(self, texts: Sequence[str]) -> Any:
        return np.array(
            [[float((name, text) in self.liked) for name in self.ids] for text in texts]
        )

    def caption(self, visuals: Sequence[Picture]) -> list[str]:
        raise AssertionError("who chooses captions is not measured by them")


LIKED = {("a", "of a"), ("a", "also of a"), ("b", "of b"), ("c", "foil of c"), ("a", "of c")}


@pytest.mark.parametrize("model", [ScoresPairs(LIKED), Embeds(LIKED)], ids=["pairs", "embeds"])
def test_retrieval_both_ways_and_binding(model: Any) -> None:
    dataset = dataset_of(
        [
            CaptionedVisual(picture("a"), ("of a", "also of a"), ("foil of a", "")),
            CaptionedVisual(picture("b"), ("of b",), ("",)),
            CaptionedVisual(picture("c"), ("of c",), ("foil of c",)),
        ],
        [RetrievalTarget(2), RetrievalTarget(1), RetrievalTarget(1)],
    )
    assert validate(model, dataset, searched=10) == {
        "text_to_visual_r1": 3 / 4,  # "of c" finds a
        "visual_to_text_r1": 2 / 3,  # c finds the first text, as it likes none
        "binding": 1 / 2,
    }
    assert validate(model, dataset, searched=2) == {
        "text_to_visual_r1": 1.0,
        "visual_to_text_r1": 1.0,
        "binding": 1.0,
    }


def test_captions_are_measured_where_they_are_written() -> None:
    class Tells(ScoresPairs):
        def caption(self, visuals: Sequence[Picture]) -> list[str]:
            return [f"it is {visual.id}" for visual in visuals]

    ids = [f"thing{place}" for place in range(60)]
    dataset = dataset_of(
        [Uncaptioned(picture(name)) for name in ids],
        [CaptionTarget((f"it is {name}",)) for name in ids],
    )
    model = Tells({(name, f"it is {name}") for name in ids})
    found = validate(model, dataset, searched=50)
    assert found.keys() == {"cider", "text_to_visual_r1", "visual_to_text_r1"}
    assert found["cider"] > 1
    assert found["text_to_visual_r1"] == found["visual_to_text_r1"] == 1.0
    assert model.asked == [50]
    embeds = validate(Embeds({(name, f"it is {name}") for name in ids}), dataset, searched=50)
    assert embeds == {"text_to_visual_r1": 1.0, "visual_to_text_r1": 1.0}


def test_answers_by_how_many_agree_and_by_kind() -> None:
    class Says:
        def answer(self, questions: Sequence[Question]) -> list[Answer]:
            return [Answer("yes") for _ in questions]

    given = [("yes",) * 5, ("no",) * 5, ("yes", "no", "no")]
    dataset = dataset_of(
        [Question(picture("a"), "?", kind=kind) for kind in ("is it", "is it", "count")],
        [VqaTarget(answers) for answers in given],
    )
    found = validate(Says(), dataset, searched=1)
    assert found == pytest.approx({"soft_score": 4 / 9, "is it": 1 / 2, "count": 1 / 3})


def test_answers_and_reasons_apart() -> None:
    class Chooses:
        def answer(self, questions: Sequence[Question]) -> list[Choice]:
            return [Choice(3 if question.given else 1) for question in questions]

    asked = ReasonedQuestion(picture("a"), "?", tuple("abcd"), tuple("efgh"), (), "b")
    dataset = dataset_of([asked, asked], [VcrTarget(1, 3), VcrTarget(1, 0)])
    assert validate(Chooses(), dataset, searched=1) == {"answers": 1.0, "reasons": 0.5}


def test_a_box_counts_from_half_an_overlap_on() -> None:
    class Locates:
        def locate(self, expressions: Sequence[Expression]) -> list[Any]:
            boxes = {"half": (0.0, 0.0, 1.0, 2.0), "less": (0.0, 0.0, 1.0, 1.9), "none": None}
            return [boxes[expression.text] for expression in expressions]

    dataset = dataset_of(
        [Expression(picture("a"), text) for text in ("half", "less", "none")],
        [BoxTarget((0.0, 0.0, 2.0, 2.0))] * 3,
    )
    assert validate(Locates(), dataset, searched=1) == pytest.approx({"accuracy": 1 / 3})


def test_moments_by_the_best_and_by_the_five_best() -> None:
    class Finds:
        def find_moments(self, queries: Sequence[MomentQuery]) -> list[list[tuple[float, float]]]:
            found = {"first": [(0.0, 2.0)], "fifth": [(8.0, 9.0)] * 4 + [(0.0, 2.0)]}
            sixth = [(8.0, 9.0)] * 5 + [(0.0, 2.0)]
            return [found.get(query.text, sixth) for query in queries]

    clip = Clip("a", refuse, 10.0)
    dataset = dataset_of(
        [MomentQuery(clip, text) for text in ("first", "fifth", "sixth")],
        [MomentTarget(((0.0, 2.0),)), MomentTarget(((0.0, 4.0),)), MomentTarget(((0.0, 2.0),))],
    )
    assert validate(Finds(), dataset, searched=1) == pytest.approx(
        {"r1_iou_0.5": 1 / 3, "r5_iou_0.5": 2 / 3, "mean_iou": 1 / 3}
    )


def test_nothing_is_measured_of_nothing() -> None:
    assert validate(None, dataset_of([], []), searched=1) == {}
