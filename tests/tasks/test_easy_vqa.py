"""easy-vqa as it stands in the installed package, and what a broken copy of it gives."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import BadInput
from harness.tasks.datasets.easy_vqa import load, question_kind
from harness.tasks.targets import VqaTarget
from harness.types import Dataset

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("easy_vqa") is None,
    reason="the package easy-vqa is not installed: pip install 'harness[easy-vqa]'",
)


@pytest.fixture(scope="module")
def splits() -> dict[str, Dataset]:
    return {split: load(None, split) for split in ("train", "val", "trainval", "test")}


@needs_package
def test_the_splits_have_the_published_sizes(splits: dict[str, Dataset]) -> None:
    sizes = {split: len(dataset.samples) for split, dataset in splits.items()}
    assert sizes == {"train": 36_630, "val": 1_945, "trainval": 38_575, "test": 9_673}
    pictures = {
        split: len({sample.group for sample in dataset.samples})
        for split, dataset in splits.items()
    }
    assert pictures == {"train": 3_800, "val": 200, "trainval": 4_000, "test": 1_000}


@needs_package
def test_train_val_and_test_share_no_picture(splits: dict[str, Dataset]) -> None:
    groups = [{s.group for s in splits[split].samples} for split in ("train", "val", "test")]
    assert len(set.union(*groups)) == sum(len(group) for group in groups)


@needs_package
def test_a_sample_carries_its_question_picture_target_and_tags(
    splits: dict[str, Dataset],
) -> None:
    sample = splits["test"].samples[0]
    assert sample.id == "test-000000"
    assert sample.input.text == "what is the red shape?"
    assert sample.input.kind == "shape"
    assert sample.input.visual.id == sample.group == "easy-vqa/test/0"
    assert sample.target == VqaTarget(("triangle",) * 10)
    assert sample.tags == {"question_type": "shape", "answer_type": "other"}
    pixels = sample.input.visual.read()
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8


@needs_package
def test_the_question_and_the_picture_belong_together(splits: dict[str, Dataset]) -> None:
    """A colour that the questions name is far off in pictures of another one."""
    red = [s for s in splits["val"].samples if s.target.answers[0] == "red"][:10]
    blue = [s for s in splits["val"].samples if s.target.answers[0] == "blue"][:10]
    for sample in red + blue:
        pixels = sample.input.visual.read().reshape(-1, 3).astype(int)
        colour = pixels[(pixels.max(axis=1) - pixels.min(axis=1)).argmax()]  # the most vivid one
        assert (colour[0] > colour[2]) == (sample in red)


@needs_package
def test_ids_are_unique_and_answers_are_the_thirteen(splits: dict[str, Dataset]) -> None:
    for dataset in splits.values():
        assert len({sample.id for sample in dataset.samples}) == len(dataset.samples)
        assert len(dataset.answers) == 13
        assert {sample.target.answers[0] for sample in dataset.samples} <= set(dataset.answers)


@needs_package
def test_checksums_differ_by_split_and_repeat(splits: dict[str, Dataset]) -> None:
    assert len({dataset.sha256 for dataset in splits.values()}) == len(splits)
    assert load(None, "test").sha256 == splits["test"].sha256


@needs_package
@pytest.mark.parametrize(("split", "accuracy"), [("trainval", 0.670), ("train", 0.668)])
def test_the_majority_answer_to_each_question_is_right_for_two_thirds(
    splits: dict[str, Dataset], split: str, accuracy: float
) -> None:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sample in splits[split].samples:
        counts[sample.input.text][sample.target.answers[0]] += 1
    hits = [
        counts[sample.input.text].most_common(1)[0][0] == sample.target.answers[0]
        for sample in splits["test"].samples
    ]
    assert np.mean(hits) == pytest.approx(accuracy, abs=5e-4)


@needs_package
def test_the_kinds_split_the_questions_by_what_they_ask(splits: dict[str, Dataset]) -> None:
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for sample in splits["trainval"].samples:
        answers[sample.input.kind].add(sample.target.answers[0])
    assert answers.pop("shape") == {"circle", "rectangle", "triangle"}
    assert len(answers.pop("colour")) == 8
    families = ["yes/no-colour", "yes/no-shape"]
    assert sorted(answers) == sorted([*families, *(f"{family}-negated" for family in families)])
    assert all(given == {"yes", "no"} for given in answers.values())


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("what shape is in the image?", "shape"),
        ("what is the blue shape?", "shape"),
        ("what color is the shape?", "colour"),
        ("what is the color of the circle?", "colour"),
        ("is there a circle in the image?", "yes/no-shape"),
        ("is no circle present?", "yes/no-shape-negated"),
        ("does the image contain a red shape?", "yes/no-colour"),
        ("is there not a red shape?", "yes/no-colour-negated"),
    ],
)
def test_the_kind_follows_from_the_question_alone(question: str, kind: str) -> None:
    assert question_kind(question) == kind


# ---------------------------------------------------------------- a folder of one's own


def write_copy(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "images").mkdir(parents=True)
        Image.new("RGB", (64, 64), "red").save(root / split / "images" / "0.png")
        triples = [["what color is the shape?", "red", 0]]
        (root / split / "questions.json").write_text(json.dumps(triples), encoding="utf-8")


def message_of_loading(root: Path | None, split: str = "test") -> str:
    with pytest.raises(BadInput) as caught:
        load(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("inside", ["", "data"])
def test_a_folder_is_found_with_and_without_its_data_folder(tmp_path: Path, inside: str) -> None:
    write_copy(tmp_path / inside)
    (sample,) = load(tmp_path, "test").samples
    assert sample.input.visual.read()[0, 0].tolist() == [255, 0, 0]


def test_the_checksum_covers_questions_and_pictures(tmp_path: Path) -> None:
    write_copy(tmp_path)
    checksums = {load(tmp_path, "test").sha256}
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "test" / "images" / "0.png")
    checksums.add(load(tmp_path, "test").sha256)
    (tmp_path / "test" / "questions.json").write_text('[["what shape?", "circle", 0]]')
    checksums.add(load(tmp_path, "test").sha256)
    assert len(checksums) == 3


def test_absent_files_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pip install 'harness[easy-vqa]'" in message_of_loading(tmp_path / "absent")
    monkeypatch.setitem(sys.modules, "easy_vqa", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'harness[easy-vqa]'" in message_of_loading(None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('[["what color?", "red", 0]', "line 1 column 27"),
        ("[]", "not a list of questions"),
        ('{"questions": []}', "not a list of questions"),
        ('[["q?", "red", 0], ["what color?", "red"]]', "record 1"),
        ('[["what color?", "red", "0"]]', "record 0"),
        ('[["what color?", "red", true]]', "record 0"),
    ],
)
def test_a_broken_questions_file_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    write_copy(tmp_path)
    (tmp_path / "test" / "questions.json").write_text(content)
    message = message_of_loading(tmp_path)
    assert str(tmp_path / "test" / "questions.json") in message
    assert complaint in message


def test_a_missing_picture_is_named_when_the_split_is_opened(tmp_path: Path) -> None:
    write_copy(tmp_path)
    (tmp_path / "test" / "images" / "0.png").unlink()
    assert str(tmp_path / "test" / "images" / "0.png") in message_of_loading(tmp_path)


def test_an_unknown_split_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    assert "train, val, trainval, test" in message_of_loading(tmp_path, "dev")
