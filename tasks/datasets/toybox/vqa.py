"""Toybox as a question-answering data set: samples with lazily drawn pictures, and the region
annotations of its training part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, overload

from harness.errors import BadInput
from harness.types import Box, Dataset, Picture, Question, RegionAnnotation, Sample

if TYPE_CHECKING:
    from harness.types import Pixels

from ...vqa_target import VqaTarget
from . import VERSION
from .asking import AskedQuestion, ask
from .chance import Chance
from .phrases import VALUES
from .questions import parse, spoken_of
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
    if split not in SPLITS:
        raise BadInput(f"toybox has no split {split!r}; it has {', '.join(SPLITS)}")
    return Dataset(
        name="toybox",
        split=split,
        samples=QuestionsOfSplit(split),
        sha256=SHA256[split],
        answers=ANSWERS,
        region_annotations=region_annotations,
        groundings=groundings,
    )


class QuestionsOfSplit(Sequence[Sample]):
    """The samples of a split, each made when it is asked for."""

    def __init__(self, split: str) -> None:
        self._split = split

    def __len__(self) -> int:
        return PICTURES[self._split] * QUESTIONS_PER_PICTURE

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"toybox {self._split} has {len(self)} questions, asked for {index}")
        picture, number = divmod(index % len(self), QUESTIONS_PER_PICTURE)
        return _samples(self._split, picture)[number]


def questions_about(scene: Scene) -> tuple[AskedQuestion, ...]:
    return ask(scene, Chance(SPLITS[scene.split], scene.index, purpose=2), QUESTIONS_PER_PICTURE)


@lru_cache(maxsize=4)  # the questions about one picture are asked for one after another
def _samples(split: str, index: int) -> list[Sample]:
    scene = make_scene(split, index)
    picture = Picture(f"{VERSION}/{split}/{index}", partial(_draw, scene), scene)
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


def _draw(scene: Scene) -> Pixels:
    from .drawing import draw

    return draw(scene)


def region_annotations(picture: Picture) -> list[RegionAnnotation]:
    """The box of each thing in a Toybox picture and the words for it."""
    assert isinstance(picture.scene, Scene)
    return [
        RegionAnnotation(thing.box, (thing.size, thing.pattern, thing.colour, thing.shape))
        for thing in picture.scene.things
    ]


def groundings(sample: Sample) -> list[list[Box]]:
    """The boxes of the things that a question speaks of, as `spoken_of` orders them."""
    scene = sample.input.visual.scene
    return [[t.box for t in things] for things in spoken_of(parse(sample.input.text), scene)]


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
