"""Flickr8k (Hodosh et al. 2013) and Flickr30k (Young et al. 2014). Knows no metric and no model.

Under --data-dir, for Flickr8k: Flickr8k.token.txt with Flickr_8k.{train,dev,test}Images.txt, or
Karpathy's dataset_flickr8k.json; pictures in images/, Flicker8k_Dataset/ or Flickr8k_Dataset/. For
Flickr30k: results_20130124.token with Flickr30k Entities' {train,val,test}.txt, or Karpathy's
dataset_flickr30k.json, or ViLBERT's all_data_final_{train,val,test}*.jsonline; pictures in
flickr30k-images/, flickr30k_images/ or images/.

Splits: "train", "val", "test" and, from a file that has everything, "all". A token file without
split files is split by a hash of the file names, and a note says so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import BadInput
from harness.types import Dataset

from .captioned import (
    Captioned,
    CaptionedSplit,
    captioning_dataset,
    retrieval_dataset,
    verify_splits,
)
from .folders import annotation_file, data_folder, first_folder, known_split
from .json_files import read_json_lines, read_lines, refuse_twice, value_of
from .karpathy import read_karpathy
from .visuals import picture_of


@dataclass(frozen=True)
class _Release:
    """What tells the two data sets apart. `names`: split -> its file of picture names."""

    name: str
    tokens: str
    karpathy: str
    names: Mapping[str, str]
    folders: Sequence[str]
    mend: str


@dataclass(frozen=True)
class _Source:
    """What a split is read from. Only a token file needs `names`, the file of the split's pictures,
    or, without one, to be split by hash; the other kinds know their splits."""

    path: Path
    names: Path | None = None
    hashed: bool = False


_FLICKR8K = _Release(
    name="flickr8k",
    tokens="Flickr8k.token.txt",
    karpathy="dataset_flickr8k.json",
    names={
        "train": "Flickr_8k.trainImages.txt",
        "val": "Flickr_8k.devImages.txt",
        "test": "Flickr_8k.testImages.txt",
    },
    folders=("images", "Flicker8k_Dataset", "Flickr8k_Dataset"),
    mend="take Flickr8k's official files, or Karpathy's dataset_flickr8k.json",
)
_FLICKR30K = _Release(
    name="flickr30k",
    tokens="results_20130124.token",
    karpathy="dataset_flickr30k.json",
    names={"train": "train.txt", "val": "val.txt", "test": "test.txt"},
    folders=("flickr30k-images", "flickr30k_images", "images"),
    mend="take Flickr30k's official files, or Karpathy's dataset_flickr30k.json",
)

_SPLITS = ("train", "val", "test", "all")
_CAPTIONS = 5  # a picture, in all official files
_PARTS = 8  # of which the hash makes one the test split and one the val split
_HASHED = (
    "there is no official split file, so the split is by a hash of the file name (sha256 mod 8: 0 "
    "is test, 1 is val, the rest train): figures do not compare with published ones"
)
_TOKEN_LINE = re.compile(r"([^\t]+)#(\d+)\t(.*)", re.DOTALL)
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
_LINES_SUFFIXES = (".jsonl", ".jsonline", ".jsonlines")


def load_flickr8k_captioning(root: Path | None, split: str) -> Dataset:
    """A split of Flickr8k for captioning, all captions of a picture as references.

    `sha256` covers the annotation file and the split file, where one is used. Raises BadInput, in
    one line, for whatever is missing or wrong; a picture's absence shows when it is read.
    """
    return captioning_dataset(_read_folder(_FLICKR8K, root, split))


def load_flickr8k_captioning_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_flickr8k_captioning`, without pictures, from the file of the role "annotations": a
    token file, Karpathy's .json or ViLBERT's .jsonline, which holds one split. "names", for a token
    file only, is the file of the split's picture names; without it the hash decides."""
    return captioning_dataset(_read_files(_FLICKR8K, files, split))


def load_flickr8k_retrieval(root: Path | None, split: str) -> Dataset:
    """A split of Flickr8k for retrieval; otherwise as `load_flickr8k_captioning`."""
    return retrieval_dataset(_read_folder(_FLICKR8K, root, split))


def load_flickr8k_retrieval_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_flickr8k_retrieval`, from the files of `load_flickr8k_captioning_files`."""
    return retrieval_dataset(_read_files(_FLICKR8K, files, split))


def load_flickr30k_captioning(root: Path | None, split: str) -> Dataset:
    """A split of Flickr30k; otherwise as `load_flickr8k_captioning`."""
    return captioning_dataset(_read_folder(_FLICKR30K, root, split))


def load_flickr30k_captioning_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_flickr30k_captioning`, from the files of `load_flickr8k_captioning_files`."""
    return captioning_dataset(_read_files(_FLICKR30K, files, split))


def load_flickr30k_retrieval(root: Path | None, split: str) -> Dataset:
    """A split of Flickr30k for retrieval; otherwise as `load_flickr8k_captioning`."""
    return retrieval_dataset(_read_folder(_FLICKR30K, root, split))


def load_flickr30k_retrieval_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_flickr30k_retrieval`, from the files of `load_flickr8k_captioning_files`."""
    return retrieval_dataset(_read_files(_FLICKR30K, files, split))


def verify_flickr8k(root: Path) -> list[str]:
    """Every missing or odd thing in the folder, a line each; nothing if all is well. Pictures are
    looked for, not opened."""
    return _verify(_FLICKR8K, root)


def verify_flickr30k(root: Path) -> list[str]:
    """As `verify_flickr8k`."""
    return _verify(_FLICKR30K, root)


def _verify(release: _Release, root: Path) -> list[str]:
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    problems = verify_splits(
        root, _splits_to_verify(release, root), lambda s: _read_folder(release, root, s), "pictures"
    )
    for path in (root / release.tokens, root / release.karpathy):
        if path.is_file() and not problems:
            problems += _odd_counts(_read(release, _Source(path), "all", None))
    return problems


def _splits_to_verify(release: _Release, root: Path) -> list[str]:
    """Those that are read from files of their own, and "all" where one file has everything."""
    whole = (root / release.tokens).is_file() or (root / release.karpathy).is_file()
    own = [s for s in release.names if any((root / n).is_file() for n in release.names.values())]
    own += [s for s in _SPLITS[:3] if _lines_files(root, s)]
    return [*dict.fromkeys(own), *(["all"] if whole or not own else [])]


def _odd_counts(read: CaptionedSplit) -> list[str]:
    odd = [entry.id for entry in read.entries if len(entry.captions) != _CAPTIONS]
    if not odd:
        return []
    return [
        f"{read.files[0].name}: {len(odd):,} of {len(read.entries):,} pictures have more or fewer "
        f"than five captions, the first is {odd[0]}"
    ]


# ---------------------------------------------------------------- which files


def _read_folder(release: _Release, root: Path | None, split: str) -> CaptionedSplit:
    known_split(release.name, split, _SPLITS)
    root = data_folder(root, release.name, release.mend)
    images = first_folder(root, release.folders)
    return _read(release, _source_in(release, root, split), split, images)


def _source_in(release: _Release, root: Path, split: str) -> _Source:
    """The official split files go before others' and those before the hash."""
    tokens, karpathy = root / release.tokens, root / release.karpathy
    if tokens.is_file() and split == "all":
        return _Source(tokens)
    if tokens.is_file() and any((root / name).is_file() for name in release.names.values()):
        return _Source(tokens, names=root / release.names[split])
    if karpathy.is_file():
        return _Source(karpathy)
    lines = _lines_files(root, split)
    if len(lines) > 1:
        raise BadInput(f"{lines[1]}: {lines[0].name} is of the split {split!r} too; keep one")
    return _Source(lines[0]) if lines else _Source(tokens, hashed=True)


def _lines_files(root: Path, split: str) -> list[Path]:
    """ViLBERT's files of a split: all_data_final_test_set0_2014.jsonline has "test" in its name."""
    paths = sorted(path for path in root.iterdir() if path.suffix in _LINES_SUFFIXES)
    return [path for path in paths if split in re.split(r"[_.-]", path.name)]


def _read_files(release: _Release, files: Mapping[str, Path], split: str) -> CaptionedSplit:
    known_split(release.name, split, _SPLITS)
    hashed = "names" not in files and split != "all"
    source = _Source(annotation_file(release.name, files), files.get("names"), hashed)
    return _read(release, source, split, None)


def _read(release: _Release, source: _Source, split: str, images: Path | None) -> CaptionedSplit:
    path = source.path
    if source.names is not None and path.suffix in (".json", *_LINES_SUFFIXES):
        raise BadInput(f"{source.names}: {path.name} has its own splits; leave --names out")
    notes: list[str] = []
    if path.suffix == ".json":
        captions = _read_karpathy_split(release, path, split)
    elif path.suffix in _LINES_SUFFIXES:
        captions = _read_vilbert_lines(release, path)
    else:
        captions = _read_tokens(release, path, notes)
        if source.names is not None:
            captions = _only_named(release, captions, source.names, notes)
        elif source.hashed:
            captions = {n: texts for n, texts in captions.items() if hashed_split(n) == split}
            notes.append(_HASHED)
    entries = []
    for name, texts in captions.items():
        place = None if images is None else images / name
        picture = picture_of(f"{release.name}/{name}", place)
        entries.append(Captioned(name, picture, tuple(texts), place))
    used = [path] if source.names is None else [path, source.names]
    return CaptionedSplit(release.name, split, entries, used, tuple(notes))


def hashed_split(name: str) -> str:
    """The split of a picture by its file name: stable, whatever other pictures there are."""
    part = int(hashlib.sha256(name.encode()).hexdigest(), 16) % _PARTS
    return {0: "test", 1: "val"}.get(part, "train")


# ---------------------------------------------------------------- the kinds of files


def _read_karpathy_split(release: _Release, path: Path, split: str) -> dict[str, Sequence[str]]:
    images = read_karpathy(path, release.mend)
    refuse_twice(path, (image.name for image in images), "image", release.mend)
    return {i.name: i.captions for i in images if split in ("all", i.split)}


def _read_vilbert_lines(release: _Release, path: Path) -> dict[str, Sequence[str]]:
    captions: dict[str, Sequence[str]] = {}
    for where, record in read_json_lines(path, release.mend):
        name = PurePosixPath(value_of(record, "img_path", str, where, release.mend)).name
        sentences = value_of(record, "sentences", list, where, release.mend)
        if not all(isinstance(sentence, str) for sentence in sentences):
            raise BadInput(f"{where}: 'sentences' holds something that is no text; {release.mend}")
        if name in captions:
            raise BadInput(f"{where}: picture {name!r} is there twice; keep one of the two")
        captions[name] = sentences
    return captions


def _read_tokens(release: _Release, path: Path, notes: list[str]) -> dict[str, Sequence[str]]:
    """Picture name -> captions, from lines "name.jpg#0<TAB>caption"."""
    captions: dict[str, dict[int, str]] = {}
    odd: list[str] = []
    again = 0
    for number, line in enumerate(read_lines(path, release.mend, notes), start=1):
        if not line.strip():
            continue
        found = _TOKEN_LINE.fullmatch(line)
        if found is None:
            raise BadInput(
                f"{path}: line {number} is not 'picture.jpg#0<TAB>caption'; {release.mend}"
            )
        name, place, caption = found[1], int(found[2]), found[3]
        if not name.lower().endswith(_PICTURE_SUFFIXES):
            odd.append(name)
        elif place in captions.setdefault(name, {}):
            again += 1
        else:
            captions[name][place] = caption
    if odd:
        notes.append(
            f"{path.name}: {len(odd):,} lines dropped: their file name is no picture's, and the "
            f"data set has no such file: {', '.join(sorted(set(odd))[:3])}"
        )
    if again:
        notes.append(f"{path.name}: {again:,} lines dropped: their picture and number came before")
    return {name: list(texts.values()) for name, texts in captions.items()}


def _only_named(
    release: _Release,
    captions: Mapping[str, Sequence[str]],
    names: Path,
    notes: list[str],
) -> dict[str, Sequence[str]]:
    """The captions of the pictures that the file `names` lists, in its order. Flickr30k Entities
    leaves ".jpg" out."""
    lines = [line.strip() for line in read_lines(names, release.mend) if line.strip()]
    listed = [name if "." in name else f"{name}.jpg" for name in lines]
    refuse_twice(names, listed, "picture", release.mend)
    strange = [name for name in listed if name not in captions]
    if strange:
        notes.append(
            f"{names.name}: {len(strange):,} of {len(listed):,} pictures dropped: there is no "
            f"caption of them; the first is {strange[0]}"
        )
    return {name: captions[name] for name in listed if name in captions}
