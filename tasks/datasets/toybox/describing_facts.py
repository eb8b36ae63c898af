"""What a caption claims and what holds in a scene, as facts that can be compared: a caption is true
of a scene if all its facts are the scene's.

A fact is a phrase of its own: "large red circle above blue star", "at least 2 red circle", "2 star
in all", "at least 1 blue star at the top". It names a thing by size, pattern, colour and shape, in
that order and without synonyms. Knows scenes and captions, not pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, islice, pairwise, permutations, product

from .describing import (
    ALL_SYNONYMS,
    CLEAR,
    CLUSTER_OPENING,
    COLUMN_OPENINGS,
    GROUP_LINKS,
    GROUP_OPENINGS,
    IN_A_ROW,
    MANY,
    PAIR_LINKS,
    PLACES,
    PLURALS,
    ROW_OPENINGS,
    TO_IT,
)
from .phrases import ATTRIBUTES, VALUES, attribute_sets, phrase_of
from .scenes import SIDE, Scene, Thing

# ---------------------------------------------------------------- what holds in a scene


def facts_of(scene: Scene, clear: int = CLEAR) -> frozenset[str]:
    """All that a caption could truly claim of a scene. `clear`: the pixels by which things must
    differ for one to be above, or at the left of, another; 1 lets anything pass that an obliging
    reader might grant."""
    names = [_names(thing) for thing in scene.things]
    return frozenset(
        (
            *_counts_of(scene.things),
            *_places_of(scene.things, names, clear),
            *_relations_of(scene.things, names, clear),
            *_orders_of(scene.things, clear),
        )
    )


def _names(thing: Thing) -> tuple[str, ...]:
    """A thing with and without its size and its pattern."""
    plain = f"{thing.colour} {thing.shape}"
    striped = f"{thing.pattern} {plain}"
    return plain, striped, f"{thing.size} {plain}", f"{thing.size} {striped}"


def _counts_of(things: Sequence[Thing]) -> Iterator[str]:
    for attributes in attribute_sets((1, 2, 3, 4)):
        counts = Counter([phrase_of(thing, attributes) for thing in things])
        for phrase, count in counts.items():
            name = " ".join([value for _, value in phrase.parts])
            yield _in_all(count, name)
            for fewer in range(1, count + 1):
                yield _at_least(fewer, name)


def _places_of(
    things: Sequence[Thing], names: Sequence[tuple[str, ...]], clear: int
) -> Iterator[str]:
    found: Counter[tuple[str, str]] = Counter()
    for thing, its_names in zip(things, names, strict=True):
        for place in _places(thing, clear):
            found.update([(name, place) for name in its_names])
    for (name, place), count in found.items():
        for fewer in range(1, count + 1):
            yield _at_place(fewer, name, place)


def _places(thing: Thing, clear: int) -> Iterator[str]:
    """The places that a thing may be said to be at; a corner is at both of its sides too."""
    x, y = thing.x - SIDE // 2, thing.y - SIDE // 2
    across = [(x > 0) - (x < 0)] if abs(x) >= clear else []
    down = [(y > 0) - (y < 0)] if abs(y) >= clear else []
    for left_or_right in across:
        yield PLACES[left_or_right, 0]
    for top_or_bottom in down:
        yield PLACES[0, top_or_bottom]
        for left_or_right in across:
            yield PLACES[left_or_right, top_or_bottom]
    if max(abs(x), abs(y)) < _NEAR[clear < CLEAR]:
        yield PLACES[0, 0]


_NEAR = (CLEAR, 2 * CLEAR)  # how near the middle, or each other, is; and for an obliging reader


def _relations_of(
    things: Sequence[Thing], names: Sequence[tuple[str, ...]], clear: int
) -> Iterator[str]:
    for a, names_a in zip(things, names, strict=True):
        sized = []  # with the size, which is how two relations of one thing are told
        for b, names_b in zip(things, names, strict=True):
            if a is b:
                continue
            for how in _hows(a, b, clear):
                for of_a in names_a:
                    for of_b in names_b:
                        yield f"{of_a} {how} {of_b}"
                sized.append((b, f"{how} {names_b[_SIZED]}"))
        for (b, to_b), (c, to_c) in permutations(sized, 2):
            if b is not c:
                yield _both(names_a[_SIZED], to_b, to_c)


_SIZED = 2


def _hows(a: Thing, b: Thing, clear: int) -> list[str]:
    x, y = a.x - b.x, a.y - b.y
    hows = []
    if abs(x) >= clear:
        hows.append("to the left of" if x < 0 else "to the right of")
    if abs(y) >= clear:
        hows.append("above" if y < 0 else "below")
    if max(abs(x), abs(y)) < _NEAR[clear < CLEAR]:
        hows.append("next to")
    return hows


def _orders_of(things: Sequence[Thing], clear: int) -> Iterator[str]:
    """Three things in a row or a column."""
    for axis, in_a_row in IN_A_ROW.items():
        along = sorted([(getattr(thing, axis), _names(thing)[:3]) for thing in things])
        for a, b, c in combinations(along, 3):
            if b[0] - a[0] >= clear and c[0] - b[0] >= clear:
                for names in product(a[1], b[1], c[1]):
                    yield _three(names, in_a_row)


def _at_least(count: int, name: str) -> str:
    return f"at least {count} {name}"


def _at_place(count: int, name: str, place: str) -> str:
    return f"at least {count} {name} {place}"


def _both(name: str, to_one: str, to_other: str) -> str:
    return f"{name} {to_one} and {to_other}"


def _three(names: Sequence[str], in_a_row: str) -> str:
    return f"{', '.join(names)} {in_a_row}"


def _in_all(count: int, name: str) -> str:
    return f"{count} {name} in all"


# ---------------------------------------------------------------- what a caption claims

_PLAIN = {synonym: word for word, synonym in ALL_SYNONYMS.items()}
_SINGULARS = {plural: singular for singular, plural in PLURALS.items()} | {"shapes": "shape"}
_ADJECTIVES = [*VALUES["size"], *VALUES["pattern"], *VALUES["colour"], *_PLAIN]
_NOUN = "|".join((*PLURALS, *_SINGULARS))
_MANY = "|".join(MANY[2:])
NAMING = re.compile(
    rf"\b(an?|another|(?:{_MANY})(?: more)?) ((?:(?:{'|'.join(_ADJECTIVES)}) )*)({_NOUN})\b"
)
Mention = tuple[int, frozenset[str]]  # how many things, called by which values


def parse_facts(text: str) -> frozenset[str]:
    """The facts that a caption claims, at least one. ValueError if the text is no Toybox
    caption."""
    skeleton, mentions = _skeleton(text)
    for pattern, read in _READERS:
        found = pattern.fullmatch(skeleton)
        facts = [*read(found, mentions)] if found is not None else []
        if facts and _NONE not in facts:
            return frozenset(facts)
    raise ValueError(f"not a Toybox caption: {text!r}")


def spoken_of(text: str, scene: Scene) -> list[list[Thing]]:
    """The things that each naming in a caption may mean, in the order of the namings: all that are
    such. A group's members ("four squares, a pink one ...") are such as the group is."""
    skeleton, mentions = _skeleton(text)
    group = _GROUPS.fullmatch(skeleton)
    if group is not None:
        (_, shared), end = mentions[0], 1 + group["told"].count("#")
        members = [(count, values | shared) for count, values in mentions[1:end]]
        mentions = [mentions[0], *members, *mentions[end:]]
    return [
        [
            thing
            for thing in scene.things
            if values <= {thing.size, thing.pattern, thing.colour, thing.shape}
        ]
        for _, values in mentions
    ]


def _skeleton(text: str) -> tuple[str, list[Mention]]:
    """A caption with "#" for each naming of things, "" for what is no sentence; and the namings."""
    mentions: list[Mention] = []

    def mark(found: re.Match[str]) -> str:
        mentions.append(_mention(*found.groups()))
        return "#"

    whole = text[:1].isupper() and text.endswith(".") and "#" not in text
    skeleton = NAMING.sub(mark, f"{text[:1].lower()}{text[1:-1]}") if whole else ""
    return skeleton, mentions


_NONE = ""  # the fact of a sentence that says nothing


def _mention(many: str, adjectives: str, noun: str) -> Mention:
    """No values for words that no voice would put so: "a red blue star", "a striped big star"."""
    count = MANY.index(many.split()[0]) if many.split()[0] in MANY else 1
    words = [*adjectives.split(), _SINGULARS.get(noun, noun)]
    values = [_PLAIN.get(word, word) for word in words if word not in ("one", "shape")]
    kinds = [_KINDS[value] for value in values]
    in_order = all(a < b for a, b in pairwise(kinds))
    as_many = (count > 1) == (noun in _SINGULARS)
    return count, frozenset(values if in_order and as_many else ())


_KINDS = {value: kind for kind, attribute in enumerate(ATTRIBUTES) for value in VALUES[attribute]}


def _name(values: Iterable[str]) -> str:
    """The values in their order."""
    return " ".join(sorted(values, key=_ORDER.__getitem__))


_ORDER = {
    value: place
    for place, value in enumerate(value for attribute in ATTRIBUTES for value in VALUES[attribute])
}


def _existing(mentions: Sequence[Mention]) -> Iterator[str]:
    """Each mention is of other things, so that "a red circle, a striped red circle" claims two red
    circles."""
    for values in {values for _, values in mentions}:
        if not {_KINDS[value] for value in values} >= _COLOUR_AND_SHAPE:
            yield _NONE
        yield _at_least(sum(count for count, other in mentions if values <= other), _name(values))


_COLOUR_AND_SHAPE = {ATTRIBUTES.index("colour"), ATTRIBUTES.index("shape")}


def _in_order(mentions: Sequence[Mention], axis: str) -> Iterator[str]:
    """Each thing stands so to all later ones, by twos and threes."""
    names = [_name(values) for count, values in mentions for _ in range(count)]
    how = {"x": "to the left of", "y": "above"}[axis]
    for a, b in combinations(names, 2):
        yield f"{a} {how} {b}"
    for three in combinations(names, 3):
        yield _three(three, IN_A_ROW[axis])


def _standing_at(placed: Sequence[tuple[Mention, str]]) -> Iterator[str]:
    """Each mention is of other things here too, and who is at the top left is at the top."""
    for (_, values), place in placed:
        several = [
            count
            for (count, other), at in placed
            if values <= other and (at == place or at in _CORNERS.get(place, ()))
        ]
        yield _at_place(sum(several), _name(values), place)


# side -> the corners at it
_CORNERS = {
    PLACES[x, y]: [
        PLACES[i, j] for i, j in PLACES if i and j and (i == x or x == 0) and (j == y or y == 0)
    ]
    for x, y in PLACES
    if (x == 0) != (y == 0)
}


# ---------------------------------------------------------------- the voices, read back
#
# Each works on a skeleton, the caption with "#" for each naming of things, and on those mentions.

_TO_IT = "|".join(TO_IT.values())
_HOW = "|".join(TO_IT)
_PLACE = "|".join(sorted(PLACES.values(), key=len, reverse=True))
_SEVERAL = "#(?:, #)*(?: and #)?"
_COMPANY = f"{_SEVERAL} (?:{_TO_IT})"
_ITEM = f"#(?: with {_COMPANY}(?: and {_COMPANY})*)?"
_ITEMS = f"{_ITEM}(?:,?(?: and| and then| and finally)? {_ITEM})*"
_PAIR = f"# is (?:{_HOW}) #"
_AT = f"{_SEVERAL} (?:{_PLACE})"
_AT_PLACES = f"{_AT}(?:(?:, {_AT})*,? and {_AT})?"
_FRONTED = f"(?:{_PLACE})(?: is| are)? {_SEVERAL}"
_ALIKE = f"(?:one|{_MANY}) (?:{_PLACE})"
_MEMBERS = "|".join(
    (
        f"one (?:{_HOW}) the other",
        f"# (?:{_HOW}) #",
        f"{_ALIKE}(?:(?:, {_ALIKE})* and {_ALIKE})?",
        f"{_SEVERAL}(?: {'| '.join(IN_A_ROW.values())})?",
        _AT_PLACES,
    )
)
_REST = f"#(?: (?:{_PLACE}))?"

_Reader = Callable[[re.Match[str], Sequence[Mention]], Iterator[str]]


def _read_row(found: re.Match[str], mentions: Sequence[Mention]) -> Iterator[str]:
    return _read_line(found[1], mentions, "x")


def _read_column(found: re.Match[str], mentions: Sequence[Mention]) -> Iterator[str]:
    return _read_line(found[1], mentions, "y")


def _read_line(items: str, mentions: Sequence[Mention], axis: str) -> Iterator[str]:
    yield from _existing(mentions)
    heads, rest = [], iter(mentions)
    for item in re.finditer(_ITEM, items):
        head = next(rest)
        heads.append(head)
        for several, to_it in re.findall(
            f"({_SEVERAL}) ({_TO_IT})", item[0].partition(" with ")[2]
        ):
            for _, values in islice(rest, several.count("#")):
                yield f"{_name(values)} {_FROM_IT[to_it]} {_name(head[1])}"
    yield from _in_order(heads, axis)


_FROM_IT = {to_it: how for how, to_it in TO_IT.items()}


def _read_pairs(found: re.Match[str], mentions: Sequence[Mention]) -> Iterator[str]:
    yield from _existing(mentions)
    names = [_name(values) for _, values in mentions]
    hows = re.findall(_HOW, found[0])
    yield f"{names[0]} {hows[0]} {names[1]}"
    if len(names) == 3:
        yield f"{names[0]} {hows[-1]} {names[2]}"
        yield _both(names[0], f"{hows[0]} {names[1]}", f"{hows[-1]} {names[2]}")
    else:
        yield f"{names[2]} {hows[1]} {names[3]}"


def _read_places(found: re.Match[str], mentions: Sequence[Mention]) -> Iterator[str]:
    yield from _existing(mentions)
    yield from _standing_at(_placed(found[0], mentions))


def _placed(text: str, mentions: Sequence[Mention]) -> list[tuple[Mention, str]]:
    """ "#, # at the top", "at the top are # and #": each with its place."""
    rest = iter(mentions)
    placed = []
    for several, at, fronted, others in re.findall(
        f"({_SEVERAL}) ({_PLACE})|({_PLACE})(?: is| are)? ({_SEVERAL})", text
    ):
        some = islice(rest, (several or others).count("#"))
        placed += [(mention, at or fronted) for mention in some]
    return placed


def _read_groups(found: re.Match[str], mentions: Sequence[Mention]) -> Iterator[str]:
    (count, shared), told, others = mentions[0], found["told"], found["others"] or ""
    yield _in_all(count, _name(shared))
    end = 1 + told.count("#")
    members = [(some, values | shared) for some, values in mentions[1:end]]
    yield from _existing([*(members or mentions[:1]), *mentions[end:]])
    yield from _read_members(told, members, _name(shared))
    for (count, values), place in zip(
        mentions[end:], re.findall(f"#(?: ({_PLACE}))?", others), strict=True
    ):
        if place:
            yield _at_place(count, _name(values), place)


def _read_members(told: str, members: Sequence[Mention], alike: str) -> Iterator[str]:
    how = re.search(f" ({_HOW}) ", told)
    if how is not None:
        a, b = [_name(values) for _, values in members] or (alike, alike)
        yield f"{a} {how[1]} {b}"
    elif not members:
        for many, place in re.findall(f"(one|{_MANY}) ({_PLACE})", told):
            yield _at_place(MANY.index(many), alike, place)
    elif told.endswith(IN_A_ROW["x"]):
        yield from _in_order(members, "x")
    elif told.endswith(IN_A_ROW["y"]):
        yield from _in_order(members, "y")
    else:
        yield from _standing_at(_placed(told, members))


_GROUPS = re.compile(
    f"(?:{'|'.join(GROUP_OPENINGS)}) #, (?P<told>{_MEMBERS})"
    f"(?:, (?:{'|'.join(GROUP_LINKS)}) (?P<others>{_REST}(?:(?:, {_REST})* and {_REST})?))?"
)
_READERS: tuple[tuple[re.Pattern[str], _Reader], ...] = (
    (re.compile(f"(?:{'|'.join(ROW_OPENINGS)}) ({_ITEMS})"), _read_row),
    (
        re.compile(f"(?:{COLUMN_OPENINGS[0]} (?:is|are)|{COLUMN_OPENINGS[1]}) ({_ITEMS})"),
        _read_column,
    ),
    (re.compile(f"{CLUSTER_OPENING} ({_ITEM})"), _read_row),
    (
        re.compile(f"{_PAIR}(?: and (?:(?:{_HOW}) )?#|, (?:{'|'.join(PAIR_LINKS)}) {_PAIR})?"),
        _read_pairs,
    ),
    (re.compile(f"there is {_AT_PLACES}"), _read_places),
    (re.compile(f"{_FRONTED}(?:(?:, {_FRONTED})*, and {_FRONTED})?"), _read_places),
    (_GROUPS, _read_groups),
)
