"""Toybox clips and their captions as a set to search, with a foil of the same words a caption."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from harness.types import CaptionedVisual, Dataset, Sample

from ...targets import RetrievalTarget
from .clips import CLIPS, make_clip_scene
from .filming import CHECKED, clip_of, frames_sha256
from .narrating import captions_of, foils_of
from .samples import LazySamples, check_split

# Of the first two hundred clips of each split, their captions and foils. What is filmed under the
# name toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "a23ddfb890bffdc1af535a80433bc20743361694abc58f09f05b023c4babedca",
    "val": "ebb4562253d0a91494dd4ecc8a0f94719aa7fda122bba77cd0df4e882f52c72f",
    "test": "6cd1ac83147c3fa1df7a14c3fec01bc8a7aca7b45a167586d26672f4f579cf18",
    "test-comp": "c37c895c457aa851b428fccbfc36a39cb2cd6f7f0d9d84b4cc790cfd1d0f55c7",
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
    clip, captions = clip_of(scene), captions_of(scene)
    foils = foils_of(scene, captions)
    return [
        Sample(
            id=f"{split}-{index:05d}",
            input=CaptionedVisual(clip, tuple(caption.text for caption in captions), foils),
            target=RetrievalTarget(texts=len(captions), foils=sum(map(bool, foils))),
            group=clip.id,
        )
    ]


def checksum(split: str) -> str:
    """sha256 of the first two hundred clips of a split, their captions and foils."""
    digest = hashlib.sha256(frames_sha256(split).encode())
    for index in range(min(CHECKED, CLIPS[split])):
        (sample,) = _samples(split, index)
        digest.update("\n".join((*sample.input.texts, *sample.input.foils)).encode())
    return digest.hexdigest()
