"""Toybox as a captioning data set: five captions a picture, each of another voice."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from harness.types import Dataset, Sample, Uncaptioned

from ...targets import CaptionTarget
from .chance import Chance
from .describing import describe
from .samples import LazySamples, check_split, picture_of
from .scenes import PICTURES, SPLITS, Scene, make_scene
from .vqa import region_annotations

# Of the first thousand pictures of each split, with their captions. What is drawn under the name
# toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "627056a5f4c46a0ddb8cab17aac00d468fdcb3c5c39b5e962df0025e07913f5f",
    "val": "d1df9a7c4180c42a42c0f9368976bc52d36ede4fb9d5680c6583686c53670398",
    "test": "c538a0b0f142a7c98039fe3942442a653b100b7c20d5732c1a01e47dffbb9364",
    "test-comp": "6689ea90e26966b1d5c3b464d38583b763dbc9614aef35d3ce1d04598a7371e3",
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
    )


def captions_of(scene: Scene) -> tuple[str, ...]:
    """The five captions of a scene."""
    return describe(scene, Chance(SPLITS[scene.split], scene.index, purpose=3))


def _samples(split: str, index: int) -> list[Sample]:
    scene = make_scene(split, index)
    picture = picture_of(scene)
    return [
        Sample(
            id=f"{split}-{index:05d}",
            input=Uncaptioned(picture),
            target=CaptionTarget(captions_of(scene)),
            group=picture.id,
            tags={"things": str(len(scene.things))},
        )
    ]


def checksum(split: str) -> str:
    """sha256 of the first thousand pictures of a split and their captions."""
    from .drawing import draw

    digest = hashlib.sha256()
    for index in range(min(1000, PICTURES[split])):
        scene = make_scene(split, index)
        digest.update(draw(scene).tobytes())
        digest.update("\n".join(captions_of(scene)).encode())
    return digest.hexdigest()
