"""Do the intervals hold the truth, does `check` raise false alarms, does a comparison find what it
says it would? Simulated runs whose truth is known, through the very functions that score, compare
and check; prints a Markdown table.

    python scripts/simulate_intervals.py --repetitions 2000 --results build/simulated.jsonl
    python scripts/simulate_intervals.py --differences

The second form asks the same of the interval of a difference: how often it holds the true one.
Every repetition has a seed of its own, so the table is the same for any number of --jobs. Cells are
appended to --results as they are done, and a later call goes on from there. Ends with 1 if a cell
misses what is asked of it: coverage of 93 to 97%, false alarms in at most 6.5%, power of at least
77%.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.check import is_drop
from harness.compare import difference, permutation
from harness.metrics.caption import Captions, cider_aggregate, cider_rows
from harness.paired import ALPHA
from harness.score import metric_of_counts, value_at_once, value_of
from harness.stats import difference95_of
from harness.types import Metric, Sample

Array = npt.NDArray[np.float64]
Words = npt.NDArray[np.int64]
Draw = Callable[[np.random.Generator, Sequence[float]], list[Array]]

PILOT = 200  # pairs of equal runs whose stated detectable difference is taken


@dataclass(frozen=True)
class Case:
    """Runs of `n` samples in `groups` groups. `draw(generator, drops)` gives the rows of a run for
    each drop, all on the same samples; a run's true value is the lower the larger its drop.
    `truth`: the value without a drop; None: its mean over independent sets. `per_drop`: by how much
    the true value falls for a drop of 1; None: it is measured."""

    name: str
    n: int
    groups: int
    metric: Metric
    draw: Draw
    truth: float | None
    per_drop: float | None

    @property
    def names(self) -> list[str]:
        return [f"{index * self.groups // self.n:05}" for index in range(self.n)]

    def runs(self, what: str, repetition: int, drops: Sequence[float]) -> list[Array]:
        """From a generator that no other case, purpose or repetition has."""
        key = zlib.crc32(f"{self.name} {self.n} {what}".encode())
        return self.draw(np.random.Generator(np.random.Philox(key=[key, repetition])), drops)


# ---------------------------------------------------------------- means over samples


def _never(*given: object) -> Any:
    raise AssertionError("rows are drawn")


def _mean(sums: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


_MEAN = Metric("mean", "simulated", _never, _mean)
_ALIKE = 0.2  # correlation of two samples of a group


def draw_hits(
    generator: np.random.Generator,
    drops: Sequence[float],
    *,
    n: int,
    groups: int,
    share: float,
    iou: bool,
    agreeing: float,
) -> list[Array]:
    """Runs right in `share` of samples, of which a share `drop` then goes wrong. In groups of
    several samples the chance to be right belongs to the group. With `iou` a hit counts what its
    overlap is, 2/3 in the mean. In a share `agreeing` of samples all runs are right or wrong
    alike."""
    chances = np.full(groups, share)
    if groups < n:
        known = 1 / _ALIKE - 1
        chances = generator.beta(share * known, (1 - share) * known, groups)
    of_samples = np.repeat(chances, n // groups)
    alike, together = generator.random(n) < of_samples, generator.random(n) < agreeing
    runs = []
    for drop in drops:
        hits = np.where(together, alike, generator.random(n) < of_samples)
        hits &= generator.random(n) >= drop
        overlaps = generator.beta(4, 2, n) if iou else np.ones(n)
        runs.append(np.stack([hits * overlaps, np.ones(n)], axis=1))
    return runs


def hits(
    name: str, n: int, groups: int, share: float, iou: bool = False, agreeing: float = 0.0
) -> Case:
    draw = partial(draw_hits, n=n, groups=groups, share=share, iou=iou, agreeing=agreeing)
    truth = share * (2 / 3 if iou else 1.0)
    return Case(name, n, groups, _MEAN, draw, truth, truth)


# ---------------------------------------------------------------- CIDEr


_VOCABULARY = [f"w{index}" for index in range(400)]
_UP_TO = np.cumsum(1 / np.arange(1, 401)) / np.sum(1 / np.arange(1, 401))  # Zipf's law
_LENGTH, _REFERENCES, _SLIPS = 9, 5, 0.35


def draw_captions(generator: np.random.Generator, drops: Sequence[float], *, n: int) -> list[Array]:
    """Runs that caption the same `n` pictures, each caption and reference the picture's words with
    slips. In a share `drop` the caption is another picture's."""
    scenes = _words(generator, (n, _LENGTH))
    flat = _texts(_with_slips(generator, np.repeat(scenes, _REFERENCES, axis=0)))
    references = [flat[i : i + _REFERENCES] for i in range(0, len(flat), _REFERENCES)]
    runs = []
    for drop in drops:
        seen = np.where(generator.random(n) < drop, generator.permutation(n), np.arange(n))
        captions: list[str | None] = [*_texts(_with_slips(generator, scenes[seen]))]
        runs.append(cider_rows(Captions(captions, references)))
    return runs


def _words(generator: np.random.Generator, shape: tuple[int, ...]) -> Words:
    return np.searchsorted(_UP_TO, generator.random(shape), side="right")


def _with_slips(generator: np.random.Generator, captions: Words) -> Words:
    others = _words(generator, captions.shape)
    return np.where(generator.random(captions.shape) < _SLIPS, others, captions)


def _texts(captions: Words) -> list[str]:
    return [" ".join(map(_VOCABULARY.__getitem__, words)) for words in captions.tolist()]


_CIDER = Metric("CIDEr", "simulated", _never, cider_aggregate, high=10.0)


def captions(n: int) -> Case:
    return Case("CIDEr", n, n, _CIDER, partial(draw_captions, n=n), None, None)


SHARES, SIZES = (0.3, 0.6, 0.9), (200, 1000)
CASES = [
    *(hits(f"proportion {share}", n, n, share) for share in SHARES for n in SIZES),
    *(hits(f"proportion {share}, clustered", n, 50, share) for share in SHARES for n in SIZES),
    *(hits("proportion 0.9, runs agree in 9 of 10", n, n, share=0.9, agreeing=0.9) for n in SIZES),
    *(hits("mean IoU, clustered", n, 50, 0.7, iou=True) for n in SIZES),
    *(captions(n) for n in SIZES),
]


# ---------------------------------------------------------------- one repetition


@dataclass(frozen=True)
class Repetition:
    """Of a run of known truth: its value and interval. Whether `check` calls a run of equal quality
    a drop. Whether a comparison tells a run that is truly worse by the detectable difference, and
    the difference that it measures."""

    value: float
    low: float
    high: float
    interval: str
    alarm: bool
    found: bool
    drop: float


def repetition_of(number: int, drop: float, repetition: int) -> Repetition:
    case = CASES[number]
    run, equal, worse = case.runs("repetition", repetition, (0.0, 0.0, drop))
    samples = [Sample(str(i), None, None, group) for i, group in enumerate(case.names)]
    value = value_of(case.metric, run, samples, seed=0)
    assert value.value is not None
    assert value.ci95 is not None
    one, other = (value_at_once(case.metric, rows) for rows in (run, equal))
    alarm = is_drop(one - other, permutation(case.metric, run, equal, case.names).below)
    found = permutation(case.metric, run, worse, case.names).two_sided < ALPHA
    lost = one - value_at_once(case.metric, worse)
    return Repetition(value.value, *value.ci95, value.interval, alarm, found, lost)


def stated(number: int, drop: float, repetition: int) -> float:
    """The difference that a comparison says it would find, of runs that differ by `drop`."""
    case = CASES[number]
    pair = case.runs("pilot", repetition, (0.0, drop))
    return difference(case.metric, *pair, case.names).detectable or math.nan


def lost_at_once(number: int, repetition: int) -> float:
    """By how much the value falls for a drop of 1."""
    case = CASES[number]
    one, other = case.runs("pilot", repetition, (0.0, 1.0))
    return value_at_once(case.metric, one) - value_at_once(case.metric, other)


SHARE_LOST = 0.1  # by the second run, where the two truly differ


def differences_of(number: int, repetition: int) -> list[tuple[float, float, float]]:
    """The difference of a run of equal quality and of one that is truly worse, and its interval."""
    case = CASES[number]
    runs = case.runs("difference", repetition, (0.0, 0.0, SHARE_LOST))
    counted = [metric_of_counts(case.metric, rows, case.names) for rows in runs]
    values = [value_at_once(case.metric, rows) for rows in runs]
    found = []
    for (of_other, groups), value in zip(counted[1:], values[1:], strict=True):
        interval = difference95_of(of_other, counted[0][0], groups)
        assert interval is not None
        found.append((value - values[0], *interval))
    return found


# ---------------------------------------------------------------- a cell of many


@dataclass(frozen=True)
class Cell:
    """Shares are of the repetitions. `detectable`: what comparisons of equal runs state, in the
    mean; `drop`: the true difference at which `power` was measured, meant to be the same;
    `stated_there`: what comparisons of runs that differ by it state."""

    name: str
    n: int
    groups: int
    repetitions: int
    interval: str
    truth: float
    width: float
    coverage: float
    false_alarms: float
    detectable: float
    drop: float
    stated_there: float
    power: float
    seconds: float

    @property
    def holds(self) -> bool:
        return 0.93 <= self.coverage <= 0.97 and self.false_alarms <= 0.065 and self.power >= 0.77

    @property
    def line(self) -> str:
        cells = (
            *(self.name, f"{self.n:,}", f"{self.groups:,}", self.interval),
            *(f"{number:.3f}" for number in (self.truth, self.width)),
            *(f"{100 * share:.1f}%" for share in (self.coverage, self.false_alarms)),
            *(f"{number:.3f}" for number in (self.detectable, self.stated_there)),
            f"{100 * self.power:.1f}%" + ("" if self.holds else " **missed**"),
        )
        return "| " + " | ".join(cells) + " |"


HEADINGS = (
    *("runs", "n", "groups", "interval", "truth", "width", "coverage"),
    *("false alarms", "detectable", "stated by runs that differ so", "power"),
)


def cell_of(number: int, repetitions: int, mapped: Callable[..., Iterable[Any]]) -> Cell:
    case, start = CASES[number], time.perf_counter()
    per_drop = case.per_drop
    if per_drop is None:
        per_drop = float(np.mean(list(mapped(partial(lost_at_once, number), range(PILOT)))))
    detectable = float(np.mean(list(mapped(partial(stated, number, 0.0), range(PILOT)))))
    drop = detectable / per_drop
    there = float(np.mean(list(mapped(partial(stated, number, drop), range(PILOT)))))
    found: list[Repetition] = list(mapped(partial(repetition_of, number, drop), range(repetitions)))
    values = [one.value for one in found]
    truth = float(np.mean(values)) if case.truth is None else case.truth
    return Cell(
        *(case.name, case.n, case.groups, repetitions),
        interval=", ".join(sorted({one.interval for one in found})),
        truth=truth,
        width=float(np.mean([one.high - one.low for one in found])),
        coverage=float(np.mean([one.low <= truth <= one.high for one in found])),
        false_alarms=float(np.mean([one.alarm for one in found])),
        detectable=detectable,
        drop=float(np.mean([one.drop for one in found])),
        stated_there=there,
        power=float(np.mean([one.found for one in found])),
        seconds=time.perf_counter() - start,
    )


def print_differences(
    numbers: Sequence[int], repetitions: int, mapped: Callable[..., Iterable[Any]]
) -> bool:
    """A line a case; whether every interval holds the truth as often as it should."""
    print("| runs | n | groups | equal runs | runs that truly differ |")
    print("| --- | --- | --- | --- | --- |")
    all_hold = True
    for number in numbers:
        case = CASES[number]
        found = np.array(list(mapped(partial(differences_of, number), range(repetitions))))
        drop = found[:, 1, 0].mean() if case.per_drop is None else -SHARE_LOST * case.per_drop
        truths = np.array([0.0, drop])
        low, high = found[:, :, 1] - 1e-12, found[:, :, 2] + 1e-12
        held = np.mean((low <= truths) & (truths <= high), axis=0)
        all_hold &= bool(np.all((held >= 0.93) & (held <= 0.97)))
        shares = " | ".join(f"{100 * share:.1f}%" for share in held)
        print(f"| {case.name} | {case.n:,} | {case.groups:,} | {shares} |", flush=True)
    return all_hold


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--results", type=Path, help="file of finished cells, to go on from")
    parser.add_argument("--differences", action="store_true", help="intervals of differences")
    asked = parser.parse_args(arguments)
    numbers = [number for number, case in enumerate(CASES) if asked.only in case.name]
    if asked.differences:
        return 0 if print_differences(numbers, asked.repetitions, map) else 1
    done = _finished(asked.results, asked.repetitions)
    print("| " + " | ".join(HEADINGS) + " |")
    print("| " + " | ".join("---" for _ in HEADINGS) + " |", flush=True)
    cells = []
    with ProcessPoolExecutor(asked.jobs) as pool:
        mapped = partial(pool.map, chunksize=20) if asked.jobs > 1 else map
        for number in numbers:
            case = CASES[number]
            cell = done.get((case.name, case.n))
            if cell is None:
                cell = cell_of(number, asked.repetitions, mapped)
                _keep(asked.results, cell)
            cells.append(cell)
            print(cell.line, flush=True)
    errors = [_error(share, asked.repetitions) for share in (0.95, 0.8)]
    print(
        f"\n{asked.repetitions:,} repetitions: coverage and false alarms are known to "
        f"{errors[0]:.1f} points either way, power to {errors[1]:.1f}. "
        f"{sum(cell.seconds for cell in cells) / 60:.0f} minutes."
    )
    return 0 if all(cell.holds for cell in cells) else 1


def _error(share: float, repetitions: int) -> float:
    """Half the 95% interval of a share, in points."""
    return 196 * math.sqrt(share * (1 - share) / repetitions)


def _finished(path: Path | None, repetitions: int) -> dict[tuple[str, int], Cell]:
    if path is None or not path.is_file():
        return {}
    cells = [Cell(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(cell.name, cell.n): cell for cell in cells if cell.repetitions == repetitions}


def _keep(path: Path | None, cell: Cell) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(cell)) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
