"""The oracle: right wherever the scene decides, on every Toybox task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.baselines.oracle import Oracle, load_oracle
from harness.errors import BadInput
from harness.registry import embedded_tasks, find_model, find_task, load_attribute
from harness.score import score
from harness.store import Record
from harness.tasks.captioning import CaptioningTask
from harness.types import (
    Answer,
    Clip,
    Dataset,
    Expression,
    LoadRequest,
    MomentQuery,
    Picture,
    Question,
    Sample,
)


def part(name: str, count: int) -> tuple[Any, Dataset, list[Sample]]:
    """The task, its Toybox and the first samples of the test part."""
    task, spec = find_task(name)
    dataset: Dataset = load_attribute(spec.load)(None, "test")
    return load_attribute(task.load), dataset, list(dataset.samples[:count])


def values_of(task: Any, dataset: Dataset, samples: list[Sample], predictions: Any) -> Any:
    assert [task.invalid(prediction) for prediction in predictions] == [None] * len(samples)
    records = {s.id: Record(s.id, s.group, p) for s, p in zip(samples, predictions, strict=True)}
    values = score(task, dataset, samples, records).values
    return {name: value.value for name, value in values.items()}


def measured(name: str, count: int) -> dict[str, float | None]:
    task, dataset, samples = part(name, count)
    predictions = task.predict(Oracle(), [sample.input for sample in samples])
    values: dict[str, float | None] = values_of(task, dataset, samples, predictions)
    return values


def test_the_oracle_stands_beside_every_toybox_task_and_no_other() -> None:
    assert set(find_model("oracle").datasets or ()) == set(embedded_tasks())


def test_its_answers_are_what_annotators_say() -> None:
    _, _, samples = part("vqa/toybox", 500)
    answers = Oracle().answer([sample.input for sample in samples])
    for sample, answer in zip(samples, answers, strict=True):
        assert isinstance(answer, Answer)
        assert answer.text in sample.target.answers
    accuracy = measured("vqa/toybox", 500)["accuracy"]
    assert accuracy is not None
    assert accuracy > 0.98  # annotators differ at times


def test_it_chooses_the_right_answer_and_the_right_reason() -> None:
    assert measured("vqa/toybox-vcr", 300) == {"Q->A": 1.0, "QA->R": 1.0, "Q->AR": 1.0}


def test_it_finds_the_very_box() -> None:
    assert measured("spatial-localization/toybox", 300) == {"accuracy": 1.0, "mean-iou": 1.0}


def test_it_finds_the_very_moment_and_gives_no_five() -> None:
    values = measured("temporal-localization/toybox", 200)
    assert {name for name, value in values.items() if value is None} == {
        f"R@5, IoU={m}" for m in (0.3, 0.5, 0.7)
    }
    assert {value for value in values.values() if value is not None} == {1.0}


@pytest.mark.parametrize("name", ["captioning/toybox", "video-captioning/toybox"])
def test_its_captions_are_much_like_peoples(name: str) -> None:
    task, _, _ = part(name, 1)
    assert isinstance(task, CaptioningTask)
    values = measured(name, 150)
    assert (values["CIDEr"] or 0) > 2.5
    assert (values["BLEU-4"] or 0) > 0.8
    assert (values["ROUGE-L"] or 0) > 0.85


@pytest.mark.parametrize("name", ["retrieval/toybox", "video-retrieval/toybox"])
def test_it_finds_nearly_every_caption_and_every_foil(name: str, tmp_path: Path) -> None:
    task, dataset, samples = part(name, 100)
    predictions = task.predict_set(Oracle(), samples, tmp_path, 64, lambda done, total: None)
    values = values_of(task, dataset, samples, predictions)
    ways = {"retrieval/toybox": "image", "video-retrieval/toybox": "video"}[name]
    assert values[f"text-to-{ways} R@1"] > 0.9
    assert values[f"{ways}-to-text R@1"] > 0.9
    assert values["binding"] == 1.0


# ---------------------------------------------------------------- what it refuses


def test_other_data_sets_are_refused() -> None:
    assert isinstance(load_oracle(LoadRequest("vqa", "toybox-vcr")), Oracle)
    with pytest.raises(BadInput, match="Toybox"):
        load_oracle(LoadRequest("vqa", "easy-vqa"))


def test_other_pictures_and_clips_are_refused() -> None:
    picture = Picture("p", lambda: np.zeros((1, 1, 3), dtype=np.uint8))
    clip = Clip("c", lambda count: np.zeros((count, 1, 1, 3), dtype=np.uint8), 1.0)
    oracle = Oracle()
    for call in (
        lambda: oracle.answer([Question(picture, "Is there a circle?")]),
        lambda: oracle.caption([picture]),
        lambda: oracle.caption([clip]),
        lambda: oracle.score_pairs([clip], ["The star grows."]),
        lambda: oracle.locate([Expression(picture, "the star")]),
        lambda: oracle.find_moments([MomentQuery(clip, "The star grows.")]),
    ):
        with pytest.raises(BadInput, match="other pictures have none"):
            call()


@pytest.mark.parametrize("name", embedded_tasks())
def test_it_reads_scenes_and_no_pixels(name: str, tmp_path: Path) -> None:
    def never(*arguments: object) -> Any:
        raise AssertionError("the oracle decodes nothing")

    task, _, samples = part(name, 5)
    unread = [
        replace(s, input=replace(s.input, visual=replace(s.input.visual, read=never)))
        for s in samples
    ]
    if find_task(name)[0].whole_set:
        task.predict_set(Oracle(), unread, tmp_path, 5, lambda done, total: None)
    else:
        task.predict(Oracle(), [sample.input for sample in unread])
