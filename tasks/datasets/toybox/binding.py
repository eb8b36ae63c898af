"""Foils: captions whose words are dealt to other things, so that they no longer hold. Who knows
only which words a picture calls for, and not which belong together, cannot tell them apart.

Knows scenes and captions, not pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations, permutations

from .chance import Chance
from .describing import ALL_SYNONYMS, PLURALS
from .describing_facts import NAMING, facts_of, parse_facts
from .phrases import VALUES
from .scenes import HELD_OUT, SHAPES, Scene

Name = tuple[str, ...]  # the words for a thing or several: ("striped", "red", "circles")

# word -> what it is; only words of one kind change places
_KINDS = {value: attribute for attribute, values in VALUES.items() for value in values}
_KINDS |= {synonym: _KINDS[word] for word, synonym in ALL_SYNONYMS.items()}
_KINDS |= {PLURALS[shape]: "shape in the plural" for shape in SHAPES}
_SINGULARS = {plural: singular for singular, plural in PLURALS.items()}


def foil(caption: str, scene: Scene, chance: Chance) -> str:
    """A caption of the same words, but for "a" and "an", that does not hold in the scene; "" where
    there is none. `caption` must be Toybox's; ValueError if not.

    Two colours or two shapes have changed places; where no such caption will do, two sizes or
    patterns have, or one has moved to another thing, or two things have changed places.
    """
    parse_facts(caption)
    text = f"{caption[:1].lower()}{caption[1:]}"
    namings = list(NAMING.finditer(text))
    names = [(*found[2].split(), found[3]) for found in namings]
    words = Counter(_words(caption))
    spare = ""
    for deal in (_swap_colours_or_shapes, _swap_sizes_or_patterns, _move_adjective, _swap_names):
        for dealt in chance.shuffled(list(deal(names))):
            foiled = _worded(text, namings, dealt)
            if Counter(_words(foiled)) == words and _fails(foiled, scene):
                if not _runs_on(foiled):
                    return foiled
                spare = spare or foiled
    return spare


def _words(text: str) -> list[str]:
    return ["a" if word == "an" else word for word in re.findall(r"\w+", text.lower())]


# ---------------------------------------------------------------- words dealt to other things


def _swap_colours_or_shapes(names: list[Name]) -> Iterator[list[Name]]:
    return _swap_values(names, ("colour", "shape", "shape in the plural"))


def _swap_sizes_or_patterns(names: list[Name]) -> Iterator[list[Name]]:
    return _swap_values(names, ("size", "pattern"))


def _swap_values(names: list[Name], kinds: tuple[str, ...]) -> Iterator[list[Name]]:
    for kind in kinds:
        values = [_value(name, kind) for name in names]
        for a, b in combinations(range(len(names)), 2):
            if values[a] and values[b] and values[a] != values[b]:
                dealt = list(names)
                dealt[a] = tuple(values[b] if word == values[a] else word for word in names[a])
                dealt[b] = tuple(values[a] if word == values[b] else word for word in names[b])
                yield dealt


def _value(name: Name, kind: str) -> str:
    """The word of a kind in a name, or ""."""
    return next((word for word in name if _KINDS.get(word) == kind), "")


def _move_adjective(names: list[Name]) -> Iterator[list[Name]]:
    """ "a striped red circle and a blue star" -> "a red circle and a striped blue star"."""
    for kind in ("size", "pattern"):
        for a, b in permutations(range(len(names)), 2):
            word = _value(names[a], kind)
            fits = len(names[a]) > 2 and len(names[b]) > 1 and not _value(names[b], kind)
            if word and fits and _value(names[b], "colour"):
                dealt = list(names)
                dealt[a] = tuple(other for other in names[a] if other != word)
                after = 1 if kind == "pattern" and _value(names[b], "size") else 0
                dealt[b] = (*names[b][:after], word, *names[b][after:])
                yield dealt


def _swap_names(names: list[Name]) -> Iterator[list[Name]]:
    for a, b in combinations(range(len(names)), 2):
        if _told_by(names[a]) == _told_by(names[b]):
            dealt = list(names)
            dealt[a], dealt[b] = names[b], names[a]
            yield dealt


def _told_by(name: Name) -> list[str]:
    """What kinds of words a name has; beside a colour and a shape, any."""
    kinds = [_KINDS.get(word, word) for word in name]
    return kinds[-2:] if kinds[-2:-1] == ["colour"] and kinds[-1].startswith("shape") else kinds


# ---------------------------------------------------------------- worded and checked


def _worded(text: str, namings: list[re.Match[str]], names: list[Name]) -> str:
    """The caption with other names in their places, and "a", "an", "another" and "more" as they
    ask."""
    said: set[Name] = set()
    parts, at = [], 0
    for found, name in zip(namings, names, strict=True):
        singular = (*name[:-1], _SINGULARS.get(name[-1], name[-1]))
        many = _some(found[1], name, again=singular in said)
        parts += [text[at : found.start()], many, " ", " ".join(name)]
        said.add(singular)
        at = found.end()
    sentence = "".join([*parts, text[at:]])
    return f"{sentence[0].upper()}{sentence[1:]}"


def _some(many: str, name: Name, again: bool) -> str:
    """What stands before a name that stands instead of one with `many` before it."""
    if many not in ("a", "an", "another"):
        return many.split()[0] + (" more" if again else "")
    if again:
        return "another"
    return "an" if name[0] == "orange" else "a"


def _runs_on(caption: str) -> bool:
    """Whether it names one name twice running, where a voice would have said "two" of it."""
    return _TWICE.search(caption.lower()) is not None


_TWICE = re.compile(
    r"\b(an?|another|two|three) (?P<name>[a-z ]+),?(?: and| and then| and finally)?"
    r" another (?P=name)\b"
)


def _fails(caption: str, scene: Scene) -> bool:
    """Whether a caption claims what even an obliging reader would not grant. What names a pair of
    colour and shape that training never shows is no foil there: it would be known without a
    look."""
    claims = parse_facts(caption)
    if scene.split != "test-comp" and any(pair in claim for claim in claims for pair in _HELD_OUT):
        return False
    return not claims <= _granted(scene)


_HELD_OUT = tuple(f"{colour} {shape}" for colour, shape in sorted(HELD_OUT))


@lru_cache(maxsize=4)  # the foils of one picture are asked for one after another
def _granted(scene: Scene) -> frozenset[str]:
    return facts_of(scene, clear=1)
