"""Questions about a scene in six families: what can be asked, in which words, and the answer.

A question is a Program; `render` words it, `parse` reads the wording back, `answer` evaluates it on
a scene. Nothing here is random. Knows scenes, not pictures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .phrases import (
    EXPRESSION,
    NOTHING_NAMED,
    VALUES,
    Phrase,
    parse_phrase,
)
from .scenes import Scene, Thing

RELATIONS = {
    "to the left of": (-1, 0),
    "to the right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
EXTREMES = {"leftmost": (-1, 0), "rightmost": (1, 0), "topmost": (0, -1), "bottommost": (0, 1)}
_CLEAR = 12  # pixels by which centres must differ for a relation to be asked: an eighth of SIDE

# kind -> (family, wordings). {a} {b}: phrases, singular after "the" or "a", else plural;
# {w}: an attribute, a relation or an extreme.
WORDINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "query": ("attribute", ("What {w} is the {a}?", "What is the {w} of the {a}?")),
    "exists": ("existence", ("Is there a {a}?", "Does the picture show a {a}?")),
    "count": ("count", ("How many {a} are there?", "What number of {a} does the picture show?")),
    "more": ("comparison", ("Are there more {a} than {b}?", "Do the {a} outnumber the {b}?")),
    "as-many": ("comparison", ("Are there as many {a} as {b}?",)),
    "surplus": ("comparison", ("How many more {a} than {b} are there?",)),
    "relation": ("spatial", ("Is the {a} {w} the {b}?",)),
    "extreme": ("spatial", ("What {w} is the {v} thing?", "The {v} thing is of what {w}?")),
    "same": ("same-different", ("Are the {a} and the {b} of the same {w}?",)),
    "different": ("same-different", ("Do the {a} and the {b} differ in {w}?",)),
    "others": ("same-different", ("How many other things have the {w} of the {a}?",)),
}
_PLURAL = {"count", "more", "as-many", "surplus"}  # kinds whose phrases stand in the plural


@dataclass(frozen=True, slots=True)
class Program:
    """What is asked: `a`, `b` phrases, `w` an attribute or relation, `v` an extreme."""

    kind: str
    a: Phrase = NOTHING_NAMED
    b: Phrase = NOTHING_NAMED
    w: str = ""
    v: str = ""

    @property
    def family(self) -> str:
        return WORDINGS[self.kind][0]


# ---------------------------------------------------------------- wording


def render(program: Program, wording: int = 0) -> str:
    wordings = WORDINGS[program.kind][1]
    say = Phrase.plural if program.kind in _PLURAL else Phrase.singular
    a, b = say(program.a), say(program.b)
    template = wordings[wording % len(wordings)]
    if program.kind == "exists" and a.startswith("orange"):
        template = template.replace(" a {a}", " an {a}")
    return template.format(a=a, b=b, w=program.w, v=program.v)


def _pattern(kind: str, template: str) -> re.Pattern[str]:
    slots = {
        "a": EXPRESSION,
        "b": EXPRESSION,
        "w": "|".join(RELATIONS if kind == "relation" else VALUES),
        "v": "|".join(EXTREMES),
    }
    escaped = re.escape(template.replace(" a {a}", " {article} {a}"))
    escaped = escaped.replace(r"\{article\}", "an?")
    for slot, expression in slots.items():
        escaped = escaped.replace(rf"\{{{slot}\}}", f"(?P<{slot}>{expression})")
    return re.compile(escaped)


_PATTERNS = [
    (kind, _pattern(kind, template))
    for kind, (_, templates) in WORDINGS.items()
    for template in templates
]


def parse(text: str) -> Program:
    """The program behind a wording. ValueError if the text is no Toybox question."""
    for kind, pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found is not None:
            slots = found.groupdict()
            a, b = parse_phrase(slots.get("a", "")), parse_phrase(slots.get("b", ""))
            return Program(kind, a, b, slots.get("w", ""), slots.get("v", ""))
    raise ValueError(f"not a Toybox question: {text!r}")


# ---------------------------------------------------------------- answering


def answer(program: Program, scene: Scene) -> str | None:
    """The answer, or None where the question does not fit the scene: a "the" that matches no or
    several things, or a relation too close to call."""
    things = scene.things
    if program.kind in ("exists", "count", "more", "as-many", "surplus"):
        return _answer_by_counting(program, things)
    if program.kind == "extreme":
        extreme = _extreme(things, EXTREMES[program.v])
        return None if extreme is None else str(getattr(extreme, program.w))
    a, b = _the(program.a, things), _the(program.b, things)
    if a is None:
        return None
    if program.kind == "query":
        return str(getattr(a, program.w))
    if program.kind == "others":
        return str(sum(getattr(thing, program.w) == getattr(a, program.w) for thing in things) - 1)
    if b is None or b is a:
        return None
    if program.kind == "relation":
        x, y = RELATIONS[program.w]
        ahead = x * (a.x - b.x) + y * (a.y - b.y)
        return None if abs(ahead) < _CLEAR else _yes(ahead > 0)
    same = getattr(a, program.w) == getattr(b, program.w)
    return _yes(same if program.kind == "same" else not same)


def _answer_by_counting(program: Program, things: tuple[Thing, ...]) -> str:
    a, b = (sum(map(phrase.matches, things)) for phrase in (program.a, program.b))
    if program.kind == "exists":
        return _yes(a > 0)
    if program.kind == "count":
        return str(a)
    if program.kind == "more":
        return _yes(a > b)
    return _yes(a == b) if program.kind == "as-many" else str(a - b)


def spoken_of(program: Program, scene: Scene) -> tuple[list[Thing], list[Thing], list[Thing]]:
    """The things that a question speaks of: by its first phrase, by its second, and by what it says
    of the second or first: those "to the left of the star", those "of the colour of the star"."""
    things = scene.things
    if program.kind == "extreme":
        extreme = _extreme(things, EXTREMES[program.v])
        return [extreme] if extreme else [], [], []
    first = [thing for thing in things if program.a.matches(thing)]
    if not program.b.parts:
        alike = _alike(first, things, program.w) if program.kind == "others" else []
        return first, [], alike
    second = [thing for thing in things if program.b.matches(thing)]
    if program.kind == "relation" and second:
        x, y = RELATIONS[program.w]
        edge = x * second[0].x + y * second[0].y
        return first, second, [thing for thing in things if x * thing.x + y * thing.y > edge]
    if program.kind in ("same", "different"):
        return first, second, _alike(second, things, program.w)
    return first, second, []


def _alike(ones: list[Thing], things: tuple[Thing, ...], attribute: str) -> list[Thing]:
    """The other things that share an attribute with the first of these."""
    value = getattr(ones[0], attribute) if ones else None
    return [t for t in things if getattr(t, attribute) == value and t is not ones[0]]


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def _the(phrase: Phrase, things: tuple[Thing, ...]) -> Thing | None:
    matching = [thing for thing in things if phrase.matches(thing)]
    return matching[0] if len(matching) == 1 else None


def _extreme(things: tuple[Thing, ...], direction: tuple[int, int]) -> Thing | None:
    x, y = direction
    ranked = sorted(things, key=lambda thing: -(x * thing.x + y * thing.y))
    lead = x * (ranked[0].x - ranked[1].x) + y * (ranked[0].y - ranked[1].y)
    return ranked[0] if lead >= _CLEAR else None
