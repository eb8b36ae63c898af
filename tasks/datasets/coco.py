"""COCO Captions (Chen et al. 2015), official and Karpathy's splits. Knows no metric and no model.

Under --data-dir, from https://cocodataset.org: annotations/captions_{train,val}{2014,2017}.json for
the splits "train2014", "val2014", "train2017" and "val2017", with pictures in folders of those
names; and Karpathy's dataset_coco.json, there or in karpathy/, for "train" (his train and restval),
"val" and "test" over the pictures of 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import BadInput
from harness.types import Dataset

from .captioned import (
    Captioned,
    CaptionedSplit,
    KarpathyImage,
    annotation_file,
    captioning_dataset,
    data_folder,
    known_split,
    picture_of,
    read_karpathy,
    refuse_twice,
    retrieval_dataset,
    verify_splits,
)
from .json_files import read_json, records_of, value_of

_KARPATHY = "dataset_coco.json"
_KARPATHY_SPLITS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}
_OFFICIAL_SPLITS = ("train2014", "val2014", "train2017", "val2017")
_SPLITS = (*_KARPATHY_SPLITS, *_OFFICIAL_SPLITS)
_SEARCHED = 5  # captions a picture: what retrieval's figures are made with
_MEND = "take the official files from https://cocodataset.org, or Karpathy's dataset_coco.json"


def load_captioning(root: Path | None, split: str) -> Dataset:
    """One of the splits above for captioning, all captions of a picture as references.

    `sha256` covers the annotation file. Raises BadInput, in one line, for whatever is missing or
    wrong; a picture's absence shows when it is read.
    """
    return captioning_dataset(_read_folder(root, split))


def load_captioning_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_captioning`, from the file of the role "annotations" alone: reading a picture raises
    BadInput."""
    return captioning_dataset(_read_files(files, split))


def load_retrieval(root: Path | None, split: str) -> Dataset:
    """One of the splits above for retrieval, with the first five captions of a picture; otherwise
    as `load_captioning`."""
    return retrieval_dataset(_read_folder(root, split), at_most=_SEARCHED)


def load_retrieval_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_retrieval`, from the file of the role "annotations" alone."""
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
    known_split("coco", split, _SPLITS)
    root = data_folder(root, "coco", _MEND)
    return _read(_annotations_in(root, split), split, root)


def _read_files(files: Mapping[str, Path], split: str) -> CaptionedSplit:
    known_split("coco", split, _SPLITS)
    return _read(annotation_file("coco", files), split, None)


def _annotations_in(root: Path, split: str) -> Path:
    """The annotation file, in its folder or beside it; where it belongs if there is none."""
    if split in _KARPATHY_SPLITS:
        places = (root / _KARPATHY, root / "karpathy" / _KARPATHY)
    else:
        name = f"captions_{split}.json"
        places = (root / "annotations" / name, root / name)
    return next((place for place in places if place.is_file()), places[0])


def _read(path: Path, split: str, root: Path | None) -> CaptionedSplit:
    read = _read_karpathy_split if split in _KARPATHY_SPLITS else _read_official
    return read(path, split, root)


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


def _karpathy_entry(path: Path, image: KarpathyImage, root: Path | None) -> Captioned:
    if image.number is None or not image.folder:
        raise BadInput(f"{path}: image {image.name!r} has no 'cocoid' or no 'filepath'; {_MEND}")
    place = None if root is None else root / image.folder / image.name
    picture = picture_of(f"coco/{image.folder}/{image.number}", place)
    return Captioned(str(image.number), picture, image.captions, place)
