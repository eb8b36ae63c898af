"""The only source of randomness in Toybox: raw words of a Philox counter generator, turned into
choices by integer arithmetic alone, so that every NumPy version draws the same world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

_BLOCK = 64  # words drawn at once; a matter of speed only


class Chance:
    """A stream of choices, addressed by (split, index, purpose): O(1) access to any of them.

    The address is the generator's key and counter, so streams never overlap: a stream may run for
    2**64 words before it meets the next purpose's.
    """

    def __init__(self, split: int, index: int, purpose: int) -> None:
        # counter words, least significant first: [position, purpose, index, split]
        self._bits = np.random.Philox(key=20_150_210, counter=[0, purpose, index, split])
        self._words: list[int] = []

    def below(self, n: int) -> int:
        """An integer in [0, n); the bias of the remainder is below n / 2**64."""
        if not self._words:
            self._words = self._bits.random_raw(_BLOCK).tolist()[::-1]
        return self._words.pop() % n

    def one_in(self, n: int) -> bool:
        """True with probability 1/n."""
        return self.below(n) == 0

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[self.below(len(options))]

    def weighted(self, options: Sequence[tuple[T, int]]) -> T:
        """One of the (option, whole weight) pairs, by weight."""
        mark = self.below(sum(weight for _, weight in options))
        for option, weight in options:
            mark -= weight
            if mark < 0:
                return option
        raise AssertionError("weights must be positive")

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in random order (Fisher-Yates)."""
        rest = list(options)
        for last in range(len(rest) - 1, 0, -1):
            other = self.below(last + 1)
            rest[last], rest[other] = rest[other], rest[last]
        return rest

    def octets(self, n: int) -> npt.NDArray[np.uint8]:
        """n bytes, (n,), the same on machines of either byte order."""
        words = self._bits.random_raw((n + 7) // 8).astype("<u8")
        return words.view(np.uint8)[:n]
