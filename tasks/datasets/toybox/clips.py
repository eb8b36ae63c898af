"""What happens in a Toybox clip: three to five things, and one to three events one after another.

Decides the world of a clip, films nothing and says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .chance import Chance
from .phrases import Phrase, phrase_of
from .scenes import COLOURS, HELD_OUT, PATTERNS, SHAPES, SIZES, SPLITS, Thing

SIDE = 64  # pixels, both ways
FRAMES = 32
RATE = 4  # frames a second; frame f shows the time from f / RATE to (f + 1) / RATE seconds
SECONDS = FRAMES // RATE
CLIPS = {"train": 8_000, "val": 500, "test": 1_000, "test-comp": 1_000}

# kind -> how many in sixteen events; the four directions of "moves" share its part
KINDS = {"moves": 6, "grows": 2, "shrinks": 2, "turns": 2, "appears": 2, "leaves": 2}
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SHORTEST, LONGEST = 4, 10  # frames of an event
PAUSE = 2  # still frames between two events, at least
NEAREST, FARTHEST = 14, 26  # pixels of a move

_RADIUS = {"small": (6,), "large": (10, 11)}  # half the side of a thing's box, pixels
_ATTEMPTS = 40  # places tried for a thing before the whole layout starts again


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what happens to the thing of this number in the frames [first, last).

    Frame `first` is the first that differs from the one before, frame `last - 1` the first that
    shows the outcome. `detail`: the direction of a move, the new colour of a thing that turns.
    `after`: the thing as it is when the event is over, for one that leaves as it was.
    """

    kind: str
    thing: int
    first: int
    last: int
    after: Thing
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ClipScene:
    """The things of one clip as they are before anything happens to them, in drawing order, and
    the events by time. Nothing happens to a thing twice. One that appears is not there before."""

    split: str
    index: int
    things: tuple[Thing, ...]
    events: tuple[Event, ...]

    def event_of(self, number: int) -> Event | None:
        """What happens to a thing, None if it stands still."""
        return next((event for event in self.events if event.thing == number), None)

    def phrase(self, number: int) -> Phrase:
        """The words that single a thing out in this clip, whatever the time."""
        phrase = _singling_out(self.things, self.events, number)
        assert phrase is not None, "make_clip_scene refuses such layouts"
        return phrase


def make_clip_scene(split: str, index: int) -> ClipScene:
    """The clip of a split at an index in [0, CLIPS[split])."""
    if not 0 <= index < CLIPS[split]:
        raise IndexError(f"toybox {split} has {CLIPS[split]} clips, asked for {index}")
    chance = Chance(SPLITS[split], index, purpose=10)
    # What happens and when is settled before the first layout and kept, so that what is hard to
    # place does not become rare.
    count = 3 + chance.below(3)
    kinds = [chance.weighted(tuple(KINDS.items())) for _ in range(1 + chance.below(3))]
    details = [chance.pick(tuple(DIRECTIONS)) if kind == "moves" else "" for kind in kinds]
    actors = chance.shuffled(range(count))[: len(kinds)]
    spans = _spans(chance, len(kinds))
    plan = {
        actor: (kind, detail) for actor, kind, detail in zip(actors, kinds, details, strict=True)
    }
    while True:
        roles = _roles(chance, count, plan, comp=split == "test-comp")
        placed = _place_all(chance, roles)
        if placed is None:
            continue
        things = tuple(role.before for role in placed)
        events = tuple(
            Event(role.kind, actor, first, last, role.after, role.detail)
            for actor, (first, last) in zip(actors, spans, strict=True)
            for role in (placed[actor],)
        )
        if all(_singling_out(things, events, number) for number in range(count)):
            return ClipScene(split, index, things, events)


def _spans(chance: Chance, count: int) -> list[tuple[int, int]]:
    """When the events are: at least a frame of stillness at both ends of the clip, PAUSE frames
    between; the rest of the time falls anywhere."""
    while True:
        lengths = [SHORTEST + chance.below(LONGEST - SHORTEST + 1) for _ in range(count)]
        slack = FRAMES - 2 - PAUSE * (count - 1) - sum(lengths)
        if slack >= 3:
            break
    spans, spent = [], 1
    for wait, length in zip(
        sorted(chance.below(slack + 1) for _ in range(count)), lengths, strict=True
    ):
        spans.append((spent + wait, spent + wait + length))
        spent += length + PAUSE
    return spans


@dataclass(frozen=True, slots=True)
class _Role:
    """A thing before and after its event; `kind` is "" for one to which nothing happens."""

    before: Thing
    after: Thing
    kind: str
    detail: str

    def at(self, x: int, y: int) -> _Role:
        """The same with the thing's centre there at first."""
        dx, dy = self.after.x - self.before.x, self.after.y - self.before.y
        before, after = replace(self.before, x=x, y=y), replace(self.after, x=x + dx, y=y + dy)
        return replace(self, before=before, after=after)

    @property
    def reach(self) -> int:
        return max(self.before.radius, self.after.radius)

    @property
    def room(self) -> int:
        """The area that it sweeps over, pixels: what needs most is placed first."""
        path = abs(self.after.x - self.before.x) + abs(self.after.y - self.before.y)
        return 2 * self.reach * (2 * self.reach + path)


def _roles(chance: Chance, count: int, plan: dict[int, tuple[str, str]], comp: bool) -> list[_Role]:
    """The things and what becomes of them, not yet in their places."""
    things: list[Thing] = []
    roles = []
    for number in range(count):
        # test-comp: the first thing is always of a held-out pair, each other one time in three
        held_out = comp and (number == 0 or chance.one_in(3))
        colour, shape = _colour_and_shape(chance, things, held_out)
        kind, detail = plan.get(number, ("", ""))
        size = {"grows": "small", "shrinks": "large"}.get(kind) or chance.pick(SIZES)
        thing = Thing(colour, shape, size, chance.pick(PATTERNS), 0, 0, chance.pick(_RADIUS[size]))
        things.append(thing)
        roles.append(_role(chance, thing, kind, detail, comp))
    return roles


def _colour_and_shape(chance: Chance, things: list[Thing], held_out: bool) -> tuple[str, str]:
    """As in pictures, each attribute copies an earlier thing's one time in three, so that neither
    colour nor shape alone is enough to tell which thing is meant."""
    if held_out:
        return chance.pick(sorted(HELD_OUT))
    while True:
        colour, shape = chance.pick(COLOURS), chance.pick(SHAPES)
        if things and chance.one_in(3):
            colour = chance.pick(things).colour
        if things and chance.one_in(3):
            shape = chance.pick(things).shape
        if (colour, shape) not in HELD_OUT:
            return colour, shape


def _role(chance: Chance, thing: Thing, kind: str, detail: str, comp: bool) -> _Role:
    after = thing
    if kind == "moves":
        distance = NEAREST + chance.below(FARTHEST - NEAREST + 1)
        dx, dy = DIRECTIONS[detail]
        after = replace(thing, x=dx * distance, y=dy * distance)
    elif kind in ("grows", "shrinks"):
        size = "large" if kind == "grows" else "small"
        after = replace(thing, size=size, radius=chance.pick(_RADIUS[size]))
    elif kind == "turns":
        detail = chance.pick(
            [
                colour
                for colour in COLOURS
                if colour != thing.colour and (comp or (colour, thing.shape) not in HELD_OUT)
            ]
        )
        after = replace(thing, colour=detail)
    return _Role(thing, after, kind, detail)


def _place_all(chance: Chance, roles: list[_Role]) -> list[_Role] | None:
    placed: dict[int, _Role] = {}
    for number in sorted(range(len(roles)), key=lambda number: -roles[number].room):
        role = _place(chance, roles[number], list(placed.values()))
        if role is None:
            return None
        placed[number] = role
    return [placed[number] for number in range(len(roles))]


def _place(chance: Chance, role: _Role, others: list[_Role]) -> _Role | None:
    low, high = role.reach + 1, SIDE - role.reach - 2  # where a centre may be
    dx, dy = role.after.x, role.after.y  # of a role that is not placed yet: how far it moves
    x_low, y_low = low - min(dx, 0), low - min(dy, 0)
    x_places, y_places = high - low - abs(dx) + 1, high - low - abs(dy) + 1
    for _ in range(_ATTEMPTS):
        x, y = x_low + chance.below(x_places), y_low + chance.below(y_places)
        if all(_apart(role, x, y, other) for other in others):
            return role.at(x, y)
    return None


def _apart(role: _Role, x: int, y: int, other: _Role) -> bool:
    """Whether a role that is not placed yet may start at a place. Things may touch a little, on
    their whole ways; things of one colour, at any time, stay clearly apart. A centre's way is along
    an axis, so the way is a box without breadth."""
    dx = _gap(x, x + role.after.x, other.before.x, other.after.x)
    dy = _gap(y, y + role.after.y, other.before.y, other.after.y)
    reach = role.reach + other.reach
    if {role.before.colour, role.after.colour} & {other.before.colour, other.after.colour}:
        return max(dx, dy) > reach + 2
    return dx * dx + dy * dy >= reach * reach


def _gap(a: int, b: int, c: int, d: int) -> int:
    """The distance from the range between a and b to that between c and d."""
    return max(0, min(a, b) - max(c, d), min(c, d) - max(a, b))


# Colour and shape where that is enough, then one attribute more
_NAMED = (
    ("colour", "shape"),
    ("pattern", "colour", "shape"),
    ("size", "colour", "shape"),
)


def _singling_out(
    things: tuple[Thing, ...], events: tuple[Event, ...], number: int
) -> Phrase | None:
    """The shortest phrase for a thing before its event that fits no other thing at any time."""
    others = [thing for other, thing in enumerate(things) if other != number]
    others += [event.after for event in events if event.thing != number]
    for attributes in _NAMED:
        phrase = phrase_of(things[number], attributes)
        if not any(map(phrase.matches, others)):
            return phrase
    return None
