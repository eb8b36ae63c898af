"""MSVD (Chen and Dolan 2011), YouTube clips with about forty English descriptions each. Knows no
metric and no model.

Under --data-dir: AllVideoDescriptions.txt, lines "VIDEO description" after comments with '#', and
videos YouTubeClips/VIDEO.avi or videos/VIDEO.(avi|mp4|webm|mkv). The customary splits are by
youtube_mapping.txt, lines "VIDEO vidN": 1 to 1200 is "train", 1201 to 1300 "val", 1301 to 1970
"test". "all" needs no mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from .folders import annotation_file, data_folder, known_split, video_paths
from .json_files import read_lines, refuse_twice
from .visuals import clip_of

_DESCRIPTIONS = "AllVideoDescriptions.txt"
_MAPPING = "youtube_mapping.txt"
_RANGES = {"train": range(1, 1201), "val": range(1201, 1301), "test": range(1301, 1971)}
_SPLITS = (*_RANGES, "all")
_FOLDERS = ("YouTubeClips", "videos")
_SUFFIXES = (".avi", ".mp4", ".webm", ".mkv")
_MEND = (
    "take AllVideoDescriptions.txt and YouTubeClips.tar from "
    "https://www.cs.utexas.edu/~ml/clamp/videoDescription/"
)
_START_END = re.compile(r".+_(\d+)_(\d+)")
_MAPPED = re.compile(r"(\S+)\s+vid(\d+)\s*")


def load_captioning(root: Path | None, split: str) -> Dataset:
    """One of the splits above for captioning, all descriptions of a video as references.

    A clip's duration is that of its id, which ends in _start_end in seconds. `sha256` covers the
    descriptions and, but for "all", the mapping. Raises BadInput, in one line, for whatever is
    missing or wrong; a video's absence shows when it is read.
    """
    return captioning_dataset(_read_folder(root, split))


def load_captioning_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_captioning`, without videos, from the files of the roles "annotations" (the
    descriptions) and "mapping", which "all" can do without."""
    return captioning_dataset(_read_files(files, split))


def load_retrieval(root: Path | None, split: str) -> Dataset:
    """One of the splits above for retrieval, with all descriptions of a video; otherwise as
    `load_captioning`."""
    return retrieval_dataset(_read_folder(root, split))


def load_retrieval_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_retrieval`, from the files of `load_captioning_files`."""
    return retrieval_dataset(_read_files(files, split))


def verify(root: Path) -> list[str]:
    """Every missing or odd thing in the folder, a line each; nothing if all is well. Videos are
    looked for, not opened."""
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    mapped = (root / _MAPPING).is_file()
    problems = [] if mapped else [f"{_MAPPING}: missing; without it there is only the split 'all'"]
    splits = _SPLITS if mapped else ["all"]
    return problems + verify_splits(root, splits, lambda s: _read_folder(root, s), "videos")


def _read_folder(root: Path | None, split: str) -> CaptionedSplit:
    known_split("msvd", split, _SPLITS)
    root = data_folder(root, "msvd", _MEND)
    mapping = None if split == "all" else root / _MAPPING
    if mapping is not None and not mapping.is_file():
        raise BadInput(
            f"{mapping}: there is no such file, and the split {split!r} is by it; put it there, or "
            "use --split all"
        )
    return _read(root / _DESCRIPTIONS, mapping, split, root)


def _read_files(files: Mapping[str, Path], split: str) -> CaptionedSplit:
    known_split("msvd", split, _SPLITS)
    mapping = None if split == "all" else files.get("mapping")
    if mapping is None and split != "all":
        raise BadInput(
            f"msvd: the split {split!r} is by {_MAPPING}; add --mapping FILE, or use --split all"
        )
    return _read(annotation_file("msvd", files), mapping, split, None)


def _read(path: Path, mapping: Path | None, split: str, root: Path | None) -> CaptionedSplit:
    notes: list[str] = []
    captions = _read_descriptions(path, notes)
    if mapping is not None:
        captions = _of_split(captions, path, mapping, split, notes)
    places = video_paths(root, captions, _FOLDERS, _SUFFIXES)
    entries = []
    for id, texts in captions.items():
        clip = clip_of(f"msvd/{id}", places[id], _duration(id, path))
        entries.append(Captioned(id, clip, tuple(texts), places[id]))
    files = [path] if mapping is None else [path, mapping]
    return CaptionedSplit("msvd", split, entries, files, tuple(notes))


def _duration(id: str, path: Path) -> float:
    found = _START_END.fullmatch(id)
    if found is None or int(found[2]) <= int(found[1]):
        raise BadInput(
            f"{path}: the video {id!r} does not end in _start_end, in seconds, the end after the "
            f"start; {_MEND}"
        )
    return float(int(found[2]) - int(found[1]))


# ---------------------------------------------------------------- reading the files


def _read_descriptions(path: Path, notes: list[str]) -> dict[str, list[str]]:
    """Video -> its descriptions, in the file's order."""
    captions: dict[str, list[str]] = {}
    for line in read_lines(path, _MEND, notes):
        if not line.strip() or line.startswith("#"):
            continue
        id, _, text = line.partition(" ")
        captions.setdefault(id, []).append(text)
    if not captions:
        raise BadInput(f"{path}: there is no line 'VIDEO description'; {_MEND}")
    return captions


def _of_split(
    captions: Mapping[str, list[str]], path: Path, mapping: Path, split: str, notes: list[str]
) -> dict[str, list[str]]:
    """The videos whose number is in the split, by number. One without a description has none here
    and is dropped, with a note, where data sets are made."""
    numbers = _read_mapping(mapping)
    unmapped = [id for id in captions if id not in numbers]
    if unmapped:
        notes.append(
            f"{path.name}: {len(unmapped):,} of {len(captions):,} videos are in no split: "
            f"{mapping.name} lacks them; the first is {unmapped[0]}"
        )
    inside = sorted((number, id) for id, number in numbers.items() if number in _RANGES[split])
    return {id: captions.get(id, []) for _, id in inside}


def _read_mapping(path: Path) -> dict[str, int]:
    numbers: list[tuple[str, int]] = []
    for place, line in enumerate(read_lines(path, _MEND), start=1):
        if not line.strip():
            continue
        found = _MAPPED.fullmatch(line)
        if found is None:
            raise BadInput(f"{path}: line {place} is not 'VIDEO vidN'; fetch the file again")
        numbers.append((found[1], int(found[2])))
    mend = "fetch the file again"
    refuse_twice(path, (id for id, _ in numbers), "video", mend)
    refuse_twice(path, (f"vid{number}" for _, number in numbers), "number", mend)
    return dict(numbers)
