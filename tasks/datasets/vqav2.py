"""VQA v2 (Goyal et al. 2017) in the official files, and any questions and annotations files of
that format. Knows no metric and no model.

Under --data-dir, from https://visualqa.org/download.html and https://cocodataset.org:
v2_OpenEnded_mscoco_{train,val}2014_questions.json, v2_mscoco_{train,val}2014_annotations.json and
{train,val}2014/COCO_{train,val}2014_<image id, 12 digits>.jpg. The answers of test-dev and test are
not published, so "val" is what is scored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.media.images import file_picture
from harness.types import Dataset, Json, Picture, Question, Sample

from ..targets import VqaTarget
from .folders import missing_files
from .json_files import read_bytes, records_of, value_of

if TYPE_CHECKING:
    from harness.types import Pixels

_Id: TypeAlias = str  # a question's id; files may hold it as a number or as a string

_SPLITS = ("train", "val")
_QUESTIONS = {"train": 443_757, "val": 214_354}  # in the official files
_ANSWERS = 10  # a question, in the official files
_ANSWER_COUNT = 9  # an answer belongs to the vocabulary if at least this many questions have it
_MEND = "take the official files from https://visualqa.org/download.html"


def load(root: Path | None, split: str) -> Dataset:
    """Open "train" or "val" of the official files under `root`.

    `answers` come from the train annotations where they are present, as in `load_files`. Raises
    BadInput, in one line, for whatever is missing or wrong; a picture's absence shows when it is
    read.
    """
    if split.startswith("test"):
        raise BadInput(f"vqav2: the answers of {split!r} are not published; use --split val")
    if split not in _SPLITS:
        raise BadInput(f"vqav2 has no split {split!r}; use one of: {', '.join(_SPLITS)}")
    if root is None:
        raise BadInput(f"vqav2 needs --data-dir, the folder of its files; {_MEND}")
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder; correct --data-dir, or {_MEND}")
    train = _annotations_file(root, "train")
    return load_files(
        _questions_file(root, split),
        _annotations_file(root, split),
        images=root / f"{split}2014",
        split=split,
        image_name=_image_name(split),
        vocabulary=train if train.is_file() else None,
    )


def load_questions_and_annotations(files: Mapping[str, Path], split: str) -> Dataset:
    """The files by their roles "questions" and "annotations", without pictures: what scoring saved
    predictions needs."""
    return load_files(files["questions"], files["annotations"], None, split, "")


def load_files(
    questions: Path,
    annotations: Path,
    images: Path | None,
    split: str,
    image_name: str,
    vocabulary: Path | None = None,
) -> Dataset:
    """Open a questions file and its annotations file, samples in the order of the questions.

    A picture is `image_name` % image id in the folder `images`; without a folder, reading one
    raises BadInput. `answers` are the multiple_choice_answer values that at least 9 questions of
    the annotations file `vocabulary` have, the most frequent first, ties in alphabetical order;
    none without that file: a vocabulary of the evaluated answers would give some away. `sha256`
    covers the questions and the annotations file, neither the pictures nor `vocabulary`.

    Raises BadInput, naming the file and the record, if a file is missing, not JSON or lacks a key,
    if an id comes twice, if a question has no annotation or the reverse, or has no answers.
    """
    asked = _read_questions(questions)
    annotated = _read_annotations(annotations)
    _check_pairs(questions, asked, annotations, annotated)
    pictures: dict[int, Picture] = {}
    for record in asked.values():
        number = record["image_id"]
        if number not in pictures:
            pictures[number] = _picture(f"vqav2/{split}/{number}", number, images, image_name)
    samples = tuple(
        _sample(id, record, annotated[id], pictures[record["image_id"]])
        for id, record in asked.items()
    )
    counted = {} if vocabulary is None else _read_annotations(vocabulary)
    return Dataset(
        name="vqav2",
        split=split,
        samples=samples,
        sha256=sha256_of_files([questions, annotations]),
        answers=_frequent_answers(counted),
    )


def _questions_file(root: Path, split: str) -> Path:
    return root / f"v2_OpenEnded_mscoco_{split}2014_questions.json"


def _annotations_file(root: Path, split: str) -> Path:
    return root / f"v2_mscoco_{split}2014_annotations.json"


def _image_name(split: str) -> str:
    return f"COCO_{split}2014_%012d.jpg"


def _sample(id: _Id, question: Json, annotation: Json, picture: Picture) -> Sample:
    kind = annotation["question_type"]
    return Sample(
        id=id,
        input=Question(visual=picture, text=question["question"], kind=kind),
        target=VqaTarget(answers=tuple(given["answer"] for given in annotation["answers"])),
        group=str(question["image_id"]),
        tags={"question_type": kind, "answer_type": annotation["answer_type"]},
    )


def _picture(id: str, number: int, images: Path | None, image_name: str) -> Picture:
    if images is not None:
        return file_picture(id, images / (image_name % number))

    def read() -> Pixels:
        raise BadInput(f"picture {number}: no folder of pictures was given; add --data-dir")

    return Picture(id=id, read=read)


def _frequent_answers(annotated: Mapping[_Id, Json]) -> tuple[str, ...]:
    counts = Counter(record["multiple_choice_answer"] for record in annotated.values())
    frequent = [answer for answer, count in counts.items() if count >= _ANSWER_COUNT]
    return tuple(sorted(frequent, key=lambda answer: (-counts[answer], answer)))


# ---------------------------------------------------------------- reading and checking the files


def _read_questions(path: Path) -> dict[_Id, Json]:
    """Question id -> record, in the file's order."""
    return _read_records(path, "questions", {"image_id": int, "question": str})


def _read_annotations(path: Path) -> dict[_Id, Json]:
    """Question id -> record, in the file's order, each with at least one answer."""
    keys: dict[str, type] = {
        "image_id": int,
        "question_type": str,
        "answer_type": str,
        "multiple_choice_answer": str,
        "answers": list,
    }
    annotated = _read_records(path, "annotations", keys)
    for id, record in annotated.items():
        if not record["answers"]:
            raise BadInput(f"{path}: question {id} has no answers; {_MEND}")
        for position, given in enumerate(record["answers"]):
            if not isinstance(given, dict) or not isinstance(given.get("answer"), str):
                raise BadInput(
                    f"{path}: question {id}: answers[{position}] has no text 'answer'; {_MEND}"
                )
    return annotated


def _read_records(path: Path, name: str, keys: Mapping[str, type]) -> dict[_Id, Json]:
    """The list `name` of a file by question id, each record with `keys` of the types given."""
    by_id: dict[_Id, Json] = {}
    for where, record in records_of(path, _read_json(path), name, _MEND):
        if type(record.get("question_id")) not in (int, str):
            raise BadInput(f"{where} has no number or text 'question_id'; {_MEND}")
        id = str(record["question_id"])
        for key, kind in keys.items():
            value_of(record, key, kind, f"{where} (question {id!r})", _MEND)
        if id in by_id:
            raise BadInput(f"{where}: question {id!r} is there twice; keep one of the two")
        by_id[id] = record
    return by_id


def _read_json(path: Path) -> object:
    """As `json_files.read_json`, but of a key that comes twice in an object the last counts."""
    content = read_bytes(path, _MEND)
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError) as error:  # its message gives the line and the column
        raise BadInput(f"{path}: this is not JSON ({error}); fetch the file again") from None
    return parsed


def _check_pairs(
    questions: Path, asked: Mapping[_Id, Json], annotations: Path, annotated: Mapping[_Id, Json]
) -> None:
    """Every question has its annotation, about the same picture, and the reverse."""
    for fault in _unpaired(questions, asked, annotations, annotated):
        raise BadInput(fault)


def _unpaired(
    questions: Path, asked: Mapping[_Id, Json], annotations: Path, annotated: Mapping[_Id, Json]
) -> Iterator[str]:
    """A line for questions without annotations, for the reverse, and for pairs that are about
    different pictures."""
    sides: Sequence[tuple[Path, str, Mapping[_Id, Json], Path, Mapping[_Id, Json]]] = (
        (questions, "question", asked, annotations, annotated),
        (annotations, "annotation of question", annotated, questions, asked),
    )
    for path, what, records, other_path, others in sides:
        alone = [id for id in records if id not in others]
        if alone:
            yield (
                f"{path}: {what} {alone[0]!r} has no counterpart in {other_path} "
                f"({len(alone)} of {len(records)} have none); give the two files of one split"
            )
    both = [id for id in asked if id in annotated]
    apart = [id for id in both if asked[id]["image_id"] != annotated[id]["image_id"]]
    if apart:
        id = apart[0]
        yield (
            f"{annotations}: question {id!r} is about picture {annotated[id]['image_id']}, in "
            f"{questions} about {asked[id]['image_id']} ({len(apart)} of {len(both)} differ); give "
            "the two files of one split"
        )


# ---------------------------------------------------------------- verifying


def verify(root: Path) -> list[str]:
    """Whatever is missing or odd under `root`, in either split, a line each; empty if all is well.
    Pictures are looked for, not opened."""
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    return [line for split in _SPLITS for line in _verify_split(root, split)]


def _verify_split(root: Path, split: str) -> Iterator[str]:
    questions, annotations = _questions_file(root, split), _annotations_file(root, split)
    asked: Mapping[_Id, Json] = {}
    annotated: Mapping[_Id, Json] = {}
    try:
        asked = _read_questions(questions)
    except BadInput as error:
        yield str(error)
    try:
        annotated = _read_annotations(annotations)
    except BadInput as error:
        yield str(error)
    if asked and annotated:
        yield from _unpaired(questions, asked, annotations, annotated)
    if asked and len(asked) != _QUESTIONS[split]:
        yield (
            f"{questions}: {len(asked):,} questions, {_QUESTIONS[split]:,} in the official file; "
            "fetch it again"
        )
    odd = [id for id, record in annotated.items() if len(record["answers"]) != _ANSWERS]
    if odd:
        yield (
            f"{annotations}: {len(odd):,} of {len(annotated):,} questions have not {_ANSWERS} "
            f"answers, the first is {odd[0]!r}; fetch it again"
        )
    numbers = dict.fromkeys(record["image_id"] for record in (asked or annotated).values())
    pictures = (root / f"{split}2014" / (_image_name(split) % number) for number in numbers)
    yield from missing_files(root, pictures, "pictures")
