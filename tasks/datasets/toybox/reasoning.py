"""Questions about tagged things of a scene, in the manner of VCR: how questions, answers and
reasons are worded and read back, and which are right. Nothing here is random; knows scenes, not
pictures.

A text is a wording and what fills its slots: {a} to {d} the tags of things, {p} {q} phrases,
{r} a relation, {w} to {z} words for what things are like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.types import NamedBox

from .phrases import EXPRESSION, VALUES, parse_phrase
from .questions import RELATIONS
from .referring import CLEAR, find_beside
from .scenes import Scene, Thing

Slots = Mapping[str, str]

QUESTIONS = {
    "attribute": "What colour is the {x} one of [{a}] and [{b}]?",
    "difference": "Do [{a}] and [{b}] differ in colour or in pattern?",
    "match": "Which two of [{a}], [{b}] and [{c}] are of the same colour?",
    "comparison": "Which of [{a}] and [{b}] is of the same {w} as the {p}?",
    "location": "Where is the {p}, seen from the {q}?",
    "relation": "What colour is the {p} {r} [{a}]?",
}
KINDS = tuple(QUESTIONS)

# what a reason may say -> its wording and the facts that it states: (tag, word) that a thing is so,
# (phrase, tag) that it is the only such thing
_TWO_EACH = (("a", "w"), ("a", "x"), ("b", "y"), ("b", "z"))
REASONS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "each": ("[{a}] is {w} and {x}, and [{b}] is {y} and {z}.", _TWO_EACH),
    "alike-but": (
        "[{a},{b}] are both {w}, but [{a}] is {x} and [{b}] is {y}.",
        (("a", "w"), ("b", "w"), ("a", "x"), ("b", "y")),
    ),
    "alike": (
        "[{a},{b}] are both {w} and {x}.",
        (("a", "w"), ("b", "w"), ("a", "x"), ("b", "x")),
    ),
    "pair": ("[{a},{b}] are both {w}, and [{c}] is {x}.", (("a", "w"), ("b", "w"), ("c", "x"))),
    "three": (
        "[{a}] is {w}, [{b}] is {x} and [{c}] is {y}.",
        (("a", "w"), ("b", "x"), ("c", "y")),
    ),
    "like-one": (
        "The {p} is [{d}]; like [{a}] it is {w}, but [{b}] is {x}.",
        (("p", "d"), ("d", "w"), ("a", "w"), ("b", "x")),
    ),
    "like-both": (
        "The {p} is [{d}]; like [{a}] and [{b}] it is {w}.",
        (("p", "d"), ("d", "w"), ("a", "w"), ("b", "w")),
    ),
    "like-neither": (
        "The {p} is [{d}]; it is {w}, but [{a}] and [{b}] are {x}.",
        (("p", "d"), ("d", "w"), ("a", "x"), ("b", "x")),
    ),
    "named": ("The {p} is [{a}], and the {q} is [{b}].", (("p", "a"), ("q", "b"))),
    "beside": ("[{b}] is the {p} {r} [{a}], which is {w}.", (("p", "b"), ("a", "w"))),
}

COLOUR_ANSWER = "It is {w}."
DIFFERENCES = {  # (in colour, in pattern)
    (True, False): "Only in colour.",
    (False, True): "Only in pattern.",
    (True, True): "In both.",
    (False, False): "In neither.",
}
PAIR = "[{a},{b}] are."
NO_PAIR = "No two of them are."
PLACES = {  # (right, below)
    (False, False): "Above it and to the left.",
    (True, False): "Above it and to the right.",
    (False, True): "Below it and to the left.",
    (True, True): "Below it and to the right.",
}


def likenesses(a: str, b: str) -> dict[tuple[bool, bool], str]:
    """Whether the first and the second are so -> the answer."""
    return {
        (True, False): f"Only [{a}] is.",
        (False, True): f"Only [{b}] is.",
        (True, True): "Both are.",
        (False, False): "Neither is.",
    }


# ---------------------------------------------------------------- reading


def _pattern(template: str) -> re.Pattern[str]:
    slots = {
        **dict.fromkeys("abcd", r"\d"),
        **dict.fromkeys("pq", EXPRESSION),
        **dict.fromkeys("wxyz", "|".join((*VALUES, *(v for vs in VALUES.values() for v in vs)))),
        "r": "|".join(RELATIONS),
    }
    pattern, seen = "", set()
    for text, slot in re.findall(r"([^{]*)(?:\{(\w)\})?", template):
        pattern += re.escape(text)
        if slot:
            pattern += f"(?P={slot})" if slot in seen else f"(?P<{slot}>{slots[slot]})"
            seen.add(slot)
    return re.compile(pattern)


_QUESTION_PATTERNS = {kind: _pattern(template) for kind, template in QUESTIONS.items()}
_REASON_PATTERNS = {kind: _pattern(template) for kind, (template, _) in REASONS.items()}


def parse_question(text: str) -> tuple[str, Slots]:
    """The kind of a question and its slots. ValueError if the text is no such question."""
    return _parse(text, _QUESTION_PATTERNS)


def parse_reason(text: str) -> tuple[str, Slots]:
    """What a reason says: its wording's name and slots. ValueError if the text is no reason."""
    return _parse(text, _REASON_PATTERNS)


def _parse(text: str, patterns: Mapping[str, re.Pattern[str]]) -> tuple[str, Slots]:
    for kind, pattern in patterns.items():
        found = pattern.fullmatch(text)
        if found is not None:
            return kind, found.groupdict()
    raise ValueError(f"not a Toybox question or reason: {text!r}")


def claims(text: str) -> list[tuple[int, str]]:
    """What a reason says of single things, true or not: (tag, word) each."""
    kind, slots = parse_reason(text)
    said: list[tuple[int, str]] = []
    for left, right in REASONS[kind][1]:
        if left in "pq":
            words = (value for _, value in parse_phrase(slots[left]).parts)
            said += [(int(slots[right]), word) for word in words]
        else:
            said.append((int(slots[left]), slots[right]))
    return said


def spoken_of(text: str, objects: Sequence[NamedBox], scene: Scene) -> list[list[Thing]]:
    """The things that a question speaks of by each of its tags and phrases, in its order. What is
    "the blue thing above [0]" is the one that is above. ValueError if the text is no question."""
    by_box: dict[tuple[float, ...], Thing] = {thing.box: thing for thing in scene.things}
    things = [by_box[thing.box] for thing in objects]
    kind, slots = parse_question(text)
    found = []
    for slot in re.findall(r"{([a-dpq])}", QUESTIONS[kind]):
        if slot in "abcd":
            found.append([things[int(slots[slot])]])
        elif kind == "relation":
            beside = find_beside(
                parse_phrase(slots[slot]), slots["r"], things[int(slots["a"])], scene
            )
            found.append([beside] if beside else [])
        else:
            found.append([t for t in scene.things if parse_phrase(slots[slot]).matches(t)])
    return found


# ---------------------------------------------------------------- what is right


def solve(
    text: str,
    answers: Sequence[str],
    reasons: Sequence[str],
    objects: Sequence[NamedBox],
    scene: Scene,
) -> tuple[int, int]:
    """The places of the right answer and of the one reason that is true of the scene. ValueError
    where there is no such one."""
    by_box: dict[tuple[float, ...], Thing] = {thing.box: thing for thing in scene.things}
    things = [by_box[thing.box] for thing in objects]
    kind, slots = parse_question(text)
    right = answer(kind, slots, things, scene)
    true = [place for place, reason in enumerate(reasons) if holds(reason, things, scene)]
    if right is None or len(true) != 1:
        raise ValueError(f"{text!r} does not have one right answer and one true reason")
    return answers.index(right), true[0]


def answer(kind: str, slots: Slots, things: Sequence[Thing], scene: Scene) -> str | None:
    """The right answer in words, or None where the question does not fit the scene. `things`: by
    tag."""
    tagged = {slot: things[int(slots[slot])] for slot in "abc" if slot in slots}
    if kind == "location":
        return _place(_the(slots["p"], scene), _the(slots["q"], scene))
    if kind == "relation":
        found = find_beside(parse_phrase(slots["p"]), slots["r"], tagged["a"], scene)
        return None if found is None else COLOUR_ANSWER.format(w=found.colour)
    if kind == "match":
        return _matching(slots, tagged)
    a, b = tagged["a"], tagged["b"]
    if kind == "difference":
        return DIFFERENCES[a.colour != b.colour, a.pattern != b.pattern]
    if kind == "attribute":
        such = [thing for thing in (a, b) if slots["x"] in (thing.size, thing.pattern)]
        return COLOUR_ANSWER.format(w=such[0].colour) if len(such) == 1 else None
    model = _the(slots["p"], scene)
    if model is None or model in (a, b):
        return None
    value = getattr(model, slots["w"])
    same = (a.has(slots["w"], value), b.has(slots["w"], value))
    return likenesses(slots["a"], slots["b"])[same]


def _matching(slots: Slots, tagged: Mapping[str, Thing]) -> str | None:
    pairs = [
        PAIR.format(a=slots[one], b=slots[other])
        for one, other in ("ab", "ac", "bc")
        if tagged[one].colour == tagged[other].colour
    ]
    if len(pairs) == 3:
        return None
    return pairs[0] if pairs else NO_PAIR


def _place(thing: Thing | None, seen_from: Thing | None) -> str | None:
    if thing is None or seen_from is None or thing is seen_from:
        return None
    right, below = thing.x - seen_from.x, thing.y - seen_from.y
    return PLACES[right > 0, below > 0] if min(abs(right), abs(below)) >= CLEAR else None


def _the(phrase: str, scene: Scene) -> Thing | None:
    parsed = parse_phrase(phrase)
    such = [thing for thing in scene.things if parsed.matches(thing)]
    return such[0] if len(such) == 1 else None


def holds(reason: str, things: Sequence[Thing], scene: Scene) -> bool:
    """Whether all that a reason says is so. `things`: by tag."""
    kind, slots = parse_reason(reason)
    for left, right in REASONS[kind][1]:
        if left in "pq":
            thing = things[int(slots[right])]
            phrase = parse_phrase(slots[left])
            if "r" in slots:
                fits = find_beside(phrase, slots["r"], things[int(slots["a"])], scene) is thing
            else:
                fits = _the(slots[left], scene) is thing
        else:
            fits = _is(things[int(slots[left])], slots[right])
        if not fits:
            return False
    return True


def _is(thing: Thing, word: str) -> bool:
    return word in (thing.size, thing.pattern, thing.colour)
