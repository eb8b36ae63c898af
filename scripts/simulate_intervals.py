"""Do the intervals hold the truth, does `check` raise false alarms, does a comparison find what it
says it would? Simulated runs whose truth is known, through the very functions that score, compare
and check; prints a Markdown table.

    python scripts/simulate_intervals.py --repetitions 2000 --jobs 2

Every repetition has a seed of its own, so the table is the same for any number of jobs.
"""

from __future__ import annotations

import argparse
import math
import sys
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.compare import difference, permutation
from harness.metrics.caption import Captions, cider_aggregate, cider_rows
from harness.score import value_of
from harness.types import Metric, Sample

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]  # rows of two runs on the same samples

PILOT = 60  # repetitions from which the detectable difference is taken


@dataclass(frozen=True)
class Case:
    """Runs of `n` samples in `groups` groups. `draw(generator, drop)` gives two runs of which the
    second is truly worse by `drop`. `truth`: the first's true value; None: its mean over
    independent sets."""

    name: str
    n: int
    groups: int
    metric: Metric
    draw: Callable[[np.random.Generator, float], Pair]
    truth: float | None

    @property
    def names(self) -> list[str]:
        return [f"{index * self.groups // self.n:05}" for index in range(self.n)]

    def generator(self, what: str, repetition: int) -> np.random.Generator:
        """One that no other case, purpose or repetition has."""
        key = zlib.crc32(f"{self.name} {self.n} {what}".encode())
        return np.random.Generator(np.random.Philox(key=[key, repetition]))


# ---------------------------------------------------------------- means over samples


def _never(*given: object) -> Any:
    raise AssertionError("rows are drawn")


def _mean(sums: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


_MEAN = Metric("mean", "simulated", _never, _mean)
_ALIKE = 0.2  # correlation of two samples of a group


def draw_hits(
    generator: np.random.Generator, drop: float, *, n: int, groups: int, share: float, iou: bool
) -> Pair:
    """Two runs right in `share` of samples and in `drop` fewer. In groups of several samples the
    chance to be right belongs to the group; with `iou` a hit counts what its overlap is, 2/3 in the
    mean."""
    worth = 2 / 3 if iou else 1.0
    chances = np.full(groups, share)
    if groups < n:
        known = 1 / _ALIKE - 1
        chances = generator.beta(share * known, (1 - share) * known, groups)
    of_samples = np.repeat(chances, n // groups)
    runs = []
    for scale in (1.0, 1 - drop / (worth * share)):
        hits = (generator.random(n) < scale * of_samples).astype(np.float64)
        overlaps = generator.beta(4, 2, n) if iou else np.ones(n)
        runs.append(np.stack([hits * overlaps, np.ones(n)], axis=1))
    return runs[0], runs[1]


def hits(name: str, n: int, groups: int, share: float, iou: bool = False) -> Case:
    draw = partial(draw_hits, n=n, groups=groups, share=share, iou=iou)
    return Case(name, n, groups, _MEAN, draw, share * (2 / 3 if iou else 1.0))


# ---------------------------------------------------------------- CIDEr


_WORDS = np.array([f"w{index}" for index in range(400)])
_FREQUENT = 1 / np.arange(1, 401)
_LENGTH, _REFERENCES, _SLIPS = 9, 5, 0.35


def draw_captions(generator: np.random.Generator, drop: float, *, n: int) -> Pair:
    """Two runs that caption `n` pictures of one draw, each caption and reference the picture's
    words with slips. `drop`: the share of the second's CIDEr that captions of other pictures
    take."""
    scenes = _words(generator, (n, _LENGTH))
    references = [[_with_slips(generator, scene) for _ in range(_REFERENCES)] for scene in scenes]
    runs = []
    for lost in (0.0, drop):
        seen = np.where(generator.random(n) < lost, generator.permutation(n), np.arange(n))
        captions: list[str | None] = [_with_slips(generator, scenes[place]) for place in seen]
        runs.append(cider_rows(Captions(captions, references)))
    return runs[0], runs[1]


def _words(generator: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return generator.choice(len(_WORDS), size=shape, p=_FREQUENT / _FREQUENT.sum())


def _with_slips(generator: np.random.Generator, scene: npt.NDArray[np.int64]) -> str:
    others = _words(generator, scene.shape)
    return " ".join(_WORDS[np.where(generator.random(len(scene)) < _SLIPS, others, scene)])


_CIDER = Metric("CIDEr", "simulated", _never, cider_aggregate, high=10.0)


def captions(n: int) -> Case:
    return Case("CIDEr", n, n, _CIDER, partial(draw_captions, n=n), None)


CASES = [
    *(hits(f"proportion {share}", n, n, share) for share in (0.3, 0.6, 0.9) for n in (200, 1000)),
    *(
        hits(f"proportion {share}, clustered", n, 50, share)
        for share in (0.3, 0.6, 0.9)
        for n in (200, 1000)
    ),
    *(hits("mean IoU, clustered", n, 50, 0.7, iou=True) for n in (200, 1000)),
    *(captions(n) for n in (200, 1000)),
]


# ---------------------------------------------------------------- one repetition


def interval_of(number: int, repetition: int) -> tuple[float, float, float, str]:
    """Value and interval of a run, as `harness eval` gives them."""
    case = CASES[number]
    rows, _ = case.draw(case.generator("interval", repetition), 0.0)
    samples = [Sample(str(i), None, None, group) for i, group in enumerate(case.names)]
    found = value_of(case.metric, rows, samples, seed=0)
    assert found.value is not None
    assert found.ci95 is not None
    return found.value, *found.ci95, found.interval


def is_alarm(number: int, repetition: int) -> bool:
    """Whether `check` calls a run of equal quality a drop."""
    case = CASES[number]
    pair = case.draw(case.generator("alarm", repetition), 0.0)
    return permutation(case.metric, *pair, case.names).below < 0.05


def detectable(number: int, drop: float, repetition: int) -> tuple[float, float]:
    """The difference that a comparison says it would find, and the one that it measures."""
    case = CASES[number]
    pair = case.draw(case.generator("pilot", repetition), drop)
    found = difference(case.metric, *pair, case.names)
    return found.detectable or math.nan, -(found.difference or 0.0)


def is_found(number: int, drop: float, repetition: int) -> bool:
    """Whether a comparison tells a true drop."""
    case = CASES[number]
    pair = case.draw(case.generator("power", repetition), drop)
    return permutation(case.metric, *pair, case.names).two_sided < 0.05


# ---------------------------------------------------------------- the table


def row_of(number: int, repetitions: int, mapped: Callable[..., Any]) -> list[str]:
    case = CASES[number]
    turns = range(repetitions)
    found = list(mapped(partial(interval_of, number), turns))
    values = np.array([value for value, *_ in found])
    truth = float(values.mean()) if case.truth is None else case.truth
    covered = sum(low <= truth <= high for _, low, high, _ in found) / repetitions
    hows = sorted({how for *_, how in found})
    alarms = sum(mapped(partial(is_alarm, number), turns)) / repetitions
    drop, stated = _at_its_own_detectable(number, mapped)
    power = sum(mapped(partial(is_found, number, drop), turns)) / repetitions
    wide = float(np.mean([high - low for _, low, high, _ in found]))
    return [
        case.name,
        f"{case.n:,}",
        f"{case.groups:,}",
        ", ".join(hows),
        f"{truth:.3f}",
        f"{wide:.3f}",
        f"{100 * covered:.1f}%",
        f"{100 * alarms:.1f}%",
        f"{stated:.3f}",
        f"{100 * power:.1f}%",
    ]


def _at_its_own_detectable(number: int, mapped: Callable[..., Any]) -> tuple[float, float]:
    """What to pass as `drop` so that the true difference is the one that comparisons of it state as
    detectable, and that difference. A few steps: the spread depends little on the drop."""
    case = CASES[number]
    drop = 0.0
    for _ in range(3):
        pairs = list(mapped(partial(detectable, number, drop), range(PILOT)))
        stated = float(np.mean([one for one, _ in pairs]))
        drop = stated if case.truth is not None else _share_lost(number, stated, mapped)
    return drop, stated


def _share_lost(number: int, wanted: float, mapped: Callable[..., Any]) -> float:
    """The share of captions to lose for a drop of so much, which grows with it in proportion."""
    some = 0.1
    measured = [drop for _, drop in mapped(partial(detectable, number, some), range(PILOT))]
    return some * wanted / float(np.mean(measured))


_HEADINGS = (
    *("runs", "n", "groups", "interval", "truth", "width", "coverage"),
    *("false alarms", "detectable", "power"),
)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    asked = parser.parse_args(arguments)
    print(f"{asked.repetitions:,} repetitions\n", flush=True)
    print("| " + " | ".join(_HEADINGS) + " |")
    print("| " + " | ".join("---" for _ in _HEADINGS) + " |", flush=True)
    with ProcessPoolExecutor(asked.jobs) as pool:
        mapped = partial(pool.map, chunksize=5) if asked.jobs > 1 else map
        for number, case in enumerate(CASES):
            if asked.only in case.name:
                print(
                    "| " + " | ".join(row_of(number, asked.repetitions, mapped)) + " |", flush=True
                )


if __name__ == "__main__":
    main(sys.argv[1:])
