"""Toybox clips as a data set of moments to find: one sentence a clip, about one of its events."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from harness.types import Dataset, MomentQuery, Sample

from ...targets import MomentTarget
from .clips import CLIPS, make_clip_scene
from .filming import CHECKED, clip_of, frames_sha256
from .narrating import event_query, span_of
from .samples import LazySamples, check_split

# Of the first two hundred clips of each split, their sentences and moments. What is filmed under
# the name toybox-1 never changes: a test holds these.
SHA256 = {
    "train": "507b82612aef06bf6f6daf3a3422f145b6baf2c1e46c9c83eeafe5d81987bf9c",
    "val": "9f8c121242127f2a802027ad142ea2b57397b7e6297328bada2d595f8490a0f0",
    "test": "6100368b097cfc5fd958ba012df42edf32664ce749008a0fde073ec195859500",
    "test-comp": "96f92125ec8fc02a58f59cb06a04146385a5bf536094872cbc2d16ec36e82a42",
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
    event, text = event_query(scene)
    return [
        Sample(
            id=f"{split}-{index:05d}",
            input=MomentQuery(clip, text),
            target=MomentTarget((span_of(event),)),
            group=clip.id,
            tags={"event": event.kind},
        )
    ]


def checksum(split: str) -> str:
    """sha256 of the first two hundred clips of a split, their sentences and moments."""
    digest = hashlib.sha256(frames_sha256(split).encode())
    for index in range(min(CHECKED, CLIPS[split])):
        (sample,) = _samples(split, index)
        (start, end), *_ = sample.target.moments
        digest.update(f"{sample.input.text}\n{start:.2f} {end:.2f}\n".encode())
    return digest.hexdigest()
