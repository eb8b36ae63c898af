"""VQA v2 from tiny files in the official format, and every way in which they can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import BadInput
from harness.tasks.datasets.vqav2 import load, load_files, verify
from harness.tasks.targets import VqaTarget

QUESTIONS = "v2_OpenEnded_mscoco_{}2014_questions.json"
ANNOTATIONS = "v2_mscoco_{}2014_annotations.json"


def question(id: Any, image: int = 42) -> dict[str, Any]:
    return {"question_id": id, "image_id": image, "question": f"what is {id}?"}


def annotation(id: Any, image: int = 42, answer: str = "down") -> dict[str, Any]:
    return {
        "question_id": id,
        "image_id": image,
        "question_type": "what is",
        "answer_type": "other",
        "multiple_choice_answer": answer,
        "answers": [
            {"answer": answer, "answer_confidence": "yes", "answer_id": place}
            for place in range(1, 11)
        ],
    }


def write_split(
    root: Path, split: str, questions: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> None:
    files = {QUESTIONS: {"questions": questions}, ANNOTATIONS: {"annotations": annotations}}
    for name, content in files.items():
        (root / name.format(split)).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_split(
        tmp_path,
        "val",
        [question(7), question(3), question(5, image=9)],
        [annotation(3, answer="no"), annotation(5, image=9), annotation(7)],
    )
    return tmp_path


def message_of_loading(root: Path | None, split: str = "val") -> str:
    with pytest.raises(BadInput) as caught:
        load(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_samples_stand_in_the_order_of_the_questions_with_their_annotations(root: Path) -> None:
    dataset = load(root, "val")
    assert (dataset.name, dataset.split) == ("vqav2", "val")
    assert [sample.id for sample in dataset.samples] == ["7", "3", "5"]
    first, second, third = dataset.samples
    assert first.input.text == "what is 7?"
    assert first.input.kind == "what is"
    assert first.tags == {"question_type": "what is", "answer_type": "other"}
    assert second.target == VqaTarget(("no",) * 10)
    assert (first.group, third.group) == ("42", "9")


def test_questions_about_a_picture_share_it(root: Path) -> None:
    first, second, third = load(root, "val").samples
    assert first.input.visual is second.input.visual
    assert first.input.visual.id == "vqav2/val/42"
    assert third.input.visual.id == "vqav2/val/9"


def test_a_picture_has_its_official_file_name_and_is_read_on_demand(root: Path) -> None:
    picture = load(root, "val").samples[0].input.visual
    (root / "val2014").mkdir()
    path = root / "val2014" / "COCO_val2014_000000000042.jpg"
    with pytest.raises(BadInput, match=r"000000000042\.jpg"):
        picture.read()
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert picture.read().shape == (30, 40, 3)
    path.write_bytes(path.read_bytes()[:800])
    with pytest.raises(BadInput, match=r"000000000042\.jpg"):
        picture.read()


def test_without_a_folder_of_pictures_the_files_open_but_no_picture_does(root: Path) -> None:
    dataset = load_files(
        root / QUESTIONS.format("val"),
        root / ANNOTATIONS.format("val"),
        images=None,
        split="val",
        image_name="%012d.jpg",
    )
    assert len(dataset.samples) == 3
    with pytest.raises(BadInput, match="picture 42: no folder"):
        dataset.samples[0].input.visual.read()


def test_the_vocabulary_is_what_nine_questions_answer_most_frequent_first(tmp_path: Path) -> None:
    answers = ["yes"] * 9 + ["no"] * 10 + ["blue"] * 9 + ["rare"] * 8
    write_split(
        tmp_path,
        "train",
        [question(id) for id in range(len(answers))],
        [annotation(id, answer=answer) for id, answer in enumerate(answers)],
    )
    assert load(tmp_path, "train").answers == ("no", "blue", "yes")


def test_the_vocabulary_of_val_comes_from_train_where_that_is_present(root: Path) -> None:
    assert load(root, "val").answers == ()
    checksum = load(root, "val").sha256
    write_split(
        root,
        "train",
        [question(id) for id in range(9)],
        [annotation(id, answer="2") for id in range(9)],
    )
    assert load(root, "val").answers == load(root, "train").answers == ("2",)
    assert load(root, "val").sha256 == checksum
    assert load(root, "train").sha256 != checksum


def test_any_number_of_answers_but_none_is_taken(root: Path) -> None:
    nine = annotation(1)
    nine["answers"] = nine["answers"][:9]
    write_split(root, "val", [question(1)], [nine])
    assert load(root, "val").samples[0].target == VqaTarget(("down",) * 9)


def test_ids_may_be_texts(root: Path) -> None:
    write_split(root, "val", [question("a1")], [annotation("a1")])
    assert load(root, "val").samples[0].id == "a1"


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("split", ["test", "test-dev", "test-std"])
def test_splits_without_published_answers_are_refused(root: Path, split: str) -> None:
    assert "not published; use --split val" in message_of_loading(root, split)


def test_an_unknown_split_is_refused_with_the_known_ones(root: Path) -> None:
    assert "train, val" in message_of_loading(root, "dev")


def test_no_folder_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    assert "--data-dir" in message_of_loading(None)
    message = message_of_loading(tmp_path / "absent")
    assert str(tmp_path / "absent") in message
    assert "no such folder" in message


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
def test_a_missing_file_is_named_with_where_to_get_it(root: Path, name: str) -> None:
    (root / name.format("val")).unlink()
    message = message_of_loading(root)
    assert str(root / name.format("val")) in message
    assert "https://visualqa.org/download.html" in message


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"questions": [\n  {"image_id": }]}', "line 2 column 16"),
        (b"", "line 1 column 1"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "there is no list"),
        (b"{}", "there is no list"),
        (b'{"questions": [], "annotations": []}', "there is no list"),
        (b'{"questions": [3], "annotations": [3]}', "[0] is not an object"),
        (b'{"questions": [{}], "annotations": [{}]}', "[0] has no number or text 'question_id'"),
    ],
)
def test_a_broken_file_is_named(root: Path, name: str, content: bytes, complaint: str) -> None:
    (root / name.format("val")).write_bytes(content)
    message = message_of_loading(root)
    assert str(root / name.format("val")) in message
    assert complaint in message


@pytest.mark.parametrize("wrong", [None, 3.5, {}])
@pytest.mark.parametrize("key", ["question_id", "image_id", "question", *list(annotation(1))[2:]])
def test_a_missing_or_mistyped_key_is_named_with_its_record(
    root: Path, key: str, wrong: object
) -> None:
    questions, annotations = [question(1), question(2)], [annotation(1), annotation(2)]
    for record in (questions[1], annotations[1]):
        if key in record:
            record[key] = wrong
    write_split(root, "val", questions, annotations)
    message = message_of_loading(root)
    assert f"{key!r}" in message
    assert "[1]" in message


def doubled_question(q: list[Any], a: list[Any]) -> None:
    q.append(question(2))


def doubled_annotation(q: list[Any], a: list[Any]) -> None:
    a.append(annotation(2))


def lone_question(q: list[Any], a: list[Any]) -> None:
    q.append(question(8))


def lone_annotation(q: list[Any], a: list[Any]) -> None:
    a.append(annotation(8))


def other_picture(q: list[Any], a: list[Any]) -> None:
    a[1]["image_id"] = 43


def no_answers(q: list[Any], a: list[Any]) -> None:
    a[1]["answers"] = []


def empty_answer_record(q: list[Any], a: list[Any]) -> None:
    a[1]["answers"][3] = {}


@pytest.mark.parametrize(
    ("spoil", "file", "complaint"),
    [
        (doubled_question, QUESTIONS, "questions[2]: question '2' is there twice"),
        (doubled_annotation, ANNOTATIONS, "annotations[2]: question '2' is there twice"),
        (lone_question, QUESTIONS, "question '8' has no counterpart"),
        (lone_annotation, ANNOTATIONS, "annotation of question '8' has no counterpart"),
        (other_picture, ANNOTATIONS, "question '2' is about picture 43"),
        (no_answers, ANNOTATIONS, "question 2 has no answers"),
        (empty_answer_record, ANNOTATIONS, "question 2: answers[3] has no text 'answer'"),
    ],
)
def test_records_that_do_not_fit_are_named(
    root: Path, spoil: Callable[[list[Any], list[Any]], None], file: str, complaint: str
) -> None:
    questions, annotations = [question(1), question(2)], [annotation(1), annotation(2)]
    spoil(questions, annotations)
    write_split(root, "val", questions, annotations)
    message = message_of_loading(root)
    assert str(root / file.format("val")) in message
    assert complaint in message


# ---------------------------------------------------------------- verifying


@pytest.fixture
def whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both splits with their pictures, of as many questions as the official files are said to
    have."""
    monkeypatch.setattr("harness.tasks.datasets.vqav2._QUESTIONS", {"train": 1, "val": 3})
    write_split(root, "train", [question(1, image=5)], [annotation(1, image=5)])
    for split, numbers in (("train", [5]), ("val", [42, 9])):
        (root / f"{split}2014").mkdir()
        for number in numbers:
            (root / f"{split}2014" / f"COCO_{split}2014_{number:012d}.jpg").write_bytes(b"a")
    return root


def test_nothing_is_wrong_with_a_whole_folder(whole: Path) -> None:
    assert verify(whole) == []


def test_everything_that_is_wrong_is_told_at_once(whole: Path) -> None:
    (whole / QUESTIONS.format("train")).unlink()
    nine = annotation(5, image=9)
    nine["answers"].pop()
    write_split(
        whole,
        "val",
        [question(7), question(3), question(5, image=9), question(8, image=1)],
        [annotation(7, image=1), annotation(3), nine, annotation(6)],
    )
    (whole / "val2014" / "COCO_val2014_000000000042.jpg").unlink()
    (whole / "val2014" / "COCO_val2014_000000000009.jpg").write_bytes(b"")
    (whole / "train2014" / "COCO_train2014_000000000005.jpg").unlink()
    expected = [
        ("v2_OpenEnded_mscoco_train2014_questions.json", "there is no such file"),
        ("train2014/COCO_train2014_000000000005.jpg", "missing"),
        ("v2_OpenEnded_mscoco_val2014_questions.json", "question '8' has no counterpart"),
        ("v2_mscoco_val2014_annotations.json", "annotation of question '6' has no counterpart"),
        ("v2_mscoco_val2014_annotations.json", "question '7' is about picture 1"),
        ("v2_OpenEnded_mscoco_val2014_questions.json", "4 questions, 3 in the official file"),
        ("v2_mscoco_val2014_annotations.json", "1 of 4 questions have not 10 answers"),
        ("val2014/COCO_val2014_000000000042.jpg", "missing"),
        ("val2014/COCO_val2014_000000000001.jpg", "missing"),
        ("val2014/COCO_val2014_000000000009.jpg", "empty"),
    ]
    lines = verify(whole)
    for line, (file, what) in zip(lines, expected, strict=True):
        assert file in line
        assert what in line
        assert "\n" not in line


def test_many_missing_pictures_are_summed_up(root: Path) -> None:
    ids = range(20)
    write_split(root, "val", [question(i, i) for i in ids], [annotation(i, i) for i in ids])
    (root / "val2014").mkdir()
    lines = [line for line in verify(root) if "val2014/" in line]
    assert len(lines) == 1
    assert lines[0].startswith("20 of 20 pictures missing in val2014/")


def test_a_folder_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    (line,) = verify(tmp_path / "absent")
    assert "no such folder" in line
