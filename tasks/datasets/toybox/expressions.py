"""Toybox as a data set of referring expressions: three a picture, each for one thing's box."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path

from harness.types import Box, Dataset, Expression, Sample

from ...targets import BoxTarget
from .chance import Chance
from .referring import Referral, refer, spoken_of
from .samples import LazySamples, boxes_of, check_split, picture_of
from .scenes import PICTURES, SPLITS, Scene, make_scene
from .vqa import region_annotations

EXPRESSIONS_PER_PICTURE = 3

# Of the first thousand pictures of each split, with their expressions and boxes. What is drawn
# under the name toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "aa0edd70ee249bea870f5c99a6347bad1083cb5a859e1c2c5687537b546a3dbb",
    "val": "68ea98ccfb29f478629645664c36fca891603d43ee9f3c392003637502170e28",
    "test": "86519c454601e699b75e8f3fe7a6c92bcc1740fb458e1fe7d01f0b8baa93714a",
    "test-comp": "2ac9b3400749eca10f2802c6afc57207aa5c47cada74d38f4a00fa0fed298cd4",
}


def load(root: Path | None, split: str) -> Dataset:
    """The samples of a split, three expressions a picture. `root` is not used: Toybox has no files.
    BadInput if there is no such split."""
    check_split(split)
    return Dataset(
        name="toybox",
        split=split,
        samples=LazySamples(PICTURES[split], EXPRESSIONS_PER_PICTURE, partial(_samples, split)),
        sha256=SHA256[split],
        region_annotations=region_annotations,
        groundings=groundings,
    )


def expressions_about(scene: Scene) -> tuple[Referral, ...]:
    return refer(scene, Chance(SPLITS[scene.split], scene.index, 5), EXPRESSIONS_PER_PICTURE)


@lru_cache(maxsize=4)  # the expressions about one picture are asked for one after another
def _samples(split: str, index: int) -> list[Sample]:
    scene = make_scene(split, index)
    picture = picture_of(scene)
    return [
        Sample(
            id=f"{split}-{index:05d}-{number}",
            input=Expression(picture, referral.text),
            target=BoxTarget(referral.thing.box),
            group=picture.id,
            tags={"form": referral.reference.form},
        )
        for number, referral in enumerate(expressions_about(scene))
    ]


def groundings(sample: Sample, text: str) -> list[list[Box]]:
    """The boxes of what an expression means and of its landmark."""
    return boxes_of(spoken_of(text, sample.input.visual.scene))


def checksum(split: str) -> str:
    """sha256 of the first thousand pictures of a split, their expressions and boxes."""
    from .drawing import draw

    digest = hashlib.sha256()
    for index in range(min(1000, PICTURES[split])):
        scene = make_scene(split, index)
        digest.update(draw(scene).tobytes())
        for referral in expressions_about(scene):
            digest.update(f"{referral.text}\n{referral.thing.box}\n".encode())
    return digest.hexdigest()
