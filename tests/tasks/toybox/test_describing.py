"""Captions of Toybox scenes, the facts they claim, and their foils."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import permutations, product

import pytest

from harness.tasks.datasets.toybox.binding import foil
from harness.tasks.datasets.toybox.chance import Chance
from harness.tasks.datasets.toybox.describing import (
    LONGEST,
    VOICES,
    describe,
    oracle_caption,
    relation,
    speak,
)
from harness.tasks.datasets.toybox.describing_facts import facts_of, parse_facts
from harness.tasks.datasets.toybox.scenes import (
    COLOURS,
    HELD_OUT,
    SHAPES,
    SPLITS,
    Scene,
    Thing,
    make_scene,
)

SCENES = [(split, index) for split in SPLITS for index in range(100)]


@cache
def described(split: str, index: int) -> tuple[Scene, tuple[str, ...]]:
    scene = make_scene(split, index)
    return scene, describe(scene, Chance(SPLITS[split], index, 3))


@cache
def foiled(split: str, index: int) -> tuple[str, ...]:
    scene, captions = described(split, index)
    chance = Chance(SPLITS[split], index, 4)
    return tuple(foil(caption, scene, chance) for caption in captions)


def pairs(split: str) -> Iterator[tuple[Scene, str, str]]:
    for index in range(100):
        scene, captions = described(split, index)
        for caption, other in zip(captions, foiled(split, index), strict=True):
            yield scene, caption, other


def thing(
    colour: str, shape: str, x: int, y: int, size: str = "large", pattern: str = "plain"
) -> Thing:
    return Thing(colour, shape, size, pattern, x, y, 13 if size == "large" else 7)


def scene_of(*things: Thing) -> Scene:
    return Scene("val", 0, things)


def said(voice: int, *things: Thing, wording: int = 0) -> str:
    return speak(VOICES[voice], scene_of(*things), wording, {})


RED, BLUE, GREEN = (
    thing("red", "circle", 15, 20),
    thing("blue", "star", 48, 50, "small", "striped"),
    thing("green", "cross", 80, 80),
)

# ---------------------------------------------------------------- an independent reader
#
# It knows plain sentences only and tries every way to give the things of a scene their parts, each
# thing one part at most.

SYNONYMS = {"violet": "purple", "turquoise": "cyan", "big": "large", "little": "small"}
ADJECTIVE = "|".join((*SYNONYMS, *COLOURS, "small", "large", "plain", "striped"))
NAME = rf"(?:an?|another) (?:(?:{ADJECTIVE}) )+(?:{'|'.join(SHAPES)})"
Part = tuple[set[str], Callable[[Thing], bool]]


def called(name: str) -> set[str]:
    return {SYNONYMS.get(word, word) for word in name.split()[1:]}


def fits(words: set[str], one: Thing) -> bool:
    return words <= {one.colour, one.shape, one.size, one.pattern}


def stands(a: Thing, how: str, b: Thing) -> bool:
    x, y = a.x - b.x, a.y - b.y
    return {
        "to the left of": x <= -12,
        "to the right of": x >= 12,
        "above": y <= -12,
        "below": y >= 12,
        "next to": abs(x) < 12 and abs(y) < 12,
    }[how]


def is_at(one: Thing, place: str) -> bool:
    words = place.split()
    in_the_middle = 36 < one.x < 60 and 36 < one.y < 60
    return (
        (one.x <= 36 or "left" not in words)
        and (one.x >= 60 or "right" not in words)
        and (one.y <= 36 or "top" not in words)
        and (one.y >= 60 or "bottom" not in words)
        and (in_the_middle or "middle" not in words)
    )


def holds_of_some(
    scene: Scene, names: Sequence[str], holds: Callable[[Sequence[Thing]], bool]
) -> bool:
    words = [called(name) for name in names]
    return any(
        all(map(fits, words, chosen)) and holds(chosen)
        for chosen in permutations(scene.things, len(names))
    )


def read_plainly(caption: str, scene: Scene) -> bool | None:
    """Whether a caption holds, or None for one that is not plain enough."""
    text = caption[0].lower() + caption[1:-1]
    how = r"to the left of|to the right of|above|below|next to"
    found = re.fullmatch(
        rf"({NAME}) is ({how}) ({NAME}), (?:and|while) ({NAME}) is ({how}) ({NAME})", text
    )
    if found:
        a, h, b, c, g, d = found.groups()
        return holds_of_some(
            scene, (a, b, c, d), lambda t: stands(t[0], h, t[1]) and stands(t[2], g, t[3])
        )
    found = re.fullmatch(rf"({NAME}) is ({how}) ({NAME}) and (?:({how}) )?({NAME})", text)
    if found:
        a, h, b, g, c = found.groups()
        return holds_of_some(
            scene, (a, b, c), lambda t: stands(t[0], h, t[1]) and stands(t[0], g or h, t[2])
        )
    found = re.fullmatch(
        r"(from left to right, the picture shows|looking from left to right, you find|"
        r"from top to bottom, there is|going down the picture, we see) "
        rf"({NAME}(?:,?(?: and)?(?: then| finally)? {NAME})*)",
        text,
    )
    if found:
        along = "to the left of" if "left" in found[1] else "above"
        names = re.findall(NAME, found[2])
        return holds_of_some(scene, names, lambda t: all(map(stands, t, [along] * len(t), t[1:])))
    place = r"(?:at the|on the|in the) (?:top|bottom|left|right|middle)(?: left| right)?"
    one = rf"{NAME} {place}"
    found = re.fullmatch(rf"there is ({one}(?:,?(?: and)? {one})*)", text)
    if found:
        parts = re.findall(rf"({NAME}) ({place})", found[1])
        return holds_of_some(
            scene, [name for name, _ in parts], lambda t: all(map(is_at, t, [p for _, p in parts]))
        )
    one = rf"(?:and )?{place}(?: is)? {NAME}"
    if re.fullmatch(rf"{one}(?:, {one})*", text):
        parts = [(name, at) for at, name in re.findall(rf"({place})(?: is)? ({NAME})", text)]
        return holds_of_some(
            scene, [name for name, _ in parts], lambda t: all(map(is_at, t, [p for _, p in parts]))
        )
    return None


@pytest.mark.parametrize("split", SPLITS)
def test_an_independent_reader_finds_captions_true_and_foils_false(split: str) -> None:
    read: Counter[str] = Counter()
    for scene, caption, other in pairs(split):
        truth = read_plainly(caption, scene)
        assert truth is not False, (caption, scene)
        if truth:
            read["captions"] += 1
        if other and truth:
            assert read_plainly(other, scene) is False, (caption, other, scene)
            read["foils"] += 1
    assert read["captions"] > 150
    assert read["foils"] > 140


@pytest.mark.parametrize("split", SPLITS)
def test_the_counts_that_a_caption_gives_are_exact(split: str) -> None:
    many = ("two", "three", "four", "five", "six")
    counted = 0
    for scene, caption, _ in pairs(split):
        found = re.match(
            rf"(?:There are|This picture has) ({'|'.join(many)}) (\w+ )?(\w+),", caption
        )
        if found is None:
            continue
        words = {SYNONYMS.get(word, word) for word in (found[2] or "").split()}
        if found[3] != "shapes":
            words.add(found[3].removesuffix("es" if found[3] == "crosses" else "s"))
        assert sum(fits(words, one) for one in scene.things) == many.index(found[1]) + 2, caption
        counted += 1
    assert counted == 100


# ---------------------------------------------------------------- captions


@pytest.mark.parametrize("split", SPLITS)
def test_every_caption_is_true_and_no_foil_is(split: str) -> None:
    for scene, caption, other in pairs(split):
        holding = facts_of(scene)
        assert parse_facts(caption) <= holding, caption
        if other:
            assert not parse_facts(other) <= holding, (caption, other)
            assert not parse_facts(other) <= facts_of(scene, clear=1), (caption, other)


@pytest.mark.parametrize(("split", "index"), SCENES[::7])
def test_the_five_captions_differ_and_are_each_of_another_voice(split: str, index: int) -> None:
    scene, captions = described(split, index)
    assert len(set(captions)) == 5
    plain = {speak(voice, scene, 0, {}).split()[0] for voice in VOICES}
    assert len(captions) == len(VOICES) >= len(plain)


def test_reference_i_is_not_always_the_same_voice() -> None:
    first = Counter(described("test", index)[1][0].split()[0] for index in range(100))
    groups = first["There"] + first["This"]
    assert len(first) >= 5
    assert groups < 60


def test_captions_are_sentences_of_eight_to_twenty_eight_words() -> None:
    for split, index in SCENES:
        for caption in described(split, index)[1]:
            assert re.fullmatch(r"[A-Z][a-z]*(?:,? [a-z]+)*\.", caption)
            assert 8 <= len(caption.split()) <= LONGEST


@pytest.mark.parametrize("split", SPLITS)
def test_orange_takes_an_and_nothing_else_does(split: str) -> None:
    for _, caption, other in pairs(split):
        for text in (caption, other):
            assert not re.search(r"\ba orange", text.lower())
            assert not re.search(r"\ban (?!orange)", text.lower())


def test_all_things_are_named_where_there_are_three_or_four_else_at_least_three() -> None:
    one = r"\b(?:an?|another|one) (?!picture)"
    several = {"two": 2, "three": 3, "four": 4}
    for split, index in SCENES:
        scene, captions = described(split, index)
        for caption in captions:
            if caption.startswith(("There are", "This picture has")):
                continue  # counts the group, then names its members
            named = len(re.findall(one, caption.lower()))
            named += sum(several.get(word, 0) for word in caption.lower().split())
            wanted = len(scene.things) if len(scene.things) <= 4 else 3
            assert named >= wanted, caption


def test_train_speaks_of_no_held_out_pair_not_even_in_a_foil() -> None:
    for split in ("train", "val", "test"):
        for _, caption, other in pairs(split):
            for colour, shape in HELD_OUT:
                assert f"{colour} {shape}" not in caption
                assert f"{colour} {shape}" not in other


def test_each_voice_has_a_construction_of_its_own() -> None:
    assert [said(voice, RED, BLUE, GREEN) for voice in range(5)] == [
        "From left to right, the picture shows a red circle, a striped blue star and a green "
        "cross.",
        "From top to bottom, there is a large red circle, a blue star and finally a large green "
        "cross.",
        "A small blue star is to the right of a large red circle and to the left of a large green "
        "cross.",
        "There is a large red circle at the top left, a small striped blue star in the middle, and "
        "a large green cross at the bottom right.",
        "There are two large shapes, a red circle to the left of a green cross, along with a blue "
        "star in the middle.",
    ]


def test_a_thing_too_close_to_be_put_in_order_is_named_beside_its_neighbour() -> None:
    above = thing("pink", "star", 20, 60)
    assert said(0, RED, above, GREEN) == (
        "From left to right, the picture shows a red circle with a pink star below it, and a green "
        "cross."
    )


@pytest.mark.parametrize(
    ("x", "y", "how"),
    [
        (60, 50, "to the right of"),
        (59, 50, "next to"),
        (36, 50, "to the left of"),
        (48, 62, "below"),
        (48, 38, "above"),
        (80, 0, "above"),
        (59, 61, "next to"),
    ],
)
def test_a_relation_is_told_only_where_it_is_clear(x: int, y: int, how: str) -> None:
    assert relation(thing("red", "circle", x, y), thing("red", "circle", 48, 50)) == how


def test_captions_of_a_scene_come_out_the_same_in_any_order() -> None:
    late = describe(make_scene("train", 15_999), Chance(0, 15_999, 3))
    describe(make_scene("train", 3), Chance(0, 3, 3))
    assert describe(make_scene("train", 15_999), Chance(0, 15_999, 3)) == late


def test_the_caption_of_the_oracle_is_true_and_free_of_synonyms() -> None:
    for split, index in SCENES:
        scene = make_scene(split, index)
        caption = oracle_caption(scene)
        assert parse_facts(caption) <= facts_of(scene)
        assert not set(SYNONYMS) & set(re.findall("[a-z]+", caption))


# ---------------------------------------------------------------- facts


def test_facts_are_conjunctive_and_know_synonyms() -> None:
    claims = parse_facts(
        "A little blue star is to the right of a big red circle and above a big turquoise cross."
    )
    assert "small blue star to the right of large red circle" in claims
    assert "small blue star above large cyan cross" in claims
    assert "at least 1 large cyan cross" in claims


def test_two_things_of_one_name_claim_two() -> None:
    claims = parse_facts("Going down the picture, we see three big orange stars.")
    assert "at least 3 large orange star" in claims
    assert not claims <= facts_of(scene_of(thing("orange", "star", 20, 20), RED, BLUE))


def test_facts_need_clear_relations_but_an_obliging_reader_grants_others() -> None:
    close = scene_of(thing("red", "circle", 40, 20), thing("blue", "star", 48, 60), GREEN)
    assert "red circle to the left of blue star" not in facts_of(close)
    assert "red circle to the left of blue star" in facts_of(close, clear=1)


def test_what_is_clear_is_granted_too() -> None:
    for split, index in SCENES[::5]:
        scene = make_scene(split, index)
        assert facts_of(scene) <= facts_of(scene, clear=1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "A dog on a beach.",
        "A red circle.",
        "A red circle is above a blue dog.",
        "A red circle is above a blue star",
        "From left to right, the picture shows a red circle above it.",
        "Is there a red star?",
        "There are two stars, a red one.  ",
        "# is above #.",
        "a red circle is above a blue star and a green cross.",
        "A red blue circle is above a blue star and a green cross.",
        "A red striped circle is above a blue star and a green cross.",
        "A star is above a circle and a cross.",
    ],
)
def test_other_texts_are_no_captions(text: str) -> None:
    with pytest.raises(ValueError, match="not a Toybox caption"):
        parse_facts(text)


def test_foils_of_other_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="not a Toybox caption"):
        foil("A dog on a beach.", scene_of(RED, BLUE, GREEN), Chance(0, 0, 4))


# ---------------------------------------------------------------- foils


@pytest.mark.parametrize("split", SPLITS)
def test_a_foil_has_the_same_words_but_for_articles(split: str) -> None:
    for _, caption, other in pairs(split):
        if other:
            assert other != caption
            assert words(other) == words(caption)


def words(text: str) -> Counter[str]:
    return Counter("a" if word == "an" else word for word in re.findall("[a-z]+", text.lower()))


def test_nearly_every_caption_has_a_foil() -> None:
    foils = [other for split in SPLITS for _, _, other in pairs(split)]
    assert sum(other != "" for other in foils) / len(foils) > 0.97


def test_most_foils_deal_a_colour_or_a_shape_to_another_thing() -> None:
    dealt = 0
    foils = [(caption, other) for _, caption, other in pairs("test") if other]
    for caption, other in foils:
        changed = {
            word
            for a, b in zip(caption.split(), other.split(), strict=True)
            if a != b
            for word in (a.strip(",.").lower(), b.strip(",.").lower())
        } - {"a", "an", "another"}
        names = {*COLOURS, *SHAPES, *SYNONYMS}
        dealt += len(changed) == 2 and changed <= names
    assert dealt / len(foils) > 0.85


def test_a_foil_leaves_the_head_of_a_group_its_own_kind_of_words() -> None:
    things = [thing("yellow", shape, 15 + 20 * i, 15 + 20 * i, "small") for i, shape in GROUP]
    scene = scene_of(*things, thing("cyan", "circle", 80, 15), thing("cyan", "circle", 15, 80))
    caption = speak(VOICES[4], scene, 0, {})
    assert caption.startswith("There are three yellow shapes, a diamond, a cross and another")
    for index in range(50):
        assert "shapes, " in foil(caption, scene, Chance(0, index, 4))


GROUP = list(enumerate(("diamond", "cross", "diamond")))


def test_what_is_all_alike_has_no_foil() -> None:
    alike = [thing("orange", "star", 20 + 27 * i, 20 + 27 * i) for i in range(3)]
    scene = scene_of(*alike)
    for voice, wording in product(VOICES, (0, 1)):
        assert foil(speak(voice, scene, wording, {}), scene, Chance(0, 0, 4)) == ""
