"""Toybox's expressions: each singles out one thing, clearly, and nothing but it gives it away."""

from __future__ import annotations

from collections import Counter
from itertools import product
from statistics import mean

import numpy as np
import pytest

from harness.errors import BadInput
from harness.tasks.datasets.toybox import expressions
from harness.tasks.datasets.toybox.chance import Chance
from harness.tasks.datasets.toybox.expressions import SHA256, checksum, expressions_about, load
from harness.tasks.datasets.toybox.phrases import VALUES, Phrase, phrases_over
from harness.tasks.datasets.toybox.referring import (
    SAID,
    Reference,
    Referral,
    parse,
    refer,
    render,
    resolve,
)
from harness.tasks.datasets.toybox.scenes import (
    HELD_OUT,
    PICTURES,
    SPLITS,
    Scene,
    Thing,
    make_scene,
)
from harness.types import Expression

Referred = list[tuple[Scene, Referral]]


@pytest.fixture(scope="module")
def referred() -> dict[str, Referred]:
    """Five hundred scenes of each split with their expressions."""
    scenes = {split: [make_scene(split, index) for index in range(500)] for split in SPLITS}
    return {
        split: [(scene, one) for scene in some for one in expressions_about(scene)]
        for split, some in scenes.items()
    }


def a_thing(colour: str, shape: str, x: int, y: int, size: str = "small") -> Thing:
    return Thing(colour, shape, size, "plain", x, y, 8 if size == "small" else 12)


def a_scene(*things: Thing) -> Scene:
    return Scene("test", 0, things)


# ---------------------------------------------------------------- wordings


def test_what_is_worded_can_be_read_back() -> None:
    phrases = [
        phrase for names in ((), ("colour",), tuple(VALUES)) for phrase in phrases_over(names)
    ]
    references = [Reference("attributes", phrase) for phrase in phrases]
    for word, phrase in product(SAID, phrases[:40]):
        form = "extreme" if word.endswith("most") else "relation"
        landmark = phrases[-1] if form == "relation" else Phrase()
        references.append(Reference(form, phrase, word, landmark))
    for reference, wording, synonyms in product(references, range(4), (False, True)):
        assert parse(render(reference, wording, synonyms)) == reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("the red one", Reference("attributes", Phrase((("colour", "red"),)))),
        ("violet star", Reference("attributes", Phrase((("colour", "purple"), ("shape", "star"))))),
        ("highest star", Reference("extreme", Phrase((("shape", "star"),)), "topmost")),
        (
            "big one left of the cross",
            Reference(
                "relation",
                Phrase((("size", "large"),)),
                "to the left of",
                Phrase((("shape", "cross"),)),
            ),
        ),
    ],
)
def test_wordings_mean_what_they_say(text: str, reference: Reference) -> None:
    assert parse(text) == reference


@pytest.mark.parametrize(
    "text", ["", "the", "the dog", "star above", "leftmost star above the cross", "red, star"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Toybox expression"):
        parse(text)


# ---------------------------------------------------------------- which thing is meant


def test_a_relation_holds_from_twelve_pixels_on() -> None:
    cross, far = a_thing("red", "cross", 50, 50), a_thing("red", "star", 80, 20)
    for x, found in ((38, True), (39, False), (61, False)):
        star = a_thing("blue", "star", x, 20)
        assert (resolve("star left of cross", a_scene(cross, star, far)) is star) == found


def test_no_other_thing_may_be_nearly_in_the_relation() -> None:
    cross, star = a_thing("red", "cross", 50, 50), a_thing("red", "star", 20, 20)
    for x, found in ((62, True), (61, False), (40, False), (30, False)):
        other = a_thing("blue", "star", x, 80)
        assert (resolve("star left of cross", a_scene(cross, other, star)) is star) == found


def test_an_extreme_leads_by_twelve_pixels() -> None:
    first = a_thing("red", "star", 30, 20)
    for x, found in ((42, True), (41, False)):
        scene = a_scene(a_thing("blue", "star", x, 80), a_thing("red", "cross", 10, 50), first)
        assert (resolve("the leftmost star", scene) is first) == found


def test_what_matches_no_thing_or_several_is_nothing() -> None:
    scene = a_scene(*(a_thing("red", "star", x, 20) for x in (10, 40, 70)))
    for text in ("star", "blue thing", "thing above the cross", "star above the star"):
        assert resolve(text, scene) is None


def by_hand(reference: Reference, scene: Scene) -> list[Thing]:
    """The things that fit, by comparing each with each; those that fit unclearly count too."""

    def is_such(phrase: Phrase, thing: Thing) -> bool:
        return all(getattr(thing, name) == value for name, value in phrase.parts)

    def lead(thing: Thing, other: Thing) -> int:
        word = {"leftmost": "left", "rightmost": "right", "topmost": "above", "bottommost": "below"}
        towards = word.get(reference.w, reference.w)
        if "left" in towards or "right" in towards:
            return (thing.x - other.x) * (1 if "right" in towards else -1)
        return (thing.y - other.y) * (1 if towards == "below" else -1)

    such = [thing for thing in scene.things if is_such(reference.a, thing)]
    if reference.form == "relation":
        (landmark,) = [thing for thing in scene.things if is_such(reference.b, thing)]
        return [one for one in such if one is not landmark and lead(one, landmark) > -12]
    if reference.form == "extreme":
        return [one for one in such if all(lead(one, other) > -12 for other in such)]
    return such


@pytest.mark.parametrize("split", SPLITS)
def test_every_expression_fits_its_thing_alone(split: str, referred: dict[str, Referred]) -> None:
    for scene, referral in referred[split]:
        assert resolve(referral.text, scene) is referral.thing
        assert by_hand(parse(referral.text), scene) == [referral.thing]


@pytest.mark.parametrize("split", SPLITS)
def test_relations_and_extremes_are_needed(split: str, referred: dict[str, Referred]) -> None:
    for scene, referral in referred[split]:
        such = [thing for thing in scene.things if referral.reference.a.matches(thing)]
        if referral.reference.form == "relation":
            such = [thing for thing in such if not referral.reference.b.matches(thing)]
        assert (len(such) > 1) == (referral.reference.form != "attributes")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_held_out_pairs_are_not_spoken_of(split: str, referred: dict[str, Referred]) -> None:
    for _, referral in referred[split]:
        reference = parse(referral.text)
        for named in (dict(reference.a.parts), dict(reference.b.parts)):
            assert (named.get("colour"), named.get("shape")) not in HELD_OUT


def test_things_that_look_all_alike_are_told_apart_by_place() -> None:
    scene = a_scene(*(a_thing("red", "star", x, x) for x in (10, 40, 70)))
    referrals = refer(scene, Chance(0, 0, 99), 3)
    assert len({referral.text for referral in referrals}) == 3
    assert all(resolve(referral.text, scene) is referral.thing for referral in referrals)


# ---------------------------------------------------------------- balance


def test_expressions_of_a_picture_are_of_different_things(referred: dict[str, Referred]) -> None:
    some = referred["train"]
    of_each = [[one for _, one in some[start : start + 3]] for start in range(0, len(some), 3)]
    assert all(len({one.text for one in three}) == 3 for three in of_each)
    assert mean(len({id(one.thing) for one in three}) == 3 for three in of_each) > 0.99


@pytest.mark.parametrize("split", SPLITS)
def test_each_form_has_its_share(split: str, referred: dict[str, Referred]) -> None:
    forms = Counter(referral.reference.form for _, referral in referred[split])
    assert all(forms[form] > 0.2 * sum(forms.values()) for form in ("relation", "extreme"))
    assert 0.3 < forms["attributes"] / sum(forms.values()) < 0.5


def test_no_place_in_the_drawing_order_and_no_size_is_preferred(
    referred: dict[str, Referred],
) -> None:
    some = [pair for split in ("train", "val", "test") for pair in referred[split]]
    by_size = Counter(referral.thing.size for _, referral in some)
    assert abs(by_size["small"] - by_size["large"]) < 0.05 * len(some)
    sixes = [scene.things.index(one.thing) for scene, one in some if len(scene.things) == 6]
    assert all(abs(sixes.count(place) / len(sixes) - 1 / 6) < 0.04 for place in range(6))


def test_no_one_box_is_often_right(referred: dict[str, Referred]) -> None:
    boxes = np.array([referral.thing.box for _, referral in referred["train"]])
    sides = boxes[:, 2] - boxes[:, 0]
    best = 0.0
    for side, x, y in product((17, 21, 25), range(0, 75, 6), range(0, 75, 6)):
        across = np.minimum(boxes[:, 2], x + side) - np.maximum(boxes[:, 0], x)
        down = np.minimum(boxes[:, 3], y + side) - np.maximum(boxes[:, 1], y)
        shared = across.clip(0) * down.clip(0)
        best = max(best, float(np.mean(shared / (sides**2 + side**2 - shared) >= 0.5)))
    assert best < 0.05


# ---------------------------------------------------------------- as a data set


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_drawn_and_said_under_this_name_never_changes(split: str) -> None:
    assert checksum(split) == SHA256[split] == load(None, split).sha256


def test_the_checksum_covers_pictures_texts_and_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PICTURES, "val", 3)
    before = checksum("val")
    original = expressions.expressions_about
    for name, replacement in {
        "texts": lambda one: Referral(one.reference, one.text + ".", one.thing),
        "boxes": lambda one: Referral(one.reference, one.text, a_thing("red", "star", 9, 9)),
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(
                expressions,
                "expressions_about",
                lambda scene, change=replacement: tuple(map(change, original(scene))),
            )
            assert checksum("val") != before, name
    with monkeypatch.context() as patch:
        patch.setattr(
            "harness.tasks.datasets.toybox.drawing.draw", lambda scene: np.zeros(3, dtype=np.uint8)
        )
        assert checksum("val") != before
    assert checksum("val") == before


def test_three_expressions_about_each_of_a_thousand_pictures() -> None:
    dataset = load(None, "test")
    assert (dataset.name, dataset.split, len(dataset.samples)) == ("toybox", "test", 3000)
    sample = dataset.samples[3 * 17 + 2]
    scene, referral = make_scene("test", 17), expressions_about(make_scene("test", 17))[2]
    assert isinstance(sample.input, Expression)
    assert (sample.id, sample.input.text) == ("test-00017-2", referral.text)
    assert sample.input.visual.scene == scene
    assert sample.group == sample.input.visual.id
    assert sample.target.box == referral.thing.box
    assert sample.tags == {"form": referral.reference.form}


@pytest.mark.parametrize("split", ["", "tset", "Train"])
def test_an_unknown_split_is_refused(split: str) -> None:
    with pytest.raises(BadInput, match="train, val, test, test-comp"):
        load(None, split)
