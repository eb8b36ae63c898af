"""Moment result files of the field: ranked moments for each query. Knows no data set and no metric;
what a moment is, seconds or chunks, and whether it is valid, is for the task to say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.types import Json

from .json_files import read_json, read_json_lines

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
    if path.suffix == ".jsonl":
        for where, record in read_json_lines(path, _FORM):
            yield where, *_id_and_moments(where, record)
        return
    content = read_json(path, _FORM)
    if isinstance(content, dict):
        for id, moments in content.items():
            yield str(path), id, moments
    elif isinstance(content, list):
        for place, record in enumerate(content):
            where = f"{path}: record {place}"
            yield where, *_id_and_moments(where, record)
    else:
        raise BadInput(f"{path}: this is neither a JSON object nor a list; {_FORM}")


def _id_and_moments(where: str, record: object) -> tuple[str, Any]:
    if not isinstance(record, dict):
        raise BadInput(f"{where} is not an object; {_FORM}")
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
