"""VCR result files, csv: the leaderboard's scores, or the places of the choices. Knows no data set
and no metric."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import BadInput
from harness.types import Json

from .json_files import read_text

_CHOICES = 4
_SCORES = {
    "answer": [f"answer_{choice}" for choice in range(_CHOICES)],
    **{
        str(given): [f"rationale_conditioned_on_a{given}_{choice}" for choice in range(_CHOICES)]
        for given in range(_CHOICES)
    },
}
_PLACE = re.compile(r"[0-9]{1,9}")
_FORM = (
    "give annot_id with answer_0 ... answer_3 and rationale_conditioned_on_a0_0 ... a3_3, or with "
    "answer and rationale"
)


def read_vcr_csv(path: Path) -> dict[str, Json]:
    """annot_id -> prediction, in the order of the file.

    The leaderboard's csv has a column annot_id and twenty of scores, probabilities or logits,
    higher for a better choice: answer_0 to answer_3, and rationale_conditioned_on_aI_J, the score
    of reason J where answer I is given. It gives {"answer_scores": [4], "reason_scores": {"0": [4],
    ..., "3": [4]}} by the answer given. A csv with the columns annot_id, answer and rationale,
    places from 0 on, gives {"answer": i, "reason": j}. Other columns are not read. Raises BadInput,
    naming the line, for missing columns, a row of another length, an id that comes twice, and what
    is no finite number.
    """
    text = read_text(path, _FORM)
    if text.lstrip()[:1] in ("[", "{"):
        raise BadInput(f"{path}: is JSON, not csv; {_FORM}")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    predictions: dict[str, Json] = {}
    try:
        columns = next(rows, [])
        scored = _is_scored(path, columns)
        for row in rows:
            if not row:  # a blank line
                continue
            where = f"{path}: line {rows.line_num}"
            if len(row) != len(columns):
                raise BadInput(f"{where} has {len(row)} fields, line 1 has {len(columns)}; {_FORM}")
            cells = dict(zip(columns, row, strict=True))
            id = cells["annot_id"]
            if not id or id in predictions:
                what = (
                    f"annot_id {id!r} is there twice; keep one" if id else f"no annot_id; {_FORM}"
                )
                raise BadInput(f"{where}: {what}")
            predictions[id] = _scores(where, cells) if scored else _places(where, cells)
    except csv.Error as error:
        raise BadInput(f"{path}: line {rows.line_num} is no csv ({error}); {_FORM}") from None
    if not predictions:
        raise BadInput(f"{path}: there is no row in it; {_FORM}")
    return predictions


def _is_scored(path: Path, columns: Sequence[str]) -> bool:
    """Whether the columns are those of the scores. Raises BadInput if they are of neither form."""
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise BadInput(f"{path}: line 1 has the column {twice[0]!r} twice; keep one of the two")
    if "annot_id" not in columns:
        raise BadInput(f"{path}: line 1 has no column 'annot_id'; {_FORM}")
    lacking = [column for group in _SCORES.values() for column in group if column not in columns]
    if lacking and not {"answer", "rationale"} <= set(columns):
        raise BadInput(f"{path}: line 1 has no column {lacking[0]!r}; {_FORM}")
    return not lacking


def _scores(where: str, cells: Mapping[str, str]) -> Json:
    read = {
        name: [_score(where, column, cells[column]) for column in columns]
        for name, columns in _SCORES.items()
    }
    return {"answer_scores": read.pop("answer"), "reason_scores": read}


def _score(where: str, column: str, cell: str) -> float:
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise BadInput(f"{where}: {column} is {cell[:40]!r}, not a finite number; write it anew")
    return score


def _places(where: str, cells: Mapping[str, str]) -> Json:
    for column in ("answer", "rationale"):
        if not _PLACE.fullmatch(cells[column]):
            raise BadInput(
                f"{where}: {column} is {cells[column][:40]!r}, not the number of a choice from 0 on"
            )
    return {"answer": int(cells["answer"]), "reason": int(cells["rationale"])}
