"""Expressions that single out one thing of a scene: proposes, words and reads them, and finds the
thing they speak of. Knows scenes, not pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .asking import SYNONYMS
from .chance import Chance
from .phrases import (
    EXPRESSION,
    NOTHING_NAMED,
    Phrase,
    attribute_sets,
    parse_phrase,
    phrase_of,
    singling_out,
)
from .questions import EXTREMES, RELATIONS
from .scenes import Scene, Thing

# pixels by which a centre must be ahead of another to be "to the left of" it, as in questions;
# what is less than that behind is not clearly on the other side either
CLEAR = 12

# form -> how many in a hundred are tried first; many relations do not fit and end as attributes, so
# that the forms come out at about 40, 29 and 31
FORMS = {"attributes": 10, "relation": 60, "extreme": 30}

# {a}: the thing, {b}: the landmark, {w}: a relation or an extreme. People are brief at times.
WORDINGS = {
    "attributes": ("the {a}", "{a}"),
    "relation": ("the {a} {w} the {b}", "{a} {w} {b}"),
    "extreme": ("the {w} {a}", "{w} {a}"),
}
# how relations and extremes may also be said, the plainest first
SAID = {
    "to the left of": ("to the left of", "left of"),
    "to the right of": ("to the right of", "right of"),
    "above": ("above",),
    "below": ("below",),
    "leftmost": ("leftmost",),
    "rightmost": ("rightmost",),
    "topmost": ("topmost", "highest"),
    "bottommost": ("bottommost", "lowest"),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """What an expression says: the thing is an `a` that is `w` of `b`, or the `w` of all `a`."""

    form: str
    a: Phrase
    w: str = ""
    b: Phrase = NOTHING_NAMED


@dataclass(frozen=True, slots=True)
class Referral:
    """An expression as a data set holds it, and the thing it singles out."""

    reference: Reference
    text: str
    thing: Thing


# ---------------------------------------------------------------- proposing


def refer(scene: Scene, chance: Chance, count: int) -> tuple[Referral, ...]:
    """`count` different expressions about different things, as far as the scene has so many that
    can be singled out; which things is settled first, so that no kind of thing is preferred."""
    referrals: dict[str, Referral] = {}
    while len(referrals) < count:
        for thing in chance.shuffled(scene.things):
            reference = _propose(scene, thing, chance)
            if reference is not None and len(referrals) < count:
                text = render(reference, chance.below(4), chance.one_in(3))
                referrals.setdefault(text, Referral(reference, text, thing))
    return tuple(referrals.values())


def _propose(scene: Scene, thing: Thing, chance: Chance) -> Reference | None:
    first = chance.weighted(tuple(FORMS.items()))
    for form in (first, *(form for form in _THEN if form != first)):
        for _ in range(_TRIES if form != "attributes" else 1):
            reference = _PROPOSALS[form](scene, thing, chance)
            if reference is not None and find(reference, scene) is thing:
                return reference
    return None


def _propose_attributes(scene: Scene, thing: Thing, chance: Chance) -> Reference | None:
    """The shortest phrase, or one time in four any that will do."""
    phrases = list(singling_out(scene.things, thing))
    if phrases and chance.one_in(4):
        longer = [phrase_of(thing, names) for names in attribute_sets((1, 2, 3, 4))]
        phrases = [phrase for phrase in longer if _count(phrase, scene) == 1]
    return Reference("attributes", chance.pick(phrases)) if phrases else None


def _propose_relation(scene: Scene, thing: Thing, chance: Chance) -> Reference | None:
    landmark = chance.pick(scene.things)
    x, y = landmark.x - thing.x, landmark.y - thing.y
    clear = [word for word, (dx, dy) in RELATIONS.items() if -(dx * x + dy * y) >= CLEAR]
    a = phrase_of(thing, chance.pick(_NAMED))
    # the relation must be needed: more things than the one and the landmark are such
    if not clear or _count(a, scene) < 2 + a.matches(landmark):
        return None
    relation = chance.pick(clear)
    if find_beside(a, relation, landmark, scene) is not thing:
        return None
    phrases = list(singling_out(scene.things, landmark))
    return Reference("relation", a, relation, chance.pick(phrases)) if phrases else None


def _propose_extreme(scene: Scene, thing: Thing, chance: Chance) -> Reference | None:
    return Reference("extreme", phrase_of(thing, chance.pick(_NAMED)), chance.pick(tuple(EXTREMES)))


def _count(phrase: Phrase, scene: Scene) -> int:
    return sum(map(phrase.matches, scene.things))


_TRIES = 24
_THEN = ("relation", "attributes", "extreme")  # what is tried where the first form does not fit
_NAMED = ((), *attribute_sets((1, 1, 2)))  # the attributes that relations and extremes name
_PROPOSALS: dict[str, Callable[[Scene, Thing, Chance], Reference | None]] = {
    "attributes": _propose_attributes,
    "relation": _propose_relation,
    "extreme": _propose_extreme,
}

# ---------------------------------------------------------------- wording


def render(reference: Reference, wording: int = 0, synonyms: bool = False) -> str:
    """Wordings 0 and 2 have articles, 1 and 3 are brief; 2 and 3 say relations and extremes in
    another way, where there is one. `synonyms`: violet for purple and so on."""
    brief, otherwise = wording % 2, wording // 2 % 2
    said = SAID.get(reference.w, ("",))
    text = WORDINGS[reference.form][brief].format(
        a=reference.a.singular(), b=reference.b.singular(), w=said[otherwise % len(said)]
    )
    if brief:
        text = text.replace("thing", "one")
    if synonyms:
        text = " ".join(SYNONYMS.get(word, word) for word in text.split())
    return text


_SAID_AS = {said.replace("the ", ""): plain for plain, many in SAID.items() for said in many}
_PLAIN_WORDS = {"one": "thing", **{synonym: word for word, synonym in SYNONYMS.items()}}
_PATTERN = re.compile(
    rf"(?:(?P<extreme>{'|'.join(EXTREMES)}|highest|lowest) )?(?P<a>{EXPRESSION})"
    rf"(?: (?P<relation>(?:to )?left of|(?:to )?right of|above|below) (?P<b>{EXPRESSION}))?"
)


def parse(text: str) -> Reference:
    """What a wording says. ValueError if the text is no Toybox expression."""
    words = [_PLAIN_WORDS.get(word, word) for word in text.split() if word != "the"]
    found = _PATTERN.fullmatch(" ".join(words))
    if found is None or (found["extreme"] and found["relation"]):
        raise ValueError(f"not a Toybox expression: {text!r}")
    a = parse_phrase(found["a"])
    if found["extreme"]:
        return Reference("extreme", a, _SAID_AS[found["extreme"]])
    if found["relation"]:
        return Reference("relation", a, _SAID_AS[found["relation"]], parse_phrase(found["b"]))
    return Reference("attributes", a)


# ---------------------------------------------------------------- finding the thing


def resolve(text: str, scene: Scene) -> Thing | None:
    """The one thing that an expression speaks of, or None where it is not clear which. ValueError
    if the text is no Toybox expression."""
    return find(parse(text), scene)


def spoken_of(text: str, scene: Scene) -> tuple[list[Thing], list[Thing]]:
    """The thing that an expression means and its landmark, where it has one. ValueError if the text
    is no Toybox expression."""
    reference = parse(text)
    meant = find(reference, scene)
    if reference.form != "relation":
        return [meant] if meant else [], []
    return [meant] if meant else [], [t for t in scene.things if reference.b.matches(t)]


def find(reference: Reference, scene: Scene) -> Thing | None:
    """The one thing that is clearly meant, all others being clearly not, or None."""
    if reference.form == "relation":
        landmarks = [thing for thing in scene.things if reference.b.matches(thing)]
        if len(landmarks) != 1:
            return None
        return find_beside(reference.a, reference.w, landmarks[0], scene)
    such = [thing for thing in scene.things if reference.a.matches(thing)]
    if reference.form == "attributes":
        return such[0] if len(such) == 1 else None
    x, y = EXTREMES[reference.w]
    such.sort(key=lambda thing: -(x * thing.x + y * thing.y))
    if len(such) < 2 or x * (such[0].x - such[1].x) + y * (such[0].y - such[1].y) < CLEAR:
        return None
    return such[0]


def find_beside(phrase: Phrase, relation: str, landmark: Thing, scene: Scene) -> Thing | None:
    """The one such thing that is clearly in a relation to the landmark, where all other such things
    are clearly on the other side."""
    x, y = RELATIONS[relation]
    beside = None
    for thing in scene.things:
        if thing is landmark or not phrase.matches(thing):
            continue
        ahead = x * (thing.x - landmark.x) + y * (thing.y - landmark.y)
        if abs(ahead) < CLEAR or (ahead > 0 and beside is not None):
            return None
        if ahead > 0:
            beside = thing
    return beside
