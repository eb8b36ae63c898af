"""Toybox as a retrieval data set: pictures and their captions, and for each caption a foil of the
same words that does not hold."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from harness.types import Box, CaptionedVisual, Dataset, Sample

from ...targets import RetrievalTarget
from .binding import foil
from .captions import captions_of
from .chance import Chance
from .describing_facts import spoken_of
from .samples import LazySamples, boxes_of, check_split, picture_of
from .scenes import PICTURES, SPLITS, Scene, make_scene
from .vqa import region_annotations

# Of the first thousand pictures of each split, with their captions and foils. What is drawn under
# the name toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "ee031d66698d986427e42f3d656aa20ffb19c46bf006c745eceaaf554e516d2f",
    "val": "da02c639247e5be7be497aebb45141cd45a2b86906cab29a1b48fe0209ff11dd",
    "test": "a6aa8cd0a13985b81f8affc8d8cb29fb0ababbba8216739eed602d6c9e5d2290",
    "test-comp": "474ddec873450b3d5939988f03365ac47aea6ebc91a69b48dceb7f3683535e20",
}


def load(root: Path | None, split: str) -> Dataset:
    """The samples of a split, one a picture. `root` is not used: Toybox has no files. BadInput for
    a split that Toybox lacks."""
    check_split(split)
    return Dataset(
        name="toybox",
        split=split,
        samples=LazySamples(PICTURES[split], 1, partial(_samples, split)),
        sha256=SHA256[split],
        region_annotations=region_annotations,
        groundings=groundings,
    )


def captions_and_foils_of(scene: Scene) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The five captions of a scene and a foil for each, "" where there is none."""
    captions = captions_of(scene)
    chance = Chance(SPLITS[scene.split], scene.index, purpose=4)
    return captions, tuple([foil(caption, scene, chance) for caption in captions])


def _samples(split: str, index: int) -> list[Sample]:
    scene = make_scene(split, index)
    picture = picture_of(scene)
    captions, foils = captions_and_foils_of(scene)
    return [
        Sample(
            id=f"{split}-{index:05d}",
            input=CaptionedVisual(picture, captions, foils),
            target=RetrievalTarget(len(captions), sum(foil != "" for foil in foils)),
            group=picture.id,
            tags={"things": str(len(scene.things))},
        )
    ]


def groundings(sample: Sample, text: str) -> list[list[Box]]:
    """For each naming of things in a caption, the boxes of those that it may mean."""
    return boxes_of(spoken_of(text, sample.input.visual.scene))


def checksum(split: str) -> str:
    """sha256 of the first thousand pictures of a split, their captions and foils."""
    from .drawing import draw

    digest = hashlib.sha256()
    for index in range(min(1000, PICTURES[split])):
        scene = make_scene(split, index)
        digest.update(draw(scene).tobytes())
        for texts in captions_and_foils_of(scene):
            digest.update("\n".join(texts).encode())
    return digest.hexdigest()
