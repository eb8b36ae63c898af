"""VCR (Zellers et al. 2019) in the official files, and the leaderboard's csv. Knows no metric and
no model.

Under --data-dir, from https://visualcommonsense.com: {train,val}.jsonl, also in vcr1annots/, and
vcr1images/ with a JSON beside each picture, which has the boxes of the things in it. The labels of
test.jsonl are not published, so "val" is what is scored.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, overload

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.media.images import file_picture
from harness.types import Dataset, Json, NamedBox, Picture, ReasonedQuestion, Sample

from ..targets import VcrTarget
from .activitynet_captions import Faults, Faulty, is_number
from .json_files import read_json

if TYPE_CHECKING:
    from harness.types import Pixels

_SAMPLES = {"train": 212_923, "val": 26_534}  # in the official files
_CHOICES = 4
_KINDS = ("what", "why", "how", "where", "who", "when", "which")
_IMAGES = "vcr1images"
_MEND = "take the official files from https://visualcommonsense.com/download"


def load(root: Path | None, split: str) -> Dataset:
    """Open "train" or "val" under `root`; see `load_files`.

    Boxes are read with a sample's `objects`, one small file a picture, when a model first looks at
    them: opening val takes no 10,000 files. Without the folder vcr1images there are none, and a
    note says so. Raises BadInput, in one line, for whatever is missing or wrong in the annotations;
    what is missing or wrong in a picture or its boxes shows when they are read.
    """
    _check_split(split)
    if root is None:
        raise BadInput(f"vcr needs --data-dir, the folder of its files; {_MEND}")
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder; correct --data-dir, or {_MEND}")
    images = root / _IMAGES
    return _open(_annotations(root, split), split, images if images.is_dir() else None)


def load_files(files: Mapping[str, Path], split: str) -> Dataset:
    """The file of the role "annotations", without pictures and boxes: what scoring saved
    predictions needs.

    A sample a line, in the file's order; its id is annot_id. Texts are the file's tokens with a
    space between them, punctuation too; a tag, a list of places in `objects`, is written "[2]" or
    "[0,3]". Samples of one picture form a group. "question_type", also the question's `kind`, is
    its first word, one of what, why, how, where, who, when and which, or else "other". `sha256`
    covers the file.
    """
    _check_split(split)
    return _open(files["annotations"], split, None)


def verify(root: Path) -> list[str]:
    """Whatever is missing or odd under `root`, a line each; empty if all is well. Reads the boxes
    of every picture, which takes minutes; pictures are looked for, not opened."""
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    lines: list[str] = []
    things: dict[str, _Things] = {}
    for split, count in _SAMPLES.items():
        path = _annotations(root, split)
        try:
            records = _read(path)
        except BadInput as error:
            lines += error.lines if isinstance(error, Faulty) else [str(error)]
            continue
        if len(records) != count:
            lines.append(
                f"{path}: it has {len(records):,} questions, {count:,} in the official file; "
                "fetch it again"
            )
        for record in records:
            things[record.picture] = _Things(record.names, root / _IMAGES / record.boxes)
    return lines + _verify_images(root / _IMAGES, things)


def _check_split(split: str) -> None:
    if split == "test":
        raise BadInput("vcr: the labels of 'test' are not published; use --split val")
    if split not in _SAMPLES:
        raise BadInput(f"vcr has no split {split!r}; use one of: {', '.join(_SAMPLES)}")


def _annotations(root: Path, split: str) -> Path:
    places = [root / f"{split}.jsonl", root / "vcr1annots" / f"{split}.jsonl"]
    return next((place for place in places if place.is_file()), places[0])


# ---------------------------------------------------------------- from records to samples


@dataclass(frozen=True)
class _Record:
    """A line, checked. `picture` and `boxes`: paths within the folder of images."""

    id: str
    text: str
    answers: tuple[str, ...]
    reasons: tuple[str, ...]
    answer: int
    reason: int
    kind: str
    names: tuple[str, ...]
    picture: str
    boxes: str


def _open(path: Path, split: str, images: Path | None) -> Dataset:
    records = _read(path)
    pictures = {name: _picture(name, images) for name in {one.picture for one in records}}
    things: dict[tuple[str, tuple[str, ...]], Sequence[NamedBox]] = {}
    samples = []
    for one in records:
        key = one.boxes, one.names
        if key not in things:
            things[key] = () if images is None else _Things(one.names, images / one.boxes)
        samples.append(_sample(one, pictures[one.picture], things[key]))
    without = (
        f"no sample has boxes of objects, which are in {_IMAGES}/: a tag such as [2] stays in the "
        "text and names nothing",
    )
    return Dataset(
        name="vcr",
        split=split,
        samples=tuple(samples),
        sha256=sha256_of_files([path]),
        notes=without if images is None else (),
    )


def _sample(record: _Record, picture: Picture, things: Sequence[NamedBox]) -> Sample:
    return Sample(
        id=record.id,
        input=ReasonedQuestion(
            visual=picture,
            text=record.text,
            answers=record.answers,
            reasons=record.reasons,
            objects=things,
            given=record.answers[record.answer],
            kind=record.kind,
        ),
        target=VcrTarget(record.answer, record.reason),
        group=picture.id,
        tags={"question_type": record.kind},
    )


def _picture(name: str, images: Path | None) -> Picture:
    id = f"vcr/{name}"
    if images is None:
        return Picture(id=id, read=partial(_no_folder, name))
    return file_picture(id, images / name)


def _no_folder(name: str) -> Pixels:
    raise BadInput(
        f"picture {name}: there is no folder {_IMAGES}; give --data-dir a folder with it"
    )


@dataclass(frozen=True)
class _Things(Sequence[NamedBox]):
    """The things in a picture, in the order that tags count them. How many there are is known; the
    file with their boxes is read when one is looked at, and then kept."""

    names: tuple[str, ...]
    path: Path
    _read: list[NamedBox] = field(default_factory=list, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, place: int) -> NamedBox: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[NamedBox]: ...
    def __getitem__(self, place: int | slice) -> NamedBox | Sequence[NamedBox]:
        if not self._read:
            self._read[:] = _read_boxes(self.path, self.names)
        return self._read[place]


def _read_boxes(path: Path, names: Sequence[str]) -> list[NamedBox]:
    """The boxes in a picture's metadata, [x1, y1, x2, y2, score] each, one a name."""
    metadata = read_json(path, _MEND)
    boxes = metadata.get("boxes") if isinstance(metadata, dict) else None
    if not isinstance(boxes, list) or len(boxes) != len(names):
        raise BadInput(f"{path}: it has not 'boxes' for the {len(names)} objects; {_MEND}")
    for place, box in enumerate(boxes):
        if not isinstance(box, list) or len(box) not in (4, 5) or not all(map(is_number, box)):
            raise BadInput(f"{path}: boxes[{place}] is not [x1, y1, x2, y2, score]; {_MEND}")
        if box[0] > box[2] or box[1] > box[3]:
            raise BadInput(f"{path}: boxes[{place}] ends before it starts; {_MEND}")
    return [
        NamedBox((float(x1), float(y1), float(x2), float(y2)), name)
        for (x1, y1, x2, y2, *_), name in zip(boxes, names, strict=True)
    ]


# ---------------------------------------------------------------- reading and checking the file


class _Wrong(Exception):
    """What is wrong with a line: the end of "FILE: line 3 ...", as its message."""


def _read(path: Path) -> list[_Record]:
    """Every line, in order. Raises Faulty with all that is wrong: a line for each kind."""
    faults = Faults(path, _MEND)
    records: dict[str, _Record] = {}
    for number, line in _lines(path):
        try:
            record = _record(line)
        except _Wrong as wrong:
            faults.add(f"line {number}", str(wrong))
            continue
        if record.id in records:
            faults.add(f"line {number} (annot_id {record.id!r})", "has an id that is there twice")
        records[record.id] = record
    faults.check()
    if not records:
        raise BadInput(f"{path}: there is no question in it; {_MEND}")
    return list(records.values())


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank and their numbers from 1 on. Only a line feed ends a line: texts may
    have U+2028 and the like in them."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file; {_MEND}") from None
    except OSError as error:
        raise BadInput(f"{path}: the file cannot be read ({error.strerror}); {_MEND}") from None


def _record(line: bytes) -> _Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise _Wrong("is not JSON") from None
    if not isinstance(record, dict):
        raise _Wrong("is not an object")
    names = record.get("objects")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _Wrong("has no list of texts 'objects'")
    answers, reasons = (_choices(record, what, len(names)) for what in ("answer", "rationale"))
    question = _words(record.get("question"), "question", len(names))
    return _Record(
        id=_text(record, "annot_id"),
        text=" ".join(question),
        answers=answers,
        reasons=reasons,
        answer=_label(record, "answer_label"),
        reason=_label(record, "rationale_label"),
        kind=question[0].lower() if question[0].lower() in _KINDS else "other",
        names=tuple(names),
        picture=_relative(record, "img_fn"),
        boxes=_relative(record, "metadata_fn"),
    )


def _choices(record: Json, what: str, things: int) -> tuple[str, ...]:
    key = f"{what}_choices"
    choices = record.get(key)
    if not isinstance(choices, list) or len(choices) != _CHOICES:
        raise _Wrong(f"has no list of {_CHOICES} {key!r}")
    return tuple(" ".join(_words(tokens, key, things)) for tokens in choices)


def _words(tokens: Any, key: str, things: int) -> list[str]:
    """Tokens as texts, those that are tags as "[0,3]"."""
    if not isinstance(tokens, list) or not tokens:
        raise _Wrong(f"has no list of tokens in {key!r}")
    words = []
    for token in tokens:
        if isinstance(token, list) and token:
            if not all(type(tag) is int and 0 <= tag < things for tag in token):
                raise _Wrong(f"has a tag in {key!r} that is no place in 'objects'")
            words.append(f"[{','.join(map(str, token))}]")
        elif isinstance(token, str):
            words.append(token)
        else:
            raise _Wrong(f"has a token in {key!r} that is neither a text nor a list of tags")
    return words


def _label(record: Json, key: str) -> int:
    if key not in record:
        raise _Wrong(f"has no {key!r}, as in test.jsonl, whose labels are not published")
    label = record[key]
    if type(label) is not int or not 0 <= label < _CHOICES:
        raise _Wrong(f"has a {key!r} that is not 0 to {_CHOICES - 1}")
    return label


def _text(record: Json, key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise _Wrong(f"has no text {key!r}")
    return value


def _relative(record: Json, key: str) -> str:
    """A path that stays within the folder of images."""
    value = _text(record, key)
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value:
        raise _Wrong(f"has a {key!r} that leads out of {_IMAGES}")
    return value


# ---------------------------------------------------------------- verifying


def _verify_images(folder: Path, things: Mapping[str, _Things]) -> list[str]:
    """`things`: picture -> what is in it."""
    if not folder.is_dir():
        return [f"{folder}: there is no such folder; {_MEND}"]
    there = {name: (folder / name).is_file() for name in things}
    absent = [name for name in things if not there[name]]
    empty = [name for name in things if there[name] and not (folder / name).stat().st_size]
    lines = [
        f"{folder}: {len(names):,} of {len(things):,} pictures are {what}, the first {names[0]}; "
        "fetch them again"
        for names, what in ((absent, "not there"), (empty, "empty"))
        if names
    ]
    wrong = [complaint for one in things.values() if (complaint := _wrong_boxes(one))]
    if wrong:
        more = f" (and {len(wrong) - 1:,} more files of boxes)" if len(wrong) > 1 else ""
        lines.append(wrong[0] + more)
    return lines


def _wrong_boxes(things: _Things) -> str | None:
    try:
        _read_boxes(things.path, things.names)
    except BadInput as error:
        return str(error)
    return None


# ---------------------------------------------------------------- results

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
    rows = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
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


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file; correct the path") from None
    except OSError as error:
        raise BadInput(f"{path}: it cannot be read ({error.strerror}); correct the path") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start} is not UTF-8; write the file anew") from None
