"""Sentences about Toybox clips: true where they should be, false where they should not."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from harness.tasks.datasets.toybox import narrating
from harness.tasks.datasets.toybox.asking import SYNONYMS
from harness.tasks.datasets.toybox.clip_voices import VERBS, VOICES
from harness.tasks.datasets.toybox.clips import ClipScene, Event, make_clip_scene
from harness.tasks.datasets.toybox.narrating import (
    Told,
    captions_of,
    event_query,
    event_sentence,
    facts_of,
    find_event,
    foils_of,
    oracle_caption,
    parse_facts,
    share_of_facts,
    span_of,
)
from harness.tasks.datasets.toybox.phrases import parse_phrase
from harness.tasks.datasets.toybox.scenes import HELD_OUT, SPLITS, Thing


@pytest.fixture(scope="module")
def scenes() -> list[ClipScene]:
    return [make_clip_scene(split, index) for split in SPLITS for index in range(120)]


def a_clip() -> ClipScene:
    """By time: the red circle moves left (1 to 2 s), the cyan star turns purple (3 to 4.5 s). What
    stands still: an orange square left of a plain and a striped green cross."""
    circle = Thing("red", "circle", "small", "plain", 50, 10, 6)
    star = Thing("cyan", "star", "large", "striped", 20, 40, 10)
    square = Thing("orange", "square", "small", "plain", 8, 8, 6)
    plain = Thing("green", "cross", "small", "plain", 55, 55, 6)
    striped = Thing("green", "cross", "small", "striped", 35, 55, 6)
    events = (
        Event("moves", 0, 4, 8, replace(circle, x=30), "left"),
        Event("turns", 1, 12, 18, replace(star, colour="purple"), "purple"),
    )
    return ClipScene("test", 0, (circle, star, square, plain, striped), events)


def told(noun: str, kind: str = "", detail: str = "") -> Told:
    return Told(parse_phrase(noun), kind, detail)


def test_each_voice_tells_the_same_in_its_own_way() -> None:
    """As many of the things that stand still, from the left, as 25 words allow."""
    assert [oracle_caption(a_clip(), voice) for voice in range(len(VOICES))] == [
        "A red circle moves left, then a cyan star turns purple, while an orange square and a "
        "striped green cross stand still.",
        "First the red circle goes left, next the cyan star becomes purple; the orange square and "
        "the striped green cross stay put.",
        "An orange square and a striped green cross wait while a red circle moves left and later a "
        "cyan star turns purple.",
        "A red circle sliding left, followed by a cyan star going purple.",
        "We see how a small red circle moves left before a large cyan star turns purple; an orange "
        "square keeps still.",
    ]


def test_a_caption_is_read_back_into_facts() -> None:
    moves, turns = told("red circle", "moves", "left"), told("cyan star", "turns", "purple")
    still = told("orange square"), told("striped green cross")
    assert parse_facts(oracle_caption(a_clip(), 0)) == {moves, turns, (moves, turns), *still}
    assert parse_facts(oracle_caption(a_clip(), 3)) == {moves, turns, (moves, turns)}


def test_synonyms_are_read_as_the_words_they_stand_for() -> None:
    assert parse_facts("A big violet star goes turquoise.") == {
        told("large purple star", "turns", "cyan")
    }


@pytest.mark.parametrize("text", ["", "A dog runs.", "Something moves left.", "Red, blue; star"])
def test_a_text_about_nothing_in_particular_has_no_true_facts(text: str) -> None:
    assert share_of_facts(text, facts_of(a_clip())) == 0.0


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("A red circle moves left.", 1.0),
        ("A small plain red circle goes left.", 1.0),
        ("A red circle moves left and later a cyan star turns purple.", 1.0),
        ("A cyan star turns purple and later a red circle moves left.", 2 / 3),  # not in this order
        ("A red circle moves right.", 0.0),
        ("A red circle stands still.", 0.0),
        ("A red circle moves left while a green cross waits.", 1.0),
        ("A red circle moves left while a blue cross waits.", 0.5),
        ("A large red circle moves left.", 0.0),
    ],
)
def test_the_share_of_a_captions_facts_that_hold(text: str, share: float) -> None:
    assert share_of_facts(text, facts_of(a_clip())) == pytest.approx(share)


def test_all_facts_of_captions_hold(scenes: list[ClipScene]) -> None:
    for scene in scenes:
        true = facts_of(scene)
        for caption in captions_of(scene):
            assert parse_facts(caption.text) <= true, caption.text
            assert len(parse_facts(caption.text)) >= len(scene.events)
        assert share_of_facts(oracle_caption(scene), true) == 1.0


def words(text: str) -> list[str]:
    return sorted(re.findall("[a-z]+", text.lower()))


def test_foils_have_the_captions_words_and_do_not_hold(scenes: list[ClipScene]) -> None:
    missing = 0
    for scene in scenes:
        captions, true = captions_of(scene), facts_of(scene)
        for caption, foil in zip(captions, foils_of(scene, captions), strict=True):
            missing += not foil
            if foil:
                assert words(foil) == words(caption.text)
                told_singly = {fact for fact in parse_facts(foil) if isinstance(fact, Told)}
                assert not told_singly <= true, foil
                assert share_of_facts(foil, true) < 1.0
    assert missing / (5 * len(scenes)) < 0.02


def test_foils_are_sentences_like_captions(scenes: list[ClipScene]) -> None:
    for scene in scenes:
        captions = captions_of(scene)
        for text in (*(caption.text for caption in captions), *foils_of(scene, captions)):
            assert not text or re.fullmatch(r"[A-Z][a-z ,;]+\.", text), text
            lowered = text.lower()
            assert not re.search(r"\ban (?!orange)|\ba orange", lowered)
            assert "  " not in text
            for fact in parse_facts(text):
                if isinstance(fact, Told) and fact.kind == "turns":
                    assert fact.detail not in dict(fact.phrase.parts).values()
                if isinstance(fact, Told) and scene.split != "test-comp":
                    assert not fact.phrase.held_out, text


def test_captions_are_6_to_25_words_long(scenes: list[ClipScene]) -> None:
    texts = [caption.text for scene in scenes for caption in captions_of(scene)]
    lengths = Counter(len(text.split()) for text in texts)
    assert min(lengths) >= 6
    assert max(lengths) <= 25


def test_the_five_captions_of_a_clip_differ_and_come_in_any_order(scenes: list[ClipScene]) -> None:
    orders = set()
    for scene in scenes:
        captions = captions_of(scene)
        assert len({caption.text for caption in captions}) == 5
        assert {caption.manner.voice for caption in captions} == set(range(5))
        orders.add(tuple(caption.manner.voice for caption in captions))
    assert len(orders) > 90


def test_captions_tell_the_events_in_order_of_time(scenes: list[ClipScene]) -> None:
    for scene in scenes:
        happened = [(event.kind, event.detail) for event in scene.events]
        for caption in captions_of(scene):
            assert [(t.kind, t.detail) for t in caption.told if t.kind] == happened


def test_most_captions_say_what_stands_still(scenes: list[ClipScene]) -> None:
    some = [scene for scene in scenes if len(scene.events) < len(scene.things)]
    captions = [caption for scene in some for caption in captions_of(scene)]
    assert sum(any(not told.kind for told in c.told) for c in captions) / len(captions) > 0.6


def test_each_synonym_is_used_at_times(scenes: list[ClipScene]) -> None:
    used = Counter(word for scene in scenes for c in captions_of(scene) for word in words(c.text))
    for word, synonym in SYNONYMS.items():
        assert 0.1 < used[synonym] / (used[word] + used[synonym]) < 0.4


def test_an_event_sentence_is_true_of_one_event_in_every_wording(scenes: list[ClipScene]) -> None:
    for scene in scenes[::4]:
        for event in scene.events:
            for wording in (0, 1):
                for verb in range(3):
                    for synonyms in (frozenset[str](), frozenset(SYNONYMS)):
                        text = event_sentence(scene, event, wording, verb, synonyms)
                        assert find_event(text, scene) == span_of(event), text


def test_queries_are_found_and_ask_for_any_event(scenes: list[ClipScene]) -> None:
    places = Counter[int]()
    for scene in scenes:
        event, text = event_query(scene)
        assert find_event(text, scene) == span_of(event)
        if len(scene.events) == 3:
            places[scene.events.index(event)] += 1
    assert min(places.values()) / places.total() > 0.2


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("The red circle moves left.", (1.0, 2.0)),
        ("A turquoise star becoming violet.", (3.0, 4.5)),
        ("The red circle moves right.", None),
        ("The green cross disappears.", None),
        ("An orange square.", None),
        ("Nothing.", None),
    ],
)
def test_finding_an_event(text: str, moment: tuple[float, float] | None) -> None:
    assert find_event(text, a_clip()) == moment


def test_a_sentence_that_fits_two_events_finds_none() -> None:
    scene = a_clip()
    crosses = (
        Event("leaves", 3, 20, 24, scene.things[3]),
        Event("leaves", 4, 26, 30, scene.things[4]),
    )
    scene = replace(scene, events=(*scene.events[:1], *crosses))
    assert find_event("The green cross vanishes.", scene) is None
    assert find_event("The striped green cross vanishes.", scene) == (6.5, 7.5)


def test_each_verb_says_one_thing() -> None:
    forms = [form for verbs in VERBS.values() for verb in verbs for form in verb]
    assert all(len(verbs) == 3 for verbs in VERBS.values())
    # "goes {}" is said of directions and of colours, which are no same words
    assert {form for form, n in Counter(forms).items() if n > 1} == {"goes {}", "going {}"}


def test_the_oracle_speaks_in_the_voice_nearest_to_the_others() -> None:
    from harness.metrics.caption import cider
    from harness.metrics.ptb_tokenizer import tokenize_all

    some = [make_clip_scene("val", index) for index in range(100)]
    references = [tokenize_all(c.text for c in captions_of(scene)) for scene in some]
    scores = [
        cider(tokenize_all(oracle_caption(scene, voice) for scene in some), references)
        for voice in range(len(VOICES))
    ]
    assert scores[narrating.ORACLE_VOICE] > max(scores) - 0.2
    assert scores[narrating.ORACLE_VOICE] > 4.5


def test_no_caption_outside_test_comp_speaks_of_a_held_out_pair(scenes: list[ClipScene]) -> None:
    pairs = {f"{colour} {shape}" for colour, shape in HELD_OUT}
    for scene in scenes:
        texts = [caption.text for caption in captions_of(scene)]
        if scene.split != "test-comp":
            assert not any(pair in text.lower() for text in texts for pair in pairs)
