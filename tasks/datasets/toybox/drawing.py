"""Draws a Toybox scene: integer arithmetic on NumPy arrays only, the same bytes everywhere."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from .chance import Chance
from .scenes import SIDE, SPLITS, Scene, Thing

# RGB of each colour: hues at least 25 degrees apart, none near grey
PAINT = {
    "red": (214, 32, 32),
    "orange": (232, 126, 16),
    "yellow": (226, 212, 30),
    "green": (36, 160, 48),
    "cyan": (32, 190, 196),
    "blue": (40, 72, 214),
    "purple": (128, 44, 196),
    "pink": (236, 84, 170),
}

# Corners of the polygonal shapes on a grid where the box reaches 100 each way, y downwards
_CORNERS: dict[str, tuple[tuple[int, int], ...]] = {
    "square": ((-86, -86), (86, -86), (86, 86), (-86, 86)),
    "triangle": ((0, -98), (98, 88), (-98, 88)),
    "diamond": ((0, -100), (72, 0), (0, 100), (-72, 0)),
    "star": (
        *((0, -100), (26, -36), (95, -31), (42, 14), (59, 81)),
        *((0, 45), (-59, 81), (-42, 14), (-95, -31), (-26, -36)),
    ),
    "cross": (
        *((-34, -98), (34, -98), (34, -34), (98, -34), (98, 34), (34, 34)),
        *((34, 98), (-34, 98), (-34, 34), (-98, 34), (-98, -34), (-34, -34)),
    ),
}


def draw(scene: Scene) -> npt.NDArray[np.uint8]:
    """The picture of a scene, (96, 96, 3) uint8 RGB."""
    chance = Chance(SPLITS[scene.split], scene.index, purpose=1)
    level = 96 + chance.below(64)
    light = [224 + chance.below(32) for _ in scene.things]  # of 256: how brightly each is lit
    tilt = [chance.below(4) for _ in scene.things]
    # noise: one octet a pixel for brightness on the ground, two bits a channel of grain anywhere
    octets = chance.octets(SIDE * SIDE).reshape(SIDE, SIDE)
    grain = np.stack([octets & 3, (octets >> 2) & 3, (octets >> 4) & 3], axis=-1).astype(np.int16)
    ground = level + (octets >> 3).astype(np.int16) - 16
    picture = np.repeat(ground[:, :, None], 3, axis=2)
    for thing, brightness, direction in zip(scene.things, light, tilt, strict=True):
        _paint(picture, thing, brightness, direction)
    return (picture + grain * 2).clip(0, 255).astype(np.uint8)


def _paint(picture: npt.NDArray[np.int16], thing: Thing, brightness: int, direction: int) -> None:
    x1, y1, x2, y2 = thing.box
    inside = shape_mask(thing.shape, thing.radius)
    shade = np.full(inside.shape, 256, dtype=np.int32)
    if thing.pattern == "striped":
        shade[_stripes(thing.radius, direction)] = 144
    paint = np.array(PAINT[thing.colour], dtype=np.int32) * brightness // 256
    painted = (paint[None, None, :] * shade[:, :, None] // 256).astype(np.int16)
    window = picture[y1:y2, x1:x2]
    window[inside] = painted[inside]


@cache
def shape_mask(shape: str, radius: int) -> npt.NDArray[np.bool_]:
    """Where a shape is, (2 * radius + 1, 2 * radius + 1)."""
    steps = np.arange(-radius, radius + 1, dtype=np.int64)
    x, y = np.meshgrid(steps, steps)
    if shape == "circle":
        return np.asarray(x * x + y * y <= radius * radius)
    corners = _CORNERS[shape]
    inside = np.zeros(x.shape, dtype=np.bool_)
    # even-odd rule on coordinates scaled by 100 / radius, without division: each edge that a ray
    # to the right crosses flips the point
    px, py = x * 100, y * 100
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ax, ay, bx, by = ax * radius, ay * radius, bx * radius, by * radius
        if ay == by:
            continue
        spans = (py >= min(ay, by)) & (py < max(ay, by))
        # x of the edge at height py is ax + (py - ay) * (bx - ax) / (by - ay)
        sign = 1 if by > ay else -1
        inside ^= spans & ((px - ax) * (by - ay) * sign < (py - ay) * (bx - ax) * sign)
    return inside


@cache
def _stripes(radius: int, direction: int) -> npt.NDArray[np.bool_]:
    """The dark stripes in a thing's box: 2 pixels dark, 2 bright; four directions."""
    steps = np.arange(2 * radius + 1, dtype=np.int64)
    x, y = np.meshgrid(steps, steps)
    along = (x, y, x + y, x - y)[direction]
    return np.asarray((along // 2) % 2 == 0)
