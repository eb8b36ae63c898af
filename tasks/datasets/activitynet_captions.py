"""ActivityNet Captions (Krishna et al. 2017) as a moment data set. Knows no metric and no model.

Under --data-dir: train.json, val_1.json (or val.json) and val_2.json (or test.json), and the videos
as v_ID.mp4, .mkv or .webm in videos/, v1-2/ or v1-3/. The annotations of the official test part are
not published. As in 2D-TAN (Zhang et al. 2020), "val" is val_1 and "test" is val_2, the same videos
described by other people.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from harness.media.checksums import sha256_of_files
from harness.types import Dataset

from .folders import data_folder, first_file, known_split, video_paths
from .moment_files import Changes, clip_samples, read_sentences, verify_moments
from .visuals import clip_of

_NAME = "activitynet-captions"
_FILES = {
    "train": ("train.json",),
    "val": ("val_1.json", "val.json"),
    "test": ("val_2.json", "test.json"),
}
_FOLDERS = ("videos", "v1-2", "v1-3")
_SUFFIXES = (".mp4", ".mkv", ".webm")
_SAMPLES = {"train": 37417, "val": 17505, "test": 17031}
_MEND = "take captions.zip from https://cs.stanford.edu/people/ranjaykrishna/densevid/"
_videos = partial(video_paths, folders=_FOLDERS, suffixes=_SUFFIXES)  # (root, names)


def load(root: Path | None, split: str) -> Dataset:
    """Open "train", "val" (val_1.json) or "test" (val_2.json) under `root`.

    Raises BadInput, in one line, for whatever is missing or wrong; a video's absence shows when its
    frames are read.
    """
    known_split(_NAME, split, _FILES)
    folder = data_folder(root, _NAME, _MEND)
    return _open(first_file(folder, _FILES[split]), split, folder)


def load_files(files: Mapping[str, Path], split: str) -> Dataset:
    """The file of the role "annotations", without videos: what scoring saved predictions needs."""
    return _open(files["annotations"], split, None)


def verify(root: Path) -> list[str]:
    """Whatever is missing or odd under `root`, a line each; empty if all is well."""
    return verify_moments(root, load, _SAMPLES, _videos)


def _open(path: Path, split: str, root: Path | None) -> Dataset:
    """A sample a sentence, in the file's order; its id is the video's key, "-" and the sentence's
    place from 0 on, whatever was dropped. `sha256` covers the file."""
    annotated = read_sentences(path, "duration", mend=_MEND)
    changes = Changes("sentences")
    paths = _videos(root, annotated)
    samples = []
    for name, record in annotated.items():
        clip = clip_of(f"{_NAME}/{name}", paths[name], record["duration"])
        samples += clip_samples(clip, name, record, 1.0, changes)
    return Dataset(
        name=_NAME,
        split=split,
        samples=tuple(samples),
        sha256=sha256_of_files([path]),
        notes=changes.notes(),
    )
