"""Data as scripts that a page loads from its own folder, where fetch() does not work: values as
plain ASCII that can end no script, columns as base64, entries in files of a bounded size. Knows no
run."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.types import Json

from .pages import write_text

if TYPE_CHECKING:
    import numpy.typing as npt

CHUNK = 25  # entries a file, at most
_FEW = 255  # distinct values that a byte can stand for, beside none
_MANY = 65_535


def as_script(name: str, *values: Any) -> str:
    """A call of `explorer.name` with these values."""
    return f"explorer.{name}({', '.join(map(as_json, values))});\n"


def as_json(value: Any) -> str:
    """Compact JSON, ASCII alone, without "<": it may stand in a page or in a script. Numbers that
    JSON lacks are null."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def fitted(text: str, most: int) -> tuple[str, int]:
    """The beginning of a text that takes at most so many bytes in a script, and how many characters
    are left out."""
    if len(text) * 12 <= most or len(as_json(text)) <= most:  # a character takes at most 12
        return text, 0
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(as_json(text[:middle])) <= most else (low, middle - 1)
    return text[:low], len(text) - low


# ---------------------------------------------------------------- columns


def numbers(values: npt.NDArray[np.float64]) -> Json:
    """A column of numbers: {"codes", "values"} where few are distinct, code i + 1 for the i-th;
    else {"codes", "low", "high"}, 65,534 even steps from code 1 on. Code 0 is nan."""
    known = np.isfinite(values)
    distinct = np.unique(values[known])
    codes: npt.NDArray[Any] = np.zeros(len(values), dtype=np.uint8)
    if len(distinct) <= _FEW:
        codes[known] = np.searchsorted(distinct, values[known]) + 1
        return {**_packed(codes), "values": distinct.tolist()}
    low, high = float(distinct[0]), float(distinct[-1])
    codes = np.zeros(len(values), dtype=np.uint16)
    codes[known] = np.round((values[known] - low) / (high - low) * (_MANY - 2)).astype(int) + 1
    return {**_packed(codes), "low": low, "high": high}


def names(values: Sequence[str | None], most: int) -> Json | None:
    """A column of names: {"codes", "values"}, code i + 1 for the i-th, 0 for none; None where more
    than `most` are distinct."""
    distinct = sorted({value for value in values if value is not None}, key=_by_number)
    if len(distinct) > min(most, _MANY):
        return None
    place = {value: number for number, value in enumerate(distinct, start=1)}
    kind = np.uint8 if len(distinct) <= _FEW else np.uint16
    codes = np.fromiter((0 if v is None else place[v] for v in values), kind, len(values))
    return {**_packed(codes), "values": distinct}


def _by_number(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def small_numbers(codes: npt.NDArray[np.unsignedinteger[Any]]) -> Json | None:
    """A column of bytes or of 16 bits as it is; None where all are 0."""
    return _packed(codes) if codes.any() else None


def _packed(codes: npt.NDArray[Any]) -> Json:
    little = codes.astype(codes.dtype.newbyteorder("<"), copy=False)
    packed = base64.b64encode(little.tobytes()).decode("ascii")
    return {"codes": packed, "bits": 8 * codes.dtype.itemsize}


# ---------------------------------------------------------------- entries


class ChunkWriter:
    """Writes entries into files 0.js, 1.js, ... of a folder, each a call of `explorer.name(key,
    number, entries)` with at most CHUNK entries and, unless a single entry is larger, `most` bytes.
    `starts`: the place of the first entry of each."""

    def __init__(self, folder: Path, name: str, key: str, most: int) -> None:
        self.folder, self.name, self.key, self.most = folder, name, key, most
        self.starts: list[int] = []
        self._entries: list[str] = []
        self._size = 0
        self._count = 0

    def add(self, entry: Any) -> None:
        text = as_json(entry)
        if self._entries and (
            len(self._entries) == CHUNK or self._size + len(text) + 1 > self.most
        ):
            self._flush()
        self._entries.append(text)
        self._size += len(text) + 1

    def close(self) -> list[int]:
        if self._entries:
            self._flush()
        return self.starts

    def _flush(self) -> None:
        number = len(self.starts)
        self.starts.append(self._count)
        head = f"explorer.{self.name}({as_json(self.key)}, {number}, ["
        write_text(self.folder / f"{number}.js", head + ",".join(self._entries) + "]);\n")
        self._count += len(self._entries)
        self._entries, self._size = [], 0
