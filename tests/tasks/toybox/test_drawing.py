"""Drawing Toybox: the same bytes everywhere, from integers alone, and fast."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harness.tasks.datasets.toybox import chance, drawing, phrases, questions, scenes
from harness.tasks.datasets.toybox.drawing import PAINT, draw, shape_mask
from harness.tasks.datasets.toybox.scenes import (
    COLOURS,
    SHAPES,
    SIDE,
    Scene,
    Thing,
    make_scene,
)


def test_any_index_at_once_and_in_any_order_gives_the_same_picture() -> None:
    pictures = [draw(make_scene("test", index)) for index in range(20)]
    order = list(range(20))
    random.Random(1).shuffle(order)
    for index in order:
        np.testing.assert_array_equal(draw(make_scene("test", index)), pictures[index])


def test_a_picture_is_rgb_bytes_and_the_callers_own() -> None:
    scene = make_scene("test", 0)
    picture = draw(scene)
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8
    picture[:] = 0
    assert draw(scene).any()


def test_pictures_of_other_indices_and_splits_differ() -> None:
    drawn = {
        draw(make_scene(split, index)).tobytes() for split in scenes.SPLITS for index in range(10)
    }
    assert len(drawn) == 40


@pytest.mark.parametrize("module", [chance, scenes, drawing, questions, phrases])
def test_no_number_that_decides_the_world_is_a_float(
    module: ModuleType, assert_no_floats: Callable[[ModuleType], None]
) -> None:
    assert_no_floats(module)


def test_no_array_is_of_floats_while_drawing(
    kinds_while: Callable[[Callable[[], object]], set[str]],
) -> None:
    kinds = kinds_while(lambda: [draw(make_scene("test", index)) for index in range(20)])
    assert {"u", "i", "b"} >= kinds >= {"u", "i"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [7, 8, 12, 13])
def test_a_shape_fills_its_box_and_is_mirrored(shape: str, radius: int) -> None:
    mask = shape_mask(shape, radius)
    assert mask.dtype == np.bool_
    assert mask.shape == (2 * radius + 1, 2 * radius + 1)
    assert mask[radius, radius]
    assert 0.2 < mask.mean() < 0.95
    # pixels on an edge fall to one side only; no more than the outline may differ
    assert (mask != mask[:, ::-1]).sum() <= 4 * radius
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    for found in (rows, columns):
        assert found[-1] - found[0] + 1 >= 0.6 * len(mask)


@pytest.mark.parametrize("radius", [7, 8, 12, 13])
def test_shapes_differ_from_one_another(radius: int) -> None:
    for number, one in enumerate(SHAPES):
        for other in SHAPES[:number]:
            a, b = shape_mask(one, radius), shape_mask(other, radius)
            assert (a & b).sum() / (a | b).sum() < 0.9, (one, other)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "circle"])
def test_a_shape_is_where_an_independent_test_of_its_corners_puts_it(shape: str) -> None:
    """Winding number, point by point, with corners scaled by plain division."""
    radius = 12
    corners = [(x * radius / 100, y * radius / 100) for x, y in drawing._CORNERS[shape]]
    mask = shape_mask(shape, radius)
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            x, y = column + 1e-7, row + 1e-7  # off the edges
            turns = 0
            for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
                side = (bx - ax) * (y - ay) - (x - ax) * (by - ay)
                turns += (ay <= y < by and side > 0) - (by <= y < ay and side < 0)
            on_edge = any(
                abs((bx - ax) * (row - ay) - (column - ax) * (by - ay)) < 1e-4
                for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True)
            )
            assert on_edge or mask[row + radius, column + radius] == (turns != 0)


def scene_of(*things: Thing) -> Scene:
    return Scene("test", 0, things)


def mean_colour(scene: Scene, thing: Thing) -> np.ndarray[Any, np.dtype[np.float64]]:
    x1, y1, x2, y2 = thing.box
    window = draw(scene)[y1:y2, x1:x2]
    found: np.ndarray[Any, np.dtype[np.float64]] = window[
        shape_mask(thing.shape, thing.radius)
    ].mean(axis=0)
    return found


@pytest.mark.parametrize("colour", COLOURS)
def test_a_thing_has_its_paint(colour: str) -> None:
    thing = Thing(colour, "square", "large", "plain", 40, 50, 12)
    found, paint = mean_colour(scene_of(thing), thing), np.array(PAINT[colour])
    cosine = found @ paint / np.linalg.norm(found) / np.linalg.norm(paint)
    assert cosine > 0.995
    assert 0.8 < np.linalg.norm(found) / np.linalg.norm(paint) < 1.05


def test_a_striped_thing_is_darker_in_half_of_its_pixels() -> None:
    plain, striped = (
        Thing("red", "square", "large", pattern, 40, 50, 12) for pattern in ("plain", "striped")
    )
    a, b = mean_colour(scene_of(plain), plain)[0], mean_colour(scene_of(striped), striped)[0]
    assert 0.7 < b / a < 0.88  # the mean of 1 and 144 / 256


def test_a_later_thing_covers_an_earlier_one() -> None:
    below = Thing("red", "square", "large", "plain", 40, 40, 12)
    above = Thing("blue", "square", "large", "plain", 44, 44, 12)
    picture = draw(scene_of(below, above)).astype(int)
    assert picture[44, 44, 2] > picture[44, 44, 0] + 100
    assert picture[31, 31, 0] > picture[31, 31, 2] + 100


def test_the_ground_is_grey_noise() -> None:
    levels = []
    for index in range(30):
        picture = draw(Scene("test", index, ())).astype(int)
        assert (picture.max(axis=2) - picture.min(axis=2)).max() <= 6
        assert picture.std() > 3
        levels.append(picture.mean())
    assert max(levels) - min(levels) > 20


def test_at_least_500_pictures_a_second_on_one_core() -> None:
    draw(make_scene("test", 0))
    rates = []
    for start in range(0, 400, 80):
        began = time.process_time()
        for index in range(start, start + 80):
            draw(make_scene("train", index))
        rates.append(80 / (time.process_time() - began))
    assert statistics.median(rates) >= 500
