"""What a score would be without the picture: `blind` and `shuffled` versions of any samples.

Works on every input that has a field `visual`; knows no task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .types import Clip, Picture, Sample, Visual

if TYPE_CHECKING:
    from .types import Frames, Pixels

SHARE = 1000  # samples in a control when only a share is asked for
_AVERAGED = 256  # pictures that the mean picture is the mean of
_AVERAGED_CLIPS = 64


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


def blind(samples: Sequence[Sample], mean: Visual) -> list[Sample]:
    """The samples with every picture, or clip, replaced by one."""
    return [_with_visual(sample, mean) for sample in samples]


def shuffled(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """The samples with pictures dealt to other groups; no group keeps its own. Groups are ordered
    by the hash of their names and each takes the next one's picture."""
    visuals = {sample.group: sample.input.visual for sample in samples}
    order = sorted(visuals, key=lambda name: _hash(name, seed))
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [_with_visual(sample, visuals[following[sample.group]]) for sample in samples]


def mean_visual(samples: Sequence[Sample], name: str) -> Visual:
    """The mean picture, or the mean clip, of samples that have the one or the other."""
    if isinstance(samples[0].input.visual, Clip):
        return mean_clip(samples, name)
    return mean_picture(samples, name)


def read(visual: Visual) -> None:
    """Decodes a visual and drops it, to see that it can be had."""
    if isinstance(visual, Clip):
        visual.read(1)
    else:
        visual.read()


def mean_picture(samples: Sequence[Sample], name: str) -> Picture:
    """The mean over the pictures of (up to 256, evenly spaced) samples, at the size of the first;
    others are scaled to it. `name` becomes part of its id."""
    cached: list[Pixels] = []

    def read() -> Pixels:
        if not cached:
            some = [sample.input.visual.read() for sample in _spread(samples, _AVERAGED)]
            cached.append(_mean(some))
        return cached[0]

    return Picture(f"mean/{name}", read)


def mean_clip(samples: Sequence[Sample], name: str) -> Clip:
    """The mean over the clips of (up to 64, evenly spaced) samples, frame by frame, at the size of
    the first; others are scaled to it. It lasts as long as the first."""
    cached: dict[int, Frames] = {}

    def read(count: int) -> Frames:
        if count not in cached:
            some = [sample.input.visual.read(count) for sample in _spread(samples, _AVERAGED_CLIPS)]
            cached[count] = _mean_frames(some)
        return cached[count]

    return Clip(f"mean/{name}", read, samples[0].input.visual.duration)


def _spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    count = min(most, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)]


def _mean_frames(clips: Sequence[Frames]) -> Frames:
    import numpy as np

    return np.stack([_mean([clip[i] for clip in clips]) for i in range(len(clips[0]))])


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


def _with_visual(sample: Sample, visual: Visual) -> Sample:
    """The sample with another visual. A clip is stretched to the length of the one it stands for,
    so that a moment predicted in it can be compared."""
    if isinstance(visual, Clip):
        visual = replace(visual, duration=sample.input.visual.duration)
    return replace(sample, input=replace(sample.input, visual=visual))


def _hash(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
