"""Moment result files of the field: ranked moments for each query. Knows no data set and no metric;
what a moment is, seconds or chunks, and whether it is valid, is for the task to say."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.types import Json

_ID_KEYS = ("id", "annotation_id", "qid")
_MOMENT_KEYS = ("moments", "pred_relevant_windows", "timestamps", "times")
_FORM = 'give {"ID": [[start, end], ...], ...}, best first'


def read_moment_results(path: Path) -> dict[str, Json]:
    """Id -> {"moments": [[start, end], ...]}, best first, in the order of the file.

    The file is a JSON object id -> moments; or a JSON list of objects with an id ("id",
    "annotation_id" or "qid", number or text) and moments ("moments", "pred_relevant_windows",
    "timestamps" or "times"); or, if its name ends in .jsonl, such objects one a line. Moments are
    [start, end] or [start, end, score]; if all of a query's have a score, the highest comes first,
    ties in the order given. Whatever else stands where moments should is kept as it is, to be
    counted as invalid when it is scored.

    Raises BadInput, naming the record, for broken JSON, no predictions, a missing key, an id that
    comes twice.
    """
    predictions: dict[str, Json] = {}
    for where, id, moments in _records(path):
        if id in predictions:
            raise BadInput(f"{where}: id {id!r} is there twice; keep one of the two")
        predictions[id] = {"moments": _ranked(moments)}
    if not predictions:
        raise BadInput(f"{path}: there is no prediction in it; {_FORM}")
    return predictions


def _records(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Where it stands, id and moments of each record."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file; correct the path") from None
    except OSError as error:
        reason = error.strerror
        raise BadInput(f"{path}: the file cannot be read ({reason}); correct the path") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start} is not UTF-8; write the file anew") from None
    if path.suffix == ".jsonl":
        for number, line in enumerate(content.split("\n"), start=1):
            if line.strip():
                where = f"{path}: line {number}"
                yield where, *_id_and_moments(where, _parsed(where, line))
        return
    parsed = _parsed(str(path), content)
    if isinstance(parsed, _Object):
        if parsed.twice is not None:
            raise BadInput(f"{path}: id {parsed.twice!r} is there twice; keep one of the two")
        for id, moments in parsed.items():
            yield str(path), id, moments
    elif isinstance(parsed, list):
        for place, record in enumerate(parsed):
            where = f"{path}: record {place}"
            yield where, *_id_and_moments(where, record)
    else:
        raise BadInput(f"{path}: this is neither a JSON object nor a list; {_FORM}")


class _Object(Json):
    """A JSON object that knows whether a key of it came twice, and which."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: str | None = None
        if len(self) < len(pairs):
            self.twice = Counter(key for key, _ in pairs).most_common(1)[0][0]


def _parsed(where: str, content: str) -> object:
    try:
        parsed: object = json.loads(content, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:  # its message gives the line and the column
        raise BadInput(f"{where}: this is not JSON ({error}); write the file anew") from None
    return parsed


def _id_and_moments(where: str, record: object) -> tuple[str, Any]:
    if not isinstance(record, _Object):
        raise BadInput(f"{where} is not an object; {_FORM}")
    if record.twice is not None:
        raise BadInput(f"{where} has the key {record.twice!r} twice; keep one of the two")
    id_key = next((key for key in _ID_KEYS if key in record), None)
    if id_key is None:
        raise BadInput(f"{where} has no id; give it one of the keys {', '.join(_ID_KEYS)}")
    id = record[id_key]
    if type(id) not in (int, str):
        raise BadInput(f"{where}: {id_key!r} is no number or text; give the sample's id")
    moments_key = next((key for key in _MOMENT_KEYS if key in record), None)
    if moments_key is None:
        keys = ", ".join(_MOMENT_KEYS)
        raise BadInput(f"{where} (id {id!r}) has no moments; give them in one of the keys {keys}")
    return str(id), record[moments_key]


def _ranked(moments: Any) -> Any:
    """Pairs by falling score if all have one; else the value as it is."""
    if not isinstance(moments, list) or not all(_is_scored(moment) for moment in moments):
        return moments
    best_first = sorted(moments, key=lambda moment: moment[2], reverse=True)  # stable
    return [moment[:2] for moment in best_first]


def _is_scored(moment: object) -> bool:
    if not isinstance(moment, list) or len(moment) != 3:
        return False
    score = moment[2]
    return type(score) in (int, float) and -math.inf < score < math.inf
