"""easy-vqa (PyPI, MIT): questions about one coloured shape on a 64 x 64 picture, with one answer
each. Reads the installed package's files without importing it; knows no metric and no model.

Splits:
- "test": the package's test split, whole: 9,673 questions about 1,000 pictures;
- "train": the package's train split without its last 200 pictures: 36,630 questions about 3,800;
- "val": those last 200 pictures' 1,945 questions; the package has no such split;
- "trainval": the package's train split, whole: 38,575 questions.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TypeAlias

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.media.images import file_picture
from harness.types import Dataset, Picture, Question, Sample

from ..targets import VqaTarget
from .json_files import read_json

_Triple: TypeAlias = tuple[str, str, int]  # question, answer, number of the picture

_SPLITS = ("train", "val", "trainval", "test")
_VALIDATION_PICTURES = 200
_ANNOTATORS = 10  # as many as in the official sets, all of one mind
_MEND = "install it with: pip install 'harness[easy-vqa]', or give its folder with --data-dir"


def load(root: Path | None, split: str) -> Dataset:
    """Open a split: of the files under `root` (the folder that holds data/, or train/ and test/),
    or else of the installed package.

    A target is ten copies of the one answer, which makes official VQA accuracy exact match, 0 or 1.
    `answers` are the 13 of the package's train split, sorted. `sha256` covers the
    questions file of the package's train split, that of its test split if that is opened, and the
    bytes of the split's pictures in order of their numbers.

    Raises BadInput if a file is absent or broken, or the split unknown. A picture's file is opened
    here for the checksum, but decoded only when read.
    """
    if split not in _SPLITS:
        raise BadInput(f"easy-vqa has no split {split!r}; use one of: {', '.join(_SPLITS)}")
    data = _data_folder(root)
    folder = data / ("test" if split == "test" else "train")
    questions_files = [data / "train" / "questions.json"]
    triples = in_train = _read_triples(questions_files[0])
    if split == "test":
        questions_files.append(folder / "questions.json")
        triples = _read_triples(questions_files[1])
    triples = _part(triples, split)
    numbers = sorted({number for _, _, number in triples})
    files = {number: folder / "images" / f"{number}.png" for number in numbers}
    pictures = {
        number: file_picture(f"easy-vqa/{folder.name}/{number}", path)
        for number, path in files.items()
    }
    return Dataset(
        name="easy-vqa",
        split=split,
        samples=tuple(
            _sample(f"{split}-{position:06d}", triple, pictures[triple[2]])
            for position, triple in enumerate(triples)
        ),
        sha256=sha256_of_files([*questions_files, *files.values()]),
        answers=tuple(sorted({answer for _, answer, _ in in_train})),
    )


def question_kind(question: str) -> str:
    """The family of an easy-vqa question, from its text alone: "shape" and "colour" ask for one,
    "yes/no-shape" and "yes/no-colour" whether it is there, and "...-negated" whether it is not."""
    words = question.lower().rstrip("?").split()
    if words[:1] == ["what"]:
        return "colour" if "color" in words else "shape"
    # "is there a circle?" asks for a shape, "is there a red shape?" for a colour.
    kind = "yes/no-colour" if "shape" in words else "yes/no-shape"
    return f"{kind}-negated" if {"no", "not"} & set(words) else kind


def _data_folder(root: Path | None) -> Path:
    """The folder that holds train/ and test/."""
    if root is None:
        spec = importlib.util.find_spec("easy_vqa")
        if spec is None or spec.origin is None:
            raise BadInput(f"easy-vqa is not installed; {_MEND}")
        return Path(spec.origin).parent / "data"
    return root / "data" if (root / "data").is_dir() else root


def _read_triples(path: Path) -> list[_Triple]:
    records = read_json(path, _MEND)
    if not isinstance(records, list) or not records:
        raise BadInput(f"{path}: this is not a list of questions; {_MEND}")
    for position, record in enumerate(records):
        if not _is_triple(record):
            raise BadInput(
                f"{path}: record {position} is not [question, answer, picture number]; {_MEND}"
            )
    return [(question, answer, number) for question, answer, number in records]


def _is_triple(record: object) -> bool:
    return (
        isinstance(record, list)
        and len(record) == 3
        and isinstance(record[0], str)
        and isinstance(record[1], str)
        and type(record[2]) is int
    )


def _part(triples: list[_Triple], split: str) -> list[_Triple]:
    """The triples of `split` among those of the package's split that it is a part of."""
    if split in ("test", "trainval"):
        return triples
    held_out = set(sorted({number for _, _, number in triples})[-_VALIDATION_PICTURES:])
    return [triple for triple in triples if (triple[2] in held_out) == (split == "val")]


def _sample(id: str, triple: _Triple, picture: Picture) -> Sample:
    text, answer, _ = triple
    kind = question_kind(text)
    return Sample(
        id=id,
        input=Question(visual=picture, text=text, kind=kind),
        target=VqaTarget(answers=(answer,) * _ANNOTATORS),
        group=picture.id,
        tags={"question_type": kind, "answer_type": _answer_type(answer)},
    )


def _answer_type(answer: str) -> str:
    """As in the official sets; no answer of easy-vqa is a number."""
    if answer in ("yes", "no"):
        return "yes/no"
    return "number" if answer.isdecimal() else "other"
