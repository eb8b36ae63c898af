"""Toybox as a data set of questions and answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import BadInput
from harness.tasks.datasets.toybox import VERSION, vqa
from harness.tasks.datasets.toybox.drawing import draw
from harness.tasks.datasets.toybox.scenes import PICTURES, SPLITS, Scene, make_scene
from harness.tasks.datasets.toybox.vqa import ANSWERS, SHA256, checksum, load
from harness.types import Dataset, Question


@pytest.fixture(scope="module")
def test_part() -> Dataset:
    return load(None, "test")


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_drawn_and_asked_under_this_name_never_changes(split: str) -> None:
    assert VERSION == "toybox-1"
    assert checksum(split) == SHA256[split]


def test_a_data_set_carries_the_checksum_of_its_split(test_part: Dataset) -> None:
    assert test_part.sha256 == SHA256["test"]
    assert len(set(SHA256.values())) == len(SPLITS)


def test_the_checksum_covers_pictures_questions_and_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PICTURES, "val", 3)
    before = checksum("val")
    assert checksum("val") == before
    with monkeypatch.context() as patch:
        patch.setattr(
            "harness.tasks.datasets.toybox.drawing.draw", lambda scene: np.zeros(3, dtype=np.uint8)
        )
        assert checksum("val") != before
    with monkeypatch.context() as patch:
        original = vqa.questions_about
        patch.setattr(vqa, "questions_about", lambda scene: original(scene)[:4])
        assert checksum("val") != before
    assert checksum("val") == before


def test_five_questions_about_each_of_a_thousand_pictures(test_part: Dataset) -> None:
    assert (test_part.name, test_part.split) == ("toybox", "test")
    assert len(test_part.samples) == 5000
    assert len({sample.id for sample in test_part.samples}) == 5000
    assert len({sample.group for sample in test_part.samples}) == 1000


def test_the_splits_have_the_sizes_that_are_promised() -> None:
    assert (PICTURES["test"], PICTURES["test-comp"]) == (1000, 1000)
    assert len(load(None, "val").samples) == 5 * PICTURES["val"]


def test_questions_about_one_picture_share_it_and_its_group(test_part: Dataset) -> None:
    for start in range(0, 100, 5):
        some = test_part.samples[start : start + 5]
        assert len({id(sample.input.visual) for sample in some}) == 1
        assert {sample.group for sample in some} == {some[0].input.visual.id}


def test_the_picture_of_a_sample_is_the_drawing_of_its_scene(test_part: Dataset) -> None:
    for index in (0, 1, 7, 999):
        visual = test_part.samples[5 * index].input.visual
        assert visual.id == f"{VERSION}/test/{index}"
        assert visual.scene == make_scene("test", index)
        np.testing.assert_array_equal(visual.read(), draw(make_scene("test", index)))


def test_nothing_is_drawn_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(scene: Scene) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr("harness.tasks.datasets.toybox.drawing.draw", refuse)
    dataset = load(None, "val")
    with pytest.raises(AssertionError, match="drawn"):
        dataset.samples[0].input.visual.read()


def test_a_sample_says_what_kind_of_question_and_answer_it_is(test_part: Dataset) -> None:
    for sample in test_part.samples[:500]:
        question: Question = sample.input
        assert question.kind == sample.tags["question_type"]
        assert question.choices == ()
        assert sample.tags["answer_type"] in ("yes/no", "number", "other")
        assert len(sample.target.answers) == 10


def test_the_answer_vocabulary_has_every_answer_once(test_part: Dataset) -> None:
    assert test_part.answers == ANSWERS
    assert len(set(ANSWERS)) == len(ANSWERS) == 8 + 6 + 2 + 2 + 2 + 7


def test_regions_are_annotated_with_box_and_words(test_part: Dataset) -> None:
    assert test_part.region_annotations is not None
    visual = test_part.samples[0].input.visual
    found = test_part.region_annotations(visual)
    assert [annotation.box for annotation in found] == [thing.box for thing in visual.scene.things]
    for annotation, thing in zip(found, visual.scene.things, strict=True):
        assert set(annotation.labels) == {thing.size, thing.pattern, thing.colour, thing.shape}


def test_the_folder_of_files_does_not_matter(tmp_path: Path) -> None:
    a, b = load(tmp_path, "val"), load(None, "val")
    assert [sample.id for sample in a.samples] == [sample.id for sample in b.samples]


@pytest.mark.parametrize("split", ["", "tset", "Train"])
def test_an_unknown_split_is_refused(split: str) -> None:
    with pytest.raises(BadInput, match="train, val, test, test-comp"):
        load(None, split)
