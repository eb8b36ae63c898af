"""What every Toybox task shares: lazily made samples, a scene's picture, and checking a split's
name. Asks nothing and knows no target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, overload

from harness.errors import BadInput
from harness.types import Box, Picture, Sample

if TYPE_CHECKING:
    from harness.types import Pixels

from . import VERSION
from .scenes import SIDE, SPLITS, Scene, Thing


def check_split(split: str) -> None:
    if split not in SPLITS:
        raise BadInput(f"toybox has no split {split!r}; it has {', '.join(SPLITS)}")


def picture_of(scene: Scene) -> Picture:
    id = f"{VERSION}/{scene.split}/{scene.index}"
    return Picture(id, partial(_draw, scene), scene, size=(SIDE, SIDE))


def boxes_of(spoken_of: Sequence[Sequence[Thing]]) -> list[list[Box]]:
    """The boxes of the things that each phrase of a text speaks of."""
    return [[thing.box for thing in things] for things in spoken_of]


def _draw(scene: Scene) -> Pixels:
    from .drawing import draw

    return draw(scene)


class LazySamples(Sequence[Sample]):
    """The samples of a split, `each` of them about one scene, made when they are asked for."""

    def __init__(self, scenes: int, each: int, make: Callable[[int], Sequence[Sample]]) -> None:
        """make(scene index) -> the samples about that scene, `each` in number."""
        self._length, self._each, self._make = scenes * each, each, make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"toybox has {len(self)} samples here, asked for {index}")
        scene, number = divmod(index % len(self), self._each)
        return self._make(scene)[number]
