"""Predictions as a person is to see them: text, boxes and moments, with the sample or without."""

from __future__ import annotations

from typing import Any

import pytest

from harness.registry import embedded_tasks, find_task, load_attribute
from harness.tasks.captioning import TASK as CAPTIONING
from harness.tasks.retrieval import IMAGES
from harness.tasks.spatial_localization import TASK as BOXES
from harness.tasks.targets import VcrTarget
from harness.tasks.temporal_localization import DIDEMO
from harness.tasks.temporal_localization import TASK as MOMENTS
from harness.tasks.vcr import TASK as VCR
from harness.tasks.vqa import TASK as VQA
from harness.types import Picture, ReasonedQuestion, Sample

FOUR = ("one", "two", "three", "four")


def entry(target: VcrTarget) -> Sample:
    picture = Picture("p", lambda: None)  # type: ignore[arg-type,return-value]
    return Sample("1", ReasonedQuestion(picture, "which?", FOUR, FOUR, (), "two"), target, "p")


def test_answers_and_captions_stand_as_they_are() -> None:
    assert VQA.show_prediction({"answer": "red"}, None).lines == [("answer", "red")]
    assert "any answer" in VQA.show_prediction({"uniform": True}, None).lines[0][1]
    assert CAPTIONING.show_prediction({"caption": "a b"}, None).lines == [("caption", "a b")]


def test_a_choice_is_shown_with_what_it_says() -> None:
    sample = entry(VcrTarget(1, 2))
    shown = VCR.show_prediction({"answer": 3, "reason": 0}, sample)
    assert shown.lines == [("answer 3", "four"), ("reason 0", "one")]
    alone = VCR.show_prediction({"answer": 3, "reason": 0}, None)
    assert alone.lines == [("answer", "answer 3"), ("reason", "reason 0")]


def test_tied_choices_are_all_shown_and_reasons_are_those_of_the_right_answer() -> None:
    by_answer = {str(place): [0.0, 0.0, 0.0, 0.0] for place in range(4)}
    by_answer["1"] = [0.0, 2.0, 0.0, 0.0]
    prediction = {"answer_scores": [1.0, 0.0, 1.0, 0.0], "reason_scores": by_answer}
    shown = VCR.show_prediction(prediction, entry(VcrTarget(1, 2)))
    assert shown.lines == [("answer 0", "one"), ("answer 2", "three"), ("reason 1", "two")]
    assert len(VCR.show_prediction(prediction, None).lines) == 2  # no telling which are right


def test_a_box_is_drawn() -> None:
    shown = BOXES.show_prediction({"box": [1, 2.5, 30, 40]}, None)
    assert shown.boxes == [("predicted", (1.0, 2.5, 30.0, 40.0))]
    assert shown.lines == [("box", "1, 2.5, 30, 40")]


def test_the_best_moments_are_drawn() -> None:
    moments = [[float(i), i + 1.5] for i in range(7)]
    shown = MOMENTS.show_prediction({"moments": moments}, None)
    assert [what for what, *_ in shown.moments] == [f"predicted {i}" for i in range(1, 6)]
    assert shown.moments[0] == ("predicted 1", 0.0, 1.5)
    assert shown.lines[0][1].endswith("...")


def test_didemos_chunks_are_shown_in_seconds() -> None:
    shown = DIDEMO.show_prediction({"moments": [[1, 2], [0, 0]]}, None)
    assert [tuple(one[1:]) for one in shown.moments] == [(5, 15), (0, 5)]


def test_a_standing_is_shown_as_ranks() -> None:
    prediction = {"visual": [0, 1, 1], "texts": [[2, 1, 1], [0, 3, 1]]}
    shown = IMAGES.show_prediction(prediction, None)
    assert [text for _, text in shown.lines] == ["rank 1", "ranks 3, 1 to 3"]


@pytest.mark.parametrize("name", embedded_tasks())
def test_every_bundled_task_can_show_a_prediction(name: str) -> None:
    task: Any = load_attribute(find_task(name)[0].load)
    assert callable(task.show_prediction)
