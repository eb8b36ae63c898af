"""Region features that a detector wrote to files: boxes, features and what else is given, decoded
from base64 or arrays and checked when an image is asked for. Knows no model and no detector; how
files hold their records is `region_feature_files`' concern."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import BadInput
from .region_feature_files import Fields, RecordFault, RecordFiles, find_records

_Field: TypeAlias = tuple[str, object]  # the name by which a record gives it, and its value

_AGAIN = "extract or fetch it again"
_LARGEST_WHOLE = 10**9
_EDGE = 2.0  # pixels by which rounding may carry a box over the picture's edge


@dataclass(frozen=True, eq=False)
class RegionFeatures:
    """The regions of one image, n of d features each.

    boxes (n, 4) float32: x1, y1, x2, y2 in pixels of the image of `width` x `height`.
    features (n, d) float32. What files may lack: scores (n, classes) float32, the detector's
    probabilities, of which class 0 is the background; object_ids (n,) int64 and
    object_confidences (n,) float32, its first choice.
    """

    boxes: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    width: int
    height: int
    scores: npt.NDArray[np.float32] | None = None
    object_ids: npt.NDArray[np.int64] | None = None
    object_confidences: npt.NDArray[np.float32] | None = None


class MissingImage(BadInput, KeyError):
    """There is no such image in the files. Also a KeyError, as a mapping must raise."""

    def __str__(self) -> str:
        return str(self.args[0])


class RegionFeatureMapping(Mapping[str, RegionFeatures]):
    """Image id -> regions, in the order of the files; decoded, and checked, on access.

    Where an id ends in digits, as COCO_val2014_000000000042 does, its number as text, "42" or with
    leading zeros, finds it too, unless two ids end in the same number. Iteration and length know
    the ids of the files only. `notes`: what was left out, a line each.
    """

    def __init__(self, path: Path, files: RecordFiles) -> None:
        self.notes = files.notes
        self._path = path
        self._files = files
        self._ids = frozenset(files.ids)
        self._numbers: dict[str, str | None] | None = None
        self._first: tuple[str, int] | None = None  # the image decoded first and its d

    def __getitem__(self, id: str) -> RegionFeatures:
        """Raises MissingImage, a KeyError, if there is no such image, BadInput if its record is
        damaged."""
        found = self._find(id)
        if found is None:
            raise MissingImage(
                f"{self._path}: there is no image {id!r} among its {len(self):,}; "
                "give the features of the same pictures"
            )
        where = self._files.where(found)
        regions = _decode(self._files.read(found), where)
        for fault in _faults(regions, where, self._first):
            raise fault
        if self._first is None:
            self._first = (found, regions.features.shape[1])
        return regions

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._find(id) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._files.ids)

    def __len__(self) -> int:
        return len(self._files.ids)

    def _find(self, id: str) -> str | None:
        if id in self._ids:
            return id
        if self._numbers is None:
            self._numbers = _by_number(self._files.ids)
        return self._numbers.get(_number(id)) if re.fullmatch("[0-9]+", id) else None


def open_region_features(path: Path) -> RegionFeatureMapping:
    """Open the region features at `path`, which indexes the images and decodes none:

    - a bottom-up .tsv (six columns, or LXMERT's ten), or a folder of such files that count as one;
    - a folder of <image id>.npz: "x" or "features" as (n, d) or (d, n), told apart by the number of
      boxes, and (n, d) where n = d; "bbox" or "boxes"; image_w, image_h. The pickled "info" of
      bottom-up-attention.pytorch is not read;
    - VL-BERT's: a folder, or .zip, of <image id>.json;
    - ViLBERT's lmdb, a folder or a file.

    Raises BadInput, in one line, if there is nothing of these forms or an index cannot be made.
    """
    files = find_records(path)
    if files.faults:
        more = f" (and {len(files.faults) - 1:,} more like it)" if len(files.faults) > 1 else ""
        raise BadInput(f"{files.faults[0]}{more}")
    return RegionFeatureMapping(path, files)


def verify_region_features(path: Path) -> list[str]:
    """Everything that is wrong with the region features at `path`, a line a kind: how many images
    have it, and the first. Reads all there is. An empty list means all is well."""
    try:
        files = find_records(path)
    except BadInput as error:
        return [str(error)]
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for fault in _all_faults(files):
        counts[fault.kind] += 1
        first.setdefault(fault.kind, str(fault))
    return [
        first[kind] if count == 1 else f"{count:,} times {kind}; the first: {first[kind]}"
        for kind, count in counts.items()
    ]


def _all_faults(files: RecordFiles) -> Iterator[RecordFault]:
    yield from files.faults
    first: tuple[str, int] | None = None
    for id in files.ids:
        where = files.where(id)
        try:
            regions = _decode(files.read(id), where)
        except RecordFault as fault:
            yield fault
            continue
        yield from _faults(regions, where, first)
        yield from _over_the_edge(regions, where)
        first = first or (id, regions.features.shape[1])


def _number(digits: str) -> str:
    return digits.lstrip("0") or "0"


def _by_number(ids: Sequence[str]) -> dict[str, str | None]:
    """The number at an id's end -> the id, or None where several ids end in it."""
    numbers: dict[str, str | None] = {}
    for id in ids:
        digits = re.search("[0-9]+$", id)
        if digits is not None:
            number = _number(digits.group())
            numbers[number] = None if number in numbers else id
    return numbers


# ---------------------------------------------------------------- decoding a record


def _decode(fields: Fields, where: str) -> RegionFeatures:
    """A record of any of the forms, whose names for the same thing differ. Raises RecordFault if a
    field is missing or its size does not fit the number of boxes."""
    boxes = _boxes(fields, where)
    count = len(boxes)
    ids = _given(fields, ("objects_id",))
    confidences = _given(fields, ("objects_conf",))
    scores = _given(fields, ("cls_prob", "classes"))
    return RegionFeatures(
        boxes=boxes,
        features=_rows(_needed(fields, ("features", "x"), where), count, where),
        width=_size(_needed(fields, ("image_w", "img_w", "width", "image_width"), where), where),
        height=_size(_needed(fields, ("image_h", "img_h", "height", "image_height"), where), where),
        scores=None if scores is None else _rows(scores, count, where),
        object_ids=None if ids is None else _one_a_row(ids, count, where, "<i8").astype(np.int64),
        object_confidences=None
        if confidences is None
        else _one_a_row(confidences, count, where, "<f4").astype(np.float32),
    )


def _boxes(fields: Fields, where: str) -> npt.NDArray[np.float32]:
    name, value = _needed(fields, ("boxes", "bbox"), where)
    values = _values(name, value, where, "<f4")
    if values.ndim == 1 and values.size % 4 == 0:
        values = values.reshape(-1, 4)
    if values.ndim != 2 or values.shape[1] != 4:
        raise _misshapen(name, where, f"{_extent(values)}, not four a box")
    stated = _given(fields, ("num_boxes", "num_bbox"))
    count = len(values) if stated is None else _whole(stated, where)
    if count < 1:
        raise RecordFault("an image without boxes", f"{where}: there are no boxes; {_AGAIN}")
    if len(values) != count:
        raise RecordFault(
            "boxes that are not as many as stated",
            f"{where}: the number of boxes is said to be {count}, but {name!r} has {len(values)}; "
            f"{_AGAIN}",
        )
    return values.astype(np.float32)


def _rows(field: _Field, count: int, where: str) -> npt.NDArray[np.float32]:
    """(count, columns) from as many numbers in a row, or from a table that may be on its side."""
    name, value = field
    values = _values(name, value, where, "<f4")
    if values.ndim == 1 and values.size and values.size % count == 0:
        values = values.reshape(count, -1)
    if values.ndim == 2 and len(values) != count and values.shape[1] == count:
        values = values.T
    if values.ndim != 2 or len(values) != count:
        raise _misshapen(name, where, f"{_extent(values)}, which does not fit {count} boxes")
    return np.ascontiguousarray(values, dtype=np.float32)


def _one_a_row(field: _Field, count: int, where: str, dtype: str) -> npt.NDArray[Any]:
    name, value = field
    values = _values(name, value, where, dtype).reshape(-1)
    if values.size != count:
        raise _misshapen(name, where, f"{_extent(values)}, which does not fit {count} boxes")
    return values


def _values(name: str, value: object, where: str, dtype: str) -> npt.NDArray[Any]:
    """Numbers as base64 of little-endian `dtype`, an array, or a list of json."""
    if isinstance(value, np.ndarray | list):
        try:
            values = np.asarray(value)
        except ValueError as error:  # lists of different lengths
            raise _misshapen(name, where, f"no table ({error})") from None
        if values.dtype.kind not in "fiu":
            raise _misshapen(name, where, f"{values.dtype}, not numbers")
        return values
    if not isinstance(value, bytes | str):
        raise _misshapen(name, where, f"{type(value).__name__}, not base64 or an array")
    text = value.encode("utf-8", "replace") if isinstance(value, str) else value
    try:
        # some writers break base64 into lines
        content = base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise RecordFault(
            f"{name} that is not base64", f"{where}: {name!r} is not base64 ({error}); {_AGAIN}"
        ) from None
    size = np.dtype(dtype).itemsize
    if len(content) % size:
        raise _misshapen(name, where, f"{len(content):,} bytes, not a multiple of {size}")
    return np.frombuffer(content, dtype=dtype)


def _misshapen(name: str, where: str, what: str) -> RecordFault:
    return RecordFault(f"{name} of the wrong size", f"{where}: {name!r} is {what}; {_AGAIN}")


def _extent(values: npt.NDArray[Any]) -> str:
    return f"{' x '.join(f'{length:,}' for length in values.shape) or 'one'} numbers"


def _given(fields: Fields, names: tuple[str, ...]) -> _Field | None:
    return next(((name, fields[name]) for name in names if fields.get(name) is not None), None)


def _needed(fields: Fields, names: tuple[str, ...], where: str) -> _Field:
    field = _given(fields, names)
    if field is None:
        raise RecordFault(f"no {names[0]}", f"{where}: there is no {names[0]!r}; {_AGAIN}")
    return field


def _size(field: _Field, where: str) -> int:
    pixels = _whole(field, where)
    if pixels < 1:
        raise RecordFault(
            f"{field[0]} below one", f"{where}: {field[0]!r} is {pixels}, no size; {_AGAIN}"
        )
    return pixels


def _whole(field: _Field, where: str) -> int:
    """A whole number from a json number, an array of one, or the digits of a tsv."""
    name, value = field
    plain = (
        value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value
    )
    if isinstance(plain, int | float) and not isinstance(plain, bool):
        if abs(plain) < _LARGEST_WHOLE and plain == plain // 1:
            return int(plain)
    elif isinstance(plain, bytes | str) and plain.isascii() and plain.isdigit() and len(plain) < 10:
        return int(plain)
    shown = repr(plain)[:40] if isinstance(plain, bytes | str | float) else type(plain).__name__
    raise RecordFault(
        f"{name} that is no whole number",
        f"{where}: {name!r} is {shown}, not a whole number below {_LARGEST_WHOLE:,}; {_AGAIN}",
    )


# ---------------------------------------------------------------- checking what was decoded


def _faults(
    regions: RegionFeatures, where: str, first: tuple[str, int] | None
) -> Iterator[RecordFault]:
    """What makes the regions useless. `first`: an earlier image and its number of features."""
    tables = {
        "features": regions.features,
        "boxes": regions.boxes,
        "scores": regions.scores,
        "object confidences": regions.object_confidences,
    }
    for name, table in tables.items():
        if table is not None and not np.isfinite(table).all():
            row = int(np.argwhere(~np.isfinite(table))[0][0])
            yield RecordFault(
                f"{name} that are not finite",
                f"{where}: the {name} of region {row} hold a NaN or an infinity; {_AGAIN}",
            )
    inverted = (regions.boxes[:, 2:] < regions.boxes[:, :2]).any(axis=1)
    if inverted.any():
        row = int(np.flatnonzero(inverted)[0])
        yield RecordFault(
            "boxes whose far corner comes first",
            f"{where}: box {row} is {_corners(regions, row)}, not x1 y1 x2 y2 with x1 <= x2 and "
            f"y1 <= y2 (x y width height?); {_AGAIN}",
        )
    size = regions.features.shape[1]
    if first is not None and size != first[1]:
        yield RecordFault(
            "features of another size",
            f"{where}: {size:,} features a region, where image {first[0]!r} has {first[1]:,}; "
            "give files of one extraction",
        )


def _over_the_edge(regions: RegionFeatures, where: str) -> Iterator[RecordFault]:
    """Boxes outside the picture: width and height may be swapped. Nothing fails by them, so only
    the verification tells."""
    far = np.array([regions.width, regions.height], dtype=np.float32) + _EDGE
    outside = ((regions.boxes[:, :2] < -_EDGE) | (regions.boxes[:, 2:] > far)).any(axis=1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        yield RecordFault(
            "boxes over the picture's edge",
            f"{where}: box {row} is {_corners(regions, row)} in a picture of {regions.width} x "
            f"{regions.height}; are width and height swapped?",
        )


def _corners(regions: RegionFeatures, row: int) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in regions.boxes[row]) + "]"
