"""Noun phrases about things: "large striped red circle", "blue things". Renders and parses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

from .scenes import COLOURS, HELD_OUT, PATTERNS, SHAPES, SIZES, Thing

# In the order in which English puts them before the noun
VALUES: dict[str, tuple[str, ...]] = {
    "size": SIZES,
    "pattern": PATTERNS,
    "colour": COLOURS,
    "shape": SHAPES,
}
ATTRIBUTES = tuple(VALUES)
_PLURALS = {shape: shape + ("es" if shape == "cross" else "s") for shape in SHAPES}
_WORDS = {value: attribute for attribute, values in VALUES.items() for value in values}
_WORD = "|".join((*_WORDS, *_PLURALS.values(), "things", "thing"))
EXPRESSION = f"(?:{_WORD})(?: (?:{_WORD}))*"  # a regular expression that phrases match
_SINGULARS = {plural: shape for shape, plural in _PLURALS.items()}


@dataclass(frozen=True, slots=True)
class Phrase:
    """The attributes that a phrase names, in English order: (("colour", "red"), ...)."""

    parts: tuple[tuple[str, str], ...] = ()

    def matches(self, thing: Thing) -> bool:
        # a plain loop: generation spends most of its time here, and all(...) takes twice as long
        for attribute, value in self.parts:  # noqa: SIM110
            if getattr(thing, attribute) != value:
                return False
        return True

    def names(self, attribute: str) -> bool:
        return any(attribute == named for named, _ in self.parts)

    @property
    def held_out(self) -> bool:
        """Whether it names a colour-shape pair that training never shows."""
        named = dict(self.parts)
        return (named.get("colour"), named.get("shape")) in HELD_OUT

    def singular(self) -> str:
        words = [value for _, value in self.parts]
        return " ".join(words if self.names("shape") else [*words, "thing"])

    def plural(self) -> str:
        words = [_PLURALS.get(value, value) for _, value in self.parts]
        return " ".join(words if self.names("shape") else [*words, "things"])


NOTHING_NAMED = Phrase()  # "thing", or a slot that a question does not use


def parse_phrase(text: str) -> Phrase:
    """The phrase that `singular` or `plural` wrote. ValueError for any other text."""
    parts = []
    for word in text.split():
        value = _SINGULARS.get(word, word)
        if value in _WORDS:
            parts.append((_WORDS[value], value))
        elif word not in ("thing", "things"):
            raise ValueError(f"{word!r} in {text!r} is not a Toybox word")
    return Phrase(tuple(parts))


@cache
def phrases_over(attributes: tuple[str, ...]) -> tuple[Phrase, ...]:
    """Every phrase that names exactly these attributes."""
    ordered = [attribute for attribute in ATTRIBUTES if attribute in attributes]
    values = product(*(VALUES[attribute] for attribute in ordered))
    return tuple(Phrase(tuple(zip(ordered, value, strict=True))) for value in values)


@cache
def attribute_sets(
    sizes: tuple[int, ...], without: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], ...]:
    """The subsets of attributes of these sizes that leave out `without`."""
    rest = [attribute for attribute in ATTRIBUTES if attribute not in without]
    return tuple(subset for size in sizes for subset in combinations(rest, size))


def phrase_of(thing: Thing, attributes: tuple[str, ...]) -> Phrase:
    """What a thing is called when these attributes are named."""
    return Phrase(tuple([(a, getattr(thing, a)) for a in ATTRIBUTES if a in attributes]))


def singling_out(
    things: tuple[Thing, ...], thing: Thing, without: tuple[str, ...] = ()
) -> Iterator[Phrase]:
    """The shortest phrases that match this thing and no other, naming nothing in `without`."""
    for size in (1, 2, 3, 4):
        found = False
        for attributes in attribute_sets((size,), without):
            phrase = phrase_of(thing, attributes)
            if not any(phrase.matches(other) for other in things if other is not thing):
                found = True
                yield phrase
        if found:
            return
