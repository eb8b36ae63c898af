"""Windows of a clip: all of some lengths, which stands for a moment, the best that differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.baselines.moment_windows import apart, every_window, overlap, usual_lengths, window_of
from harness.tasks.targets import MomentTarget
from harness.types import Clip, Dataset, MomentQuery, Sample


def test_windows_are_all_of_the_lengths_given() -> None:
    assert every_window(4, (2, 3)).tolist() == [[0, 2], [1, 3], [2, 4], [0, 3], [1, 4]]


def test_a_clip_shorter_than_every_length_is_one_window() -> None:
    assert every_window(2, (5,)).tolist() == [[0, 2]]


def test_a_moment_stands_for_the_nearest_frames() -> None:
    assert window_of((1.0, 2.5), 8.0, 32) == (4, 10)
    assert window_of((7.99, 8.0), 8.0, 32) == (31, 32)


@given(st.floats(-1, 12), st.floats(0, 12), st.integers(1, 40))
def test_every_moment_has_a_frame(start: float, length: float, frames: int) -> None:
    first, last = window_of((start, start + length), 10.0, frames)
    assert 0 <= first < last <= frames


def test_lengths_are_spread_over_those_of_the_moments() -> None:
    def sample(seconds: float) -> Sample:
        clip = Clip("c", lambda count: np.zeros((count, 2, 2, 3), np.uint8), 10.0)
        return Sample("s", MomentQuery(clip, "it moves"), MomentTarget(((0.0, seconds),)), "c")

    some = [sample(seconds) for seconds in np.arange(1.0, 9.01, 0.02).tolist()]
    lengths = usual_lengths(Dataset("d", "train", some, "0" * 64), 100)
    assert len(lengths) == 8
    assert (lengths[0], lengths[-1]) == (11, 89)  # not the shortest and the longest in a hundred
    assert np.ptp(np.diff(lengths)) <= 1
    alike = Dataset("d", "train", [sample(2.0)] * 3, "0" * 64)
    assert usual_lengths(alike, 100) == (20,)


def test_moments_near_a_better_one_are_left_out() -> None:
    ranked = [(0.0, 4.0), (0.0, 4.5), (5.0, 6.0), (0.0, 8.0), (1.0, 2.0)]
    assert apart(ranked, 3) == [(0.0, 4.0), (5.0, 6.0), (0.0, 8.0)]
    assert apart(ranked, 9) == [(0.0, 4.0), (5.0, 6.0), (0.0, 8.0), (1.0, 2.0)]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [((0.0, 4.0), (2.0, 6.0), 1 / 3), ((0.0, 1.0), (1.0, 2.0), 0.0), ((3.0, 5.0), (3.0, 5.0), 1.0)],
)
def test_overlap_is_intersection_over_union(
    a: tuple[float, float], b: tuple[float, float], expected: float
) -> None:
    assert overlap(a, b) == overlap(b, a) == pytest.approx(expected)
