"""What happens in Toybox clips: any index at once, one event at a time, everything in sight."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import combinations, pairwise
from types import ModuleType

import pytest

from harness.tasks.datasets.toybox import clip_voices, clips, filming
from harness.tasks.datasets.toybox.clips import (
    CLIPS,
    DIRECTIONS,
    FARTHEST,
    FRAMES,
    KINDS,
    LONGEST,
    NEAREST,
    PAUSE,
    SHORTEST,
    SIDE,
    ClipScene,
    Event,
    make_clip_scene,
)
from harness.tasks.datasets.toybox.scenes import HELD_OUT, SPLITS, Thing

Clips = dict[str, list[ClipScene]]


@pytest.fixture(scope="module")
def some() -> Clips:
    return {split: [make_clip_scene(split, i) for i in range(250)] for split in SPLITS}


@pytest.fixture(scope="module")
def scenes(some: Clips) -> list[ClipScene]:
    return [scene for split in SPLITS for scene in some[split]]


def states(scene: ClipScene, number: int) -> list[Thing]:
    """A thing before and after its event."""
    event = scene.event_of(number)
    return [scene.things[number], event.after if event else scene.things[number]]


def pairs_shown(scene: ClipScene) -> list[tuple[str, str]]:
    numbers = range(len(scene.things))
    return [(one.colour, one.shape) for number in numbers for one in states(scene, number)]


def test_any_index_at_once_and_in_any_order_is_the_same_clip(some: Clips) -> None:
    order = list(range(0, 250, 7))
    random.Random(0).shuffle(order)
    for split in SPLITS:
        for index in order:
            assert make_clip_scene(split, index) == some[split][index]


def test_another_process_makes_the_same_clips(some: Clips) -> None:
    code = (
        "from harness.tasks.datasets.toybox.clips import make_clip_scene as m;"
        "print([m('test', i) for i in range(20)])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == repr(some["test"][:20])


def test_clips_of_other_indices_and_splits_are_others(scenes: list[ClipScene]) -> None:
    assert len({(scene.things, scene.events) for scene in scenes}) == len(scenes)


@pytest.mark.parametrize("split", SPLITS)
def test_an_index_outside_the_split_is_refused(split: str) -> None:
    make_clip_scene(split, CLIPS[split] - 1)
    for index in (-1, CLIPS[split]):
        with pytest.raises(IndexError, match="clips"):
            make_clip_scene(split, index)


def test_the_splits_have_the_sizes_that_are_promised() -> None:
    assert CLIPS == {"train": 8000, "val": 500, "test": 1000, "test-comp": 1000}


def test_three_to_five_things_and_one_to_three_events(scenes: list[ClipScene]) -> None:
    things = Counter(len(scene.things) for scene in scenes)
    events = Counter(len(scene.events) for scene in scenes)
    assert set(things) == {3, 4, 5}
    assert set(events) == {1, 2, 3}
    assert min(things.values()) > 250
    assert min(events.values()) > 250


def test_events_follow_one_another_with_stillness_between(scenes: list[ClipScene]) -> None:
    for scene in scenes:
        for event in scene.events:
            assert SHORTEST <= event.last - event.first <= LONGEST
        for earlier, later in pairwise(scene.events):
            assert later.first - earlier.last >= PAUSE
        assert scene.events[0].first >= 1
        assert scene.events[-1].last <= FRAMES - 1


def test_nothing_happens_to_a_thing_twice(scenes: list[ClipScene]) -> None:
    for scene in scenes:
        assert len({event.thing for event in scene.events}) == len(scene.events)


def test_events_may_begin_at_any_time(scenes: list[ClipScene]) -> None:
    firsts = Counter(event.first for scene in scenes for event in scene.events)
    assert set(firsts) >= set(range(1, FRAMES - LONGEST))
    assert firsts.most_common(1)[0][1] / firsts.total() < 0.15


def test_every_kind_of_event_and_direction_is_common(scenes: list[ClipScene]) -> None:
    events = [event for scene in scenes for event in scene.events]
    kinds = Counter(event.kind for event in events)
    ways = Counter(event.detail for event in events if event.kind == "moves")
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) / len(events) > 0.09
    assert set(ways) == set(DIRECTIONS)
    assert min(ways.values()) / ways.total() > 0.19


def check_outcome(before: Thing, event: Event) -> None:
    after = event.after
    dx, dy = after.x - before.x, after.y - before.y
    if event.kind == "moves":
        x, y = DIRECTIONS[event.detail]
        distance = abs(dx) + abs(dy)
        assert (dx, dy) == (x * distance, y * distance)
        assert NEAREST <= distance <= FARTHEST
        assert NEAREST >= 14
    elif event.kind == "grows":
        assert (before.size, after.size) == ("small", "large")
        assert after.radius >= before.radius + 4
    elif event.kind == "shrinks":
        assert (before.size, after.size) == ("large", "small")
        assert after.radius <= before.radius - 4
    elif event.kind == "turns":
        assert after.colour == event.detail != before.colour
    else:
        assert after == before
    assert event.kind == "moves" or dx == dy == 0


def test_a_thing_is_after_its_event_what_the_event_made_of_it(scenes: list[ClipScene]) -> None:
    for scene in scenes:
        for event in scene.events:
            check_outcome(scene.things[event.thing], event)


def test_everything_stays_in_sight(scenes: list[ClipScene]) -> None:
    for scene in scenes:
        for number in range(len(scene.things)):
            for thing in states(scene, number):
                x1, y1, x2, y2 = thing.box
                assert min(x1, y1) >= 1
                assert max(x2, y2) <= SIDE - 1


def positions(scene: ClipScene, number: int) -> list[tuple[int, int]]:
    """Every centre that a thing may have, pixel by pixel."""
    a, b = states(scene, number)
    xs = range(min(a.x, b.x), max(a.x, b.x) + 1)
    ys = range(min(a.y, b.y), max(a.y, b.y) + 1)
    return [(x, y) for x in xs for y in ys]


def test_things_never_hide_each_other_and_those_of_one_colour_stay_apart(some: Clips) -> None:
    """Not even on their ways, and wherever the others are on theirs."""
    for scene in [scene for split in SPLITS for scene in some[split][:100]]:
        for one, other in combinations(range(len(scene.things)), 2):
            reach = sum(max(t.radius for t in states(scene, number)) for number in (one, other))
            ways = [positions(scene, number) for number in (one, other)]
            apart = [(abs(x - u), abs(y - v)) for x, y in ways[0] for u, v in ways[1]]
            assert min(dx * dx + dy * dy for dx, dy in apart) >= reach**2
            if {t.colour for t in states(scene, one)} & {t.colour for t in states(scene, other)}:
                assert min(max(dx, dy) for dx, dy in apart) > reach + 2


def test_held_out_pairs_are_shown_in_test_comp_alone(some: Clips) -> None:
    for split in SPLITS:
        for scene in some[split]:
            if split == "test-comp":
                assert (scene.things[0].colour, scene.things[0].shape) in HELD_OUT
            else:
                assert not HELD_OUT.intersection(pairs_shown(scene))


def test_no_thing_of_all_training_becomes_of_a_held_out_pair() -> None:
    for index in range(0, CLIPS["train"], 5):
        assert not HELD_OUT.intersection(pairs_shown(make_clip_scene("train", index)))


def test_the_phrase_for_a_thing_fits_no_other_thing_at_any_time(scenes: list[ClipScene]) -> None:
    lengths = Counter[int]()
    for scene in scenes:
        numbers = range(len(scene.things))
        for number in numbers:
            phrase = scene.phrase(number)
            others = [t for other in numbers if other != number for t in states(scene, other)]
            assert phrase.matches(scene.things[number])
            assert not any(phrase.matches(other) for other in others)
            assert phrase.names("colour")
            assert phrase.names("shape")
            lengths[len(phrase.parts)] += 1
    assert set(lengths) == {2, 3}


@pytest.mark.parametrize("module", [clips, filming, clip_voices])
def test_no_number_that_decides_the_world_is_a_float(
    module: ModuleType, assert_no_floats: Callable[[ModuleType], None]
) -> None:
    assert_no_floats(module)
