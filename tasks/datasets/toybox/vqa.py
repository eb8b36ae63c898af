"""Toybox as a question-answering data set: samples with lazily drawn pictures, and the region
annotations of its training part."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import BadInput
from harness.types import Dataset, Picture, Question, RegionAnnotation, Sample

if TYPE_CHECKING:
    from harness.types import Pixels

from ...vqa_target import VqaTarget
from . import VERSION
from .chance import Chance
from .phrases import VALUES
from .questions import AskedQuestion, ask
from .scenes import PICTURES, SPLITS, Scene, make_scene

QUESTIONS_PER_PICTURE = 5
ANSWERS = (*(value for values in VALUES.values() for value in values), "yes", "no", *"0123456")

# Of the first thousand pictures of each split, with their questions and answers. What is drawn
# under the name toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "",
    "val": "",
    "test": "",
    "test-comp": "",
}


def load(root: Path | None, split: str) -> Dataset:
    """The samples of a split, five questions a picture. `root` is not used: Toybox has no files."""
    if split not in SPLITS:
        raise BadInput(f"toybox has no split {split!r}; it has {', '.join(SPLITS)}")
    samples = [sample for index in range(PICTURES[split]) for sample in _samples(split, index)]
    return Dataset(
        name="toybox",
        split=split,
        samples=samples,
        sha256=SHA256[split],
        answers=ANSWERS,
        region_annotations=region_annotations,
    )


def questions_about(scene: Scene) -> tuple[AskedQuestion, ...]:
    return ask(scene, Chance(SPLITS[scene.split], scene.index, purpose=2), QUESTIONS_PER_PICTURE)


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
