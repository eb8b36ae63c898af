"""Filming Toybox clips: the same bytes everywhere, and what happens can be seen, when it does."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from harness.tasks.datasets.toybox import VERSION
from harness.tasks.datasets.toybox.clips import (
    FRAMES,
    SIDE,
    ClipScene,
    Event,
    make_clip_scene,
)
from harness.tasks.datasets.toybox.drawing import PAINT, shape_mask
from harness.tasks.datasets.toybox.filming import clip_of, film
from harness.tasks.datasets.toybox.scenes import SPLITS, Thing

GRAIN = 3  # by which a pixel may differ from frame to frame though nothing happens


@pytest.fixture(scope="module")
def filmed() -> list[tuple[ClipScene, npt.NDArray[np.int16]]]:
    scenes = [make_clip_scene(split, index) for split in SPLITS for index in range(40)]
    return [(scene, film(scene).astype(np.int16)) for scene in scenes]


def changed(frames: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Where each frame but the first differs from the one before by more than grain."""
    return np.asarray((np.abs(np.diff(frames, axis=0)) > GRAIN).any(axis=-1))


def test_a_film_is_rgb_bytes_and_the_callers_own() -> None:
    frames = film(make_clip_scene("test", 0))
    assert frames.shape == (FRAMES, SIDE, SIDE, 3) == (32, 64, 64, 3)
    assert frames.dtype == np.uint8
    frames[:] = 0
    assert film(make_clip_scene("test", 0)).any()


def test_any_clip_at_once_and_in_any_order_gives_the_same_frames() -> None:
    films = [film(make_clip_scene("test", index)) for index in range(10)]
    order = list(range(10))
    random.Random(1).shuffle(order)
    for index in order:
        np.testing.assert_array_equal(film(make_clip_scene("test", index)), films[index])
    assert len({frames.tobytes() for frames in films}) == 10


def test_something_is_seen_to_change_in_the_first_and_last_frames_of_an_event(
    filmed: list[tuple[ClipScene, npt.NDArray[np.int16]]],
) -> None:
    for scene, frames in filmed:
        moving = changed(frames).sum(axis=(1, 2))  # of frame 1, 2, ...
        for event in scene.events:
            for frame in (event.first, event.last - 1):
                assert moving[frame - 1] >= 10, (scene, event)


def test_nothing_changes_but_grain_while_nothing_happens(
    filmed: list[tuple[ClipScene, npt.NDArray[np.int16]]],
) -> None:
    for scene, frames in filmed:
        happening = {f for event in scene.events for f in range(event.first, event.last)}
        still = [frame for frame in range(1, FRAMES) if frame not in happening]
        assert not changed(frames)[[frame - 1 for frame in still]].any(), scene


def test_an_event_changes_no_pixel_outside_the_way_of_its_thing(
    filmed: list[tuple[ClipScene, npt.NDArray[np.int16]]],
) -> None:
    for scene, frames in filmed:
        difference = changed(frames)
        for event in scene.events:
            boxes = [scene.things[event.thing].box, event.after.box]
            x1, y1 = (min(box[i] for box in boxes) for i in (0, 1))
            x2, y2 = (max(box[i] for box in boxes) for i in (2, 3))
            outside = np.ones((SIDE, SIDE), dtype=np.bool_)
            outside[y1:y2, x1:x2] = False
            assert not (difference[event.first - 1 : event.last - 1] & outside).any()


def colour_at(frame: npt.NDArray[np.int16], thing: Thing) -> str:
    """The paint most like the mean colour where a thing is, in hue; "" on grey."""
    x1, y1, x2, y2 = thing.box
    mean = frame[y1:y2, x1:x2][shape_mask(thing.shape, thing.radius)].mean(axis=0)
    if mean.max() - mean.min() < 20:
        return ""

    def cosine(name: str) -> float:
        return float(mean @ PAINT[name] / np.linalg.norm(mean) / np.linalg.norm(PAINT[name]))

    return max(PAINT, key=cosine)


def test_each_thing_is_there_before_and_after_as_the_scene_has_it(
    filmed: list[tuple[ClipScene, npt.NDArray[np.int16]]],
) -> None:
    for scene, frames in filmed:
        for number, thing in enumerate(scene.things):
            event = scene.event_of(number)
            after = event.after if event else thing
            kind = event.kind if event else ""
            assert colour_at(frames[0], thing) == ("" if kind == "appears" else thing.colour)
            assert colour_at(frames[-1], after) == ("" if kind == "leaves" else after.colour)


def one(kind: str, thing: Thing, after: Thing, detail: str = "") -> ClipScene:
    return ClipScene("test", 0, (thing,), (Event(kind, 0, 10, 14, after, detail),))


SMALL = Thing("red", "square", "small", "plain", 20, 30, 6)
LARGE = Thing("red", "square", "large", "plain", 20, 30, 10)


def red(scene: ClipScene) -> npt.NDArray[np.bool_]:
    """Where each frame is red."""
    frames = film(scene).astype(np.int16)
    return np.asarray(frames[..., 0] - frames[..., 2] > 60)


def test_a_move_goes_steadily_all_the_way() -> None:
    after = Thing("red", "square", "small", "plain", 40, 30, 6)
    seen = red(one("moves", SMALL, after, "right"))
    lefts = [int(np.flatnonzero(frame.any(axis=0))[0]) for frame in seen]
    first = lefts[0]
    assert lefts[:10] == [first] * 10
    assert lefts[10:14] == [first + 5, first + 10, first + 15, first + 20]
    assert lefts[14:] == [first + 20] * 18


@pytest.mark.parametrize(("kind", "way"), [("grows", 1), ("shrinks", -1)])
def test_size_changes_in_every_frame_of_a_short_event(kind: str, way: int) -> None:
    # a square's outline falls on whole pixels and may wait for a frame; a circle's does not
    a, b = (replace(thing, shape="circle") for thing in (SMALL, LARGE)[::way])
    areas = red(one(kind, a, b)).sum(axis=(1, 2)).astype(int) * way
    assert len(set(areas[:10])) == len(set(areas[13:])) == 1
    assert (np.diff(areas[9:14]) > 0).all()


@pytest.mark.parametrize(("kind", "way"), [("appears", 1), ("leaves", -1)])
def test_a_thing_fades_in_and_out(kind: str, way: int) -> None:
    frames = film(one(kind, LARGE, LARGE)).astype(np.int64)
    redness = frames[:, 30, 20, 0] - frames[:, 30, 20, 2]
    there, gone = (redness[14:], redness[:10])[::way]
    assert there.min() > 120
    assert gone.max() < 20
    assert (np.diff(redness[9:14]) * way > 20).all()


def test_stripes_stay_in_place_while_a_thing_grows() -> None:
    a = Thing("red", "square", "small", "striped", 20, 30, 6)
    b = Thing("red", "square", "large", "striped", 20, 30, 10)
    frames = film(one("grows", a, b)).astype(np.int16)
    core = frames[:, 26:35, 16:25]
    assert (core.max(axis=(1, 2)) - core.min(axis=(1, 2)))[:, 0].min() > 50
    assert np.abs(np.diff(core, axis=0)).max() <= GRAIN


def test_reading_takes_the_frames_in_the_middles_of_equal_parts() -> None:
    scene = make_clip_scene("test", 5)
    clip, frames = clip_of(scene), film(scene)
    for count, expected in {
        1: [16],
        2: [8, 24],
        4: [4, 12, 20, 28],
        3: [5, 16, 26],  # at 5.33, 16 and 26.67
        8: [2, 6, 10, 14, 18, 22, 26, 30],
        32: list(range(32)),
        64: [frame for frame in range(32) for _ in range(2)],
    }.items():
        np.testing.assert_array_equal(clip.read(count), frames[expected])


def test_a_clip_has_a_name_of_its_own_and_lasts_eight_seconds() -> None:
    scene = make_clip_scene("test-comp", 3)
    clip = clip_of(scene)
    assert clip.id == f"{VERSION}/clips/test-comp/3" == "toybox-1/clips/test-comp/3"
    assert clip.duration == 8.0
    assert isinstance(clip.duration, float)
    assert clip.scene is scene


def test_no_array_is_of_floats_while_filming(
    kinds_while: Callable[[Callable[[], object]], set[str]],
) -> None:
    kinds = kinds_while(lambda: [film(make_clip_scene("test", index)) for index in range(10)])
    assert {"u", "i", "b"} >= kinds >= {"u", "i"}


def test_at_least_150_clips_a_second_on_one_core() -> None:
    film(make_clip_scene("test", 0))
    rates = []
    for start in range(0, 200, 40):
        began = time.process_time()
        for index in range(start, start + 40):
            film(make_clip_scene("train", index))
        rates.append(40 / (time.process_time() - began))
    assert statistics.median(rates) >= 150
