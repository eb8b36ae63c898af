"""Questions about a scene in six families, their answers, and ten annotators who at times differ.

A question is a Program; `render` words it, `parse` reads the wording back, `answer` evaluates it
on a scene. Generation draws the answer before the question, so that a wording says little about
its answer. Knows scenes, not pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from .chance import Chance
from .phrases import (
    EXPRESSION,
    NOTHING_NAMED,
    VALUES,
    Phrase,
    attribute_sets,
    parse_phrase,
    phrase_of,
    phrases_over,
    singling_out,
)
from .scenes import Scene, Thing

# family -> how many in a hundred attempts; those that fit fewer scenes are tried more often, so
# that each makes at least a tenth of the questions
FAMILIES = {
    "attribute": 22,
    "existence": 11,
    "count": 15,
    "comparison": 18,
    "spatial": 17,
    "same-different": 17,
}
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


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question as a data set holds it; `answers` are the ten annotators'."""

    program: Program
    text: str
    answers: tuple[str, ...]

    @property
    def answer_type(self) -> str:
        """The official VQA categories."""
        if self.program.kind in ("count", "surplus", "others"):
            return "number"
        return "other" if self.program.kind in ("query", "extreme") else "yes/no"


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


# ---------------------------------------------------------------- asking


def ask(scene: Scene, chance: Chance, count: int) -> tuple[AskedQuestion, ...]:
    """`count` different questions about a scene."""
    asked: dict[str, AskedQuestion] = {}
    while len(asked) < count:
        kind = chance.pick(KINDS[chance.weighted(tuple(FAMILIES.items()))])
        # What is asked of and what the answer should be are settled before the first try, and kept,
        # so that answers which are hard to find in a scene do not become rare.
        attribute = chance.weighted(_ATTRIBUTES[kind])
        wanted = chance.below(12)
        for _ in range(_TRIES):
            program = _PROPOSALS[kind](scene, chance, attribute, wanted)
            if program is None or _shows_held_out(program, scene):
                continue
            truth = answer(program, scene)
            text = render(program, chance.below(2))
            if truth is not None and text not in asked:
                asked[text] = AskedQuestion(program, text, _annotators(program, truth, chance))
                break
    return tuple(asked.values())


def _shows_held_out(program: Program, scene: Scene) -> bool:
    """Held-out pairs are not even spoken of in training: "is there a red star?" would always be
    answered no."""
    return scene.split != "test-comp" and (program.a.held_out or program.b.held_out)


def _propose_query(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    thing = chance.pick(scene.things)
    phrase = _pick_phrase(scene, thing, chance, without=(attribute,))
    return None if phrase is None else Program("query", a=phrase, w=attribute)


def _propose_exists(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    attributes = chance.pick(attribute_sets((1, 2, 2, 3)))
    if wanted % 2:
        return Program("exists", a=phrase_of(chance.pick(scene.things), attributes))
    shown = {phrase_of(thing, attributes) for thing in scene.things}
    absent = [phrase for phrase in phrases_over(attributes) if phrase not in shown]
    return Program("exists", a=chance.pick(absent)) if absent else None


def _propose_count(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    by_count: dict[int, list[Phrase]] = {}
    for phrase, number in _counts(scene, chance.pick((*attribute_sets((1, 2)), ()))).items():
        by_count.setdefault(number, []).append(phrase)
    return Program("count", a=chance.pick(by_count[chance.pick(sorted(by_count))]))


def _propose_more(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    (a, in_a), (b, in_b) = _pick_two_counts(scene, chance, attribute)
    fits = in_a > in_b if wanted % 2 else in_a < in_b or (in_a == in_b > 0 and chance.one_in(3))
    return Program("more", a, b) if fits else None


def _propose_as_many(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    shown = [pair for pair in _counts(scene, (attribute,)).items() if pair[1] > 0]
    if len({number for _, number in shown}) in (1, len(shown)):
        return None  # only one of the two answers could be given here
    (a, in_a), (b, in_b) = chance.shuffled(shown)[:2]
    return Program("as-many", a, b) if (in_a == in_b) == bool(wanted % 2) else None


def _propose_surplus(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    (a, in_a), (b, in_b) = _pick_two_counts(scene, chance, attribute)
    return Program("surplus", a, b) if in_a - in_b == 1 + wanted % 3 else None


def _propose_extreme(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    return Program("extreme", w=attribute, v=chance.pick(tuple(EXTREMES)))


def _propose_relation(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    # a and b are in random order, which makes yes and no equally likely
    a, b = chance.shuffled(scene.things)[:2]
    first, second = _pick_phrase(scene, a, chance), _pick_phrase(scene, b, chance)
    if first is None or second is None:
        return None
    return Program("relation", first, second, w=chance.pick(tuple(RELATIONS)))


def _propose_same(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    if len({getattr(thing, attribute) for thing in scene.things}) in (1, len(scene.things)):
        return None  # only one of the two answers could be given here
    a, b = chance.shuffled(scene.things)[:2]
    first = _pick_phrase(scene, a, chance, without=(attribute,))
    second = _pick_phrase(scene, b, chance, without=(attribute,))
    if first is None or second is None or b.has(attribute, getattr(a, attribute)) != wanted % 2:
        return None
    return Program(chance.pick(("same", "different")), first, second, w=attribute)


def _propose_others(scene: Scene, chance: Chance, attribute: str, wanted: int) -> Program | None:
    thing = chance.pick(scene.things)
    phrase = _pick_phrase(scene, thing, chance, without=(attribute,))
    others = sum(other.has(attribute, getattr(thing, attribute)) for other in scene.things) - 1
    if phrase is None or others != wanted % 4:
        return None
    return Program("others", phrase, w=attribute)


def _counts(scene: Scene, attributes: tuple[str, ...]) -> dict[Phrase, int]:
    found = Counter(phrase_of(thing, attributes) for thing in scene.things)
    return {phrase: found[phrase] for phrase in phrases_over(attributes)}


def _pick_two_counts(
    scene: Scene, chance: Chance, attribute: str
) -> tuple[tuple[Phrase, int], tuple[Phrase, int]]:
    a, b = chance.shuffled(tuple(_counts(scene, (attribute,)).items()))[:2]
    return a, b


def _pick_phrase(
    scene: Scene, thing: Thing, chance: Chance, without: tuple[str, ...] = ()
) -> Phrase | None:
    phrases = list(singling_out(scene.things, thing, without))
    return chance.pick(phrases) if phrases else None


# family -> the kinds it is asked in; a kind named twice is asked twice as often
KINDS = {
    "attribute": ("query",),
    "existence": ("exists",),
    "count": ("count",),
    "comparison": ("more", "as-many", "surplus"),
    "spatial": ("relation", "extreme"),
    "same-different": ("same", "same", "others"),
}
# kind -> the attributes it is asked of, by weight; those that ask of none have a placeholder
_COMPARED = (("colour", 3), ("shape", 3), ("size", 1), ("pattern", 1))
_ATTRIBUTES = {
    "query": (("colour", 5), ("shape", 4), ("size", 1), ("pattern", 1)),
    "extreme": (("colour", 5), ("shape", 4)),
    **dict.fromkeys(("more", "as-many", "surplus", "same", "others"), _COMPARED),
    **dict.fromkeys(("exists", "count", "relation"), (("", 1),)),
}
_TRIES = 40
_PROPOSALS: dict[str, Callable[[Scene, Chance, str, int], Program | None]] = {
    "query": _propose_query,
    "exists": _propose_exists,
    "count": _propose_count,
    "more": _propose_more,
    "as-many": _propose_as_many,
    "surplus": _propose_surplus,
    "relation": _propose_relation,
    "extreme": _propose_extreme,
    "same": _propose_same,
    "others": _propose_others,
}

# ---------------------------------------------------------------- annotators

SYNONYMS = {"purple": "violet", "cyan": "turquoise", "large": "big"}
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six")


def _annotators(program: Program, truth: str, chance: Chance) -> tuple[str, ...]:
    """Ten answers: a synonym one time in four, a number spelled out one time in six, a slip one
    time in forty."""
    return tuple(_annotator(program, truth, chance) for _ in range(10))


def _annotator(program: Program, truth: str, chance: Chance) -> str:
    if chance.one_in(40):
        return _slip(program, truth, chance)
    if truth in SYNONYMS and chance.one_in(4):
        return SYNONYMS[truth]
    if truth.isdigit() and chance.one_in(6):
        return _NUMBER_WORDS[int(truth)]
    return truth


def _slip(program: Program, truth: str, chance: Chance) -> str:
    if truth in ("yes", "no"):
        return "no" if truth == "yes" else "yes"
    if truth.isdigit():
        return str(max(0, int(truth) + chance.pick((-1, 1))))
    return chance.pick([value for value in VALUES[program.w] if value != truth])
