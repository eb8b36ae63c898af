"""Box result files: a box for each expression. The field has no format for them; these are read.
Knows no data set and no metric; whether a box is one is for the task to say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.types import Json

from .json_files import is_number, read_json

_FORM = 'give [{"id": sent_id, "box": [x1, y1, x2, y2]}, ...], or "bbox": [x, y, w, h]'


def read_box_results(path: Path) -> dict[str, Json]:
    """Sentence id -> {"box": [x1, y1, x2, y2]}, in the order of the file.

    The file is a JSON list of objects with "id" (or "sent_id",
    number or text) and "box", two corners in pixels, or "bbox", a corner, width and height as in
    COCO's results. Whatever else stands where a box should is kept as it is, to be counted as
    invalid when it is scored. Raises BadInput, naming the record, for broken JSON, an empty list, a
    record without id or box, an id that comes twice.
    """
    records = read_json(path, _FORM)
    if not isinstance(records, list) or not records:
        raise BadInput(f"{path}: this is no list with a record in it; {_FORM}")
    predictions: dict[str, Json] = {}
    for place, record in enumerate(records):
        where = f"{path}: record {place}"
        if not isinstance(record, dict):
            raise BadInput(f"{where} is not an object; {_FORM}")
        id = record.get("id", record.get("sent_id"))
        if type(id) not in (int, str):
            raise BadInput(f"{where} has no number or text 'id'; {_FORM}")
        if ("box" in record) == ("bbox" in record):
            raise BadInput(f"{where} (id {id!r}) has not one of 'box' and 'bbox'; {_FORM}")
        if str(id) in predictions:
            raise BadInput(f"{where}: id {id!r} is there twice; keep one of the two")
        box = record["box"] if "box" in record else _corners(record["bbox"])
        predictions[str(id)] = {"box": box}
    return predictions


def _corners(box: Any) -> Any:
    """[x, y, width, height] as two corners; anything else as it is."""
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return box
    x, y, width, height = box
    return [x, y, x + width, y + height]
