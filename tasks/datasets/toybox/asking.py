"""Which questions are asked about a scene, and how ten annotators who at times differ answer them.

The answer is settled before the question, so that a wording says little about its answer. Knows
scenes, not pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from .chance import Chance
from .phrases import (
    VALUES,
    Phrase,
    attribute_sets,
    phrase_of,
    phrases_over,
    singling_out,
)
from .questions import EXTREMES, RELATIONS, Program, answer, render
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


@lru_cache(maxsize=256)
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
    phrases = _phrases_for(scene, thing, without)
    return chance.pick(phrases) if phrases else None


@lru_cache(maxsize=256)  # a scene is asked about again and again until a proposal fits
def _phrases_for(scene: Scene, thing: Thing, without: tuple[str, ...]) -> tuple[Phrase, ...]:
    return tuple(singling_out(scene.things, thing, without))


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
