"""What a score would be without the picture: `blind` and `shuffled` versions of any samples.

Works on every input that has a field `visual`; knows no task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .types import Picture, Sample

if TYPE_CHECKING:
    from .types import Pixels

SHARE = 1000  # samples in a control when only a share is asked for
_AVERAGED = 256  # pictures that the mean picture is the mean of


def share(samples: Sequence[Sample], most: int, seed: int = 0) -> list[Sample]:
    """Whole groups, drawn by the hash of their names, until `most` samples are reached: a part
    that does not depend on the order of samples."""
    if len(samples) <= most:
        return list(samples)
    sizes: dict[str, int] = {}
    for sample in samples:
        sizes[sample.group] = sizes.get(sample.group, 0) + 1
    chosen: set[str] = set()
    count = 0
    for group in sorted(sizes, key=lambda name: _hash(name, seed)):
        if count + sizes[group] > most and chosen:
            break
        chosen.add(group)
        count += sizes[group]
    return [sample for sample in samples if sample.group in chosen]


def blind(samples: Sequence[Sample], mean: Picture) -> list[Sample]:
    """The samples with every picture replaced by one."""
    return [_with_visual(sample, mean) for sample in samples]


def shuffled(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """The samples with pictures dealt to other groups; no group keeps its own. Groups are ordered
    by the hash of their names and each takes the next one's picture."""
    visuals = {sample.group: sample.input.visual for sample in samples}
    order = sorted(visuals, key=lambda name: _hash(name, seed))
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [_with_visual(sample, visuals[following[sample.group]]) for sample in samples]


def mean_picture(samples: Sequence[Sample], name: str) -> Picture:
    """The mean over the pictures of (up to 256, evenly spaced) samples, at the size of the first;
    others are scaled to it. `name` becomes part of its id."""
    cached: list[Pixels] = []

    def read() -> Pixels:
        if not cached:
            count = min(_AVERAGED, len(samples))
            some = [samples[i * len(samples) // count] for i in range(count)]
            cached.append(_mean([sample.input.visual.read() for sample in some]))
        return cached[0]

    return Picture(f"mean/{name}", read)


def _mean(pictures: Sequence[Pixels]) -> Pixels:
    import numpy as np

    height, width = pictures[0].shape[:2]
    total = np.zeros((height, width, 3))
    for pixels in pictures:
        if pixels.shape[:2] != (height, width):
            from PIL import Image

            pixels = np.asarray(Image.fromarray(pixels).resize((width, height)))
        total += pixels
    return np.asarray((total / len(pictures)).round(), dtype=np.uint8)


def _with_visual(sample: Sample, visual: Picture) -> Sample:
    return replace(sample, input=replace(sample.input, visual=visual))


def _hash(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
