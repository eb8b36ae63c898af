"""What phrases of Toybox's texts speak of, held against the texts' own words and what is right."""

from __future__ import annotations

import re

import pytest

from harness.tasks.datasets.toybox import expressions, retrieval, vcr
from harness.tasks.datasets.toybox.describing_facts import NAMING, spoken_of
from harness.tasks.datasets.toybox.reasoning import QUESTIONS
from harness.tasks.datasets.toybox.scenes import Scene, Thing

SCENES = 150


def test_the_first_phrase_of_an_expression_speaks_of_what_is_meant() -> None:
    dataset = expressions.load(None, "val")
    assert dataset.groundings is not None
    landmarks = 0
    for sample in dataset.samples[: 3 * SCENES]:
        meant, landmark = dataset.groundings(sample, sample.input.text)
        assert meant == [sample.target.box]
        assert len(landmark) == (sample.tags["form"] == "relation")
        assert landmark != meant
        landmarks += len(landmark)
    assert landmarks > SCENES / 2


def words_for(thing: Thing) -> set[str]:
    """By hand: what a caption may call it."""
    said = {"purple": "violet", "cyan": "turquoise", "large": "big", "small": "little"}
    words = {thing.size, thing.pattern, thing.colour, thing.shape}
    return words | {said[word] for word in words if word in said}


def test_a_naming_in_a_caption_speaks_of_the_things_that_its_words_fit() -> None:
    dataset = retrieval.load(None, "val")
    for sample in dataset.samples[:SCENES]:
        scene: Scene = sample.input.visual.scene
        for caption in sample.input.texts:
            namings = NAMING.findall(caption[0].lower() + caption[1:])
            told = spoken_of(caption, scene)
            assert len(told) == len(namings)
            for (_, adjectives, noun), things in zip(namings, told, strict=True):
                assert things, caption
                shape = "cross" if noun.startswith("cross") else noun.removesuffix("s")
                needed = {*adjectives.split(), shape} - {"one", "shape"}
                assert all(needed <= words_for(thing) for thing in things), caption


def test_members_of_a_group_share_what_the_group_is_called() -> None:
    scene = Scene(
        "train",
        0,
        (
            Thing("red", "square", "large", "plain", 20, 20, 12),
            Thing("blue", "square", "large", "plain", 70, 20, 12),
            Thing("red", "circle", "large", "plain", 20, 70, 12),
        ),
    )
    caption = (
        "There are two squares, a red one to the left of a blue one, along with a red circle at "
        "the bottom left."
    )
    square, blue, circle = scene.things
    assert spoken_of(caption, scene) == [[square, blue], [square], [blue], [circle]]


def test_tags_and_phrases_of_a_question_speak_of_their_things() -> None:
    dataset = vcr.load(None, "val")
    assert dataset.groundings is not None
    kinds = set()
    for sample in dataset.samples[: 2 * SCENES]:
        asked = sample.input
        told = dataset.groundings(sample, asked.text)
        slots = re.findall(r"{([a-dpq])}", QUESTIONS[asked.kind])
        assert len(told) == len(slots)
        tags = iter(re.findall(r"\[(\d)\]", asked.text))
        for slot, boxes in zip(slots, told, strict=True):
            assert len(boxes) == 1  # all that a question names is one thing
            if slot in "abcd":
                assert boxes[0] == asked.objects[int(next(tags))].box
        kinds.add(asked.kind)
    assert kinds == set(QUESTIONS)


@pytest.mark.parametrize("text", ["", "A red circle", "What is this?"])
def test_a_text_that_is_no_question_of_reasons_is_refused(text: str) -> None:
    dataset = vcr.load(None, "val")
    assert dataset.groundings is not None
    with pytest.raises(ValueError, match="not a Toybox question"):
        dataset.groundings(dataset.samples[0], text)
