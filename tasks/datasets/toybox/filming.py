"""Films a Toybox clip: integer arithmetic on NumPy arrays only, the same bytes everywhere.

Knows what happens in the clip, not what is said of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.types import Clip

if TYPE_CHECKING:
    from harness.types import Frames

from . import VERSION
from .chance import Chance
from .clips import CLIPS, FRAMES, SECONDS, SIDE, ClipScene, Event, make_clip_scene
from .drawing import PAINT, shape_mask
from .scenes import SPLITS, Thing

CHECKED = 200  # clips of each split that its checksum covers


def clip_of(scene: ClipScene) -> Clip:
    id = f"{VERSION}/clips/{scene.split}/{scene.index}"
    return Clip(id, partial(_read, scene), duration=float(SECONDS), scene=scene)


def _read(scene: ClipScene, count: int) -> Frames:
    """`count` frames, from the middles of as many equal parts of the clip."""
    # part i has its middle at frame (i + 1/2) / count * FRAMES
    return film(scene, (2 * np.arange(count) + 1) * FRAMES // (2 * count))


def film(scene: ClipScene, wanted: npt.NDArray[np.int64] | None = None) -> Frames:
    """The wanted frames of a clip, in ascending order, or all FRAMES: (frames, SIDE, SIDE, 3) uint8
    RGB. Few are the same bytes as those of all, and cost less."""
    wanted = np.arange(FRAMES) if wanted is None else wanted
    chance = Chance(SPLITS[scene.split], scene.index, purpose=11)
    level = 96 + chance.below(64)
    light = [224 + chance.below(32) for _ in scene.things]  # of 256: how brightly each is lit
    tilt = [chance.below(4) for _ in scene.things]
    # noise: on the ground five bits a pixel, the same in each frame; grain two bits anywhere
    ground = level - 16 + (chance.octets(SIDE * SIDE) >> 3).astype(np.int16)
    grain = chance.octets(FRAMES * SIDE * SIDE).reshape(FRAMES, SIDE, SIDE, 1)[wanted] & 3
    frames = np.empty((len(wanted), SIDE, SIDE, 3), dtype=np.uint8)
    frames[:] = ground.astype(np.uint8).reshape(SIDE, SIDE, 1)
    for number, brightness in enumerate(light):
        for first, last, look in _looks(scene, number):
            start, end = np.searchsorted(wanted, (first, last))
            if start < end:
                _paint(frames[start:end], look, brightness, tilt[number])
    frames += grain  # no channel of ground or paint is above 240
    return frames


@dataclass(frozen=True, slots=True)
class _Look:
    """How a thing looks in some frames. `opacity`: of 256."""

    shape: str
    pattern: str
    x: int
    y: int
    radius: int
    paint: tuple[int, ...]
    opacity: int = 256


def _looks(scene: ClipScene, number: int) -> Iterator[tuple[int, int, _Look]]:
    """(first, last, look) of a thing, for each stretch of frames [first, last) in which it does not
    change."""
    thing, event = scene.things[number], scene.event_of(number)
    if event is None:
        yield 0, FRAMES, _still(thing)
        return
    if event.kind != "appears":
        yield 0, event.first, _still(thing)
    for frame in range(event.first, event.last):
        yield frame, frame + 1, _under_way(thing, event, frame - event.first + 1)
    if event.kind != "leaves":
        yield event.last, FRAMES, _still(event.after)


def _still(thing: Thing) -> _Look:
    return _Look(thing.shape, thing.pattern, thing.x, thing.y, thing.radius, PAINT[thing.colour])


def _under_way(thing: Thing, event: Event, step: int) -> _Look:
    """A thing at a step of its event, from 1 to as many as the event has frames."""
    steps, after = event.last - event.first, event.after

    def between(a: int, b: int) -> int:
        return a + (b - a) * step // steps

    # Radii differ by few pixels: the first is taken at the first step, the last at the last, so
    # that the event is as long as it looks
    radius, grown = thing.radius, after.radius - thing.radius
    if grown:
        sign = 1 if grown > 0 else -1
        radius += sign * (1 + (abs(grown) - 1) * (step - 1) // (steps - 1))
    paint = map(between, PAINT[thing.colour], PAINT[after.colour])
    opacity = {"appears": between(0, 256), "leaves": between(256, 0)}.get(event.kind, 256)
    x, y = between(thing.x, after.x), between(thing.y, after.y)
    return _Look(thing.shape, thing.pattern, x, y, radius, tuple(paint), opacity)


def _paint(frames: Frames, look: _Look, brightness: int, direction: int) -> None:
    """Paints a thing into all of these frames."""
    r = look.radius
    inside = shape_mask(look.shape, r)
    paint = np.array(look.paint, dtype=np.int32) * brightness // 256
    shade = _shade(look.shape, look.pattern, r, direction)
    painted = paint * shade // 256
    window = frames[:, look.y - r : look.y + r + 1, look.x - r : look.x + r + 1]
    if look.opacity < 256:
        behind = window[:, inside].astype(np.int32)
        painted = behind + (painted - behind) * look.opacity // 256
    window[:, inside] = painted.astype(np.uint8)


@cache
def _shade(shape: str, pattern: str, radius: int, direction: int) -> npt.NDArray[np.int32]:
    """How bright each pixel inside a shape is, of 256, (pixels inside, 1). Stripes are 2 pixels
    dark, 2 bright, in four directions; they keep to the centre, so that they stay as a thing
    grows."""
    inside = shape_mask(shape, radius)
    shade = np.full(inside.shape, 256, dtype=np.int32)
    if pattern == "striped":
        steps = np.arange(-radius, radius + 1, dtype=np.int64)
        x, y = np.meshgrid(steps, steps)
        along = (x, y, x + y, x - y)[direction]
        shade[(along // 2) % 2 == 0] = 144
    return np.asarray(shade[inside][:, None])


@cache
def frames_sha256(split: str) -> str:
    """sha256 of all frames of the first CHECKED clips of a split."""
    digest = hashlib.sha256()
    for index in range(min(CHECKED, CLIPS[split])):
        digest.update(film(make_clip_scene(split, index)).tobytes())
    return digest.hexdigest()
