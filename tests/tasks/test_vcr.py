"""VCR from tiny files in the official format, every way in which they can be wrong, and the
leaderboard's csv."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.errors import BadInput
from harness.tasks.datasets import vcr
from harness.tasks.datasets.vcr import load, load_files, verify
from harness.tasks.datasets.vcr_results import read_vcr_csv
from harness.tasks.targets import VcrTarget
from harness.types import NamedBox

PICTURE = "lsmdc_3015/3015_00.23.57.935-00.24.00.783@0"


def record(id: str = "val-0", **changes: Any) -> dict[str, Any]:
    return {
        "movie": "3015",
        "objects": ["person", "person", "car"],
        "img_fn": f"{PICTURE}.jpg",
        "metadata_fn": f"{PICTURE}.json",
        "question": ["Why", "does", [1], "look", "at", [0, 2], "?"],
        "answer_choices": [
            ["Yes", "."],
            [[1], "is", "angry", "."],
            ["No", ",", "not", [0]],
            ["A", "line\u2028within"],
        ],
        "answer_label": 1,
        "rationale_choices": [["Because", str(place)] for place in range(4)],
        "rationale_label": 3,
        "img_id": "val-0",
        "annot_id": id,
        **changes,
    }


def write(root: Path, *records: dict[str, Any], split: str = "val") -> Path:
    path = root / f"{split}.jsonl"
    lines = [json.dumps(one, ensure_ascii=False) for one in records]
    path.write_bytes(("\n".join(lines) + "\n").encode())
    return path


def write_images(root: Path, metadata: object = None) -> Path:
    """vcr1images with the one picture and its boxes; gives the file of boxes."""
    stem = root / "vcr1images" / PICTURE
    stem.parent.mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(f"{stem}.jpg")
    boxes = [[1.5, 2, 30, 40, 0.9], [5, 5, 10, 10, 0.8], [0, 0, 64, 48, 0.7]]
    path = Path(f"{stem}.json")
    path.write_text(json.dumps(metadata or {"boxes": boxes, "width": 64, "height": 48}))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, record("val-0"), record("val-1", question=["Is", [0], "tall", "?"]))
    return tmp_path


def message_of_loading(root: Path | None, split: str = "val") -> str:
    with pytest.raises(BadInput) as caught:
        load(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- what is read


def test_texts_are_the_tokens_with_tags_in_brackets(root: Path) -> None:
    dataset = load(root, "val")
    assert (dataset.name, dataset.split) == ("vcr", "val")
    assert [sample.id for sample in dataset.samples] == ["val-0", "val-1"]
    sample = dataset.samples[0]
    assert sample.input.text == "Why does [1] look at [0,2] ?"
    assert sample.input.answers == ("Yes .", "[1] is angry .", "No , not [0]", "A line\u2028within")
    assert sample.input.reasons == ("Because 0", "Because 1", "Because 2", "Because 3")
    assert sample.input.given == "[1] is angry ."
    assert sample.target == VcrTarget(answer=1, reason=3)


def test_questions_of_one_picture_share_it_and_its_boxes(root: Path) -> None:
    write_images(root)
    first, second = load(root, "val").samples
    assert first.group == second.group == f"vcr/{PICTURE}.jpg"
    assert first.input.visual is second.input.visual
    assert first.input.objects is second.input.objects
    assert first.input.visual.read().shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("first", "kind"),
    [("Why", "why"), ("what", "what"), ("Which", "which"), ("Is", "other"), ([0], "other")],
)
def test_the_question_type_is_the_first_word(tmp_path: Path, first: Any, kind: str) -> None:
    write(tmp_path, record(question=[first, "?"]))
    (sample,) = load(tmp_path, "val").samples
    assert sample.tags == {"question_type": kind}
    assert sample.input.kind == kind


def test_boxes_are_read_when_they_are_looked_at_and_then_kept(root: Path) -> None:
    path = write_images(root)
    things = load(root, "val").samples[0].input.objects
    content = path.read_bytes()
    path.unlink()
    assert len(things) == 3
    with pytest.raises(BadInput, match="no such file"):
        things[0]
    path.write_bytes(content)
    assert things[0] == NamedBox((1.5, 2.0, 30.0, 40.0), "person")
    path.unlink()
    assert [thing.name for thing in things] == ["person", "person", "car"]
    assert len(things[1:]) == 2
    assert pickle.loads(pickle.dumps(things))[2] == things[2]


def test_without_the_folder_of_images_there_are_no_boxes_and_a_note_says_so(root: Path) -> None:
    without = load(root, "val")
    assert without.samples[0].input.objects == ()
    assert "vcr1images" in without.notes[0]
    with pytest.raises(BadInput, match="no folder vcr1images"):
        without.samples[0].input.visual.read()
    write_images(root)
    assert load(root, "val").notes == ()
    files = load_files({"annotations": root / "val.jsonl"}, "val")
    assert files.samples[0].input.objects == ()
    assert files.sha256 == without.sha256 == load(root, "val").sha256


def test_annotations_may_lie_in_their_own_folder(tmp_path: Path) -> None:
    (tmp_path / "vcr1annots").mkdir()
    write(tmp_path / "vcr1annots", record("train-7"), split="train")
    assert load(tmp_path, "train").samples[0].id == "train-7"


def test_carriage_returns_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path, record("val-0"), record("val-1"))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\n")
    assert len(load(tmp_path, "val").samples) == 2


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ([], "has not 'boxes'"),
        ({"boxes": [[0, 0, 1, 1, 0.5]]}, "has not 'boxes' for the 3 objects"),
        ({"boxes": [[0, 0, 1, 1, 1], [0, 0, 1], [0, 0, 1, 1, 1]]}, "boxes[1] is not"),
        ({"boxes": [[0, 0, 1, 1, 1], [0, 0, 1, "1", 1], [0, 0, 1, 1, 1]]}, "boxes[1] is not"),
        ({"boxes": [[0, 0, 1, 1, 1], [2, 0, 1, 1, 1], [0, 0, 1, 1, 1]]}, "boxes[1] ends before"),
    ],
)
def test_wrong_boxes_are_named_when_they_are_read(
    root: Path, metadata: object, complaint: str
) -> None:
    path = write_images(root)
    path.write_text(json.dumps(metadata))
    with pytest.raises(BadInput) as caught:
        list(load(root, "val").samples[0].input.objects)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)


# ---------------------------------------------------------------- what is refused


def test_the_test_split_has_no_labels(root: Path) -> None:
    assert "labels of 'test' are not published; use --split val" in message_of_loading(root, "test")
    assert "train, val" in message_of_loading(root, "dev")


def test_no_folder_a_missing_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    assert "--data-dir" in message_of_loading(None)
    assert "no such folder" in message_of_loading(tmp_path / "absent")
    assert f"{tmp_path / 'val.jsonl'}: there is no such file" in message_of_loading(tmp_path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"question": None}, "has no list of tokens in 'question'"),
        ({"question": []}, "has no list of tokens in 'question'"),
        ({"question": "Why?"}, "has no list of tokens in 'question'"),
        ({"question": ["Why", 3]}, "has a token in 'question'"),
        ({"question": ["Why", []]}, "has a token in 'question'"),
        ({"question": ["Why", [3]]}, "has a tag in 'question' that is no place in 'objects'"),
        ({"question": ["Why", [-1]]}, "has a tag in 'question'"),
        ({"question": ["Why", [True]]}, "has a tag in 'question'"),
        ({"answer_choices": [["a"]] * 3}, "has no list of 4 'answer_choices'"),
        ({"answer_choices": [["a"], ["b"], ["c"], [[9]]]}, "has a tag in 'answer_choices'"),
        ({"rationale_choices": [["a"]] * 5}, "has no list of 4 'rationale_choices'"),
        ({"answer_label": 4}, "has a 'answer_label' that is not 0 to 3"),
        ({"answer_label": -1}, "has a 'answer_label' that is not 0 to 3"),
        ({"rationale_label": "1"}, "has a 'rationale_label' that is not 0 to 3"),
        ({"rationale_label": True}, "has a 'rationale_label' that is not 0 to 3"),
        ({"objects": None}, "has no list of texts 'objects'"),
        ({"annot_id": 3}, "has no text 'annot_id'"),
        ({"annot_id": "val-0"}, "(annot_id 'val-0') has an id that is there twice"),
        ({"img_fn": "../../secret.jpg"}, "has a 'img_fn' that leads out of vcr1images"),
        ({"metadata_fn": "/etc/x.json"}, "has a 'metadata_fn' that leads out of vcr1images"),
    ],
)
def test_a_wrong_record_is_named_by_its_line(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = write(tmp_path, record("val-0"), record(**{"id": "val-1", **changes}))
    message = message_of_loading(tmp_path)
    assert message.startswith(f"{path}: line 2 ")
    assert complaint in message


@pytest.mark.parametrize("key", ["answer_label", "rationale_label"])
def test_a_file_without_labels_is_told_from_a_broken_one(tmp_path: Path, key: str) -> None:
    unlabelled = record()
    del unlabelled[key]
    write(tmp_path, unlabelled)
    assert f"has no '{key}', as in test.jsonl" in message_of_loading(tmp_path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"objects": [', "line 3 is not JSON"),
        (b"[" * 100_000, "line 3 is not JSON"),
        (b"\xff", "line 3 is not JSON"),
        (b"[]", "line 3 is not an object"),
    ],
)
def test_a_broken_line_is_named(root: Path, line: bytes, complaint: str) -> None:
    with (root / "val.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert complaint in message_of_loading(root)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "val.jsonl").write_bytes(b"\n")
    assert "there is no question in it" in message_of_loading(tmp_path)


# ---------------------------------------------------------------- verifying


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny files stand for the official ones."""
    monkeypatch.setattr(vcr, "_SAMPLES", {"train": 1, "val": 2})


@pytest.mark.usefixtures("official")
def test_a_whole_folder_has_nothing_to_tell(root: Path) -> None:
    write(root, record("train-0"), split="train")
    write_images(root)
    assert verify(root) == []


@pytest.mark.usefixtures("official")
def test_whatever_is_wrong_is_told_at_once_and_each_kind_once(root: Path) -> None:
    other = {"img_fn": "b/b.jpg", "metadata_fn": "b/b.json"}
    wrong = [record("train-0", answer_label=7), record("train-1", answer_label=8)]
    write(root, *wrong, record("train-2", question=[]), split="train")
    write(root, record("val-0"), record("val-1", **other), record("val-2"))
    path = write_images(root, {"boxes": []})
    path.with_suffix(".jpg").write_bytes(b"")
    told = [
        "line 1 has a 'answer_label' that is not 0 to 3 (and 1 more)",
        "line 3 has no list of tokens in 'question'",
        "val.jsonl: it has 3 questions, 2 in the official file",
        "vcr1images/b/b.jpg: missing; fetch it again",
        "vcr1images/lsmdc_3015/3015_00.23.57.935-00.24.00.783@0.jpg: empty; fetch it again",
        "has not 'boxes' for the 3 objects",
    ]
    lines = verify(root)
    assert len(lines) == len(told)
    for line, part in zip(lines, told, strict=True):
        assert part in line
        assert "\n" not in line
    assert lines[-1].endswith("(and 1 more files of boxes)")


def test_missing_files_and_folders_are_told_at_once(tmp_path: Path) -> None:
    for part, line in zip(
        ["train.jsonl", "val.jsonl", "vcr1images"], verify(tmp_path), strict=True
    ):
        assert part in line
    assert "no such folder" in verify(tmp_path / "absent")[0]


# ---------------------------------------------------------------- results

COLUMNS = [f"answer_{choice}" for choice in range(4)] + [
    f"rationale_conditioned_on_a{given}_{choice}" for given in range(4) for choice in range(4)
]


def csv_file(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "results.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def scores(id: str = "val-0", **changes: str) -> str:
    cells = {column: str(place / 4) for place, column in enumerate(COLUMNS)} | changes
    return ",".join([id, *cells.values()])


HEADER = ",".join(["annot_id", *COLUMNS])


def test_the_leaderboards_csv_gives_scores_by_the_answer_given(tmp_path: Path) -> None:
    predictions = read_vcr_csv(csv_file(tmp_path, HEADER, scores("val-1"), scores("val-0")))
    assert list(predictions) == ["val-1", "val-0"]
    assert predictions["val-0"] == {
        "answer_scores": [0, 0.25, 0.5, 0.75],
        "reason_scores": {
            "0": [1, 1.25, 1.5, 1.75],
            "1": [2, 2.25, 2.5, 2.75],
            "2": [3, 3.25, 3.5, 3.75],
            "3": [4, 4.25, 4.5, 4.75],
        },
    }


def test_columns_are_found_by_their_names_and_scores_may_be_logits(tmp_path: Path) -> None:
    header = ",".join(["row", *reversed(COLUMNS), "annot_id"])
    row = ",".join(["0", *(str(-place) for place in range(20)), "val-0"])
    prediction = read_vcr_csv(csv_file(tmp_path, header, row))["val-0"]
    assert prediction["answer_scores"] == [-19, -18, -17, -16]
    assert prediction["reason_scores"]["3"] == [-3, -2, -1, 0]


def test_a_simpler_csv_gives_places(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "annot_id,answer,rationale", "val-0,1,3", "", "val-1,0,9", "")
    assert read_vcr_csv(path) == {
        "val-0": {"answer": 1, "reason": 3},
        "val-1": {"answer": 0, "reason": 9},  # counted as invalid when it is scored
    }


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (["id,answer,rationale", "a,1,2"], "line 1 has no column 'annot_id'"),
        (["annot_id,answer", "a,1"], "line 1 has no column 'answer_0'"),
        ([HEADER.removesuffix("3") + "9", scores()], "no column 'rationale_conditioned_on_a3_3'"),
        (["annot_id,answer,answer,rationale", "a,1,1,2"], "line 1 has the column 'answer' twice"),
        (["annot_id,answer,rationale"], "there is no row in it"),
        ([""], "line 1 has no column 'annot_id'"),
        ([HEADER, scores(), scores("b") + ",1"], "line 3 has 22 fields, line 1 has 21"),
        ([HEADER, scores(), "b,1"], "line 3 has 2 fields"),
        ([HEADER, scores(), scores()], "line 3: annot_id 'val-0' is there twice"),
        ([HEADER, scores("")], "line 2: no annot_id"),
        ([HEADER, scores(), scores("b", answer_2="nan")], "line 3: answer_2 is 'nan', not a fin"),
        ([HEADER, scores(answer_2="-inf")], "line 2: answer_2 is '-inf', not a finite"),
        ([HEADER, scores(answer_2="")], "line 2: answer_2 is '', not a finite"),
        ([HEADER, scores(answer_2="high")], "line 2: answer_2 is 'high', not a finite"),
        (["annot_id,answer,rationale", "a,1.5,2"], "line 2: answer is '1.5', not the number"),
        (["annot_id,answer,rationale", "a,1,"], "line 2: rationale is '', not the number"),
        (["annot_id,answer,rationale", 'a,"1,2'], "is no csv"),
    ],
)
def test_a_wrong_csv_is_named_by_its_line(tmp_path: Path, rows: list[str], complaint: str) -> None:
    path = csv_file(tmp_path, *rows)
    with pytest.raises(BadInput) as caught:
        read_vcr_csv(path)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_and_an_undecodable_csv_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_vcr_csv(tmp_path / "absent.csv")
    path = csv_file(tmp_path, HEADER)
    path.write_bytes(b"annot_id\xff")
    with pytest.raises(BadInput, match="byte 8 is not UTF-8"):
        read_vcr_csv(path)
