"""COCO Captions (Chen et al. 2015), official and Karpathy's splits. Knows no metric and no model.

Under --data-dir, from https://cocodataset.org: annotations/captions_{train,val}{2014,2017}.json for
the splits "train2014", "val2014", "train2017" and "val2017", with pictures in folders of those
names; and Karpathy's dataset_coco.json, there or in karpathy/, for "train" (his train and restval),
"val" and "test" over the pictures of 2014. Retrieval also has "test-1k": "test" in five galleries
of a thousand pictures, as they follow one another in the file, each searched alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.errors import BadInput
from harness.types import Dataset

from .captioned import (
    Captioned,
    CaptionedSplit,
    captioning_dataset,
    retrieval_dataset,
    verify_splits,
)
from .folders import annotation_file, data_folder, first_file, known_split
from .json_files import read_json, records_of, refuse_twice, value_of
from .karpathy import KarpathyImage, read_karpathy
from .visuals import picture_of

_KARPATHY = "dataset_coco.json"
_KARPATHY_SPLITS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}
_FOLDED = "test-1k"
_FOLDS = 5
_OFFICIAL_SPLITS = ("train2014", "val2014", "train2017", "val2017")
_SPLITS = (*_KARPATHY_SPLITS, *_OFFICIAL_SPLITS)
_RETRIEVAL_SPLITS = (*_SPLITS, _FOLDED)
_SEARCHED = 5  # captions a picture: what retrieval's figures are made with
_MEND = "take the official files from https://cocodataset.org, or Karpathy's dataset_coco.json"


def load_captioning(root: Path | None, split: str) -> Dataset:
    """One of the splits above for captioning, all captions of a picture as references.

    `sha256` covers the annotation file. Raises BadInput, in one line, for whatever is missing or
    wrong; a picture's absence shows when it is read.
    """
    known_split("coco", split, _SPLITS)
    return captioning_dataset(_read_folder(root, split))


def load_captioning_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_captioning`, from the file of the role "annotations" alone: reading a picture raises
    BadInput."""
    known_split("coco", split, _SPLITS)
    return captioning_dataset(_read_files(files, split))


def load_retrieval(root: Path | None, split: str) -> Dataset:
    """One of the splits above for retrieval, with the first five captions of a picture; otherwise
    as `load_captioning`.

    The galleries of "test-1k" are "fold-1" to "fold-5". Raises BadInput if the pictures of the test
    split do not divide into five."""
    known_split("coco", split, _RETRIEVAL_SPLITS)
    return retrieval_dataset(_read_folder(root, split), at_most=_SEARCHED)


def load_retrieval_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_retrieval`, from the file of the role "annotations" alone."""
    known_split("coco", split, _RETRIEVAL_SPLITS)
    return retrieval_dataset(_read_files(files, split), at_most=_SEARCHED)


def verify(root: Path) -> list[str]:
    """Every missing or odd thing in the folder, a line each, over the splits whose annotation file
    is there; nothing if all is well. Pictures are looked for, not opened."""
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    present = [split for split in _SPLITS if _annotations_in(root, split).is_file()]
    if not present:
        return [f"annotations/: no captions_val2014.json or the like, no {_KARPATHY}; {_MEND}"]
    return verify_splits(root, present, lambda split: _read_folder(root, split), "pictures")


def _read_folder(root: Path | None, split: str) -> CaptionedSplit:
    root = data_folder(root, "coco", _MEND)
    return _read(_annotations_in(root, split), split, root)


def _read_files(files: Mapping[str, Path], split: str) -> CaptionedSplit:
    path = annotation_file("coco", files)
    named = next((one for one in _OFFICIAL_SPLITS if one in path.name), split)
    if named != split:
        raise BadInput(f"{path}: by its name the annotations of {named}; give --split {named}")
    return _read(path, split, None)


def _annotations_in(root: Path, split: str) -> Path:
    """The annotation file, in its folder or beside it; where it belongs if there is none."""
    if split in _OFFICIAL_SPLITS:
        name = f"captions_{split}.json"
        return first_file(root, (f"annotations/{name}", name))
    return first_file(root, (_KARPATHY, f"karpathy/{_KARPATHY}"))


def _read(path: Path, split: str, root: Path | None) -> CaptionedSplit:
    if split in _OFFICIAL_SPLITS:
        return _read_official(path, split, root)
    if split == _FOLDED:
        return _in_folds(path, _read_karpathy_split(path, "test", root))
    return _read_karpathy_split(path, split, root)


# ---------------------------------------------------------------- the two kinds of files


def _read_official(path: Path, split: str, root: Path | None) -> CaptionedSplit:
    content = read_json(path, _MEND)
    captions: dict[int, list[str]] = {}
    images = records_of(path, content, "images", _MEND)
    for where, image in images:
        captions[value_of(image, "id", int, where, _MEND)] = []
    refuse_twice(path, (image["id"] for _, image in images), "image", _MEND)
    annotations = records_of(path, content, "annotations", _MEND)
    for where, annotation in annotations:
        number = value_of(annotation, "image_id", int, where, _MEND)
        if number not in captions:
            raise BadInput(f"{where} is about image {number}, which 'images' lacks; {_MEND}")
        captions[number].append(value_of(annotation, "caption", str, where, _MEND))
    entries = []
    for where, image in images:
        name = value_of(image, "file_name", str, where, _MEND)
        place = None if root is None else root / split / name
        size = _size(image, where)
        number = image["id"]
        picture = picture_of(f"coco/{split}/{number}", place, size)
        entries.append(Captioned(str(number), picture, tuple(captions[number]), place))
    return CaptionedSplit("coco", split, entries, [path])


def _size(image: dict[str, object], where: str) -> tuple[int, int] | None:
    if "width" not in image and "height" not in image:
        return None
    width = value_of(image, "width", int, where, _MEND)
    return width, value_of(image, "height", int, where, _MEND)


def _read_karpathy_split(path: Path, split: str, root: Path | None) -> CaptionedSplit:
    images = [
        image for image in read_karpathy(path, _MEND) if image.split in _KARPATHY_SPLITS[split]
    ]
    entries = [_karpathy_entry(path, image, root) for image in images]
    refuse_twice(path, (entry.id for entry in entries), "image", _MEND)
    rest = sum(image.split == "restval" for image in images)
    note = f"{rest:,} of the {len(images):,} pictures are Karpathy's restval"
    return CaptionedSplit("coco", split, entries, [path], (note,) if rest else ())


def _in_folds(path: Path, test: CaptionedSplit) -> CaptionedSplit:
    """Karpathy's test split in five galleries of as many pictures, in the order of the file."""
    size, rest = divmod(len(test.entries), _FOLDS)
    if rest:
        raise BadInput(
            f"{path}: its {len(test.entries):,} test pictures do not divide into {_FOLDS} folds of "
            f"as many; {_MEND}, or use --split test"
        )
    entries = [
        replace(entry, gallery=f"fold-{place // size + 1}")
        for place, entry in enumerate(test.entries)
    ]
    return replace(test, split=_FOLDED, entries=entries)


def _karpathy_entry(path: Path, image: KarpathyImage, root: Path | None) -> Captioned:
    if image.number is None or not image.folder:
        raise BadInput(f"{path}: image {image.name!r} has no 'cocoid' or no 'filepath'; {_MEND}")
    place = None if root is None else root / image.folder / image.name
    picture = picture_of(f"coco/{image.folder}/{image.number}", place)
    return Captioned(str(image.number), picture, image.captions, place)
