"""Sentences about Toybox clips: captions in five voices, their foils, and queries for one event;
and how to read such sentences back into facts.

Knows what happens in a clip, not how it is filmed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TypeAlias

from .asking import SYNONYMS
from .chance import Chance
from .clip_voices import VERBS, VOICES, Clause, sentence, with_a, with_the
from .clips import DIRECTIONS, RATE, ClipScene, Event
from .phrases import Phrase, parse_phrase, phrase_of
from .scenes import COLOURS, PATTERNS, SHAPES, SIZES, SPLITS

LONGEST_CAPTION = 25  # words


@dataclass(frozen=True, slots=True)
class Told:
    """What a sentence tells of one thing: what happens to it, or that it stands still (kind "").
    `kind` and `detail` as in Event."""

    phrase: Phrase
    kind: str = ""
    detail: str = ""


# A thing told of, or two events of which the first is told before the second
Fact: TypeAlias = Told | tuple[Told, Told]


_DETAILS = {"moves": tuple(DIRECTIONS), "turns": COLOURS}
_WORD_OF = {synonym: word for word, synonym in SYNONYMS.items()}
ORACLE_VOICE = 2  # the voice that agrees best with the others, by CIDEr over clips of val


# ---------------------------------------------------------------- captions


@dataclass(frozen=True, slots=True)
class Manner:
    """How a caption is worded: by which voice, with which verb for each event, in order, and which
    synonyms it uses throughout."""

    voice: int
    verbs: tuple[int, ...]
    synonyms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption: the events and then what stands still, as told, and in which manner."""

    told: tuple[Told, ...]
    manner: Manner

    @property
    def text(self) -> str:
        synonyms = self.manner.synonyms
        events = [told for told in self.told if told.kind]
        clauses = [
            _clause(told, verb, synonyms)
            for told, verb in zip(events, self.manner.verbs, strict=True)
        ]
        others = [_noun(told.phrase, synonyms) for told in self.told if not told.kind]
        return VOICES[self.manner.voice].say(clauses, others)


def _clause(told: Told, verb: int, synonyms: frozenset[str]) -> Clause:
    finite, gerund = VERBS[told.kind][verb]
    detail = _worded(told.detail, synonyms)
    return Clause(_noun(told.phrase, synonyms), finite.format(detail), gerund.format(detail))


def _noun(phrase: Phrase, synonyms: frozenset[str]) -> str:
    return " ".join(_worded(value, synonyms) for _, value in phrase.parts)


def _worded(word: str, synonyms: frozenset[str]) -> str:
    return SYNONYMS[word] if word in synonyms else word


def captions_of(scene: ClipScene) -> tuple[Caption, ...]:
    """Five captions of a clip, one in each voice, the voices in random order."""
    chance = Chance(SPLITS[scene.split], scene.index, purpose=12)
    return tuple(
        _caption(scene, _manner(chance, voice, len(scene.events)))
        for voice in chance.shuffled(range(len(VOICES)))
    )


def oracle_caption(scene: ClipScene, voice: int = ORACLE_VOICE) -> str:
    """A true caption in one fixed voice, with the words that it likes best."""
    favourite = VOICES[voice].favourite
    return _caption(scene, Manner(voice, (favourite,) * len(scene.events))).text


def _manner(chance: Chance, voice: int, events: int) -> Manner:
    """One verb in four is not the voice's favourite; a synonym is used one time in four."""
    favourite = VOICES[voice].favourite
    verbs = tuple(
        (favourite + 1 + chance.below(2)) % 3 if chance.one_in(4) else favourite
        for _ in range(events)
    )
    return Manner(voice, verbs, frozenset(word for word in SYNONYMS if chance.one_in(4)))


def _caption(scene: ClipScene, manner: Manner) -> Caption:
    """Tells the events by time and then what stands still, from left to right, as far as the words
    go."""
    voice = VOICES[manner.voice]
    actors = [event.thing for event in scene.events]
    others = [number for number in range(len(scene.things)) if number not in actors]
    others.sort(key=lambda number: scene.things[number].x)
    if voice.laconic and len(actors) > 1:
        others = []
    # what stands still is passed over before the details of what happens are
    for detailed in (True, False) if voice.detailed else (False,):
        events = [_told(scene, number, detailed) for number in actors]
        for named in range(len(others), -1, -1):
            stands = [_told(scene, number, detailed=False) for number in others[:named]]
            caption = Caption((*events, *stands), manner)
            if len(caption.text.split()) <= LONGEST_CAPTION:
                return caption
    raise AssertionError("three events fit without details")


def _told(scene: ClipScene, number: int, detailed: bool) -> Told:
    phrase, event = scene.phrase(number), scene.event_of(number)
    if detailed:
        named = {attribute for attribute, _ in phrase.parts}
        phrase = phrase_of(scene.things[number], (*named, "size"))
    return Told(phrase, event.kind, event.detail) if event else Told(phrase)


# ---------------------------------------------------------------- foils


def foils_of(scene: ClipScene, captions: Sequence[Caption]) -> tuple[str, ...]:
    """For each caption one of the same words that does not hold, its attributes dealt to other
    things; "" where there is none."""
    chance = Chance(SPLITS[scene.split], scene.index, purpose=14)
    true = facts_of(scene)
    return tuple(_foil(scene, caption, true, chance) for caption in captions)


def _foil(scene: ClipScene, caption: Caption, true: frozenset[Fact], chance: Chance) -> str:
    words = _words(caption.text)
    for told in chance.shuffled(list(_dealt_otherwise(caption.told))):
        # an order that does not hold would not do: it is no matter of attributes
        if true.issuperset(told) or not _could_be_said(told, scene.split):
            continue
        text = replace(caption, told=told).text
        if _words(text) == words:  # "a" and "an" may have to change, or "stands" and "stand"
            return text
    return ""


def _words(text: str) -> list[str]:
    return sorted(re.findall("[a-z]+", text.lower()))


def _dealt_otherwise(told: tuple[Told, ...]) -> Iterator[tuple[Told, ...]]:
    """The same with one attribute, or all, of two things exchanged."""
    for one, other in combinations(range(len(told)), 2):
        a, b = told[one].phrase, told[other].phrase
        for attribute in ("colour", "shape", "size", "pattern", ""):
            if attribute and not (a.names(attribute) and b.names(attribute)):
                continue
            changed = list(told)
            changed[one] = replace(told[one], phrase=_with(a, b, attribute))
            changed[other] = replace(told[other], phrase=_with(b, a, attribute))
            yield tuple(changed)


def _with(phrase: Phrase, other: Phrase, attribute: str) -> Phrase:
    """A phrase with the other's value of an attribute, with all of them if that is ""."""
    if not attribute:
        return other
    value = dict(other.parts)[attribute]
    return Phrase(tuple((a, value if a == attribute else v) for a, v in phrase.parts))


def _could_be_said(told: tuple[Told, ...], split: str) -> bool:
    """Whether each thing has a phrase of its own and nothing becomes what it is already, so that
    the clip must be seen to know that the sentence is false. As in questions, training does not
    even speak of held-out pairs."""
    for one in told:
        named = dict(one.phrase.parts)
        already = {"turns": one.detail, "grows": "large", "shrinks": "small"}.get(one.kind, "")
        if already and already in named.values():
            return False
        if split != "test-comp" and one.phrase.held_out:
            return False
    return len({one.phrase for one in told}) == len(told)


# ---------------------------------------------------------------- queries for one event


def event_query(scene: ClipScene) -> tuple[Event, str]:
    """One event of a clip, any with equal chance, and a sentence that is true of it alone."""
    chance = Chance(SPLITS[scene.split], scene.index, purpose=13)
    event = chance.pick(scene.events)
    synonyms = frozenset(word for word in SYNONYMS if chance.one_in(4))
    return event, event_sentence(scene, event, chance.below(2), chance.below(3), synonyms)


def event_sentence(
    scene: ClipScene,
    event: Event,
    wording: int = 0,
    verb: int = 0,
    synonyms: frozenset[str] = frozenset(),
) -> str:
    """A sentence about one event: "The red circle turns blue." or "A red circle turning blue." """
    clause = _clause(_told(scene, event.thing, detailed=False), verb, synonyms)
    if wording:
        return sentence(f"{with_a(clause.noun)} {clause.gerund}")
    return sentence(f"{with_the(clause.noun)} {clause.finite}")


def find_event(text: str, scene: ClipScene) -> tuple[float, float] | None:
    """When the event that a sentence tells of first happens, (start, end) in seconds; None where
    the clip has no such event or several."""
    told = next((told for told in _parse(text) if told.kind), None)
    fitting = [
        event
        for event in scene.events
        if told is not None
        and (event.kind, event.detail) == (told.kind, told.detail)
        and told.phrase.matches(scene.things[event.thing])
    ]
    return span_of(fitting[0]) if len(fitting) == 1 else None


def span_of(event: Event) -> tuple[float, float]:
    """(start, end) of an event in seconds."""
    return event.first / RATE, event.last / RATE


# ---------------------------------------------------------------- facts


def facts_of(scene: ClipScene) -> frozenset[Fact]:
    """All that could be told of a clip and holds: each thing by its colour and shape, with or
    without its size and pattern as they are before its event."""
    by_thing = {number: _ways_to_tell(scene, number) for number in range(len(scene.things))}
    ordered = [by_thing[event.thing] for event in scene.events]
    pairs = [pair for a, b in combinations(ordered, 2) for pair in product(a, b)]
    return frozenset([*(told for ways in by_thing.values() for told in ways), *pairs])


def _ways_to_tell(scene: ClipScene, number: int) -> list[Told]:
    event = scene.event_of(number)
    kind, detail = (event.kind, event.detail) if event else ("", "")
    named = [("colour", "shape", *more) for more in _MORE]
    return [Told(phrase_of(scene.things[number], some), kind, detail) for some in named]


_MORE = ((), ("size",), ("pattern",), ("size", "pattern"))


def parse_facts(text: str) -> frozenset[Fact]:
    """The facts that a caption asserts, none where it tells of no thing with colour and shape."""
    told = _parse(text)
    events = [one for one in told if one.kind]
    return frozenset([*told, *combinations(events, 2)])


def share_of_facts(text: str, true: frozenset[Fact]) -> float:
    """Which share of a caption's facts are among these, 0 for a caption without any."""
    facts = parse_facts(text)
    return len(facts & true) / len(facts) if facts else 0.0


def _parse(text: str) -> list[Told]:
    found = []
    for noun, verb in _MENTION.findall(text.lower()):
        phrase = parse_phrase(" ".join(_WORD_OF.get(word, word) for word in noun.split()))
        found.append(Told(phrase, *_HAPPENINGS.get(verb, ("", ""))))
    return found


def _happenings() -> Iterator[tuple[str, tuple[str, str]]]:
    """(what is said, (kind, detail)), with synonyms."""
    for kind, verbs in VERBS.items():
        for verb, detail in product(verbs, _DETAILS.get(kind, ("",))):
            for form, word in product(verb, {detail, SYNONYMS.get(detail, detail)}):
                yield form.format(word), (kind, detail)


_HAPPENINGS = dict(_happenings())
_ADJECTIVES = "|".join((*SIZES, *PATTERNS, *COLOURS, *SYNONYMS.values()))
_MENTION = re.compile(
    rf"\b((?:(?:{_ADJECTIVES}) )*(?:{'|'.join(SHAPES)}))\b"
    rf"(?: ({'|'.join(sorted(_HAPPENINGS, key=len, reverse=True))})\b)?"
)
