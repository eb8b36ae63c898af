"""TACoS (Regneri et al. 2013) as a moment data set, in the files of 2D-TAN (Zhang et al. 2020),
which count in frames. Knows no metric and no model.

Under --data-dir: train.json, val.json, test.json and the videos as videos/ID.avi.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from harness.media.checksums import sha256_of_files
from harness.types import Dataset

from .folders import data_folder, known_split, video_paths
from .moment_files import Changes, clip_samples, read_sentences, verify_moments
from .visuals import clip_of

_NAME = "tacos"
_FOLDERS = ("videos",)
_SUFFIXES = (".avi",)
_SAMPLES = {"train": 9790, "val": 4436, "test": 4001}
_MEND = "take the files from https://github.com/microsoft/VideoX, 2D-TAN/data/TACoS"
_videos = partial(video_paths, folders=_FOLDERS, suffixes=_SUFFIXES)  # (root, names)


def load(root: Path | None, split: str) -> Dataset:
    """Open "train", "val" or "test" under `root`.

    Raises BadInput, in one line, for whatever is missing or wrong; a video's absence shows when its
    frames are read.
    """
    known_split(_NAME, split, _SAMPLES)
    folder = data_folder(root, _NAME, _MEND)
    return _open(folder / f"{split}.json", split, folder)


def load_files(files: Mapping[str, Path], split: str) -> Dataset:
    """The file of the role "annotations", without videos: what scoring saved predictions needs."""
    return _open(files["annotations"], split, None)


def verify(root: Path) -> list[str]:
    """Whatever is missing or odd under `root`, a line each; empty if all is well."""
    return verify_moments(root, load, _SAMPLES, _videos)


def _open(path: Path, split: str, root: Path | None) -> Dataset:
    """A sample a sentence, in the file's order; its id is the video's name without ".avi", "-" and
    the sentence's place from 0 on. Seconds are frames over the record's `fps`, a video's duration
    its `num_frames` over `fps`. `sha256` covers the file."""
    annotated = read_sentences(path, "fps", "num_frames", mend=_MEND)
    changes = Changes("sentences")
    paths = _videos(root, [key.removesuffix(".avi") for key in annotated])
    samples = []
    for key, record in annotated.items():
        name = key.removesuffix(".avi")
        duration = record["num_frames"] / record["fps"]
        clip = clip_of(f"{_NAME}/{name}", paths[name], duration)
        samples += clip_samples(clip, name, record, record["fps"], changes)
    return Dataset(
        name=_NAME,
        split=split,
        samples=tuple(samples),
        sha256=sha256_of_files([path]),
        notes=changes.notes(),
    )
