"""Toybox clips as a data set to caption: five captions a clip."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from harness.types import Dataset, Sample, Uncaptioned

from ...targets import CaptionTarget
from .clips import CLIPS, make_clip_scene
from .filming import CHECKED, clip_of, frames_sha256
from .narrating import captions_of
from .samples import LazySamples, check_split

# Of the first two hundred clips of each split and their captions. What is filmed under the name
# toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "994fcd5b1c45f54f651bb2a7b319bb2b3a49366f1fbe5e5fc407a6661deccf56",
    "val": "27e0d647b89ad863509d1c343a580bfd5e8cfd4e6f63777008de97f9ac9055cc",
    "test": "fb3e655bdec9128957b3d2000530ee0e04b1461683a3743d30ea97755eb80f02",
    "test-comp": "9e33fc11386b5505c82e1b113f246b68c650dfc9f65841f44167986e58e741b3",
}


def load(root: Path | None, split: str) -> Dataset:
    """The clips of a split, a sample each. `root` is not used: Toybox has no files."""
    check_split(split)
    return Dataset(
        name="toybox",
        split=split,
        samples=LazySamples(CLIPS[split], 1, partial(_samples, split)),
        sha256=SHA256[split],
    )


def _samples(split: str, index: int) -> list[Sample]:
    scene = make_clip_scene(split, index)
    clip = clip_of(scene)
    return [
        Sample(
            id=f"{split}-{index:05d}",
            input=Uncaptioned(clip),
            target=CaptionTarget(tuple(caption.text for caption in captions_of(scene))),
            group=clip.id,
            tags={"events": str(len(scene.events))},
        )
    ]


def checksum(split: str) -> str:
    """sha256 of the first two hundred clips of a split and their captions."""
    digest = hashlib.sha256(frames_sha256(split).encode())
    for index in range(min(CHECKED, CLIPS[split])):
        (sample,) = _samples(split, index)
        digest.update("\n".join(sample.target.references).encode())
    return digest.hexdigest()
