"""What stands in a Toybox picture: things with a colour, shape, size, pattern and place.

Decides the world, draws nothing and asks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from .chance import Chance

SIDE = 96  # pixels, both ways

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross")
SIZES = ("small", "large")
PATTERNS = ("plain", "striped")

# Pairs that only test-comp shows: each of six colours and each shape is missing exactly once in
# training, so that no colour and no shape is rarer than its fellows.
HELD_OUT = frozenset(
    {
        ("red", "star"),
        ("orange", "diamond"),
        ("yellow", "cross"),
        ("green", "circle"),
        ("blue", "triangle"),
        ("purple", "square"),
    }
)

SPLITS = {"train": 0, "val": 1, "test": 2, "test-comp": 3}
PICTURES = {"train": 16_000, "val": 500, "test": 1_000, "test-comp": 1_000}

_RADIUS = {"small": (7, 8), "large": (12, 13)}  # half the side of a thing's box, pixels
_ATTEMPTS = 40  # places tried for a thing before the whole layout starts again


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing; (x, y) is its centre in pixels, its box reaches `radius` pixels each way."""

    colour: str
    shape: str
    size: str
    pattern: str
    x: int
    y: int
    radius: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2; the far ends are exclusive."""
        r = self.radius
        return self.x - r, self.y - r, self.x + r + 1, self.y + r + 1

    def has(self, attribute: str, value: str) -> bool:
        return bool(getattr(self, attribute) == value)


@dataclass(frozen=True, slots=True)
class Scene:
    """The things of one picture, in drawing order: later ones cover earlier ones."""

    split: str
    index: int
    things: tuple[Thing, ...]


def make_scene(split: str, index: int) -> Scene:
    """The scene of a split at an index in [0, PICTURES[split])."""
    if not 0 <= index < PICTURES[split]:
        raise IndexError(f"toybox {split} has {PICTURES[split]} pictures, asked for {index}")
    chance = Chance(SPLITS[split], index, purpose=0)
    while True:
        things = _try_layout(chance, 3 + chance.below(4), comp=split == "test-comp")
        if things is not None:
            return Scene(split, index, things)


def _try_layout(chance: Chance, count: int, comp: bool) -> tuple[Thing, ...] | None:
    things: list[Thing] = []
    for position in range(count):
        # test-comp: the first thing is always of a held-out pair, each other one time in three
        held_out = comp and (position == 0 or chance.one_in(3))
        colour, shape = _colour_and_shape(chance, things, held_out)
        size, pattern = chance.pick(SIZES), chance.pick(PATTERNS)
        thing = _place(chance, things, colour, shape, size, pattern)
        if thing is None:
            return None
        things.append(thing)
    return tuple(things)


def _colour_and_shape(chance: Chance, things: list[Thing], held_out: bool) -> tuple[str, str]:
    """Each attribute copies an earlier thing's one time in three, so that there is something to
    count and compare; otherwise all pairs that the split may show are equally likely."""
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


def _place(
    chance: Chance, things: list[Thing], colour: str, shape: str, size: str, pattern: str
) -> Thing | None:
    radius = chance.pick(_RADIUS[size])
    for _ in range(_ATTEMPTS):
        x = radius + 1 + chance.below(SIDE - 2 * radius - 2)
        y = radius + 1 + chance.below(SIDE - 2 * radius - 2)
        if all(_may_stand(x, y, radius, colour, other) for other in things):
            return Thing(colour, shape, size, pattern, x, y, radius)
    return None


def _may_stand(x: int, y: int, radius: int, colour: str, other: Thing) -> bool:
    """Things of one colour stay apart (their edge could not be seen); others may touch and
    overlap a little."""
    dx, dy, reach = abs(x - other.x), abs(y - other.y), radius + other.radius
    if colour == other.colour:
        return max(dx, dy) > reach + 2
    return 100 * (dx * dx + dy * dy) >= 81 * reach * reach  # distance >= 0.9 reach
