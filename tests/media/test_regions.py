"""Regions from pixels: connected areas against a slow flood fill, the grid, the crops."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.media.regions import (
    _SMALLEST,
    Regions,
    crops,
    grid,
    segment,
    whole_picture_first,
)
from harness.tasks.datasets.toybox.drawing import draw
from harness.tasks.datasets.toybox.scenes import make_scene

# well apart in hue, the first is the ground
COLOURS = np.array([(120, 120, 120), (220, 30, 30), (30, 200, 30), (40, 60, 230)], dtype=np.uint8)


def flood(labels: npt.NDArray[Any]) -> list[frozenset[tuple[int, int]]]:
    """Areas of equal nonzero labels, joined over edges and not over corners, pixel by pixel."""
    height, width = labels.shape
    seen: set[tuple[int, int]] = set()
    areas = []
    for start in np.ndindex(height, width):
        if labels[start] == 0 or start in seen:
            continue
        area, todo = set(), [start]
        while todo:
            y, x = todo.pop()
            if (y, x) in area:
                continue
            area.add((y, x))
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= near[0] < height and 0 <= near[1] < width
                if inside and labels[near] == labels[start]:
                    todo.append(near)
        seen |= area
        areas.append(frozenset(area))
    return areas


def framed(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """With the ground all around, as it is found along a picture's edge."""
    return np.pad(labels, 1)


def areas_of(regions: Regions) -> list[frozenset[tuple[int, int]]]:
    assert regions.labels is not None
    return [
        frozenset((int(y), int(x)) for y, x in np.argwhere(regions.labels == number))
        for number in range(len(regions.boxes))
    ]


@given(
    arrays(np.int64, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 3))
)
def test_areas_are_those_of_a_slow_flood_fill(labels: npt.NDArray[np.int64]) -> None:
    labels = framed(labels)
    found = areas_of(segment(COLOURS[labels], most=1000))
    assert len(set(found)) == len(found)
    assert set(found) == {area for area in flood(labels) if len(area) >= _SMALLEST}


@pytest.mark.parametrize("seed", range(20))
def test_areas_of_larger_pictures_are_those_of_a_slow_flood_fill(seed: int) -> None:
    """Blobs, spirals and holes: a coarse random picture, enlarged, with some noise in it."""
    generator = np.random.default_rng(seed)
    labels = np.kron(generator.integers(0, 4, (6, 7)), np.ones((5, 5), dtype=np.int64))
    spoiled = generator.random(labels.shape) < 0.1
    labels[spoiled] = generator.integers(0, 4, int(spoiled.sum()))
    labels = framed(labels)
    found = areas_of(segment(COLOURS[labels], most=1000))
    assert set(found) == {area for area in flood(labels) if len(area) >= _SMALLEST}


def test_regions_come_largest_first_and_no_more_than_asked_for() -> None:
    labels = np.zeros((40, 40), dtype=np.int64)
    labels[1:5, 1:5], labels[10:20, 10:20], labels[25:31, 1:7] = 1, 1, 2
    sizes = [len(area) for area in areas_of(segment(COLOURS[labels], most=10))]
    assert sizes == [100, 36, 16]
    two = segment(COLOURS[labels], most=2)
    assert [len(area) for area in areas_of(two)] == [100, 36]
    assert two.labels is not None
    assert set(np.unique(two.labels)) == {-1, 0, 1}


def test_a_box_is_tight_with_exclusive_far_ends() -> None:
    labels = np.zeros((30, 40), dtype=np.int64)
    labels[3:9, 5:20] = 1
    np.testing.assert_array_equal(segment(COLOURS[labels], most=5).boxes, [[5, 3, 20, 9]])


def test_a_black_or_white_thing_on_a_grey_ground_is_a_region() -> None:
    pixels = np.full((30, 40, 3), 120, dtype=np.uint8)
    pixels[3:9, 5:20], pixels[15:25, 5:20] = 0, 255
    boxes = segment(pixels, most=5).boxes.tolist()
    assert boxes == [[5, 15, 20, 25], [5, 3, 20, 9]]


def test_a_thing_on_a_coloured_ground_is_a_region() -> None:
    pixels = np.full((30, 40, 3), (200, 180, 140), dtype=np.uint8)
    pixels[3:9, 5:20] = 30, 60, 200
    assert segment(pixels, most=5).boxes.tolist() == [[5, 3, 20, 9]]


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_picture_of_one_grey_has_no_regions(level: int) -> None:
    regions = segment(np.full((20, 30, 3), level, dtype=np.uint8), most=5)
    assert regions.boxes.shape == (0, 4)
    assert crops(np.full((20, 30, 3), level, dtype=np.uint8), regions, 8).shape == (1, 8, 8, 4)


def iou(a: Any, b: Any) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(common / (sum(areas) - common))


@pytest.mark.parametrize("split", ["test", "test-comp"])
def test_every_thing_in_toybox_is_a_region(split: str) -> None:
    for index in range(200):
        scene = make_scene(split, index)
        boxes = segment(draw(scene), most=10).boxes.tolist()
        assert len(boxes) == len(scene.things), index
        matched = [max(range(len(boxes)), key=lambda i: iou(boxes[i], t.box)) for t in scene.things]
        assert len(set(matched)) == len(boxes), index
        for thing, number in zip(scene.things, matched, strict=True):
            assert iou(boxes[number], thing.box) >= 0.5, (index, thing)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(1, 6))
def test_the_grid_tiles_the_picture(height: int, width: int, rows: int, columns: int) -> None:
    covered = np.zeros((height, width), dtype=int)
    regions = grid(np.zeros((height, width, 3), dtype=np.uint8), rows, columns)
    assert regions.boxes.shape == (rows * columns, 4)
    for x1, y1, x2, y2 in regions.boxes:
        covered[y1:y2, x1:x2] += 1
    assert (covered == 1).all()


def test_the_grid_goes_row_by_row() -> None:
    regions = grid(np.zeros((20, 30, 3), dtype=np.uint8), 2, 3)
    assert regions.boxes.tolist() == [
        [0, 0, 10, 10],
        [10, 0, 20, 10],
        [20, 0, 30, 10],
        [0, 10, 10, 20],
        [10, 10, 20, 20],
        [20, 10, 30, 20],
    ]


def test_the_whole_picture_comes_first() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    regions = grid(pixels, 2, 2)
    boxes = whole_picture_first(pixels, regions)
    assert boxes[0].tolist() == [0, 0, 30, 20]
    np.testing.assert_array_equal(boxes[1:], regions.boxes)
    found = crops(pixels, regions, 10)
    assert found.shape == (5, 10, 10, 4)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0, ..., :3], pixels[1::2, 1::3])  # middles of 2 x 3 cells
    assert (found[..., 3] == 255).all()  # a cell of the grid owns its whole box


def test_a_crop_keeps_only_its_regions_own_pixels() -> None:
    labels = np.zeros((30, 30), dtype=np.int64)
    labels[4:24, 4:24] = 1
    labels[10:16, 10:16] = 2  # a hole with another thing in it
    pixels = COLOURS[labels]
    regions = segment(pixels, most=5)
    _, outer, inner = crops(pixels, regions, 20)
    own = (labels == 1)[4:24, 4:24, None]
    np.testing.assert_array_equal(outer, np.where(own, [*COLOURS[1], 255], 0))
    assert (inner == [*COLOURS[2], 255]).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_crops_are_the_nearest_pixels(seed: int, side: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.kron(generator.integers(0, 4, (3, 4)), np.ones((5, 5), dtype=np.int64))
    pixels = COLOURS[framed(labels)]
    regions = segment(pixels, most=4)
    assert regions.labels is not None
    found = crops(pixels, regions, side)
    for number, (x1, y1, x2, y2) in enumerate(whole_picture_first(pixels, regions).tolist()):
        for row in (0, side // 2, side - 1):
            for column in (0, side // 2, side - 1):
                y = y1 + int((row + 0.5) * (y2 - y1) / side)
                x = x1 + int((column + 0.5) * (x2 - x1) / side)
                own = number == 0 or regions.labels[y, x] == number - 1
                wanted = [*pixels[y, x], 255] if own else [0, 0, 0, 0]
                np.testing.assert_array_equal(found[number, row, column], wanted)


def test_crops_leave_the_picture_alone() -> None:
    labels = np.kron(np.arange(4).reshape(2, 2), np.ones((8, 8), dtype=np.int64))
    pixels = COLOURS[framed(labels)]
    before = pixels.copy()
    crops(pixels, segment(pixels, most=5), 8)
    np.testing.assert_array_equal(pixels, before)
