"""Moments of a video against annotated moments: temporal IoU, R@n at IoU m and mean IoU by the
named protocols of the field, and DiDeMo's rule. Knows numbers only: no video, no data set."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from harness.types import FloatArray

Moment: TypeAlias = tuple[float, float]  # start, end; start <= end
Chunks: TypeAlias = tuple[int, int]  # DiDeMo: first and last chunk of five seconds, both included
Protocol: TypeAlias = Literal["plain", "tall", "2d-tan"]

DEPTHS = (1, 5)  # the n of R@n
IOUS = (0.3, 0.5, 0.7)  # the m of IoU m

STATISTICS = (*(f"R@{n}, IoU={m}" for n in DEPTHS for m in IOUS), "mIoU")
"""The columns of `moment_rows` but for the last, which counts samples."""

DIDEMO_STATISTICS = ("rank@1", "rank@5", "mIoU")
"""The columns of `didemo_rows` but for the last, which counts samples."""

_DIDEMO_CHUNKS = 6
_DIDEMO_BEST = 3
_2D_TAN_NMS = 0.5
_TALL_MARGIN = 0.05
_FARTHEST = 1e9


# ---------------------------------------------------------------- seconds


def parse_moments(value: Any) -> list[Moment] | str:
    """Moments as (start, end), best first, or in words the reason why `value` is no such list.

    `value`: a list, tuple or (moments, 2) array of pairs, in seconds or any one unit. Refused whole
    if a single pair is bad, because a moment left out would promote those after it: None, no
    moment, a pair of another length, anything but real numbers, NaN and infinities, end < start.
    A moment that lasts no time is valid.
    """
    pairs = _pairs(value)
    if isinstance(pairs, str):
        return pairs
    for number, (start, end) in enumerate(pairs):
        if end < start:
            return f"moment {number} is inverted: {start:g} to {end:g}"
    return pairs


def temporal_iou(first: npt.ArrayLike, second: npt.ArrayLike, clip: bool = True) -> FloatArray:
    """Intersection over union of moments (..., 2), start and end each, broadcast -> (...).

    In [0, 1]. The union is the hull, from the earlier start to the later end: for moments that
    touch it is the union, for others the intersection is empty anyway. With clip=False disjoint
    moments give minus their gap over the hull, in (-1, 0), as in TALL's calculate_IoU. Two equal
    instants give 0. Raises ValueError if the last axis is not 2.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    for moments in (a, b):
        if moments.ndim == 0 or moments.shape[-1] != 2:
            raise ValueError(f"moments must be (..., 2), not {moments.shape}")
    shared = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    if clip:
        shared = np.maximum(shared, 0.0)
    hull = np.maximum(a[..., 1], b[..., 1]) - np.minimum(a[..., 0], b[..., 0])
    return np.asarray(np.divide(shared, hull, out=np.zeros_like(hull), where=hull > 0))


def suppress(moments: npt.ArrayLike, threshold: float, most: int | None = None) -> list[int]:
    """Non-maximum suppression: the places of the moments that stay, in order.

    moments: (moments, 2), best first. A moment goes if its IoU with a better one that stays is
    greater than `threshold`. At most `most` are looked for. As nms_temporal of TALL and nms of
    2D-TAN do, except that the order given decides where TALL's scores have ties. As there, 0/0 is
    not below the threshold: of moments that last no time only the best stays, wherever they are.
    """
    spans = np.asarray(moments, dtype=np.float64).reshape(-1, 2)
    starts, ends = spans[:, 0], spans[:, 1]
    lengths = ends - starts
    left = np.arange(len(spans))
    kept: list[int] = []
    while len(left) and len(kept) != most:
        best, left = left[0], left[1:]
        kept.append(int(best))
        shared = np.minimum(ends[best], ends[left]) - np.maximum(starts[best], starts[left])
        shared = np.maximum(shared, 0.0)
        with np.errstate(invalid="ignore"):
            left = left[shared / (lengths[best] + lengths[left] - shared) <= threshold]
    return kept


def moment_rows(
    predictions: Sequence[Sequence[Moment] | None],
    targets: Sequence[Sequence[Moment]],
    protocol: Protocol = "plain",
) -> FloatArray:
    """Statistics of each query, (queries, 8): the STATISTICS, then 1.

    predictions: a query's moments, best first, as `parse_moments` gives them; targets: its
    annotated windows, at least one. What counts is a moment's IoU with the best of the windows.
    R@n at IoU m is 1 if one of the first n moments reaches m; mIoU is the IoU of the first moment.

    The protocol says which moments are the first n and what "reaches" means:
    - "plain": as they come; IoU >= m.
    - "tall": those that non-maximum suppression at m - .05 leaves, for each m anew; IoU >= m
      (Gao et al. 2017, main.py). TALL's IoU of disjoint moments is negative; no m is, so it never
      shows, and mIoU, which TALL does not report, has 0 there.
    - "2d-tan": those that suppression at .5 leaves; IoU > m (Zhang et al. 2020, lib/core/eval.py).

    A prediction of None (missing or invalid) scores 0 throughout. A model that gave fewer than n
    moments cannot be told by R@n, and R@1 would be no stand-in: those columns of its row are nan,
    hence those metrics of the whole set are nan, "n/a". What counts is the number given, before
    suppression. Raises ValueError for lengths that differ, a query without windows or with a bad
    one (named by its place), an empty prediction, or an unknown protocol.
    """
    if protocol not in get_args(Protocol):
        known = ", ".join(get_args(Protocol))
        raise ValueError(f"unknown protocol {protocol!r}: use one of {known}")
    _same_length(predictions, targets)
    rows = np.zeros((len(targets), len(STATISTICS) + 1))
    rows[:, -1] = 1.0
    for place, (moments, windows) in enumerate(zip(predictions, targets, strict=True)):
        if isinstance(reason := parse_moments(windows), str):
            raise ValueError(f"target {place}: {reason}")
        if moments is None:
            continue
        if len(moments) == 0:
            raise ValueError(f"prediction {place} is empty: give None")
        rows[place, :-1] = _query(np.asarray(moments, dtype=np.float64), windows, protocol)
    return rows


def moment_statistic(sums: FloatArray, name: str) -> FloatArray:
    """(..., 8) weighted sums of `moment_rows` -> (...): the statistic of that name as a mean in
    [0, 1]; nan where some query gave too few moments for it ("n/a"), and of no queries."""
    return _mean(sums, STATISTICS.index(name))


# ---------------------------------------------------------------- DiDeMo


def parse_chunks(value: Any) -> list[Chunks] | str:
    """DiDeMo's moments as (first chunk, last chunk), best first, or in words the reason why
    `value` is no such list. Chunks are whole numbers, 0 <= first <= last <= 5; else as
    `parse_moments`."""
    pairs = _pairs(value)
    if isinstance(pairs, str):
        return pairs
    chunks: list[Chunks] = []
    for number, (first, last) in enumerate(pairs):
        if first != int(first) or last != int(last):
            return f"moment {number} has no whole chunks: {first:g} to {last:g}"
        if not 0 <= first <= last < _DIDEMO_CHUNKS:
            return f"moment {number} is not within chunks 0 to 5: {first:g} to {last:g}"
        chunks.append((int(first), int(last)))
    return chunks


def didemo_iou(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Intersection over union in [0, 1] of runs of chunks (..., 2), both ends included, broadcast
    -> (...). (1, 1) against (1, 2) is .5."""
    reach = np.array([0, 1])
    return temporal_iou(np.asarray(first) + reach, np.asarray(second) + reach)


def didemo_rows(
    predictions: Sequence[Sequence[Chunks] | None], targets: Sequence[Sequence[Chunks]]
) -> FloatArray:
    """Statistics of each description, (descriptions, 4): the DIDEMO_STATISTICS, then 1.

    predictions: all of a video's moments, best first, as `parse_chunks` gives them; targets: what
    the annotators chose, four of them and sometimes more. The rule of Hendricks et al. 2017
    (LocalizingMoments, utils/eval.py): the ranks of the annotators' moments are averaged over the
    three best, rank@n is 1 if that average is at most n; mIoU is the average of the three best
    IoUs of the first moment. An annotated moment that the prediction lacks has rank infinity.

    None (missing or invalid) scores 0; a prediction of fewer than five moments has nan for rank@5,
    as in `moment_rows`. Raises ValueError for lengths that differ, fewer than three annotators or
    a bad moment of theirs (named by its place), and an empty prediction.
    """
    _same_length(predictions, targets)
    rows = np.zeros((len(targets), len(DIDEMO_STATISTICS) + 1))
    rows[:, -1] = 1.0
    for place, (ranking, times) in enumerate(zip(predictions, targets, strict=True)):
        if isinstance(chosen := parse_chunks(times), str):
            raise ValueError(f"target {place}: {chosen}")
        if len(chosen) < _DIDEMO_BEST:
            raise ValueError(f"target {place}: only {len(chosen)} annotators")
        if ranking is None:
            continue
        if len(ranking) == 0:
            raise ValueError(f"prediction {place} is empty: give None")
        rank_of: dict[Chunks, int] = {}
        for position, moment in enumerate(ranking, start=1):
            rank_of.setdefault(moment, position)
        ranks = sorted(rank_of.get(moment, math.inf) for moment in chosen)
        rank = sum(ranks[:_DIDEMO_BEST]) / _DIDEMO_BEST
        ious = np.sort(didemo_iou(ranking[0], chosen))
        rows[place, 0] = rank <= 1
        rows[place, 1] = rank <= 5 if len(ranking) >= 5 else math.nan
        rows[place, 2] = ious[-_DIDEMO_BEST:].mean()
    return rows


def didemo_statistic(sums: FloatArray, name: str) -> FloatArray:
    """(..., 4) weighted sums of `didemo_rows` -> (...), as `moment_statistic`."""
    return _mean(sums, DIDEMO_STATISTICS.index(name))


# ---------------------------------------------------------------- raw predictions


@dataclass(frozen=True)
class MomentScores:
    """Each statistic in [0, 1], or None for "n/a", over all samples, and why the invalid ones
    (place -> reason), which scored 0, could not be read."""

    values: dict[str, float | None]
    samples: int
    invalid: dict[int, str]


def score_moments(
    predictions: Sequence[Any],
    targets: Sequence[Sequence[Moment]],
    protocol: Protocol = "plain",
) -> MomentScores:
    """Scores of raw predictions, read by `parse_moments`. R@5 is None if a valid prediction holds
    fewer than five moments. Errors as in `moment_rows`; also ValueError if there are no samples."""
    parsed = [parse_moments(value) for value in predictions]
    given = [None if isinstance(moments, str) else moments for moments in parsed]
    return _scores(moment_rows(given, targets, protocol), STATISTICS, parsed)


def score_didemo(predictions: Sequence[Any], targets: Sequence[Sequence[Chunks]]) -> MomentScores:
    """Scores of raw predictions, read by `parse_chunks`. rank@5 is None if a valid prediction holds
    fewer than five moments. Errors as in `didemo_rows`; also ValueError if there are no samples."""
    parsed = [parse_chunks(value) for value in predictions]
    given = [None if isinstance(chunks, str) else chunks for chunks in parsed]
    return _scores(didemo_rows(given, targets), DIDEMO_STATISTICS, parsed)


def _scores(rows: FloatArray, names: tuple[str, ...], parsed: Sequence[object]) -> MomentScores:
    if len(rows) == 0:
        raise ValueError("no samples")
    means = rows.mean(axis=0).tolist()[:-1]
    return MomentScores(
        values={
            name: None if math.isnan(mean) else mean
            for name, mean in zip(names, means, strict=True)
        },
        samples=len(rows),
        invalid={place: reason for place, reason in enumerate(parsed) if isinstance(reason, str)},
    )


def _query(moments: FloatArray, windows: Sequence[Moment], protocol: Protocol) -> list[float]:
    overlaps = temporal_iou(moments[:, None], np.asarray(windows)[None]).max(axis=1)
    deepest = max(DEPTHS)
    reached: dict[float, npt.NDArray[np.bool_]] = {}
    if protocol == "plain":
        reached = {m: overlaps[:deepest] >= m for m in IOUS}
    elif protocol == "tall":
        for m in IOUS:
            reached[m] = overlaps[suppress(moments, m - _TALL_MARGIN, deepest)] >= m
    else:
        kept = overlaps[suppress(moments, _2D_TAN_NMS, deepest)]
        reached = {m: kept > m for m in IOUS}
    recalls = [
        float(reached[m][:n].any()) if len(moments) >= n else math.nan for n in DEPTHS for m in IOUS
    ]
    return [*recalls, float(overlaps[0])]


def _pairs(value: Any) -> list[Moment] | str:
    if value is None:
        return "no moments"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return f"moments are a list of pairs, not {type(value).__name__}"
    if len(value) == 0:
        return "no moments"
    pairs: list[Moment] = []
    for number, item in enumerate(value):
        pair = item.tolist() if isinstance(item, np.ndarray) else item
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            return f"moment {number} is no pair of start and end"
        for end in pair:
            if isinstance(end, bool | np.bool_) or not isinstance(end, numbers.Real):
                return f"moment {number} has numbers, not {type(end).__name__}"
            if not _near(end):
                return f"moment {number} is not finite or lies beyond 1e9"
        pairs.append((float(pair[0]), float(pair[1])))
    return pairs


def _near(number: Any) -> bool:
    """Whether finite and not too far; holds for integers of any length too."""
    return bool(abs(number) <= _FARTHEST)


def _same_length(predictions: Sequence[object], targets: Sequence[object]) -> None:
    if len(predictions) != len(targets):
        raise ValueError(f"{len(predictions)} predictions for {len(targets)} targets")


def _mean(sums: FloatArray, column: int) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., column] / sums[..., -1])
