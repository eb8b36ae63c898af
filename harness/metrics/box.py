"""Boxes against boxes: intersection over union by named conventions, accuracy at IoU .5, mean IoU.
Knows numbers only: no picture, no data set, no task."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from harness.types import FloatArray

Box: TypeAlias = tuple[float, float, float, float]  # x1, y1, x2, y2 with x1 <= x2 and y1 <= y2
BoxFormat: TypeAlias = Literal["xyxy", "xywh"]
Convention: TypeAlias = Literal["exclusive", "plus-one", "mattnet"]
Comparison: TypeAlias = Literal[">=", ">"]

THRESHOLD = 0.5
_FARTHEST = 1e9  # no picture is wider; beyond it areas lose the single pixel


def parse_box(value: Any, format: BoxFormat = "xyxy") -> Box | str:
    """A box as (x1, y1, x2, y2), or in words the reason why `value` is none.

    `value`: four numbers in a list, tuple or array, in the caller's unit: two corners ("xyxy"), or
    a corner, width and height as COCO has them ("xywh"). Refused: None, another length, anything
    but real numbers (True and "3" included), NaN and infinities, coordinates beyond 1e9, and
    inverted boxes (x2 < x1, or a negative width). A box without area is valid.
    Raises ValueError if the format is unknown.
    """
    _check("format", format, get_args(BoxFormat))
    if value is None:
        return "no box"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return f"a box is four numbers, not {type(value).__name__}"
    if len(value) != 4:
        return f"a box has four numbers, not {len(value)}"
    for number in value:
        if isinstance(number, bool | np.bool_) or not isinstance(number, numbers.Real):
            return f"a box has numbers, not {type(number).__name__}"
        if not _near(number):
            return "a number is not finite or lies beyond 1e9"
    x1, y1, x2, y2 = map(float, value)
    if format == "xywh":
        if x2 < 0 or y2 < 0:
            return f"inverted: width {x2:g}, height {y2:g}"
        x2, y2 = x1 + x2, y1 + y2
    if x2 < x1 or y2 < y1:
        return f"inverted: ({x1:g}, {y1:g}) to ({x2:g}, {y2:g})"
    return x1, y1, x2, y2


def box_iou(
    first: npt.ArrayLike, second: npt.ArrayLike, convention: Convention = "exclusive"
) -> FloatArray:
    """Intersection over union in [0, 1] of boxes (..., 4), x1 y1 x2 y2 each, broadcast -> (...).

    The convention says what a pair of coordinates covers:
    - "exclusive": x2 - x1, on a continuous axis; any unit. Two boxes without area give 0.
    - "plus-one": x2 - x1 + 1, pixels with the far one included, as in VL-BERT's
      refcoco/function/test.py. Only for pixels: on coordinates in [0, 1] disjoint boxes overlap.
    - "mattnet": computeIoU of MAttNet (lib/models/eval_dets_utils.py), which is written for xywh.
      The last pixel is x + w - 1, that is x2 - 1, and the overlap's first pixel must lie strictly
      before its last: overlaps at most one pixel wide or high count as none. Pixels only. Widths
      are x2 - x1, which may differ from a fractional w in the last bit.
    Boxes must be in order and finite, as `parse_box` gives them. Raises ValueError for an unknown
    convention or a last axis that is not 4.
    """
    _check("convention", convention, get_args(Convention))
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    for boxes in (a, b):
        if boxes.ndim == 0 or boxes.shape[-1] != 4:
            raise ValueError(f"boxes must be (..., 4), not {boxes.shape}")
    pixel = 1.0 if convention == "plus-one" else 0.0
    least = 1.0 if convention == "mattnet" else 0.0
    overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + pixel
    shared = np.where(np.all(overlap > least, axis=-1), np.prod(overlap, axis=-1), 0.0)
    union = _area(a, pixel) + _area(b, pixel) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def box_rows(
    predictions: Sequence[Box | None],
    targets: Sequence[Box],
    convention: Convention = "exclusive",
    comparison: Comparison = ">=",
    threshold: float = THRESHOLD,
) -> FloatArray:
    """Statistics of each sample, (samples, 3): hit (0 or 1), IoU in [0, 1], and 1.

    A prediction of None (missing or invalid) has hit and IoU 0. A hit is IoU >= threshold, as most
    papers count; ">" is ViLBERT's (task_utils.py), which refuses a pair at exactly .5.
    Raises ValueError for lengths that differ, a target that is no box (named by its place), an
    unknown name, or a threshold outside (0, 1).
    """
    _check("comparison", comparison, get_args(Comparison))
    _check("convention", convention, get_args(Convention))
    if not 0 < threshold < 1:
        raise ValueError(f"the threshold must lie between 0 and 1, not {threshold}")
    if len(predictions) != len(targets):
        raise ValueError(f"{len(predictions)} predictions for {len(targets)} targets")
    for number, target in enumerate(targets):
        if isinstance(reason := parse_box(target), str):
            raise ValueError(f"target {number}: {reason}")
    rows = np.zeros((len(targets), 3))
    rows[:, 2] = 1.0
    answered = [number for number, box in enumerate(predictions) if box is not None]
    if answered:
        given = np.array([predictions[number] for number in answered], dtype=np.float64)
        wanted = np.array([targets[number] for number in answered], dtype=np.float64)
        iou = box_iou(given, wanted, convention)
        rows[answered, 0] = iou >= threshold if comparison == ">=" else iou > threshold
        rows[answered, 1] = iou
    return rows


def box_accuracy(sums: FloatArray) -> FloatArray:
    """(..., 3) weighted sums of `box_rows` -> (...) accuracy in [0, 1]; nan of no samples."""
    return _mean(sums, 0)


def mean_iou(sums: FloatArray) -> FloatArray:
    """(..., 3) weighted sums of `box_rows` -> (...) mean IoU in [0, 1]; nan of no samples."""
    return _mean(sums, 1)


@dataclass(frozen=True)
class BoxScores:
    """Accuracy and mean IoU in [0, 1] over all samples, and why the invalid ones (place ->
    reason), which scored 0, could not be read."""

    accuracy: float
    mean_iou: float
    samples: int
    invalid: dict[int, str]


def score_boxes(
    predictions: Sequence[Any],
    targets: Sequence[Box],
    format: BoxFormat = "xyxy",
    convention: Convention = "exclusive",
    comparison: Comparison = ">=",
    threshold: float = THRESHOLD,
) -> BoxScores:
    """Scores of raw predictions, read by `parse_box` in `format`, against targets x1 y1 x2 y2.

    Options and errors as in `box_rows`; also ValueError if there are no samples.
    """
    if len(targets) == 0 and len(predictions) == 0:
        raise ValueError("no samples")
    parsed = [parse_box(value, format) for value in predictions]
    boxes = [None if isinstance(box, str) else box for box in parsed]
    sums = box_rows(boxes, targets, convention, comparison, threshold).sum(axis=0)
    return BoxScores(
        accuracy=float(box_accuracy(sums)),
        mean_iou=float(mean_iou(sums)),
        samples=len(targets),
        invalid={place: reason for place, reason in enumerate(parsed) if isinstance(reason, str)},
    )


def _near(number: Any) -> bool:
    """Whether finite and not too far; holds for integers of any length too."""
    return bool(abs(number) <= _FARTHEST)


def _area(boxes: FloatArray, pixel: float) -> FloatArray:
    sides = boxes[..., 2:] - boxes[..., :2] + pixel
    return np.asarray(sides[..., 0] * sides[..., 1])


def _mean(sums: FloatArray, column: int) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., column] / sums[..., -1])


def _check(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}: use one of {', '.join(known)}")
