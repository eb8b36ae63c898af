"""Captions of a scene: five voices, each with a construction of its own, and the words for where
things stand.

A voice settles what it says by the scene alone; chance settles synonyms, one of two openings, and
the order of the five. Knows scenes, not pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, product

from .asking import SYNONYMS
from .chance import Chance
from .phrases import Phrase
from .scenes import SHAPES, SIDE, Scene, Thing

CLEAR = 12  # pixels by which centres must differ for their order to be told, as in questions
LONGEST = 28  # words of a caption
MANY = ("zero", "one", "two", "three", "four", "five", "six")

# Where a thing stands in the picture: (left -1, right 1; top -1, bottom 1)
PLACES = {
    (-1, -1): "at the top left",
    (0, -1): "at the top",
    (1, -1): "at the top right",
    (-1, 0): "on the left",
    (0, 0): "in the middle",
    (1, 0): "on the right",
    (-1, 1): "at the bottom left",
    (0, 1): "at the bottom",
    (1, 1): "at the bottom right",
}
# relation of a thing to one that was named -> the same to "it"
TO_IT = {
    "to the left of": "to its left",
    "to the right of": "to its right",
    "above": "above it",
    "below": "below it",
    "next to": "next to it",
}
BACK = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
    "next to": "next to",
}

# ---------------------------------------------------------------- where things stand


def relation(a: Thing, b: Thing) -> str:
    """How `a` stands to `b`, along the axis on which they are farther apart; "next to" where both
    are too close to call."""
    x, y = a.x - b.x, a.y - b.y
    if max(abs(x), abs(y)) < CLEAR:
        return "next to"
    if abs(x) >= abs(y):
        return "to the left of" if x < 0 else "to the right of"
    return "above" if y < 0 else "below"


def side(at: int) -> int:
    """-1, 0 or 1: before, around or after the middle of the picture, along an axis."""
    return (at >= SIDE // 2 + CLEAR) - (at <= SIDE // 2 - CLEAR)


# ---------------------------------------------------------------- one caption's words

Named = tuple[str, ...]  # what a thing is called: ("large", "red", "circle"), ("red", "one")

PLURALS = {shape: Phrase((("shape", shape),)).plural() for shape in SHAPES} | {"one": "ones"}


@dataclass(slots=True)
class _Speaker:
    """The words of one annotator, and what has been named in this caption: whatever has the same
    words as an earlier thing is "another"."""

    synonyms: dict[str, str]
    named: set[Named] = field(default_factory=set)

    def say(self, named: Named) -> str:
        return " ".join([self.synonyms.get(value, value) for value in named])

    def a(self, named: Named) -> str:
        words = self.say(named)
        if named in self.named:
            return f"another {words}"
        self.named.add(named)
        return f"an {words}" if words.startswith("orange") else f"a {words}"

    def some(self, count: int, named: Named) -> str:
        """ "a red circle", "two red circles", "two more red circles"."""
        if count == 1:
            return self.a(named)
        many = f"{MANY[count]} more" if named in self.named else MANY[count]
        self.named.add(named)
        return f"{many} {self.say((*named[:-1], PLURALS[named[-1]]))}"

    def all(self, names: Sequence[Named]) -> list[str]:
        """Each of them, neighbours of the same name together."""
        return [self.some(len(list(same)), named) for named, same in groupby(names)]

    def one_by_one(self, names: Sequence[Named]) -> list[str]:
        """Each of them as they stand in a row: only three or more of the same name together."""
        told = []
        for named, same in groupby(names):
            count = len(list(same))
            told += (
                [self.some(count, named)] if count > 2 else [self.a(named) for _ in range(count)]
            )
        return told


def _name(thing: Thing, extras: Sequence[str] = ()) -> Named:
    """Colour and shape, and those values of size and pattern that are worth saying."""
    if not extras:
        return thing.colour, thing.shape
    told = [value for value in (thing.size, thing.pattern) if value in extras]
    return (*told, thing.colour, thing.shape)


def _listed(items: Sequence[str], last: str = "and", comma: bool = False) -> str:
    """ "a, b and c"; with a comma before the last where items are long."""
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])}{',' if comma else ''} {last} {items[-1]}"


def _is_or_are(told: str) -> str:
    """The verb before "a red circle" or "two red circles"."""
    return "are" if told.startswith(_MANY) else "is"


_MANY = tuple(f"{many} " for many in MANY[2:])

# ---------------------------------------------------------------- voices
#
# A voice yields sentences that say less and less, without capital and full stop; the first that is
# short enough is taken. All mention three things, and all things where there are three or four.

Voice = Callable[[Sequence[Thing], int, dict[str, str]], Iterator[str]]

ROW_OPENINGS = ("from left to right, the picture shows", "looking from left to right, you find")
COLUMN_OPENINGS = ("from top to bottom, there", "going down the picture, we see")
CLUSTER_OPENING = "the picture shows"  # where no two things can be put in order
GROUP_OPENINGS = ("there are", "this picture has")
GROUP_LINKS = ("along with", "together with")
PAIR_LINKS = ("and", "while")
IN_A_ROW = {"x": "from left to right", "y": "from top to bottom"}


def _from_left_to_right(
    things: Sequence[Thing], wording: int, synonyms: dict[str, str]
) -> Iterator[str]:
    for line in _shorter_lines(_line(things, "x"), len(things)):
        for extras in (("striped",), ()):
            items = _line_items(line, extras, _Speaker(synonyms))
            opening = ROW_OPENINGS[wording] if len(line) > 1 else CLUSTER_OPENING
            yield f"{opening} {_listed(items, comma=_has_company(line))}"


def _from_top_to_bottom(
    things: Sequence[Thing], wording: int, synonyms: dict[str, str]
) -> Iterator[str]:
    for line in _shorter_lines(_line(things, "y"), len(things)):
        for extras in (("large",), ()):
            items = _line_items(line, extras, _Speaker(synonyms))
            opening = COLUMN_OPENINGS[wording] if len(line) > 1 else CLUSTER_OPENING
            if opening.endswith("there"):
                opening = f"{opening} {_is_or_are(items[0])}"
            last = "and" if wording else "and then" if len(items) == 2 else "and finally"
            yield f"{opening} {_listed(items, last, comma=_has_company(line))}"


_Line = list[tuple[Thing, list[Thing]]]


def _line(things: Sequence[Thing], axis: str) -> _Line:
    """The things that are clearly one after another, each with those too close to it to be put in
    order."""
    places = [(t.x, t.y, t) if axis == "x" else (t.y, t.x, t) for t in things]
    line: _Line = []
    reached = -CLEAR
    for at, _, thing in sorted(places, key=lambda place: place[:2]):
        if at - reached < CLEAR:
            line[-1][1].append(thing)
        else:
            line.append((thing, []))
            reached = at
    return line


def _shorter_lines(line: _Line, count: int) -> Iterator[_Line]:
    """The line with fewer and fewer of those that are named beside another."""
    beside = sum(len(company) for _, company in line)
    fewest = beside if count <= 4 else max(0, 3 - len(line))
    for kept in range(beside, fewest - 1, -1):
        rest, shorter = kept, []
        for thing, company in line:
            shorter.append((thing, company[:rest]))
            rest = max(0, rest - len(company))
        yield shorter


def _has_company(line: _Line) -> bool:
    """Whether any but the last has, which asks for a comma before the last."""
    return any(company for _, company in line[:-1])


def _line_items(line: _Line, extras: Sequence[str], speaker: _Speaker) -> list[str]:
    """ "a red circle", "a blue star with a green cross above it and a pink square below it"."""
    items: list[str] = []
    alone: list[Named] = []  # those in a row that have no company: some may share their name
    for thing, company in line:
        if not company:
            alone.append(_name(thing, extras))
            continue
        items += speaker.one_by_one(alone)
        alone = []
        item = speaker.a(_name(thing, extras))
        by_relation: dict[str, list[Named]] = {}
        for other in company:
            by_relation.setdefault(TO_IT[relation(other, thing)], []).append(_name(other, extras))
        told = [f"{_listed(speaker.all(names))} {to_it}" for to_it, names in by_relation.items()]
        items.append(f"{item} with {' and '.join(told)}")
    return items + speaker.one_by_one(alone)


def _in_pairs(things: Sequence[Thing], wording: int, synonyms: dict[str, str]) -> Iterator[str]:
    """Of three things, the middle one to both others; else the two leftmost and the two
    rightmost."""
    across = sorted(things, key=lambda thing: (thing.x, thing.y))
    speaker = _Speaker(synonyms)
    names = [_name(thing, ("small", "large")) for thing in across]
    if len(across) == 3:
        middle = speaker.a(names[1])
        to_first, to_last = (relation(across[1], other) for other in (across[0], across[2]))
        if to_first == to_last:
            yield f"{middle} is {to_first} {_listed([speaker.a(names[0]), speaker.a(names[2])])}"
        else:
            first, last = speaker.a(names[0]), speaker.a(names[2])
            yield f"{middle} is {to_first} {first} and {to_last} {last}"
        return
    clauses = [
        f"{speaker.a(names[a])} is {relation(across[a], across[b])} {speaker.a(names[b])}"
        for a, b in ((0, 1), (-1, -2))
    ]
    yield f", {PAIR_LINKS[wording]} ".join(clauses)


def _by_places(things: Sequence[Thing], wording: int, synonyms: dict[str, str]) -> Iterator[str]:
    """At most four things, those farthest from the middle."""
    middle = SIDE // 2
    outermost = sorted(things, key=lambda t: (-max(abs(t.x - middle), abs(t.y - middle)), t.x, t.y))
    chosen = sorted(outermost[:4], key=lambda t: (side(t.y), side(t.x), t.x, t.y))
    for extras in (("small", "large", "striped"), ("striped",), ()):
        for corners in (4,) if extras else (4, 3, 2, 1, 0):
            yield _placed(chosen, corners, wording, _Speaker(synonyms), extras)


def _placed(
    things: Sequence[Thing], corners: int, wording: int, speaker: _Speaker, extras: Sequence[str]
) -> str:
    """All things by their places; corners after the first few are but "at the top"."""
    places = [_place(thing, exact=number < corners) for number, thing in enumerate(things)]
    names = [_name(thing, extras) for thing in things]
    told = _told_by_place(names, places, speaker)
    first_place, first = told[0]
    verb = "are" if len(first) > 1 else _is_or_are(first[0])
    # "there are two stars, a circle and ..." would be read as if the circle were a star
    if wording or _is_or_are(first[0]) == "are":
        items = [f"{first_place} {verb} {_listed(first)}"]
        return _listed(items + [f"{p} {_listed(some)}" for p, some in told[1:]], comma=True)
    return f"there is {_list_with_places(told)}"


def _place(thing: Thing, exact: bool = True) -> str:
    x, y = side(thing.x), side(thing.y)
    return PLACES[x if exact or y == 0 else 0, y]


def _told_by_place(
    names: Sequence[Named], places: Sequence[str], speaker: _Speaker
) -> list[tuple[str, list[str]]]:
    by_place: dict[str, list[Named]] = {}
    for name, place in zip(names, places, strict=True):
        by_place.setdefault(place, []).append(name)
    return [(place, speaker.all(some)) for place, some in by_place.items()]


def _list_with_places(told: Sequence[tuple[str, list[str]]]) -> str:
    items = [f"{_listed(some)} {place}" for place, some in told]
    return _listed(items, comma=len(told) > 2 or any(len(some) > 1 for _, some in told))


def _by_groups(things: Sequence[Thing], wording: int, synonyms: dict[str, str]) -> Iterator[str]:
    """All things of one shape, colour or size, and the others with their places."""
    across = sorted(things, key=lambda thing: (thing.x, thing.y))
    attribute, value = _largest_group(across)
    group = [thing for thing in across if thing.has(attribute, value)]
    rest = [thing for thing in across if not thing.has(attribute, value)]
    fewest = len(rest) if len(things) <= 4 else max(0, 3 - len(group))
    for where, count in product(("exactly", "roughly", ""), range(len(rest), fewest - 1, -1)):
        for placed in range(count, -1, -1):
            speaker = _Speaker(synonyms)
            told = _group_told(group, attribute, speaker, where)
            others = [f"{speaker.a(_name(thing))} {_place(thing)}" for thing in rest[:placed]]
            others += speaker.all([_name(thing) for thing in rest[placed:count]])
            text = f"{GROUP_OPENINGS[wording]} {told}"
            yield f"{text}, {GROUP_LINKS[wording]} {_listed(others)}" if others else text


def _largest_group(things: Sequence[Thing]) -> tuple[str, str]:
    """The attribute and value that most things share: a shape or a colour, else a size, which
    always some share."""
    best, most = ("", ""), 1
    for attribute in ("shape", "colour", "size"):
        if attribute == "size" and most > 1:
            break
        for value, count in Counter([getattr(thing, attribute) for thing in things]).items():
            if count > most:
                best, most = (attribute, value), count
    return best


def _group_told(group: Sequence[Thing], attribute: str, speaker: _Speaker, where: str) -> str:
    """ "two stars, a red one above a blue one"."""
    first, many = group[0], MANY[len(group)]
    if attribute == "size":
        names = [_name(thing) for thing in group]
        return f"{many} {speaker.say((first.size,))} shapes, {_told(group, names, speaker, where)}"
    if attribute == "colour":
        names = [(thing.shape,) for thing in group]
        head = f"{many} {speaker.say((first.colour,))} shapes"
        return f"{head}, {_told(group, names, speaker, where)}"
    if any(thing.colour != first.colour for thing in group):
        names = [(thing.colour, "one") for thing in group]
        return f"{many} {PLURALS[first.shape]}, {_told(group, names, speaker, where)}"
    head = f"{many} {speaker.say((first.colour, PLURALS[first.shape]))}"
    if len(group) > 2:
        places = Counter([_place(thing, where == "exactly") for thing in group])
        return f"{head}, {_listed([f'{MANY[some]} {place}' for place, some in places.items()])}"
    for differing in ("size", "pattern"):
        names = [(getattr(thing, differing), "one") for thing in group]
        if names[0] != names[1]:
            return f"{head}, {_told(group, names, speaker, where)}"
    a, b = group
    how = relation(a, b)
    return f"{head}, one {BACK[how] if how in _FROM_BEHIND else how} the other"


_FROM_BEHIND = ("below", "to the right of")


def _told(group: Sequence[Thing], names: Sequence[Named], speaker: _Speaker, where: str) -> str:
    """Things in a row or a column, if they clearly are in one, else by their places."""
    if len(group) == 2:
        (a, b), (of_a, of_b) = group, names
        if relation(a, b) in _FROM_BEHIND:
            a, b, of_a, of_b = b, a, of_b, of_a
        return f"{speaker.a(of_a)} {relation(a, b)} {speaker.a(of_b)}"
    name_of = dict(zip(group, names, strict=True))
    for axis, in_a_row in IN_A_ROW.items():
        line = _line(group, axis)
        if len(line) == len(group):
            return (
                f"{_listed(speaker.one_by_one([name_of[thing] for thing, _ in line]))} {in_a_row}"
            )
    if not where:
        return _listed(speaker.all(names))
    places = [_place(thing, where == "exactly") for thing in group]
    return _list_with_places(_told_by_place(names, places, speaker))


VOICES: tuple[Voice, ...] = (
    _from_left_to_right,
    _from_top_to_bottom,
    _in_pairs,
    _by_places,
    _by_groups,
)

# ---------------------------------------------------------------- captions

# One annotator in four says so; each sticks to a word throughout a caption
ALL_SYNONYMS = {**SYNONYMS, "small": "little"}


def describe(scene: Scene, chance: Chance) -> tuple[str, ...]:
    """Five captions of a scene, one a voice, in random order."""
    captions = []
    for voice in chance.shuffled(VOICES):
        bits = chance.below(2 * 4 ** len(ALL_SYNONYMS))
        wording, bits = bits & 1, bits >> 1
        synonyms = {}
        for word, synonym in ALL_SYNONYMS.items():
            if bits & 3 == 0:
                synonyms[word] = synonym
            bits >>= 2
        captions.append(speak(voice, scene, wording, synonyms))
    return tuple(captions)


def speak(voice: Voice, scene: Scene, wording: int, synonyms: dict[str, str]) -> str:
    """What a voice says of a scene: the fullest of its sentences that is short enough."""
    for sentence in voice(scene.things, wording, synonyms):
        if sentence.count(" ") < LONGEST:
            return f"{sentence[0].upper()}{sentence[1:]}."
    raise AssertionError(f"{voice.__name__} has no short caption of {scene}")


def oracle_caption(scene: Scene) -> str:
    """The caption of one voice, without synonyms: what a captioner that sees all could say."""
    return speak(_from_left_to_right, scene, 0, {})
