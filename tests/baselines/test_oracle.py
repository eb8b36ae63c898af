"""The oracle: right wherever the scene decides, on every Toybox task."""

from __future__ import annotations

from collections import Counter
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
    CaptionedVisual,
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


def test_its_answers_are_what_most_annotators_say() -> None:
    _, _, samples = part("vqa/toybox", 500)
    answers = Oracle().answer([sample.input for sample in samples])
    for sample, answer in zip(samples, answers, strict=True):
        votes = Counter(sample.target.answers)
        assert votes[getattr(answer, "text", None)] == max(votes.values())
    accuracy = measured("vqa/toybox", 500)["accuracy"]
    assert accuracy is not None
    assert accuracy > 0.98


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
    print(name, values)
    assert (values["CIDEr"] or 0) > 1.0
    assert (values["BLEU-4"] or 0) > 0.3
    assert (values["ROUGE-L"] or 0) > 0.5


@pytest.mark.parametrize("name", ["retrieval/toybox", "video-retrieval/toybox"])
def test_it_finds_nearly_every_caption_and_every_foil(name: str, tmp_path: Path) -> None:
    task, dataset, samples = part(name, 100)
    predictions = task.predict_set(Oracle(), samples, tmp_path, 64, lambda done, total: None)
    values = values_of(task, dataset, samples, predictions)
    print(name, values)
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


def test_what_it_reads_is_the_scene_and_no_pixels() -> None:
    """It sees every kind of visual through `scene` alone."""
    for name in embedded_tasks():
        _, _, samples = part(name, 1)
        visual = samples[0].input.visual
        assert visual.scene is not None
    entry = part("retrieval/toybox", 1)[2][0].input
    assert isinstance(entry, CaptionedVisual)
    assert any(entry.foils)
