"""ActivityNet Captions (Krishna et al. 2017) as a moment data set, and what the readers of moment
data sets share: clips, faults and notes. Knows no metric and no model.

Under --data-dir: train.json, val_1.json (or val.json) and val_2.json (or test.json), and the videos
as v_ID.mp4, .mkv or .webm in videos/, v1-2/ or v1-3/. The annotations of the official test part are
not published. As in 2D-TAN (Zhang et al. 2020), "val" is val_1 and "test" is val_2, the same videos
described by other people.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.types import Clip, Dataset, Json, MomentQuery, Sample

from ..targets import MomentTarget

if TYPE_CHECKING:
    from harness.types import Frames

_NAME = "activitynet-captions"
_FILES = {
    "train": ("train.json",),
    "val": ("val_1.json", "val.json"),
    "test": ("val_2.json", "test.json"),
}
_FOLDERS = ("videos", "v1-2", "v1-3")
_EXTENSIONS = (".mp4", ".mkv", ".webm")
_SAMPLES = {"train": 37417, "val": 17505, "test": 17031}
_MEND = "take captions.zip from https://cs.stanford.edu/people/ranjaykrishna/densevid/"


def load(root: Path | None, split: str) -> Dataset:
    """Open "train", "val" (val_1.json) or "test" (val_2.json) under `root`.

    Raises BadInput, in one line, for whatever is missing or wrong; a video's absence shows when its
    frames are read.
    """
    folder = data_folder(_NAME, root, split, tuple(_FILES), _MEND)
    return _open(annotations_file(folder, _FILES[split]), split, video_files(folder, _FOLDERS))


def load_files(files: Mapping[str, Path], split: str) -> Dataset:
    """The file of the role "annotations", without videos: what scoring saved predictions needs."""
    return _open(files["annotations"], split, None)


def verify(root: Path) -> list[str]:
    """Whatever is missing or odd under `root`, a line each; empty if all is well."""
    return verify_moments(root, load, _SAMPLES, _FOLDERS, partial(find_video, _EXTENSIONS))


def _open(path: Path, split: str, videos: Mapping[str, Path] | None) -> Dataset:
    """A sample a sentence, in the file's order; its id is the video's key, "-" and the sentence's
    place from 0 on, whatever was dropped. `sha256` covers the file."""
    annotated = read_sentences(path, "duration", mend=_MEND)
    changes = Changes("sentences")
    samples = []
    for name, record in annotated.items():
        clip = moment_clip(
            _NAME, name, videos, partial(find_video, _EXTENSIONS), record["duration"]
        )
        samples += clip_samples(clip, name, record, 1.0, changes)
    return Dataset(
        name=_NAME,
        split=split,
        samples=tuple(samples),
        sha256=sha256_of_files([path]),
        notes=changes.notes(),
    )


# ---------------------------------------------------------------- files of timestamps and sentences


def read_sentences(path: Path, *numbers: str, mend: str) -> dict[str, Json]:
    """Video -> its record of `timestamps`, `sentences`, as many, and the positive `numbers` named.

    Raises Faulty, a line for each kind of fault, if the file is no such thing.
    """
    content = read_json(path, mend)
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{path}: this is no JSON object of videos; {mend}")
    faults = Faults(path, mend)
    for name, record in content.items():
        if not isinstance(record, dict):
            faults.add(f"video {name!r}", "is not an object")
            continue
        for key in numbers:
            if not is_number(record.get(key)) or record[key] <= 0:
                faults.add(f"video {name!r}", f"has no positive number {key!r}")
        times, sentences = record.get("timestamps"), record.get("sentences")
        if not isinstance(times, list) or not isinstance(sentences, list):
            faults.add(f"video {name!r}", "has no lists 'timestamps' and 'sentences'")
        elif len(times) != len(sentences):
            faults.add(f"video {name!r}", "has not as many timestamps as sentences")
        else:
            for place, (pair, text) in enumerate(zip(times, sentences, strict=True)):
                if not _is_pair(pair):
                    faults.add(f"video {name!r}", "has a timestamp that is no pair of numbers")
                if not isinstance(text, str) or not text.strip():
                    faults.add(f"sentence {name}-{place}", "is no text")
    faults.check()
    return content


def clip_samples(
    clip: Clip, name: str, record: Json, per_second: float, changes: Changes
) -> list[Sample]:
    """The samples of one video's record, whose timestamps count in 1 / `per_second` seconds. What
    is dropped or changed goes to `changes` by the ids."""
    samples = []
    for place, (pair, raw) in enumerate(
        zip(record["timestamps"], record["sentences"], strict=True)
    ):
        id = f"{name}-{place}"
        changes.total += 1
        text = changes.clean(id, raw)
        moment = changes.fit(id, pair[0] / per_second, pair[1] / per_second, clip.duration)
        if moment is not None:
            samples.append(moment_sample(id, clip, text, moment))
    return samples


def moment_sample(id: str, clip: Clip, text: str, moment: tuple[float, float]) -> Sample:
    """A query with one right moment, grouped by its clip."""
    return Sample(
        id=id, input=MomentQuery(clip, text), target=MomentTarget((moment,)), group=clip.id
    )


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


# ---------------------------------------------------------------- what is wrong, what was changed


class Faulty(BadInput):
    """All that is wrong with a file: its message is the first line of `lines`."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(lines[0])
        self.lines = tuple(lines)


@dataclass
class Faults:
    """What is wrong with a file, by kind, gathered so that a user learns of it all at once."""

    path: Path
    mend: str
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, where: str, what: str) -> None:
        self.places.setdefault(what, []).append(where)

    def check(self) -> None:
        """Raises Faulty if there is any fault: a line for each kind, with the first example."""
        lines = []
        for what, places in self.places.items():
            more = f" (and {len(places) - 1:,} more)" if len(places) > 1 else ""
            lines.append(f"{self.path}: {places[0]} {what}{more}; {self.mend}")
        if lines:
            raise Faulty(lines)


@dataclass
class Changes:
    """What reading drops and changes, for a data set's notes. `unit`: what is counted ("lines");
    `total`: how many there are."""

    unit: str
    total: int = 0
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, where: str, what: str) -> None:
        self.places.setdefault(what, []).append(where)

    def fit(
        self, where: str, start: float, end: float, duration: float
    ) -> tuple[float, float] | None:
        """The moment within 0 and `duration`; None, to be dropped, if it is empty or inverted,
        before or after that. As in 2D-TAN's readers."""
        fitted = max(start, 0.0), min(end, duration)
        if start >= end:
            self.add(where, "dropped: the moment ends where it starts, or before")
            return None
        if fitted[0] >= fitted[1]:
            self.add(where, "dropped: the moment lies outside the video")
            return None
        if end > duration:
            self.add(where, "changed: the moment ends after the video; clipped to the video's end")
        if start < 0:
            self.add(where, "changed: the moment starts before 0; clipped to 0")
        return fitted

    def clean(self, where: str, text: str) -> str:
        """The text with one space between its words and none around them."""
        cleaned = " ".join(text.split())
        if cleaned != text:
            self.add(where, "changed: spaces around the text or in a row, or line breaks, removed")
        return cleaned

    def notes(self) -> tuple[str, ...]:
        """A line for each kind of change, with the first ten places."""
        return tuple(
            f"{len(places):,} of {self.total:,} {self.unit} {what}: "
            + ", ".join(places[:10])
            + (", ..." if len(places) > 10 else "")
            for what, places in sorted(self.places.items(), reverse=True)  # dropped before changed
        )


def read_json(path: Path, mend: str) -> object:
    """The content of a JSON file. Raises BadInput if it cannot be read, is no JSON, or has an
    object with a key twice, of which JSON readers keep one without a word."""
    try:
        content: object = json.loads(path.read_bytes(), object_pairs_hook=_unique_keys)
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file; {mend}") from None
    except OSError as error:
        raise BadInput(f"{path}: the file cannot be read ({error.strerror}); {mend}") from None
    except (ValueError, RecursionError) as error:  # its message gives the line and the column
        raise BadInput(f"{path}: this is not good JSON ({error}); {mend}") from None
    return content


def is_number(value: object) -> bool:
    """Whether a value of a JSON file is a finite number of usual size, true and false excepted."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) <= 1e9


def _unique_keys(pairs: list[tuple[str, Any]]) -> Json:
    record = dict(pairs)
    if len(record) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r} is there twice")
    return record


# ---------------------------------------------------------------- folders and videos


def data_folder(name: str, root: Path | None, split: str, splits: Sequence[str], mend: str) -> Path:
    """`root`, if it is a folder and `split` is known; BadInput otherwise."""
    if split not in splits:
        raise BadInput(f"{name} has no split {split!r}; use one of: {', '.join(splits)}")
    if root is None:
        raise BadInput(f"{name} needs --data-dir, the folder of its files; {mend}")
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder; correct --data-dir, or {mend}")
    return root


def annotations_file(root: Path, names: Sequence[str]) -> Path:
    """The first of the names that is there; the first name if none is."""
    return next((root / name for name in names if (root / name).is_file()), root / names[0])


def video_files(root: Path, folders: Sequence[str]) -> dict[str, Path]:
    """File name -> path of all that lies in the folders; the first folder wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        if (root / folder).is_dir():
            for path in _listed(root / folder):
                found.setdefault(path.name, path)
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror
        raise BadInput(f"{folder}: the folder cannot be read ({reason}); correct that") from None


def find_video(extensions: Sequence[str], videos: Mapping[str, Path], name: str) -> Path | None:
    """The video of that name with the first of the extensions that is there."""
    return next((videos[name + end] for end in extensions if name + end in videos), None)


def moment_clip(
    dataset: str,
    name: str,
    videos: Mapping[str, Path] | None,
    find: Callable[[Mapping[str, Path], str], Path | None],
    duration: float,
) -> Clip:
    """The clip "dataset/name". Reading frames raises BadInput if no folder was given (`videos` is
    None) or `find` finds no file in it."""
    id = f"{dataset}/{name}"
    if videos is None:
        reason = f"video {id}: no folder of videos was given; add --data-dir"
        return Clip(id=id, read=partial(_no_frames, reason), duration=duration)
    path = find(videos, name)
    if path is None:
        reason = f"video {id}: its file is not there; put it into videos/ under --data-dir"
        return Clip(id=id, read=partial(_no_frames, reason), duration=duration)
    from harness.media.video import video_clip

    return video_clip(id, path, duration)


def verify_moments(
    root: Path,
    load: Callable[[Path, str], Dataset],
    official: Mapping[str, int],
    folders: Sequence[str],
    find: Callable[[Mapping[str, Path], str], Path | None],
) -> list[str]:
    """A line for each thing that is missing or odd: faults of the annotations, a split whose number
    of samples is not the `official` one, videos that are absent or empty."""
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    lines: list[str] = []
    names: dict[str, None] = {}
    for split, count in official.items():
        try:
            dataset = load(root, split)
        except Faulty as error:
            lines += error.lines
            continue
        except BadInput as error:
            lines.append(str(error))
            continue
        if len(dataset.samples) != count:
            lines.append(
                f"{root}: split {split!r} has {len(dataset.samples):,} samples, "
                f"{count:,} in the official files; fetch its annotations again"
            )
        names |= {sample.group.split("/", 1)[1]: None for sample in dataset.samples}
    return lines + (_odd_videos(root, names, folders, find) if names else [])


def _odd_videos(
    root: Path,
    names: Mapping[str, None],
    folders: Sequence[str],
    find: Callable[[Mapping[str, Path], str], Path | None],
) -> list[str]:
    videos = video_files(root, folders)
    places = " or ".join(f"{folder}/" for folder in folders)
    paths = {name: find(videos, name) for name in names}
    absent = [name for name, path in paths.items() if path is None]
    empty = [name for name, path in paths.items() if path is not None and not _has_bytes(path)]
    lines = []
    if absent:
        lines.append(
            f"{root}: {len(absent):,} of {len(names):,} videos are not in {places}, "
            f"the first {absent[0]!r}; put them there"
        )
    if empty:
        lines.append(
            f"{root}: {len(empty):,} of {len(names):,} videos are empty or no files, "
            f"the first {empty[0]!r}; fetch them again"
        )
    return lines


def _has_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _no_frames(reason: str, count: int) -> Frames:
    raise BadInput(reason)
