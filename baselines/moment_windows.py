"""Windows of a clip, in frames: which there are, which stands for a moment, and the best few that
differ. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.types import Dataset

Window = tuple[int, int]  # the first frame and the one after the last
Moment = tuple[float, float]  # start and end in seconds

_LENGTHS = 8
_SAME_MOMENT = 0.7  # IoU from which the worse of two moments is left out


def every_window(frames: int, lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """(windows, 2): all windows of these lengths; the whole clip where none fits."""
    found = [(first, first + length) for length in lengths for first in range(frames - length + 1)]
    return np.array(found or [(0, frames)], dtype=np.int64)


def window_of(moment: Moment, duration: float, frames: int) -> Window:
    """The frames that are nearest to a moment, at least one."""
    marks = [round(second / duration * frames) for second in moment]
    first = min(max(marks[0], 0), frames - 1)
    return first, min(max(marks[1], first + 1), frames)


def usual_lengths(dataset: Dataset, frames: int) -> tuple[int, ...]:
    """At most eight lengths, in frames, spread evenly over those that the moments of a data set
    have, but for the shortest and the longest in a hundred."""
    windows = [
        window_of(moment, sample.input.visual.duration, frames)
        for sample in dataset.samples
        for moment in sample.target.moments[:1]
    ]
    lengths = [last - first for first, last in windows]
    marks = np.quantile(lengths, np.linspace(0.01, 0.99, _LENGTHS)).round().astype(int)
    return tuple(np.unique(marks).tolist())


def overlap(a: Moment, b: Moment) -> float:
    """Intersection over union."""
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return shared / (max(a[1], b[1]) - min(a[0], b[0])) if shared > 0 else 0.0


def apart(moments: Sequence[Moment], most: int) -> list[Moment]:
    """The first `most` moments, without those that are nearly a better one."""
    kept: list[Moment] = []
    for moment in moments:
        if all(overlap(moment, other) < _SAME_MOMENT for other in kept):
            kept.append(moment)
        if len(kept) == most:
            break
    return kept
