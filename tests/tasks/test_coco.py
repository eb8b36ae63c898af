"""COCO Captions from tiny files in the official format and in Karpathy's, the ways in which they
can be wrong, and the real annotations of val2017 where they are at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import BadInput
from harness.tasks.datasets import coco
from harness.tasks.targets import CaptionTarget, RetrievalTarget
from harness.types import CaptionedVisual, Dataset, Picture, Uncaptioned


def official(captions: dict[int, list[str]]) -> dict[str, Any]:
    return {
        "images": [
            {"id": id, "file_name": f"{id:012d}.jpg", "height": 30, "width": 40} for id in captions
        ],
        "annotations": [
            {"id": 10 * id + place, "image_id": id, "caption": text}
            for id, texts in captions.items()
            for place, text in enumerate(texts)
        ],
    }


def karpathy(images: list[tuple[int, str, list[str]]]) -> dict[str, Any]:
    return {
        "dataset": "coco",
        "images": [
            {
                "filepath": "val2014",
                "filename": f"COCO_val2014_{id:012d}.jpg",
                "cocoid": id,
                "split": split,
                "sentences": [{"raw": text, "tokens": ["no"]} for text in texts],
            }
            for id, split, texts in images
        ],
    }


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((30, 40, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    captions = {7: ["A dog.", " two dogs \n"], 3: [f"caption {i}" for i in range(7)]}
    write(tmp_path / "annotations" / "captions_val2017.json", official(captions))
    return tmp_path


@pytest.fixture
def karpathy_root(tmp_path: Path) -> Path:
    images = [
        (1, "train", ["a"]),
        (2, "restval", ["b"]),
        (3, "val", ["c"]),
        (4, "test", [f"caption {i}" for i in range(6)]),
        (5, "test", ["The  Raw, text."]),
    ]
    write(tmp_path / "dataset_coco.json", karpathy(images))
    return tmp_path


def message(load: Callable[..., Dataset], *arguments: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_captioning_has_all_captions_of_each_image_as_they_stand(root: Path) -> None:
    dataset = coco.load_captioning(root, "val2017")
    assert (dataset.name, dataset.split, dataset.notes) == ("coco", "val2017", ())
    first, second = dataset.samples
    assert (first.id, first.group) == ("7", "coco/val2017/7")
    assert first.target == CaptionTarget(("A dog.", " two dogs \n"))
    assert isinstance(first.input, Uncaptioned)
    assert isinstance(first.input.visual, Picture)
    assert first.input.visual.size == (40, 30)
    assert len(second.target.references) == 7


def test_retrieval_has_the_first_five_captions_and_says_how_many_are_left_out(root: Path) -> None:
    dataset = coco.load_retrieval(root, "val2017")
    first, second = dataset.samples
    assert first.input == CaptionedVisual(first.input.visual, ("A dog.", " two dogs \n"))
    assert second.input.texts == tuple(f"caption {i}" for i in range(5))
    assert (first.target, second.target) == (RetrievalTarget(2), RetrievalTarget(5))
    assert any(note.startswith("2 of 9 captions left out") for note in dataset.notes)


def test_pictures_are_read_on_demand_from_the_folder_of_the_split(root: Path) -> None:
    picture = coco.load_captioning(root, "val2017").samples[0].input.visual
    with pytest.raises(BadInput, match=r"000000000007\.jpg: there is no such picture"):
        picture.read()
    write_picture(root / "val2017" / "000000000007.jpg")
    assert picture.read().shape == (30, 40, 3)


def test_karpathys_train_split_is_his_train_and_restval(karpathy_root: Path) -> None:
    ids = {
        split: [sample.id for sample in coco.load_captioning(karpathy_root, split).samples]
        for split in ("train", "val", "test")
    }
    assert ids == {"train": ["1", "2"], "val": ["3"], "test": ["4", "5"]}
    assert "1 of the 2 pictures are Karpathy's restval" in (
        coco.load_captioning(karpathy_root, "train").notes
    )


def test_a_thousand_at_a_time_is_the_test_split_in_five_galleries_in_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    images = [(id, "test", [f"caption {id}"]) for id in (9, 3, 5, 1, 8, 2, 7, 4, 6, 10)]
    path = write(tmp_path / "dataset_coco.json", karpathy([(50, "val", ["v"]), *images]))
    for dataset in (
        coco.load_retrieval(tmp_path, "test-1k"),
        coco.load_retrieval_files({"annotations": path}, "test-1k"),
    ):
        galleries = [(sample.id, sample.input.gallery) for sample in dataset.samples]
        places = range(len(images))
        assert galleries == [(str(images[i][0]), f"fold-{i // 2 + 1}") for i in places]
        assert dataset.split == "test-1k"
    assert {one.input.gallery for one in coco.load_retrieval(tmp_path, "test").samples} == {""}
    assert "has no split 'test-1k'" in message(coco.load_captioning, tmp_path, "test-1k")


def test_folds_of_unlike_size_are_refused(karpathy_root: Path) -> None:
    said = message(coco.load_retrieval, karpathy_root, "test-1k")
    assert "its 2 test pictures do not divide into 5 folds" in said
    assert "dataset_coco.json" in said


def test_karpathys_captions_are_the_raw_ones_and_retrieval_takes_five(karpathy_root: Path) -> None:
    long, short = coco.load_captioning(karpathy_root, "test").samples
    assert len(long.target.references) == 6
    assert short.target == CaptionTarget(("The  Raw, text.",))
    assert [s.target.texts for s in coco.load_retrieval(karpathy_root, "test").samples] == [5, 1]


def test_karpathys_file_may_lie_in_a_folder_of_its_own(karpathy_root: Path) -> None:
    checksum = coco.load_captioning(karpathy_root, "test").sha256
    (karpathy_root / "karpathy").mkdir()
    (karpathy_root / "dataset_coco.json").rename(karpathy_root / "karpathy" / "dataset_coco.json")
    assert coco.load_captioning(karpathy_root, "test").sha256 == checksum


def test_a_picture_has_the_same_id_in_official_and_karpathys_splits(karpathy_root: Path) -> None:
    write(karpathy_root / "captions_val2014.json", official({4: ["x"]}))
    (sample,) = coco.load_captioning(karpathy_root, "val2014").samples
    assert sample.group == coco.load_captioning(karpathy_root, "test").samples[0].group


def test_the_annotation_file_alone_gives_the_same_samples_without_pictures(root: Path) -> None:
    files = {"annotations": root / "annotations" / "captions_val2017.json"}
    for load, load_files in (
        (coco.load_captioning, coco.load_captioning_files),
        (coco.load_retrieval, coco.load_retrieval_files),
    ):
        whole, alone = load(root, "val2017"), load_files(files, "val2017")
        assert [s.target for s in whole.samples] == [s.target for s in alone.samples]
        assert (whole.sha256, whole.notes) == (alone.sha256, alone.notes)
        with pytest.raises(BadInput, match="no folder of pictures was given; add --data-dir"):
            alone.samples[0].input.visual.read()


def test_empty_captions_and_images_without_any_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "captions_val2014.json", official({1: ["a", " \n"], 2: [], 3: [""]}))
    dataset = coco.load_captioning(tmp_path, "val2014")
    assert [sample.target for sample in dataset.samples] == [CaptionTarget(("a",))]
    assert dataset.notes == (
        "2 empty captions left out, the first of 1",
        "2 of 3 entries dropped: they have no caption; the first is 2",
    )


def test_the_checksum_is_of_the_annotations(root: Path) -> None:
    before = coco.load_captioning(root, "val2017").sha256
    write(root / "annotations" / "captions_val2017.json", official({7: ["other"]}))
    assert coco.load_captioning(root, "val2017").sha256 != before


# ---------------------------------------------------------------- what is refused


def test_unknown_splits_and_missing_folders_and_files_are_refused(root: Path) -> None:
    assert "use one of: train, val, test, train2014" in message(coco.load_captioning, root, "dev")
    assert "--data-dir" in message(coco.load_captioning, None, "test")
    assert "no such folder" in message(coco.load_captioning, root / "absent", "test")
    assert "dataset_coco.json: there is no such file" in message(coco.load_captioning, root, "test")
    assert "--annotations" in message(coco.load_captioning_files, {}, "test")


@pytest.mark.parametrize("split", ["val2014", "test"])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"images": [\n  {"id": }]}', "line 2 column 10"),
        (b"[]", "there is no list 'images'"),
        (b'{"images": []}', "there is no list 'images'"),
        (b'{"images": [3]}', "images[0] is not an object"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, split: str, content: bytes, complaint: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    said = message(coco.load_captioning_files, {"annotations": path}, split)
    assert str(path) in said
    assert complaint in said


@pytest.mark.parametrize(
    ("part", "change", "complaint"),
    [
        ("images", {"id": "7"}, "images[1] has no number 'id'"),
        ("images", {"id": 7}, "image 7 is there twice"),
        ("images", {"file_name": None}, "images[1] has no text 'file_name'"),
        ("images", {"width": "40"}, "images[1] has no number 'width'"),
        ("annotations", {"image_id": 99}, "annotations[1] is about image 99"),
        ("annotations", {"caption": 5}, "annotations[1] has no text 'caption'"),
    ],
)
def test_wrong_official_records_are_named(
    tmp_path: Path, part: str, change: dict[str, Any], complaint: str
) -> None:
    content = official({7: ["a"], 8: ["b"]})
    content[part][1] |= change
    path = write(tmp_path / "a.json", content)
    said = message(coco.load_retrieval_files, {"annotations": path}, "val2014")
    assert str(path) in said
    assert complaint in said


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"split": None}, "has no text 'split'"),
        ({"sentences": [{"tokens": []}]}, "sentences[0] has no text 'raw'"),
        ({"cocoid": "8"}, "has no number 'cocoid'"),
        ({"filepath": ""}, "no 'filepath'"),
        ({"cocoid": 7}, "image '7' is there twice"),
        ({"filename": "COCO_val2014_000000000007.jpg"}, "is there twice"),
    ],
)
def test_wrong_records_of_karpathys_are_named(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    content = karpathy([(7, "test", ["a"]), (8, "test", ["b"])])
    content["images"][1] |= change
    path = write(tmp_path / "a.json", content)
    said = message(coco.load_captioning_files, {"annotations": path}, "test")
    assert str(path) in said
    assert complaint in said


def test_a_file_without_the_split_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", karpathy([(7, "test", ["a"])]))
    assert "no caption of the split 'val'" in message(
        coco.load_captioning_files, {"annotations": path}, "val"
    )


# ---------------------------------------------------------------- verify


def test_verify_finds_nothing_when_all_is_there(root: Path) -> None:
    for id in (7, 3):
        write_picture(root / "val2017" / f"{id:012d}.jpg")
    assert coco.verify(root) == []


def test_verify_names_a_few_missing_pictures_and_empty_ones(root: Path) -> None:
    write_picture(root / "val2017" / "000000000007.jpg")
    (root / "val2017" / "000000000003.jpg").touch()
    assert coco.verify(root) == ["val2017/000000000003.jpg: empty; fetch it again"]
    (root / "val2017" / "000000000003.jpg").unlink()
    assert coco.verify(root) == ["val2017/000000000003.jpg: missing; fetch it again"]


def test_verify_sums_up_many_missing_pictures_and_tells_all_at_once(tmp_path: Path) -> None:
    write(tmp_path / "captions_val2014.json", official({id: ["a"] for id in range(1, 7)}))
    write_picture(tmp_path / "val2014" / "000000000001.jpg")
    write(tmp_path / "captions_val2017.json", official({1: ["a"]}))
    (tmp_path / "dataset_coco.json").write_text("{")
    problems = coco.verify(tmp_path)
    assert len(problems) == 3
    assert problems[0].startswith("dataset_coco.json: this is not JSON")
    assert problems[1:] == [
        "5 of 6 pictures missing in val2014/, the first is 000000000002.jpg",
        "val2017/: there is no such folder; it holds 1 pictures",
    ]


def test_verify_of_an_empty_or_absent_folder_says_so(tmp_path: Path) -> None:
    assert "no captions_val2014.json" in coco.verify(tmp_path)[0]
    assert "no such folder" in coco.verify(tmp_path / "absent")[0]


# ---------------------------------------------------------------- the real annotations


def test_the_real_val2017_has_its_images_and_captions() -> None:
    path = Path(os.environ.get("HARNESS_DATA", "absent"), "coco-val2017", "captions_val2017.json")
    if not path.is_file():
        pytest.skip("HARNESS_DATA names no folder with coco-val2017/captions_val2017.json")
    captioning = coco.load_captioning_files({"annotations": path}, "val2017")
    assert len(captioning.samples) == 5000
    assert sum(len(sample.target.references) for sample in captioning.samples) == 25014
    assert captioning.notes == ()
    retrieval = coco.load_retrieval_files({"annotations": path}, "val2017")
    assert {sample.target.texts for sample in retrieval.samples} == {5}
    assert retrieval.notes[0].startswith("14 of 25,014 captions left out")
