"""The world of Toybox: any index at once, held-out pairs where they belong, everything in sight."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from harness.tasks.datasets.toybox.chance import Chance
from harness.tasks.datasets.toybox.drawing import shape_mask
from harness.tasks.datasets.toybox.scenes import (
    COLOURS,
    HELD_OUT,
    PATTERNS,
    PICTURES,
    SHAPES,
    SIDE,
    SIZES,
    SPLITS,
    Scene,
    make_scene,
)


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[Scene]]:
    return {split: [make_scene(split, i) for i in range(300)] for split in SPLITS}


def test_any_index_at_once_and_in_any_order_is_the_same_scene(
    scenes: dict[str, list[Scene]],
) -> None:
    order = list(range(0, 300, 7))
    random.Random(0).shuffle(order)
    for split in SPLITS:
        for index in order:
            assert make_scene(split, index) == scenes[split][index]


def test_scenes_of_other_indices_and_splits_are_others(scenes: dict[str, list[Scene]]) -> None:
    layouts = [scene.things for split in SPLITS for scene in scenes[split]]
    assert len(set(layouts)) == len(layouts)


@pytest.mark.parametrize("split", SPLITS)
def test_an_index_outside_the_split_is_refused(split: str) -> None:
    make_scene(split, PICTURES[split] - 1)
    for index in (-1, PICTURES[split]):
        with pytest.raises(IndexError):
            make_scene(split, index)


def test_three_to_six_things_inside_the_picture(scenes: dict[str, list[Scene]]) -> None:
    counts = Counter(len(scene.things) for some in scenes.values() for scene in some)
    assert set(counts) == {3, 4, 5, 6}
    assert min(counts.values()) > 0.1 * sum(counts.values())
    for some in scenes.values():
        for scene in some:
            for thing in scene.things:
                x1, y1, x2, y2 = thing.box
                assert 0 <= x1 < x2 <= SIDE
                assert 0 <= y1 < y2 <= SIDE
                assert (x2 - x1, y2 - y1) == (2 * thing.radius + 1, 2 * thing.radius + 1)
                assert (thing.x, thing.y) == ((x1 + x2) // 2, (y1 + y2) // 2)


def test_large_things_are_larger_than_small_ones(scenes: dict[str, list[Scene]]) -> None:
    radii: dict[str, set[int]] = {size: set() for size in SIZES}
    for scene in scenes["train"]:
        for thing in scene.things:
            radii[thing.size].add(thing.radius)
    assert min(radii["large"]) > 1.4 * max(radii["small"])


@pytest.mark.parametrize("split", SPLITS)
def test_every_thing_is_in_sight(scenes: dict[str, list[Scene]], split: str) -> None:
    """At least 60% of its pixels are covered by nothing that is drawn later."""
    for scene in scenes[split]:
        owner = np.full((SIDE, SIDE), -1)
        for number, thing in enumerate(scene.things):
            x1, y1, x2, y2 = thing.box
            owner[y1:y2, x1:x2][shape_mask(thing.shape, thing.radius)] = number
        for number, thing in enumerate(scene.things):
            whole = int(shape_mask(thing.shape, thing.radius).sum())
            assert (owner == number).sum() >= 0.6 * whole, (scene, number)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_held_out_pairs_are_never_shown_outside_test_comp(split: str) -> None:
    for index in range(PICTURES[split] if split != "train" else 3000):
        for thing in make_scene(split, index).things:
            assert (thing.colour, thing.shape) not in HELD_OUT


def test_every_scene_of_test_comp_shows_a_held_out_pair(scenes: dict[str, list[Scene]]) -> None:
    shown: Counter[tuple[str, str]] = Counter()
    for scene in scenes["test-comp"]:
        pairs = [(thing.colour, thing.shape) for thing in scene.things]
        assert HELD_OUT & set(pairs)
        shown.update(pairs)
    assert shown.keys() >= HELD_OUT
    assert shown.keys() - HELD_OUT  # beside pairs that training knows


def test_no_colour_and_no_shape_is_rare_because_its_pair_is_held_out(
    scenes: dict[str, list[Scene]],
) -> None:
    things = [thing for scene in scenes["train"] + scenes["test"] for thing in scene.things]
    for attribute, values in (
        ("colour", COLOURS),
        ("shape", SHAPES),
        ("size", SIZES),
        ("pattern", PATTERNS),
    ):
        counts = Counter(getattr(thing, attribute) for thing in things)
        assert set(counts) == set(values)
        for value in values:
            assert counts[value] > 0.7 * len(things) / len(values), (attribute, value)
    held_out_colours = Counter(colour for colour, _ in HELD_OUT)
    held_out_shapes = Counter(shape for _, shape in HELD_OUT)
    assert set(held_out_colours.values()) == set(held_out_shapes.values()) == {1}


def test_every_other_pair_is_shown_in_training(scenes: dict[str, list[Scene]]) -> None:
    shown = {(t.colour, t.shape) for i in range(1000) for t in make_scene("train", i).things}
    assert shown == {(c, s) for c in COLOURS for s in SHAPES} - HELD_OUT


def test_things_of_one_colour_do_not_touch(scenes: dict[str, list[Scene]]) -> None:
    for some in scenes.values():
        for scene in some:
            for number, thing in enumerate(scene.things):
                for other in scene.things[:number]:
                    if other.colour == thing.colour:
                        apart = max(abs(thing.x - other.x), abs(thing.y - other.y))
                        assert apart > thing.radius + other.radius + 1


# ---------------------------------------------------------------- the source of chance


def test_streams_of_other_addresses_are_others() -> None:
    addresses = [(s, i, p) for s in range(3) for i in range(4) for p in range(3)]
    draws = {tuple(Chance(*address).below(2**32) for _ in range(4)) for address in addresses}
    assert len(draws) == len(addresses)


def test_a_stream_is_the_raw_words_of_philox_and_nothing_that_numpy_may_change() -> None:
    words = np.random.Philox(key=20_150_210, counter=[0, 7, 5, 2]).random_raw(64).tolist()
    chance = Chance(2, 5, 7)
    drawn = {chance.below(2**64) for _ in range(64)}
    assert drawn == set(words)


def test_choices_are_fair() -> None:
    chance = Chance(0, 0, 99)
    counts = Counter(chance.pick("abcde") for _ in range(5000))
    assert all(880 < counts[letter] < 1120 for letter in "abcde")  # 28 is the deviation
    weighted = Counter(chance.weighted((("a", 1), ("b", 3))) for _ in range(4000))
    assert 900 < weighted["a"] < 1100
    places = Counter(chance.shuffled("abc").index("a") for _ in range(3000))
    assert all(880 < places[place] < 1120 for place in range(3))


def test_shuffling_keeps_every_option_and_leaves_the_original() -> None:
    options = list(range(20))
    shuffled = Chance(0, 1, 99).shuffled(options)
    assert sorted(shuffled) == options == list(range(20))
    assert shuffled != options


def test_octets_are_little_endian_words_everywhere() -> None:
    words = np.random.Philox(key=20_150_210, counter=[0, 1, 0, 0]).random_raw(2).tolist()
    expected = b"".join(word.to_bytes(8, "little") for word in words)[:13]
    assert Chance(0, 0, 1).octets(13).tobytes() == expected


def test_the_world_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "from harness.tasks.datasets.toybox.vqa import make_scene, questions_about\n"
        "for i in range(40): s = make_scene('test-comp', i); print(s, questions_about(s))"
    )
    worlds = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(worlds) == 1
    assert len(worlds.pop()) > 1000
