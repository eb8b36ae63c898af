"""Which questions with four answers and four reasons are posed about a scene.

The four reasons all bear out the right answer, and one of them is true. Mostly they come from two
facts with an alternative each, so that every word of the true one is in a false one as well: who
sees no picture learns nothing from the texts. Knows scenes, not pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .chance import Chance
from .phrases import VALUES, attribute_sets, phrase_of, singling_out
from .questions import RELATIONS
from .reasoning import (
    COLOUR_ANSWER,
    DIFFERENCES,
    NO_PAIR,
    PAIR,
    PLACES,
    QUESTIONS,
    REASONS,
    Slots,
    answer,
    claims,
    holds,
    likenesses,
)
from .referring import CLEAR
from .scenes import COLOURS, HELD_OUT, Scene, Thing

# kind -> how many in a hundred attempts
SHARES = {
    "attribute": 14,
    "difference": 15,
    "match": 22,
    "comparison": 19,
    "location": 17,
    "relation": 13,
}


@dataclass(frozen=True, slots=True)
class Item:
    """A question as a data set holds it; `answer` and `reason` are the places of the right ones."""

    kind: str
    text: str
    answers: tuple[str, ...]
    reasons: tuple[str, ...]
    answer: int
    reason: int


@dataclass(frozen=True, slots=True)
class _Draft:
    """A question, its four answers and its four reasons, the right ones first or anywhere."""

    slots: Slots
    answers: tuple[str, ...]
    reasons: tuple[str, ...]


def tag_things(scene: Scene, chance: Chance) -> tuple[Thing, ...]:
    """The things in the order of their tags, which says nothing of the order of drawing."""
    return tuple(chance.shuffled(scene.things))


def pose(scene: Scene, things: tuple[Thing, ...], chance: Chance, count: int) -> tuple[Item, ...]:
    """`count` different questions about a scene whose things are tagged in this order."""
    items: dict[str, Item] = {}
    for attempt in itertools.count():
        if len(items) == count:
            break
        kind = chance.weighted(tuple(SHARES.items()))
        # a second of a kind only where little else can be asked, as where all things are alike
        if attempt < 40 and any(kind == item.kind for item in items.values()):
            continue
        # which of the answers should be right is settled before the first try, and kept, so that
        # answers which are hard to find in a scene do not become rare
        wanted = chance.below(4)
        for _ in range(_TRIES):
            draft = _PROPOSALS[kind](scene, things, chance, wanted)
            item = None if draft is None else _finish(kind, draft, scene, things, chance)
            if item is not None and item.text not in items:
                items[item.text] = item
                break
    return tuple(items.values())


def _finish(
    kind: str, draft: _Draft, scene: Scene, things: tuple[Thing, ...], chance: Chance
) -> Item | None:
    right = answer(kind, draft.slots, things, scene)
    true = [reason for reason in draft.reasons if holds(reason, things, scene)]
    if right is None or len(true) != 1 or len({*draft.answers, *draft.reasons}) != 8:
        return None
    if scene.split != "test-comp" and any(_names_held_out(r, things) for r in draft.reasons):
        return None
    answers, reasons = chance.shuffled(draft.answers), chance.shuffled(draft.reasons)
    text = QUESTIONS[kind].format(**draft.slots)
    return Item(
        kind, text, tuple(answers), tuple(reasons), answers.index(right), reasons.index(true[0])
    )


def _names_held_out(reason: str, things: Sequence[Thing]) -> bool:
    """Whether a reason says of a thing that it is of a colour that training never shows it in: with
    the thing's shape known, such a reason would always be wrong."""
    return any((word, things[tag].shape) in HELD_OUT for tag, word in claims(reason))


def _may_be(scene: Scene, thing: Thing, colour: str) -> bool:
    return scene.split == "test-comp" or (colour, thing.shape) not in HELD_OUT


# ---------------------------------------------------------------- proposing


def _propose_attribute(
    scene: Scene, things: tuple[Thing, ...], chance: Chance, wanted: int
) -> _Draft | None:
    """The striped one of two is red; the other is plain and of the one or the other colour."""
    one, other = chance.shuffled(range(len(things)))[:2]
    attribute = chance.weighted(_COMPARED)
    value, opposite = getattr(things[one], attribute), getattr(things[other], attribute)
    right, beside = things[one].colour, things[other].colour
    if value == opposite or right == beside:
        return None
    foils = _foils(scene, chance, {right, beside}, things[one])
    slots = _slots(sorted((one, other)), x=value)
    reasons = (
        _reason("each", pair, w=value, x=right, y=opposite, z=colour)
        for pair, colour in itertools.product(((one, other), (other, one)), (beside, foils[0]))
    )
    return _Draft(slots, _colour_answers(right, beside, *foils), tuple(reasons))


def _propose_difference(
    scene: Scene, things: tuple[Thing, ...], chance: Chance, wanted: int
) -> _Draft | None:
    pair = sorted(chance.shuffled(range(len(things)))[:2])
    a, b = (things[tag] for tag in pair)
    differ = (a.colour != b.colour, a.pattern != b.pattern)
    if differ != tuple(DIFFERENCES)[wanted]:
        return None
    # what the two are like, truly and otherwise, such that they differ in the same
    foil = _foils(scene, chance, {a.colour}, a)[0]
    swapped = _may_be(scene, a, b.colour) and _may_be(scene, b, a.colour)
    others = (
        (b.colour, a.colour) if swapped else (foil, _foils(scene, chance, {foil, b.colour}, b)[0])
    )
    colours = ((a.colour, b.colour), others if differ[0] else (foil, foil))
    patterns = (
        ((a.pattern, b.pattern), (b.pattern, a.pattern))
        if differ[1]
        else tuple((pattern, pattern) for pattern in VALUES["pattern"])
    )
    reasons = []
    for (colour_a, colour_b), (pattern_a, pattern_b) in itertools.product(colours, patterns):
        if all(differ):
            reason = _reason("each", pair, w=pattern_a, x=colour_a, y=pattern_b, z=colour_b)
        elif differ[0]:
            reason = _reason("alike-but", pair, w=pattern_a, x=colour_a, y=colour_b)
        elif differ[1]:
            reason = _reason("alike-but", pair, w=colour_a, x=pattern_a, y=pattern_b)
        else:
            reason = _reason("alike", pair, w=pattern_a, x=colour_a)
        reasons.append(reason)
    return _Draft(_slots(pair), tuple(DIFFERENCES.values()), tuple(reasons))


def _propose_match(
    scene: Scene, things: tuple[Thing, ...], chance: Chance, wanted: int
) -> _Draft | None:
    """No two of three are alike, or the two that are wanted."""
    tags = sorted(chance.shuffled(range(len(things)))[:3])
    answers = (*(PAIR.format(a=a, b=b) for a, b in _pairs(tags)), NO_PAIR)
    slots = _slots(tags)
    if answer("match", slots, things, scene) != answers[wanted]:
        return None
    colours = [things[tag].colour for tag in tags]
    if wanted == 3:
        others = chance.shuffled(list(itertools.permutations(colours))[1:])[:3]
        said = [_reason("three", tags, w=w, x=x, y=y) for w, x, y in (tuple(colours), *others)]
        return _Draft(slots, answers, tuple(said))
    a, b = _pairs(tags)[wanted]
    (c,) = (tag for tag in tags if tag not in (a, b))
    both, third = things[a].colour, things[c].colour
    foils = _foils(scene, chance, {both, third})
    reasons = (
        _reason("pair", (a, b, c), w=w, x=x)
        for w, x in itertools.product((both, foils[0]), (third, foils[1]))
    )
    return _Draft(slots, answers, tuple(reasons))


def _propose_comparison(
    scene: Scene, things: tuple[Thing, ...], chance: Chance, wanted: int
) -> _Draft | None:
    """One, both or neither of two is of a third's pattern; a fourth may be taken for the third."""
    if len(things) < 4:
        return None
    a, b, model, mistaken = chance.shuffled(range(len(things)))[:4]
    a, b = sorted((a, b))
    attribute = chance.weighted(_COMPARED)
    value = getattr(things[model], attribute)
    same = (things[a].has(attribute, value), things[b].has(attribute, value))
    if same != (bool(wanted % 2), bool(wanted // 2)):
        return None
    phrases = list(singling_out(scene.things, things[model], ("shape", attribute)))
    if not phrases:
        return None
    phrase = chance.pick(phrases).singular()
    kind = {2: "like-both", 1: "like-one", 0: "like-neither"}[sum(same)]
    first, second = (b, a) if same == (False, True) else (a, b)  # the like one first
    reasons = []
    (opposite,) = (other for other in VALUES[attribute] if other != value)
    for which, (w, x) in itertools.product(
        (model, mistaken), ((value, opposite), (opposite, value))
    ):
        reasons.append(_reason(kind, (first, second), p=phrase, d=which, w=w, x=x))
    slots = _slots((a, b), w=attribute, p=phrase)
    return _Draft(slots, tuple(likenesses(str(a), str(b)).values()), tuple(reasons))


def _propose_location(
    scene: Scene, things: tuple[Thing, ...], chance: Chance, wanted: int
) -> _Draft | None:
    """Where one thing is, seen from another: the reason says which the two are."""
    one, other = chance.shuffled(range(len(things)))[:2]
    if not _stand_so(things[one], things[other], wanted):
        return None
    phrases = [list(singling_out(scene.things, things[tag], ("shape",))) for tag in (one, other)]
    if not all(phrases):
        return None
    p, q = (chance.pick(some).singular() for some in phrases)
    slots = {"p": p, "q": q}
    # other pairs that stand to each other in the same way come first: boxes alone do not decide
    pairs = [pair for pair in itertools.permutations(range(len(things)), 2) if pair != (one, other)]
    pairs = chance.shuffled(pairs)
    pairs.sort(key=lambda pair: not _stand_so(things[pair[0]], things[pair[1]], wanted))
    reasons = [_reason("named", pair, **slots) for pair in ((one, other), *pairs)]
    if scene.split != "test-comp":
        reasons = [reason for reason in reasons if not _names_held_out(reason, things)]
    return _Draft(slots, tuple(PLACES.values()), tuple(reasons[:4]))


def _propose_relation(
    scene: Scene, things: tuple[Thing, ...], chance: Chance, wanted: int
) -> _Draft | None:
    """The colour of the one such thing beside a landmark; another may be taken for it."""
    landmark, one, *rest = chance.shuffled(range(len(things)))
    word = chance.pick(tuple(RELATIONS))
    right, beside = things[one].colour, things[landmark].colour
    if not _is_beside(things[one], word, things[landmark]):
        return None
    # others on the same side come first: boxes alone do not decide
    rest.sort(key=lambda tag: not _is_beside(things[tag], word, things[landmark]))
    phrase = phrase_of(things[one], chance.pick(attribute_sets((1, 1, 2), ("colour", "shape"))))
    slots = _slots((landmark,), p=phrase.singular(), r=word)
    # what is said of the landmark may not repeat the answer in just one half of the reasons
    about = (beside, _foils(scene, chance, {right, beside}, things[landmark])[0])
    if right == beside or chance.one_in(3):
        about = VALUES["pattern"][0], VALUES["pattern"][1]
    reasons = (
        _reason("beside", (landmark, tag), p=slots["p"], r=word, w=value)
        for tag, value in itertools.product((one, rest[0]), about)
    )
    foils = _foils(scene, chance, {right}, things[one])
    return _Draft(slots, _colour_answers(right, *foils), tuple(reasons))


# ---------------------------------------------------------------- what proposals are made of


def _foils(
    scene: Scene, chance: Chance, without: set[str], thing: Thing | None = None
) -> list[str]:
    """The other colours in random order, those in the scene first; only such as the thing may be
    of, where one is named."""
    seen = {other.colour for other in scene.things}
    foils = chance.shuffled([colour for colour in COLOURS if colour not in without])
    foils.sort(key=lambda colour: colour not in seen)
    return [colour for colour in foils if thing is None or _may_be(scene, thing, colour)]


def _colour_answers(*colours: str) -> tuple[str, ...]:
    return tuple(COLOUR_ANSWER.format(w=colour) for colour in colours[:4])


def _slots(tags: Iterable[int], **words: str) -> dict[str, str]:
    return {**dict(zip("abc", map(str, tags), strict=False)), **words}


def _reason(kind: str, tags: Iterable[int], **words: object) -> str:
    return REASONS[kind][0].format(**dict(zip("abc", tags, strict=False)), **words)


def _pairs(tags: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return (tags[0], tags[1]), (tags[0], tags[2]), (tags[1], tags[2])


def _is_beside(thing: Thing, relation: str, landmark: Thing) -> bool:
    x, y = RELATIONS[relation]
    return x * (thing.x - landmark.x) + y * (thing.y - landmark.y) >= CLEAR


def _stand_so(thing: Thing, seen_from: Thing, place: int) -> bool:
    right, below = tuple(PLACES)[place]
    across, down = thing.x - seen_from.x, thing.y - seen_from.y
    return min(abs(across), abs(down)) >= CLEAR and (across > 0, down > 0) == (right, below)


_TRIES = 40
_COMPARED = (("pattern", 3), ("size", 1))
_PROPOSALS: dict[str, Callable[[Scene, tuple[Thing, ...], Chance, int], _Draft | None]] = {
    "attribute": _propose_attribute,
    "difference": _propose_difference,
    "match": _propose_match,
    "comparison": _propose_comparison,
    "location": _propose_location,
    "relation": _propose_relation,
}
