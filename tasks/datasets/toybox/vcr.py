"""Toybox as a data set in the manner of VCR: two questions a picture, each with four answers and
four reasons, whose texts name things by tags."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path

from harness.types import Box, Dataset, NamedBox, ReasonedQuestion, Sample

from ...targets import VcrTarget
from .chance import Chance
from .justifying import Item, pose, tag_things
from .reasoning import spoken_of
from .samples import LazySamples, boxes_of, check_split, picture_of
from .scenes import PICTURES, SPLITS, Scene, Thing, make_scene
from .vqa import region_annotations

QUESTIONS_PER_PICTURE = 2

# Of the first thousand pictures of each split, with their tags, questions, answers and reasons.
# What is drawn under the name toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "c38099835073de77d8b0cae59d43054389b03c0165b165338cab5e69c6bb349b",
    "val": "66b75d941d8ad3efea4a663f68a94d9d68ade5a5b75672f38641ff12b30771b1",
    "test": "12ec652f57ce8414facedfe83ff2b05e6eebe55c1e3bd84da8293d1a55ff877f",
    "test-comp": "c0c13d3e57e5f7f41cd39d3d394f3efd09066a2467859fb703a3da99c0b22a76",
}


def load(root: Path | None, split: str) -> Dataset:
    """The samples of a split, two questions a picture. `root` is not used: Toybox has no files.
    BadInput if there is no such split."""
    check_split(split)
    return Dataset(
        name="toybox-vcr",
        split=split,
        samples=LazySamples(PICTURES[split], QUESTIONS_PER_PICTURE, partial(_samples, split)),
        sha256=SHA256[split],
        region_annotations=region_annotations,
        groundings=groundings,
    )


def items_about(scene: Scene) -> tuple[tuple[Thing, ...], tuple[Item, ...]]:
    """The things in the order of their tags, and the questions about them."""
    chance = Chance(SPLITS[scene.split], scene.index, purpose=6)
    things = tag_things(scene, chance)
    return things, pose(scene, things, chance, QUESTIONS_PER_PICTURE)


@lru_cache(maxsize=4)  # the questions about one picture are asked for one after another
def _samples(split: str, index: int) -> list[Sample]:
    scene = make_scene(split, index)
    picture = picture_of(scene)
    things, items = items_about(scene)
    # a detector's category, as VCR has it: the shape and nothing else
    objects = tuple(NamedBox(thing.box, thing.shape) for thing in things)
    return [
        Sample(
            id=f"{split}-{index:05d}-{number}",
            input=ReasonedQuestion(
                picture,
                item.text,
                item.answers,
                item.reasons,
                objects,
                given=item.answers[item.answer],
                kind=item.kind,
            ),
            target=VcrTarget(item.answer, item.reason),
            group=picture.id,
            tags={"question_type": item.kind},
        )
        for number, item in enumerate(items)
    ]


def groundings(sample: Sample, text: str) -> list[list[Box]]:
    """The boxes of the things that a question's tags and phrases speak of, in its order."""
    asked = sample.input
    return boxes_of(spoken_of(text, asked.objects, asked.visual.scene))


def checksum(split: str) -> str:
    """sha256 of the first thousand pictures of a split, their tags, questions, answers and
    reasons."""
    from .drawing import draw

    digest = hashlib.sha256()
    for index in range(min(1000, PICTURES[split])):
        scene = make_scene(split, index)
        digest.update(draw(scene).tobytes())
        things, items = items_about(scene)
        digest.update(repr([thing.box for thing in things]).encode())
        for item in items:
            places = (str(item.answer), str(item.reason))
            lines = (item.text, *item.answers, *item.reasons, *places)
            digest.update("\n".join(lines).encode())
    return digest.hexdigest()
