"""Charades-STA (Gao et al. 2017) in the official files, cleaned as 2D-TAN (Zhang et al. 2020) does.
Knows no metric and no model.

Under --data-dir: charades_sta_{train,test}.txt, whose lines are "3MSZA 24.3 30.4##person turn a
light on.", Charades_v1_{train,test}.csv of Charades for the videos' lengths, and the videos as
ID.mp4 in Charades_v1/, Charades_v1_480/ or videos/. There is no validation part.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.types import Dataset

from .faults import Faults
from .folders import data_folder, known_split, video_paths
from .json_files import read_text
from .moment_files import Changes, moment_sample, verify_moments
from .visuals import clip_of

_NAME = "charades-sta"
_FOLDERS = ("Charades_v1", "Charades_v1_480", "videos")
_SUFFIXES = (".mp4",)
_SAMPLES = {"train": 12404, "test": 3720}
_LINE = re.compile(r"(\S+) (\d{1,6}(?:\.\d+)?) (\d{1,6}(?:\.\d+)?)##(.*\S.*)")
_LENGTH = re.compile(r"\d{1,6}(?:\.\d+)?")
_MEND = "take the files that https://github.com/jiyanggao/TALL links"
_MEND_CSV = "take Charades.zip from https://prior.allenai.org/projects/charades"
_videos = partial(video_paths, folders=_FOLDERS, suffixes=_SUFFIXES)  # (root, names)


@dataclass(frozen=True)
class _Line:
    number: int  # from 1 on
    video: str
    start: float
    end: float
    text: str


def load(root: Path | None, split: str) -> Dataset:
    """Open "train" or "test" under `root`; the table of lengths is needed.

    Raises BadInput, in one line, for whatever is missing or wrong; a video's absence shows when its
    frames are read.
    """
    known_split(_NAME, split, _SAMPLES)
    folder = data_folder(root, _NAME, _MEND)
    path, table = folder / f"charades_sta_{split}.txt", folder / f"Charades_v1_{split}.csv"
    return _open(path, table, split, folder)


def load_files(files: Mapping[str, Path], split: str) -> Dataset:
    """The files of the roles "annotations" and, if there, "durations" (the table of lengths),
    without videos: what scoring saved predictions needs."""
    return _open(files["annotations"], files.get("durations"), split, None)


def verify(root: Path) -> list[str]:
    """Whatever is missing or odd under `root`, a line each; empty if all is well."""
    return verify_moments(root, load, _SAMPLES, _videos)


def _open(path: Path, table: Path | None, split: str, root: Path | None) -> Dataset:
    """A sample a line, in the file's order; its id is the split, "-" and the line's number.

    Without the table a clip lasts to the end of its last moment, so that no end is clipped: a
    note says so. `sha256` covers the file and the table, if given.
    """
    lines = _read_lines(path)
    durations = _latest_ends(lines) if table is None else _read_lengths(table)
    _check_videos(path, lines, table, durations)
    changes = Changes("lines", total=len(lines))
    paths = _videos(root, dict.fromkeys(line.video for line in lines))
    clips = {
        name: clip_of(f"{_NAME}/{name}", path, durations[name]) for name, path in paths.items()
    }
    samples = []
    for line in lines:
        clip, where = clips[line.video], str(line.number)
        text = changes.clean(where, line.text)
        moment = changes.fit(where, line.start, line.end, clip.duration)
        if moment is not None:
            samples.append(moment_sample(f"{split}-{line.number:05d}", clip, text, moment))
    unknown = (
        f"the lengths of all {len(clips):,} videos are unknown without the table of durations: "
        "each is taken to last to the end of its last moment, and no end was clipped",
    )
    return Dataset(
        name=_NAME,
        split=split,
        samples=tuple(samples),
        sha256=sha256_of_files([path] if table is None else [path, table]),
        notes=changes.notes() + (unknown if table is None else ()),
    )


def _latest_ends(lines: list[_Line]) -> dict[str, float]:
    ends: dict[str, float] = {}
    for line in lines:
        ends[line.video] = max(line.start, line.end, ends.get(line.video, 0.0))
    return ends


# ---------------------------------------------------------------- reading and checking the files


def _read_lines(path: Path) -> list[_Line]:
    faults = Faults(path, _MEND)
    lines = []
    for number, content in enumerate(read_text(path, _MEND).rstrip("\r\n").split("\n"), start=1):
        match = _LINE.fullmatch(content.rstrip("\r"))
        if match is None:
            faults.add(f"line {number}", "is not 'VIDEO START END##SENTENCE'")
            continue
        video, start, end, text = match.groups()
        lines.append(_Line(number, video, float(start), float(end), text))
    faults.check()
    return lines


def _read_lengths(path: Path) -> dict[str, float]:
    """Video -> seconds."""
    rows = csv.DictReader(io.StringIO(read_text(path, _MEND_CSV), newline=""))
    faults = Faults(path, _MEND_CSV)
    lengths: dict[str, float] = {}
    try:
        if not {"id", "length"} <= set(rows.fieldnames or ()):
            raise BadInput(f"{path}: line 1 has no columns 'id' and 'length'; {_MEND_CSV}")
        for row in rows:
            length = row["length"] or ""
            if _LENGTH.fullmatch(length) is None or float(length) <= 0:
                faults.add(f"line {rows.line_num}", "has no positive number 'length'")
            elif row["id"] in lengths:
                faults.add(f"line {rows.line_num}", "has a video that is there twice")
            else:
                lengths[row["id"]] = float(length)
    except csv.Error as error:
        raise BadInput(
            f"{path}: line {rows.line_num}: this is no CSV ({error}); {_MEND_CSV}"
        ) from None
    faults.check()
    return lengths


def _check_videos(
    path: Path, lines: list[_Line], table: Path | None, durations: Mapping[str, float]
) -> None:
    faults = Faults(path, "give the two files of one split")
    for line in lines:
        if line.video not in durations:
            faults.add(f"line {line.number} (video {line.video!r})", f"has no length in {table}")
    faults.check()
