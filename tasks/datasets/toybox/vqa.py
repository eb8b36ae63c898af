"""Toybox as a question-answering data set: five questions a picture, and the region annotations of
its training part."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path

from harness.types import Box, Dataset, Picture, Question, RegionAnnotation, Sample

from ...targets import VqaTarget
from .asking import AskedQuestion, ask
from .chance import Chance
from .phrases import VALUES
from .questions import parse, spoken_of
from .samples import LazySamples, boxes_of, check_split, picture_of
from .scenes import PICTURES, SPLITS, Scene, make_scene

QUESTIONS_PER_PICTURE = 5
ANSWERS = (*(value for values in VALUES.values() for value in values), "yes", "no", *"0123456")

# Of the first thousand pictures of each split, with their questions and answers. What is drawn
# under the name toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "9bfa5412ea29cde4853dcf09e0e56f365c2393aefd7f4989d2633595a1b7055e",
    "val": "830b2f96afd759d0644497ce8d39bcd716c1bf1dd5d3c2e039bfa5ea015d210e",
    "test": "2fc4501c09a9cf7bc3a2b9a9d4ec35c96b0708f83ce95bd603545310b9820b0e",
    "test-comp": "eb5ac59233230daa1f14479e8d1e051286c67a413f506903058e2548c94ac4ca",
}


def load(root: Path | None, split: str) -> Dataset:
    """The samples of a split, five questions a picture. `root` is not used: Toybox has no files."""
    check_split(split)
    return Dataset(
        name="toybox",
        split=split,
        samples=LazySamples(PICTURES[split], QUESTIONS_PER_PICTURE, partial(_samples, split)),
        sha256=SHA256[split],
        answers=ANSWERS,
        region_annotations=region_annotations,
        groundings=groundings,
    )


def questions_about(scene: Scene) -> tuple[AskedQuestion, ...]:
    return ask(scene, Chance(SPLITS[scene.split], scene.index, purpose=2), QUESTIONS_PER_PICTURE)


@lru_cache(maxsize=4)  # the questions about one picture are asked for one after another
def _samples(split: str, index: int) -> list[Sample]:
    scene = make_scene(split, index)
    picture = picture_of(scene)
    return [
        Sample(
            id=f"{split}-{index:05d}-{number}",
            input=Question(picture, asked.text, kind=asked.program.family),
            target=VqaTarget(asked.answers),
            group=picture.id,
            tags={"question_type": asked.program.family, "answer_type": asked.answer_type},
        )
        for number, asked in enumerate(questions_about(scene))
    ]


def region_annotations(picture: Picture) -> list[RegionAnnotation]:
    """The box of each thing in a Toybox picture and the words for it."""
    assert isinstance(picture.scene, Scene)
    return [
        RegionAnnotation(thing.box, (thing.size, thing.pattern, thing.colour, thing.shape))
        for thing in picture.scene.things
    ]


def groundings(sample: Sample, text: str) -> list[list[Box]]:
    """The boxes of the things that a question speaks of, as `spoken_of` orders them."""
    return boxes_of(spoken_of(parse(text), sample.input.visual.scene))


def checksum(split: str) -> str:
    """sha256 of the first thousand pictures of a split, their questions and answers."""
    from .drawing import draw

    digest = hashlib.sha256()
    for index in range(min(1000, PICTURES[split])):
        scene = make_scene(split, index)
        digest.update(draw(scene).tobytes())
        for asked in questions_about(scene):
            digest.update("\n".join((asked.text, *asked.answers)).encode())
    return digest.hexdigest()
