"""MSR-VTT (Xu et al. 2016), 10,000 clips with twenty captions each. Knows no metric and no model.

Under --data-dir: train_val_videodatainfo.json for "train" and "val" and test_videodatainfo.json for
"test", or one file with everything, videodatainfo.json or MSRVTT_data.json; for retrieval's "1ka"
(Yu et al. 2018) also MSRVTT_JSFUSION_test.csv, one caption a video. Videos as VIDEO.mp4 in videos/,
TrainValVideo/, TestVideo/ or all/.
"""

from __future__ import annotations

import csv
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
from .folders import annotation_file, data_folder, first_file, known_split, video_paths
from .json_files import (
    number_of,
    read_json,
    read_lines,
    records_of,
    refuse_twice,
    value_of,
)
from .visuals import clip_of

_OWN_FILES = {
    "train": "train_val_videodatainfo.json",
    "val": "train_val_videodatainfo.json",
    "test": "test_videodatainfo.json",
}
_WHOLE_FILES = ("videodatainfo.json", "MSRVTT_data.json")
_ONE_KA_FILE = "MSRVTT_JSFUSION_test.csv"
_OFFICIAL_NAMES = {"train": "train", "val": "validate", "test": "test"}
_SPLITS = tuple(_OFFICIAL_NAMES)
_RETRIEVAL_SPLITS = (*_SPLITS, "1ka")
_COLUMNS = ["key", "vid_key", "video_id", "sentence"]
_FOLDERS = ("videos", "TrainValVideo", "TestVideo", "all")
_SUFFIXES = (".mp4",)
_MEND = "take the official files of MSR-VTT"


def load_captioning(root: Path | None, split: str) -> Dataset:
    """ "train", "val" or "test" for captioning, all captions of a video as references.

    A clip's duration is the annotations' "end time" less "start time". `sha256` covers the
    annotation file. Raises BadInput, in one line, for whatever is missing or wrong; a video's
    absence shows when it is read.
    """
    known_split("msrvtt", split, _SPLITS)
    return captioning_dataset(_read_folder(root, split))


def load_captioning_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_captioning`, from the file of the role "annotations" alone: reading a video raises
    BadInput."""
    known_split("msrvtt", split, _SPLITS)
    return captioning_dataset(_read_files(files, split))


def load_retrieval(root: Path | None, split: str) -> Dataset:
    """A split as in `load_captioning`, with all captions of a video, or "1ka", whose `sha256`
    covers the csv file."""
    known_split("msrvtt", split, _RETRIEVAL_SPLITS)
    return retrieval_dataset(_read_folder(root, split))


def load_retrieval_files(files: Mapping[str, Path], split: str) -> Dataset:
    """As `load_retrieval`, from the file of the role "annotations" alone, for "1ka" the csv file.
    That has no durations: they are 0 there, and a note says so."""
    known_split("msrvtt", split, _RETRIEVAL_SPLITS)
    return retrieval_dataset(_read_files(files, split))


def verify(root: Path) -> list[str]:
    """Every missing or odd thing in the folder, a line each, over the splits whose annotation file
    is there; nothing if all is well. Videos are looked for, not opened."""
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    present = [split for split in _SPLITS if _annotations_in(root, split).is_file()]
    if (root / _ONE_KA_FILE).is_file():
        present.append("1ka")
    if not present:
        return [f"{_OWN_FILES['test']}: missing, as are all other annotation files; {_MEND}"]
    return verify_splits(root, present, lambda split: _read_folder(root, split), "videos")


def _annotations_in(root: Path, split: str) -> Path:
    """The split's own file, else one with everything; its own if there is none."""
    return first_file(root, (_OWN_FILES[split], *_WHOLE_FILES))


def _read_folder(root: Path | None, split: str) -> CaptionedSplit:
    root = data_folder(root, "msrvtt", _MEND)
    if split == "1ka":
        durations = _all_durations(root)
        return _read_one_ka(root / _ONE_KA_FILE, durations, root)
    return _read_official(_annotations_in(root, split), split, root)


def _read_files(files: Mapping[str, Path], split: str) -> CaptionedSplit:
    path = annotation_file("msrvtt", files)
    return _read_one_ka(path, None, None) if split == "1ka" else _read_official(path, split, None)


# ---------------------------------------------------------------- the official files


def _read_official(path: Path, split: str, root: Path | None) -> CaptionedSplit:
    content = read_json(path, _MEND)
    videos = {}
    for where, video in records_of(path, content, "videos", _MEND):
        id = value_of(video, "video_id", str, where, _MEND)
        if id in videos:
            raise BadInput(f"{where}: video {id!r} is there twice; {_MEND}")
        name = value_of(video, "split", str, where, _MEND)
        videos[id] = (name, _duration(video, where))
    captions: dict[str, list[str]] = {id: [] for id in videos}
    for where, sentence in records_of(path, content, "sentences", _MEND):
        id = value_of(sentence, "video_id", str, where, _MEND)
        if id not in videos:
            raise BadInput(f"{where} is about video {id!r}, which 'videos' lacks; {_MEND}")
        captions[id].append(value_of(sentence, "caption", str, where, _MEND))
    official = _OFFICIAL_NAMES[split]
    ids = [id for id, (name, _) in videos.items() if name == official]
    places = video_paths(root, ids, _FOLDERS, _SUFFIXES)
    entries = [
        Captioned(id, clip_of(f"msrvtt/{id}", place, videos[id][1]), tuple(captions[id]), place)
        for id, place in places.items()
    ]
    return CaptionedSplit("msrvtt", split, entries, [path])


def _duration(video: dict[str, object], where: str) -> float:
    start = number_of(video, "start time", where, _MEND)
    end = number_of(video, "end time", where, _MEND)
    if end <= start:
        raise BadInput(f"{where} ends at {end} s, not after its start at {start} s; {_MEND}")
    return end - start


# ---------------------------------------------------------------- the split 1kA


def _all_durations(root: Path) -> dict[str, float]:
    """Video -> seconds, from whatever official files are there."""
    paths = [_annotations_in(root, split) for split in _SPLITS]
    durations: dict[str, float] = {}
    for path in dict.fromkeys(path for path in paths if path.is_file()):
        for where, video in records_of(path, read_json(path, _MEND), "videos", _MEND):
            id = value_of(video, "video_id", str, where, _MEND)
            durations[id] = _duration(video, where)
    return durations


def _read_one_ka(
    path: Path, durations: Mapping[str, float] | None, root: Path | None
) -> CaptionedSplit:
    """`durations` of None: there are none, which matters only to who reads videos."""
    rows = _read_rows(path)
    refuse_twice(path, (id for id, _ in rows), "video", _MEND)
    notes = []
    if durations is None:
        notes.append("the durations of the videos are not known and stand as 0 seconds")
    places = video_paths(root, (id for id, _ in rows), _FOLDERS, _SUFFIXES)
    entries = []
    for id, sentence in rows:
        if durations is not None and id not in durations:
            raise BadInput(
                f"{path}: the duration of video {id!r} is in none of the official files there; put "
                f"{_OWN_FILES['test']} or {_WHOLE_FILES[1]} beside this file"
            )
        clip = clip_of(f"msrvtt/{id}", places[id], 0.0 if durations is None else durations[id])
        entries.append(Captioned(id, clip, (sentence,), places[id]))
    return CaptionedSplit("msrvtt", "1ka", entries, [path], tuple(notes))


def _read_rows(path: Path) -> list[tuple[str, str]]:
    """(video, sentence) of each row."""
    lines = (f"{line}\n" for line in read_lines(path, _MEND))
    try:
        header, *rows = [row for row in csv.reader(lines, strict=True) if row]
    except (csv.Error, ValueError) as error:
        raise BadInput(f"{path}: this is not a table with commas ({error}); {_MEND}") from None
    if header != _COLUMNS:
        raise BadInput(f"{path}: the columns are not {','.join(_COLUMNS)}; {_MEND}")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(_COLUMNS):
            raise BadInput(
                f"{path}: row {number} has {len(row)} columns, not {len(_COLUMNS)}; {_MEND}"
            )
    return [(row[2], row[3]) for row in rows]
