"""Samples without their pictures: what the controls change and what they leave alone."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.controls import (
    blind,
    mean_clip,
    mean_picture,
    mean_visual,
    read,
    share,
    shuffled,
)
from harness.types import Clip, MomentQuery, Picture, Question, Sample, Uncaptioned


def picture(name: str, level: int = 0, height: int = 4, width: int = 6) -> Picture:
    return Picture(name, lambda: np.full((height, width, 3), level, dtype=np.uint8))


def samples_in(sizes: list[int]) -> list[Sample]:
    """Samples in groups of these sizes, one picture a group."""
    return [
        Sample(
            f"{group}-{number}",
            Question(visual, f"question {number} about {group}?", kind="count"),
            target=f"answer {group}-{number}",
            group=f"group {group}",
            tags={"question_type": "count"},
        )
        for group, size in enumerate(sizes)
        for visual in [picture(f"picture {group}")]
        for number in range(size)
    ]


def visuals_by_group(samples: list[Sample]) -> dict[str, str]:
    found: dict[str, str] = {}
    for sample in samples:
        visual = sample.input.visual.id
        assert found.setdefault(sample.group, visual) == visual  # one picture a group
    return found


def without_visual(sample: Sample) -> tuple[object, ...]:
    question: Question = sample.input
    asked = (question.text, question.choices, question.kind)
    return sample.id, sample.target, sample.group, dict(sample.tags), asked


group_sizes = st.lists(st.integers(1, 5), min_size=2, max_size=20)


@given(group_sizes, st.integers(0, 5))
def test_shuffled_gives_no_group_its_own_picture_and_each_picture_once(
    sizes: list[int], seed: int
) -> None:
    samples = samples_in(sizes)
    before, after = visuals_by_group(samples), visuals_by_group(shuffled(samples, seed))
    assert all(after[group] != visual for group, visual in before.items())
    assert sorted(after.values()) == sorted(before.values())


@given(group_sizes)
def test_controls_change_nothing_but_the_picture(sizes: list[int]) -> None:
    samples = samples_in(sizes)
    untouched = [without_visual(sample) for sample in samples]
    assert [without_visual(sample) for sample in shuffled(samples)] == untouched
    assert [without_visual(sample) for sample in blind(samples, picture("mean"))] == untouched


@given(group_sizes, st.randoms(use_true_random=False))
def test_shuffled_does_not_depend_on_the_order_of_samples(
    sizes: list[int], order: random.Random
) -> None:
    samples = samples_in(sizes)
    mixed = samples.copy()
    order.shuffle(mixed)
    assert visuals_by_group(shuffled(mixed)) == visuals_by_group(shuffled(samples))


def test_another_seed_deals_the_pictures_otherwise() -> None:
    samples = samples_in([1] * 20)
    assert visuals_by_group(shuffled(samples, 1)) != visuals_by_group(shuffled(samples, 2))


def test_blind_gives_every_sample_one_and_the_same_picture() -> None:
    mean = picture("mean")
    assert all(sample.input.visual is mean for sample in blind(samples_in([2, 3]), mean))


def test_the_mean_picture_is_the_mean() -> None:
    generator = np.random.default_rng(0)
    pixels = [generator.integers(0, 256, (4, 6, 3), dtype=np.uint8) for _ in range(5)]
    visuals = [Picture(str(i), partial(pixels.__getitem__, i)) for i in range(5)]
    samples = [
        Sample(f"{i}-{n}", Question(visual, "?"), None, str(i))
        for i, visual in enumerate(visuals)
        for n in range(2)
    ]
    found = mean_picture(samples, "set/train").read()
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, np.mean(pixels, axis=0), atol=0.5)


def test_the_mean_picture_has_the_first_ones_size() -> None:
    sizes = [(4, 6), (8, 12), (5, 5)]
    samples = [
        Sample(str(i), Question(picture(str(i), 30 * i, *size), "?"), None, str(i))
        for i, size in enumerate(sizes)
    ]
    np.testing.assert_array_equal(mean_picture(samples, "x").read(), np.full((4, 6, 3), 30))


def test_the_mean_picture_is_made_once_and_when_it_is_read() -> None:
    reads: Counter[str] = Counter()

    def counted(name: str) -> Picture:
        def read() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
            reads[name] += 1
            return np.zeros((2, 2, 3), dtype=np.uint8)

        return Picture(name, read)

    samples = [Sample(str(i), Question(counted(str(i)), "?"), None, str(i)) for i in range(3)]
    mean = mean_picture(samples, "x")
    assert not reads
    mean.read()
    mean.read()
    assert reads == {"0": 1, "1": 1, "2": 1}


@pytest.mark.parametrize("count", [256, 257, 400, 511, 512, 1000])
def test_the_mean_is_over_pictures_from_all_of_the_samples(count: int) -> None:
    """The second half is white; a mean over the first 256 pictures would miss it."""
    samples = [
        Sample(str(i), Question(picture(str(i), 0 if i < count // 2 else 200), "?"), None, str(i))
        for i in range(count)
    ]
    np.testing.assert_allclose(mean_picture(samples, "x").read(), 100, atol=2)


@given(group_sizes, st.integers(5, 40), st.integers(0, 5))
def test_a_share_is_whole_groups_and_at_most_so_many_samples(
    sizes: list[int], most: int, seed: int
) -> None:
    samples = samples_in(sizes)
    part = share(samples, most, seed)
    assert 0 < len(part) <= most
    counts, whole = Counter(s.group for s in part), Counter(s.group for s in samples)
    assert all(counts[group] == whole[group] for group in counts)
    # and no fewer than the largest group's size allows
    assert len(part) > min(most, len(samples)) - max(sizes)
    assert part == [sample for sample in samples if sample.group in counts]  # in their order


@given(group_sizes, st.integers(1, 40), st.randoms(use_true_random=False))
def test_a_share_does_not_depend_on_the_order_of_samples(
    sizes: list[int], most: int, order: random.Random
) -> None:
    samples = samples_in(sizes)
    mixed = samples.copy()
    order.shuffle(mixed)
    assert {s.id for s in share(mixed, most)} == {s.id for s in share(samples, most)}


def test_a_share_has_at_least_one_group_however_large() -> None:
    assert len(share(samples_in([5, 5, 5]), 2)) == 5


def test_a_share_of_more_than_there_is_is_everything() -> None:
    samples = samples_in([2, 3])
    assert share(samples, 5) == samples


# ---------------------------------------------------------------- clips


def clip(
    name: str, level: int = 0, duration: float = 10.0, height: int = 4, width: int = 6
) -> Clip:
    """Frame i of any number of frames is of the level plus i."""

    def frames(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        levels = level + np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
        return np.broadcast_to(levels, (count, height, width, 3)).astype(np.uint8)

    return Clip(name, frames, duration, scene=name)


def queries_in(durations: list[float]) -> list[Sample]:
    """Two sentences about each of as many clips."""
    return [
        Sample(f"{i}-{n}", MomentQuery(visual, f"{n} in {i}", ((0.0, 5.0),)), None, f"group {i}")
        for i, duration in enumerate(durations)
        for visual in [clip(f"clip {i}", 10 * i, duration)]
        for n in range(2)
    ]


durations = st.lists(st.floats(0.5, 300), min_size=2, max_size=12)


@given(durations, st.integers(0, 5))
def test_a_clip_that_stands_for_another_lasts_as_long_as_that(
    lengths: list[float], seed: int
) -> None:
    samples = queries_in(lengths)
    for controlled in (shuffled(samples, seed), blind(samples, mean_clip(samples, "x"))):
        for before, after in zip(samples, controlled, strict=True):
            assert after.input.visual.duration == before.input.visual.duration
            assert after.input.visual.id != before.input.visual.id
            assert (after.input.text, after.input.candidates) == (
                before.input.text,
                before.input.candidates,
            )
            assert (after.id, after.group) == (before.id, before.group)


def test_a_shuffled_clip_shows_another_groups_frames_and_scene() -> None:
    samples = queries_in([3.0, 60.0])
    first, _, second, _ = shuffled(samples)
    assert (first.input.visual.id, second.input.visual.id) == ("clip 1", "clip 0")
    assert (first.input.visual.scene, second.input.visual.scene) == ("clip 1", "clip 0")
    assert first.input.visual.read(3).mean(axis=(1, 2, 3)).tolist() == [10, 11, 12]


def test_the_blind_clip_has_no_scene() -> None:
    samples = queries_in([3.0, 60.0])
    assert all(s.input.visual.scene is None for s in blind(samples, mean_clip(samples, "x")))


@pytest.mark.parametrize("count", [1, 4])
def test_the_mean_clip_is_the_mean_frame_by_frame(count: int) -> None:
    samples = [Sample(str(i), Uncaptioned(clip(str(i), 30 * i)), None, str(i)) for i in range(3)]
    mean = mean_clip(samples, "set/train")
    found = mean.read(count)
    assert found.shape == (count, 4, 6, 3)
    assert found.dtype == np.uint8
    assert found[:, 0, 0, 0].tolist() == [30 + i for i in range(count)]
    assert mean.id == "mean/set/train"


def test_the_mean_clip_has_the_first_ones_size_and_length() -> None:
    sizes = [(4, 6, 7.0), (8, 12, 20.0), (5, 5, 1.0)]
    samples = [
        Sample(str(i), Uncaptioned(clip(str(i), 30 * i, duration, height, width)), None, str(i))
        for i, (height, width, duration) in enumerate(sizes)
    ]
    mean = mean_clip(samples, "x")
    assert mean.duration == 7.0
    np.testing.assert_array_equal(mean.read(1), np.full((1, 4, 6, 3), 30))


def test_the_mean_clip_is_made_once_a_number_of_frames_and_when_it_is_read() -> None:
    reads: list[tuple[str, int]] = []

    def counted(name: str) -> Clip:
        def frames(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
            reads.append((name, count))
            return np.zeros((count, 2, 2, 3), dtype=np.uint8)

        return Clip(name, frames, 1.0)

    samples = [Sample(str(i), Uncaptioned(counted(str(i))), None, str(i)) for i in range(2)]
    mean = mean_clip(samples, "x")
    assert not reads
    for count in (3, 3, 5, 3):
        assert len(mean.read(count)) == count
    assert reads == [("0", 3), ("1", 3), ("0", 5), ("1", 5)]


@pytest.mark.parametrize("count", [64, 65, 127, 300])
def test_the_mean_is_over_clips_from_all_of_the_samples(count: int) -> None:
    samples = [
        Sample(str(i), Uncaptioned(clip(str(i), 0 if i < count // 2 else 200)), None, str(i))
        for i in range(count)
    ]
    np.testing.assert_allclose(mean_clip(samples, "x").read(1), 100, atol=4)


@pytest.mark.parametrize(("visual", "kind"), [(clip("c", 9), Clip), (picture("p", 9), Picture)])
def test_the_mean_visual_is_a_clip_of_clips_and_a_picture_of_pictures(
    visual: Any, kind: type
) -> None:
    mean = mean_visual([Sample("0", Uncaptioned(visual), None, "0")], "set/train")
    assert isinstance(mean, kind)
    assert mean.id == "mean/set/train"
    pixels = mean.read(1)[0] if isinstance(mean, Clip) else mean.read()
    assert pixels.mean() == 9


def test_reading_a_visual_raises_what_keeps_it_from_being_decoded() -> None:
    def broken(*arguments: object) -> Any:
        raise OSError("torn file")

    read(picture("p"))
    read(clip("c"))
    for visual in (Picture("p", broken), Clip("c", broken, 1.0)):
        with pytest.raises(OSError, match="torn file"):
            read(visual)
