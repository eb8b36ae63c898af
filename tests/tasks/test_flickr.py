"""Flickr8k and Flickr30k from tiny files in each of their formats, the ways in which they can be
wrong, and the real photographs where they are at hand."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.errors import BadInput
from harness.tasks.datasets import flickr
from harness.tasks.targets import CaptionTarget, RetrievalTarget
from harness.types import Dataset

NAMES = [f"{number}_ab.jpg" for number in range(40)]
TOKENS = {8: "Flickr8k.token.txt", 30: "results_20130124.token"}


def tokens(names: list[str], captions: int = 5) -> str:
    return "".join(f"{n}#{i}\tCaption {i} of {n} .\n" for n in names for i in range(captions))


def karpathy(splits: dict[str, str]) -> str:
    return json.dumps(
        {
            "images": [
                {"filename": n, "split": split, "sentences": [{"raw": f"raw {n}", "tokens": []}]}
                for n, split in splits.items()
            ]
        }
    )


def write_pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir()
    for name in names:
        Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(folder / name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / TOKENS[8]).write_text(tokens(NAMES), encoding="utf-8")
    return tmp_path


def ids(dataset: Dataset) -> list[str]:
    return [sample.id for sample in dataset.samples]


def message(load: Callable[..., Dataset], *arguments: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- token files


def test_all_has_every_picture_with_its_captions_as_they_stand(root: Path) -> None:
    dataset = flickr.load_flickr8k_captioning(root, "all")
    assert (dataset.name, dataset.split, dataset.notes) == ("flickr8k", "all", ())
    assert ids(dataset) == NAMES
    first = dataset.samples[0]
    assert first.group == first.input.visual.id == "flickr8k/0_ab.jpg"
    assert first.target.references[4] == "Caption 4 of 0_ab.jpg ."


def test_retrieval_searches_the_same_captions(root: Path) -> None:
    sample = flickr.load_flickr8k_retrieval(root, "all").samples[0]
    captioning = flickr.load_flickr8k_captioning(root, "all").samples[0]
    assert sample.input.texts == captioning.target.references
    assert sample.target == RetrievalTarget(5)


def test_without_split_files_the_hash_of_the_name_decides_and_a_note_says_so(root: Path) -> None:
    parts = {s: flickr.load_flickr8k_captioning(root, s) for s in ("train", "val", "test")}
    assert sorted(name for part in parts.values() for name in ids(part)) == sorted(NAMES)
    for name in ids(parts["test"]):
        assert int(hashlib.sha256(name.encode()).hexdigest(), 16) % 8 == 0
    assert all("hash of the file name" in part.notes[0] for part in parts.values())
    assert "hash" not in str(flickr.load_flickr8k_captioning(root, "all").notes)


@given(st.text())
def test_the_hash_puts_every_name_into_one_split(name: str) -> None:
    assert flickr.hashed_split(name) in ("train", "val", "test")


def test_official_split_files_decide_with_their_order(root: Path) -> None:
    (root / "Flickr_8k.testImages.txt").write_text("7_ab.jpg\n3_ab.jpg\n")
    (root / "Flickr_8k.devImages.txt").write_text("1_ab.jpg\n")
    assert ids(flickr.load_flickr8k_captioning(root, "test")) == ["7_ab.jpg", "3_ab.jpg"]
    assert ids(flickr.load_flickr8k_retrieval(root, "val")) == ["1_ab.jpg"]
    assert flickr.load_flickr8k_captioning(root, "test").notes == ()
    said = message(flickr.load_flickr8k_captioning, root, "train")
    assert "Flickr_8k.trainImages.txt: there is no such file" in said


def test_the_split_file_counts_in_the_checksum(root: Path) -> None:
    whole = flickr.load_flickr8k_captioning(root, "all").sha256
    (root / "Flickr_8k.testImages.txt").write_text("7_ab.jpg\n")
    one = flickr.load_flickr8k_captioning(root, "test").sha256
    (root / "Flickr_8k.testImages.txt").write_text("8_ab.jpg\n")
    assert len({whole, one, flickr.load_flickr8k_captioning(root, "test").sha256}) == 3


def test_listed_pictures_without_captions_are_dropped_and_counted(root: Path) -> None:
    (root / "Flickr_8k.testImages.txt").write_text("7_ab.jpg\nother.jpg\n")
    dataset = flickr.load_flickr8k_captioning(root, "test")
    assert ids(dataset) == ["7_ab.jpg"]
    assert dataset.notes[0].startswith("Flickr_8k.testImages.txt: 1 of 2 pictures dropped")


def test_lines_of_a_file_that_is_no_picture_are_dropped_and_counted(root: Path) -> None:
    odd = tokens(["2258277193_586949ec62.jpg.1"])
    (root / TOKENS[8]).write_text(tokens(["a.jpg"]) + odd)
    dataset = flickr.load_flickr8k_captioning(root, "all")
    assert ids(dataset) == ["a.jpg"]
    assert "5 lines dropped" in dataset.notes[0]
    assert "2258277193_586949ec62.jpg.1" in dataset.notes[0]


def test_a_line_that_comes_again_is_dropped_and_counted(root: Path) -> None:
    (root / TOKENS[8]).write_text("a.jpg#0\tfirst\na.jpg#0\tsecond\n")
    dataset = flickr.load_flickr8k_captioning(root, "all")
    assert dataset.samples[0].target == CaptionTarget(("first",))
    assert "1 lines dropped" in dataset.notes[0]


def test_only_line_feeds_end_a_caption_and_odd_bytes_are_read_and_counted(root: Path) -> None:
    (root / TOKENS[8]).write_bytes(
        "a.jpg#0\ta\u2028b\x85 #1\tc \r\n".encode() + b"\na.jpg#1\tcaf\xe9\n"
    )
    dataset = flickr.load_flickr8k_captioning(root, "all")
    assert dataset.samples[0].target == CaptionTarget(("a\u2028b\x85 #1\tc ", "café"))
    assert "1 of 3 lines are not UTF-8" in dataset.notes[0]
    assert "line 3" in dataset.notes[0]


@pytest.mark.parametrize("line", ["a.jpg#0 no tab", "a.jpg\tno number", "a.jpg#x\tno number"])
def test_a_line_of_another_form_is_named(root: Path, line: str) -> None:
    (root / TOKENS[8]).write_text(f"a.jpg#0\tfine\n{line}\n")
    said = message(flickr.load_flickr8k_captioning, root, "all")
    assert f"{root / TOKENS[8]}: line 2 is not" in said


# ---------------------------------------------------------------- Karpathy's and ViLBERT's files


def test_karpathys_file_gives_its_splits_and_all(tmp_path: Path) -> None:
    splits = {"a.jpg": "train", "b.jpg": "test", "c.jpg": "val", "d.jpg": "test"}
    (tmp_path / "dataset_flickr30k.json").write_text(karpathy(splits))
    dataset = flickr.load_flickr30k_captioning(tmp_path, "test")
    assert (dataset.name, ids(dataset), dataset.notes) == ("flickr30k", ["b.jpg", "d.jpg"], ())
    assert dataset.samples[0].target == CaptionTarget(("raw b.jpg",))
    assert len(flickr.load_flickr30k_retrieval(tmp_path, "all").samples) == 4


def test_karpathys_splits_go_before_the_hash(root: Path) -> None:
    (root / "dataset_flickr8k.json").write_text(karpathy({"0_ab.jpg": "test"}))
    assert ids(flickr.load_flickr8k_captioning(root, "test")) == ["0_ab.jpg"]
    assert len(flickr.load_flickr8k_captioning(root, "all").samples) == 40


def vilbert(names: list[str]) -> str:
    lines = [{"img_path": n, "sentences": ["one", "two"], "id": i} for i, n in enumerate(names)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_vilberts_lines_are_found_by_the_split_in_their_name(tmp_path: Path) -> None:
    for split, names in {"train": ["a.jpg"], "test_set0": ["b.jpg", "c.jpg"]}.items():
        (tmp_path / f"all_data_final_{split}_2014.jsonline").write_text(vilbert(names))
    dataset = flickr.load_flickr30k_retrieval(tmp_path, "test")
    assert ids(dataset) == ["b.jpg", "c.jpg"]
    assert dataset.samples[0].input.texts == ("one", "two")
    assert ids(flickr.load_flickr30k_retrieval(tmp_path, "train")) == ["a.jpg"]
    assert "results_20130124.token" in message(flickr.load_flickr30k_retrieval, tmp_path, "val")
    (tmp_path / "test.jsonl").write_text(vilbert(["d.jpg"]))
    assert "keep one" in message(flickr.load_flickr30k_retrieval, tmp_path, "test")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: this is not JSON"),
        ("3", "line 2 is not an object"),
        ('{"sentences": []}', "line 2 has no text 'img_path'"),
        ('{"img_path": "b.jpg", "sentences": [3]}', "line 2: 'sentences' holds"),
        ('{"img_path": "a.jpg", "sentences": []}', "line 2: picture 'a.jpg' is there twice"),
    ],
)
def test_a_wrong_line_of_vilberts_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "test.jsonline"
    path.write_text(vilbert(["a.jpg"]) + line)
    said = message(flickr.load_flickr30k_captioning_files, {"annotations": path}, "test")
    assert str(path) in said
    assert complaint in said


def test_flickr30k_takes_the_split_files_of_flickr30k_entities(tmp_path: Path) -> None:
    (tmp_path / TOKENS[30]).write_text(tokens(["1.jpg", "2.jpg", "3.jpg"]))
    (tmp_path / "test.txt").write_text("3\n1\n")
    assert ids(flickr.load_flickr30k_captioning(tmp_path, "test")) == ["3.jpg", "1.jpg"]


# ---------------------------------------------------------------- files alone


def test_files_alone_give_the_same_samples_without_pictures(root: Path) -> None:
    files = {"annotations": root / TOKENS[8]}
    for load, load_files in (
        (flickr.load_flickr8k_captioning, flickr.load_flickr8k_captioning_files),
        (flickr.load_flickr8k_retrieval, flickr.load_flickr8k_retrieval_files),
    ):
        for split in ("all", "test"):
            whole, alone = load(root, split), load_files(files, split)
            assert [s.target for s in whole.samples] == [s.target for s in alone.samples]
            assert (whole.sha256, whole.notes) == (alone.sha256, alone.notes)
            with pytest.raises(BadInput, match="add --data-dir"):
                alone.samples[0].input.visual.read()


def test_a_file_of_names_picks_the_split_of_a_token_file_only(root: Path) -> None:
    names = root / "names.txt"
    names.write_text("5_ab.jpg\n")
    files = {"annotations": root / TOKENS[8], "names": names}
    assert ids(flickr.load_flickr8k_retrieval_files(files, "test")) == ["5_ab.jpg"]
    names.write_text("5_ab.jpg\n5_ab.jpg\n")
    said = message(flickr.load_flickr8k_retrieval_files, files, "test")
    assert "picture '5_ab.jpg' is there twice" in said
    files["annotations"] = root / "dataset_flickr8k.json"
    assert "leave --names out" in message(flickr.load_flickr8k_retrieval_files, files, "test")


def test_unknown_splits_and_missing_folders_and_files_are_refused(tmp_path: Path) -> None:
    load = flickr.load_flickr30k_captioning
    assert "use one of: train, val, test, all" in message(load, tmp_path, "dev")
    assert "--data-dir" in message(load, None, "test")
    assert "no such folder" in message(load, tmp_path / "absent", "test")
    assert "results_20130124.token: there is no such file" in message(load, tmp_path, "test")


# ---------------------------------------------------------------- pictures and verify


@pytest.mark.parametrize("folder", ["images", "Flicker8k_Dataset", "Flickr8k_Dataset"])
def test_pictures_are_read_on_demand_from_any_of_the_usual_folders(root: Path, folder: str) -> None:
    picture = flickr.load_flickr8k_captioning(root, "all").samples[3].input.visual
    with pytest.raises(BadInput, match=r"images.3_ab\.jpg: there is no such picture"):
        picture.read()
    write_pictures(root / folder, NAMES)
    picture = flickr.load_flickr8k_captioning(root, "all").samples[3].input.visual
    assert picture.read().shape == (6, 8, 3)
    assert flickr.verify_flickr8k(root) == []


def test_verify_tells_of_missing_pictures_and_odd_counts(root: Path) -> None:
    write_pictures(root / "images", NAMES[1:])
    assert flickr.verify_flickr8k(root) == ["images/0_ab.jpg: missing; fetch it again"]
    write_pictures(root / "Flickr8k_Dataset", [])
    (root / TOKENS[8]).write_text(tokens(NAMES[1:3]) + tokens(["3_ab.jpg"], captions=2))
    assert flickr.verify_flickr8k(root) == [
        "Flickr8k.token.txt: 1 of 3 pictures have more or fewer than five captions, the first is "
        "3_ab.jpg"
    ]


def test_verify_tells_of_missing_split_files_once(root: Path) -> None:
    write_pictures(root / "images", NAMES)
    (root / "Flickr_8k.testImages.txt").write_text("7_ab.jpg\n")
    (root / "Flickr_8k.devImages.txt").write_text("8_ab.jpg\n")
    (problem,) = flickr.verify_flickr8k(root)
    assert problem.startswith("Flickr_8k.trainImages.txt: there is no such file")


def test_verify_without_any_annotations_says_which_are_wanted(tmp_path: Path) -> None:
    (problem,) = flickr.verify_flickr30k(tmp_path)
    assert problem.startswith("results_20130124.token: there is no such file")
    assert "no such folder" in flickr.verify_flickr30k(tmp_path / "absent")[0]


# ---------------------------------------------------------------- the real photographs


def test_the_real_photographs_load_for_both_tasks() -> None:
    root = Path(os.environ.get("HARNESS_DATA", "absent"), "flickr8k-800")
    if not root.is_dir():
        pytest.skip("HARNESS_DATA names no folder with flickr8k-800")
    captioning = flickr.load_flickr8k_captioning(root, "all")
    assert len(captioning.samples) == 800
    assert {len(sample.target.references) for sample in captioning.samples} == {5}
    assert captioning.notes == ()
    assert max(captioning.samples[0].input.visual.read().shape) == 288
    sizes = [len(flickr.load_flickr8k_retrieval(root, s).samples) for s in ("train", "val", "test")]
    assert sizes == [593, 89, 118]
    assert flickr.verify_flickr8k(root) == []
