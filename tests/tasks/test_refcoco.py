"""The RefCOCO family from tiny files in the official format, every way in which they can be wrong,
and box result files."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.errors import BadInput
from harness.tasks.datasets import refcoco
from harness.tasks.datasets.box_results import read_box_results
from harness.tasks.datasets.refcoco import (
    load_refcoco,
    load_refcoco_files,
    load_refcoco_plus,
    load_refcocog,
    verify_refcoco,
    verify_refcocog,
)
from harness.tasks.targets import BoxTarget
from harness.types import Dataset

Refs = list[dict[str, Any]]
Instances = dict[str, list[dict[str, Any]]]


def ref(ref_id: int, split: str, sentences: dict[int, str], image: int = 581857) -> dict[str, Any]:
    return {
        "ref_id": ref_id,
        "ann_id": 100 + ref_id,
        "category_id": 1,
        "file_name": f"COCO_train2014_{image:012d}_{ref_id}.jpg",
        "image_id": image,
        "split": split,
        "sent_ids": list(sentences),
        "sentences": [
            {"tokens": text.split(), "raw": text.upper(), "sent_id": id, "sent": text}
            for id, text in sentences.items()
        ],
    }


def records() -> tuple[Refs, Instances]:
    refs = [
        ref(1, "testA", {10: "the lady with the blue shirt", 11: "lady in back"}),
        ref(2, "train", {12: "café table"}, image=9),
        ref(3, "testA", {13: "left man"}, image=9),
        ref(4, "val", {14: "dog"}),
        ref(5, "testB", {15: "cup"}, image=9),
    ]
    images = [
        {"id": 581857, "file_name": "COCO_train2014_000000581857.jpg", "width": 64, "height": 48},
        {"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "width": 40, "height": 30},
    ]
    annotations = [
        {
            "id": one["ann_id"],
            "image_id": one["image_id"],
            "category_id": 1,
            "bbox": [1.5, 2, 10, 20.25],
            "segmentation": [[1, 2, 3, 4]],
        }
        for one in refs
    ]
    categories = [{"id": 1, "name": "person", "supercategory": "person"}]
    return refs, {"images": images, "annotations": annotations, "categories": categories}


def write(folder: Path, refs: Refs, instances: Instances, name: str = "refs(unc).p") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(refs, protocol=2))
    (folder / "instances.json").write_text(json.dumps(instances), encoding="utf-8")


def write_pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, size in ((581857, (64, 48)), (9, (40, 30))):
        Image.new("RGB", size, (number % 256, 0, 0)).save(
            folder / f"COCO_train2014_{number:012d}.jpg"
        )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "refcoco", *records())
    return tmp_path


def spoiled(root: Path, spoil: Callable[[Refs, Instances], None]) -> Path:
    refs, instances = records()
    spoil(refs, instances)
    write(root / "refcoco", refs, instances)
    return root


def message_of_loading(root: Path | None, split: str = "testA") -> str:
    with pytest.raises(BadInput) as caught:
        load_refcoco(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- what is read


def test_a_sample_is_a_sentence_with_the_box_of_its_instance(root: Path) -> None:
    dataset = load_refcoco(root, "testA")
    assert (dataset.name, dataset.split, dataset.notes) == ("refcoco", "testA", ())
    assert [sample.id for sample in dataset.samples] == ["10", "11", "13"]
    first, second, third = dataset.samples
    assert first.input.text == "the lady with the blue shirt"
    assert first.target == BoxTarget((1.5, 2.0, 11.5, 22.25))
    assert first.tags == {"category": "person"}
    assert first.input.visual is second.input.visual
    assert first.group == first.input.visual.id == second.group != third.group
    assert first.input.visual.size == (64, 48)


@pytest.mark.parametrize(("split", "ids"), [("train", ["12"]), ("val", ["14"]), ("testB", ["15"])])
def test_splits_are_kept_apart(root: Path, split: str, ids: list[str]) -> None:
    assert [sample.id for sample in load_refcoco(root, split).samples] == ids


@pytest.mark.parametrize(
    ("load", "name", "refs_name", "split"),
    [
        (load_refcoco, "refcoco", "refs(unc).p", "testB"),
        (load_refcoco_plus, "refcoco+", "refs(unc).p", "testB"),
        (load_refcocog, "refcocog", "refs(umd).p", "test"),
    ],
)
def test_each_data_set_has_its_folder_its_refs_and_its_splits(
    tmp_path: Path,
    load: Callable[[Path | None, str], Dataset],
    name: str,
    refs_name: str,
    split: str,
) -> None:
    refs, instances = records()
    refs[0]["split"] = split
    write(tmp_path / name, refs, instances, refs_name)
    dataset = load(tmp_path, split)
    assert dataset.name == name
    assert [sample.id for sample in dataset.samples][:2] == ["10", "11"]
    assert load(tmp_path / name, split).sha256 == dataset.sha256
    with pytest.raises(BadInput, match="has no split 'dev'"):
        load(tmp_path, "dev")


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_the_pickle_may_be_of_any_protocol(root: Path, protocol: int) -> None:
    refs, _ = records()
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol))
    assert load_refcoco(root, "train").samples[0].input.text == "café table"


def test_the_checksum_covers_both_files(root: Path) -> None:
    before = load_refcoco(root, "val").sha256
    assert load_refcoco(root, "train").sha256 == before
    refs, instances = records()
    write(root / "refcoco", refs[:-1], instances)
    assert load_refcoco(root, "val").sha256 != before
    write(root / "refcoco", refs, {**instances, "info": []})
    assert load_refcoco(root, "val").sha256 != before


@pytest.mark.parametrize(
    "place",
    [
        "train2014",
        "images/train2014",
        "images/mscoco/images/train2014",
        "refcoco/train2014",
        "refcoco/images/train2014",
    ],
)
@pytest.mark.parametrize("data_dir", [".", "refcoco"])
def test_pictures_lie_in_the_usual_places(root: Path, place: str, data_dir: str) -> None:
    write_pictures(root / place)
    sample = load_refcoco(root / data_dir, "testA").samples[0]
    assert sample.input.visual.read().shape == (48, 64, 3)


def test_an_absent_picture_is_named_when_it_is_read(root: Path) -> None:
    with pytest.raises(BadInput, match=r"COCO_train2014_000000581857\.jpg"):
        load_refcoco(root, "testA").samples[0].input.visual.read()


def test_the_files_alone_open_without_pictures(root: Path) -> None:
    folder = root / "refcoco"
    files = {"refs": folder / "refs(unc).p", "instances": folder / "instances.json"}
    dataset = load_refcoco_files(files, "testA")
    assert [sample.id for sample in dataset.samples] == ["10", "11", "13"]
    assert dataset.sha256 == load_refcoco(root, "testA").sha256
    with pytest.raises(BadInput, match="add --data-dir"):
        dataset.samples[0].input.visual.read()


def test_sentence_ids_that_repeat_get_their_refs_before_them(root: Path) -> None:
    def spoil(refs: Refs, instances: Instances) -> None:
        refs[2]["sentences"][0]["sent_id"] = 10

    dataset = load_refcoco(spoiled(root, spoil), "testA")
    assert [sample.id for sample in dataset.samples] == ["1-10", "1-11", "3-10"]
    assert "not unique" in dataset.notes[0]
    assert [sample.id for sample in load_refcoco(root, "val").samples] == ["14"]


@pytest.mark.parametrize(
    ("box", "noted"),
    [
        ([5, 5, 0, 4], "without area"),
        ([5, 5, 4, 0], "without area"),
        ([-3, 5, 4, 4], "reaches out"),
        ([5, 5, 70, 4], "reaches out"),
        ([5, 5, 4, 45], "reaches out"),
    ],
)
def test_odd_boxes_are_kept_and_counted(root: Path, box: list[float], noted: str) -> None:
    def spoil(refs: Refs, instances: Instances) -> None:
        instances["annotations"][0]["bbox"] = box

    dataset = load_refcoco(spoiled(root, spoil), "testA")
    assert len(dataset.samples) == 3
    (note,) = dataset.notes
    assert note.startswith("2 of 3 sentences have a right box")
    assert noted in note
    assert note.endswith("kept: 10, 11")


def test_a_box_that_rounding_moves_beyond_the_edge_is_not_odd(root: Path) -> None:
    def spoil(refs: Refs, instances: Instances) -> None:
        instances["annotations"][0]["bbox"] = [0, 0, 64.4, 48.01]

    assert load_refcoco(spoiled(root, spoil), "testA").notes == ()


# ---------------------------------------------------------------- what is refused


def test_no_folder_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    assert "--data-dir" in message_of_loading(None)
    assert "no such folder" in message_of_loading(tmp_path / "absent")


@pytest.mark.parametrize("name", ["refs(unc).p", "instances.json"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"]", b"[" * 100_000, b"\x80\x02]."])
def test_a_missing_or_broken_file_is_named(root: Path, name: str, content: bytes | None) -> None:
    path = root / "refcoco" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert str(path) in message_of_loading(root)


def test_a_pickle_that_would_run_something_is_refused(root: Path) -> None:
    path = root / "refcoco" / "refs(unc).p"
    path.write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
    assert "os.system, which is not data" in message_of_loading(root)


def test_a_split_that_the_file_lacks_is_named_with_those_it_has(root: Path) -> None:
    def spoil(refs: Refs, instances: Instances) -> None:
        for one in refs:
            one["split"] = "train"

    message = message_of_loading(spoiled(root, spoil))
    assert "no ref of split 'testA', only 'train'" in message


def no_annotation(refs: Refs, instances: Instances) -> None:
    del instances["annotations"][0]


def no_image(refs: Refs, instances: Instances) -> None:
    del instances["images"][0]


def no_category(refs: Refs, instances: Instances) -> None:
    instances["categories"][0]["id"] = 2


def no_lists(refs: Refs, instances: Instances) -> None:
    instances["categories"] = []


def other_picture(refs: Refs, instances: Instances) -> None:
    instances["annotations"][0]["image_id"] = 9


def no_width(refs: Refs, instances: Instances) -> None:
    del instances["images"][0]["width"]


def inverted_box(refs: Refs, instances: Instances) -> None:
    instances["annotations"][0]["bbox"] = [5, 5, -2, 4]


def short_box(refs: Refs, instances: Instances) -> None:
    instances["annotations"][0]["bbox"] = [5, 5, 2]


def no_number_in_box(refs: Refs, instances: Instances) -> None:
    instances["annotations"][0]["bbox"] = [5, 5, 2, float("nan")]


def doubled_annotation(refs: Refs, instances: Instances) -> None:
    instances["annotations"].append(dict(instances["annotations"][0]))


def annotation_without_id(refs: Refs, instances: Instances) -> None:
    instances["annotations"].append({"image_id": 9})


def doubled_sentence(refs: Refs, instances: Instances) -> None:
    refs[0]["sentences"][1]["sent_id"] = 10


def sentence_without_text(refs: Refs, instances: Instances) -> None:
    del refs[0]["sentences"][1]["sent"]


def sentences_of_no_list(refs: Refs, instances: Instances) -> None:
    refs[0]["sentences"] = {"a": 1}


def ref_without_annotation_id(refs: Refs, instances: Instances) -> None:
    refs[0]["ann_id"] = "101"


def ref_id_too_long_to_print(refs: Refs, instances: Instances) -> None:
    refs[0]["ref_id"] = 1 << 40_000


def ref_without_split(refs: Refs, instances: Instances) -> None:
    del refs[0]["split"]


def ref_of_no_object(refs: Refs, instances: Instances) -> None:
    refs.append(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (no_annotation, "refs[0] (ref_id 1) names an annotation ('ann_id') that is not in inst"),
        (no_image, "refs[0] (ref_id 1) names a picture ('image_id') that is not in instances.json"),
        (no_category, "whose category has no name"),
        (no_lists, "there is no list 'categories'"),
        (other_picture, "is about another picture than its annotation"),
        (no_width, "names a picture without 'width' and 'height'"),
        (inverted_box, "has a negative width or height"),
        (short_box, "without four numbers 'bbox'"),
        (no_number_in_box, "without four numbers 'bbox'"),
        (doubled_annotation, "annotations[5] (id 101) has an id that is there twice"),
        (annotation_without_id, "annotations[5] is no object with a number 'id'"),
        (doubled_sentence, "sentence 1-10 (ref_id-sent_id) is there more than once"),
        (sentence_without_text, "refs[0] (ref_id 1) has no sentences with a number 'sent_id'"),
        (sentences_of_no_list, "refs[0] (ref_id 1) has no sentences with"),
        (ref_without_annotation_id, "refs[0] has no numbers 'ref_id', 'ann_id' and 'image_id'"),
        (ref_id_too_long_to_print, "refs[0] has no numbers 'ref_id'"),
        (ref_without_split, "refs[0] is no object with a text 'split'"),
        (ref_of_no_object, "refs[5] is no object with a text 'split'"),
    ],
)
def test_records_that_do_not_fit_are_named(
    root: Path, spoil: Callable[[Refs, Instances], None], complaint: str
) -> None:
    message = message_of_loading(spoiled(root, spoil))
    assert complaint in message
    assert str(root / "refcoco") in message


# ---------------------------------------------------------------- verifying


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny files stand for the official ones."""
    counts = {"train": 1, "val": 1, "testA": 3, "testB": 1}
    monkeypatch.setattr(refcoco, "_REFCOCO", refcoco._Variant("refcoco", "refs(unc).p", counts))


@pytest.mark.usefixtures("official")
def test_a_whole_folder_has_nothing_to_tell(root: Path) -> None:
    write_pictures(root / "train2014")
    assert verify_refcoco(root) == []
    assert verify_refcoco(root / "refcoco") == []


@pytest.mark.usefixtures("official")
def test_whatever_is_wrong_is_told_at_once_and_each_kind_once(root: Path) -> None:
    def spoil(refs: Refs, instances: Instances) -> None:
        instances["annotations"][0]["bbox"] = instances["annotations"][2]["bbox"] = [1, 1, -1, 1]
        instances["annotations"][3]["bbox"] = [1, 1, 0, 1]
        refs[4]["split"] = "train"

    spoiled(root, spoil)
    write_pictures(root / "train2014")
    (root / "train2014" / "COCO_train2014_000000000009.jpg").unlink()
    (root / "train2014" / "COCO_train2014_000000581857.jpg").write_bytes(b"")
    lines = verify_refcoco(root)
    told = [
        "split 'train' has 2 sentences, 1 in the official file",
        "split 'val': 1 of 1 sentences have a right box without area",
        "refs[0] (ref_id 1) names an annotation whose 'bbox' has a negative width or height in "
        "instances.json (and 1 more)",
        "no ref of split 'testB'",
        "train2014/COCO_train2014_000000000009.jpg: missing; fetch it again",
        "train2014/COCO_train2014_000000581857.jpg: empty; fetch it again",
    ]
    assert len(lines) == len(told)
    for line, part in zip(lines, told, strict=True):
        assert part in line
        assert "\n" not in line


def test_missing_files_and_folders_are_told_at_once(tmp_path: Path) -> None:
    lines = verify_refcocog(tmp_path)
    for part, line in zip(["refs(umd).p", "instances.json", "train2014"], lines, strict=True):
        assert part in line
    assert "no such folder" in verify_refcoco(tmp_path / "absent")[0]


def test_the_official_numbers_add_up_to_those_of_the_papers() -> None:
    totals = {
        variant.name: sum(variant.samples.values())
        for variant in (refcoco._REFCOCO, refcoco._REFCOCO_PLUS, refcoco._REFCOCOG)
    }
    assert totals == {"refcoco": 142_210, "refcoco+": 141_564, "refcocog": 95_010}


# ---------------------------------------------------------------- results


def results(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_box_is_two_corners_and_a_bbox_is_a_corner_and_two_sides(tmp_path: Path) -> None:
    content = [
        {"id": 10, "box": [1, 2, 11, 22.5]},
        {"sent_id": 11, "bbox": [1, 2, 10, 20.5], "score": 0.5},
        {"id": "1-12", "box": None},
    ]
    assert read_box_results(results(tmp_path, content)) == {
        "10": {"box": [1, 2, 11, 22.5]},
        "11": {"box": [1, 2, 11, 22.5]},
        "1-12": {"box": None},
    }


@pytest.mark.parametrize("key", ["box", "bbox"])
@pytest.mark.parametrize("box", [None, "x", [1, 2, 3], [1, 2, "3", 4], [1, 2, 3, 10**400], {}])
def test_what_is_no_box_is_kept_to_be_counted(tmp_path: Path, key: str, box: object) -> None:
    assert read_box_results(results(tmp_path, [{"id": 1, key: box}])) == {"1": {"box": box}}


def test_an_inverted_bbox_stays_inverted(tmp_path: Path) -> None:
    path = results(tmp_path, [{"id": 1, "bbox": [-10, 5, -5, 9]}])
    assert read_box_results(path) == {"1": {"box": [-10, 5, -15, 14]}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ({"10": [1, 2, 3, 4]}, "no list"),
        ([], "no list"),
        ([3], "record 0 is not an object"),
        ([{"box": [1, 2, 3, 4]}], "record 0 has no number or text 'id'"),
        ([{"id": True, "box": [1, 2, 3, 4]}], "record 0 has no number or text 'id'"),
        ([{"id": 1}], "record 0 (id 1) has not one of 'box' and 'bbox'"),
        ([{"id": 1, "box": [], "bbox": []}], "has not one of 'box' and 'bbox'"),
        ([{"id": 1, "box": []}, {"id": "1", "box": []}], "record 1: id '1' is there twice"),
    ],
)
def test_results_without_the_form_are_refused(
    tmp_path: Path, content: object, complaint: str
) -> None:
    path = results(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        read_box_results(path)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_box_results(tmp_path / "absent.json")
