"""VCR (Zellers et al. 2019) in the official files. Knows no metric and no model.

Under --data-dir, from https://visualcommonsense.com: {train,val}.jsonl, also in vcr1annots/, and
vcr1images/ with a JSON beside each picture, which has the boxes of the things in it. The labels of
test.jsonl are not published, so "val" is what is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, overload

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.media.images import file_picture
from harness.types import Dataset, Json, NamedBox, Picture, ReasonedQuestion, Sample

from ..targets import VcrTarget
from .faults import Faults, lines_of
from .folders import data_folder, first_file, known_split, missing_files
from .json_files import is_number, parse_json, read_bytes, read_json

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
    root = data_folder(root, "vcr", _MEND)
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
            lines += lines_of(error)
            continue
        if len(records) != count:
            lines.append(
                f"{path}: it has {len(records):,} questions, {count:,} in the official file; "
                "fetch it again"
            )
        for record in records:
            things[record.picture] = _Things(record.names, root / _IMAGES / record.boxes)
    paths = [root / _IMAGES / name for name in things]
    lines += missing_files(root, paths, "pictures", _IMAGES)
    return lines + (_odd_boxes(things.values()) if (root / _IMAGES).is_dir() else [])


def _check_split(split: str) -> None:
    if split == "test":
        raise BadInput("vcr: the labels of 'test' are not published; use --split val")
    known_split("vcr", split, _SAMPLES)


def _annotations(root: Path, split: str) -> Path:
    return first_file(root, (f"{split}.jsonl", f"vcr1annots/{split}.jsonl"))


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
    for number, line in enumerate(read_bytes(path, _MEND).split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _record(line: bytes) -> _Record:
    try:
        record = parse_json(line, "", "")
    except BadInput:
        raise _Wrong("is not JSON, or has an object with a key twice") from None
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


def _odd_boxes(things: Iterable[_Things]) -> list[str]:
    wrong = [complaint for one in things if (complaint := _wrong_boxes(one))]
    more = f" (and {len(wrong) - 1:,} more files of boxes)" if len(wrong) > 1 else ""
    return [wrong[0] + more] if wrong else []


def _wrong_boxes(things: _Things) -> str | None:
    try:
        _read_boxes(things.path, things.names)
    except BadInput as error:
        return str(error)
    return None
