"""DiDeMo (Hendricks et al. 2017) in the official files: moments of whole five-second chunks, chosen
by several annotators. Knows no metric and no model.

Under --data-dir: {train,val,test}_data.json, and the videos in videos/ by the name that the files
give, as it is, with .mp4, .avi or .mov after it, or with one of these in place of its extension.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.types import Dataset, Json, MomentQuery, Sample

from ..targets import ChunkTarget
from .faults import Faults
from .folders import data_folder, first_folder, known_split, videos_in
from .json_files import read_json
from .moment_files import Changes, verify_moments
from .visuals import clip_of

CHUNKS = tuple((first, last) for first in range(6) for last in range(first, 6))
"""DiDeMo's 21 moments as (first, last) chunk, both included; in the order of CANDIDATES."""

CANDIDATES = tuple((5.0 * first, 5.0 * (last + 1)) for first, last in CHUNKS)
"""The same in seconds, (start, end)."""

_NAME = "didemo"
_FOLDERS = ("videos",)
_SUFFIXES = (".mp4", ".avi", ".mov")
_SAMPLES = {"train": 33005, "val": 4180, "test": 4021}
_SECONDS = 5.0
_LEAST_ANNOTATORS = 3  # the official rule scores against the best three
_MEND = "take the files from https://github.com/LisaAnne/LocalizingMoments, data/"


def load(root: Path | None, split: str) -> Dataset:
    """Open "train", "val" or "test" under `root`.

    Raises BadInput, in one line, for whatever is missing or wrong; a video's absence shows when its
    frames are read.
    """
    known_split(_NAME, split, _SAMPLES)
    folder = data_folder(root, _NAME, _MEND)
    return _open(folder / f"{split}_data.json", split, folder)


def load_files(files: Mapping[str, Path], split: str) -> Dataset:
    """The file of the role "annotations", without videos: what scoring saved predictions needs."""
    return _open(files["annotations"], split, None)


def verify(root: Path) -> list[str]:
    """Whatever is missing or odd under `root`, a line each; empty if all is well."""
    return verify_moments(root, load, _SAMPLES, _videos)


def _open(path: Path, split: str, root: Path | None) -> Dataset:
    """A sample a description, in the file's order; its id is the annotation_id as text.

    A clip lasts five seconds times `num_segments`, which the last chunk of the video may not fill:
    its true length is not in the files. Annotators saw no more than the first 30 seconds, and no
    more of a longer file is read. Every query has all 21 candidates, also that of a video of five
    chunks, as in the official scorer. `sha256` covers the file.
    """
    records = _read_records(path)
    changes = Changes("descriptions", total=len(records))
    durations = {record["video"]: _SECONDS * record["num_segments"] for record in records}
    paths = _videos(root, durations)
    clips = {
        name: clip_of(f"{_NAME}/{name}", paths[name], duration)
        for name, duration in durations.items()
    }
    samples = []
    for record in records:
        name, id = record["video"], str(record["annotation_id"])
        query = MomentQuery(clips[name], changes.clean(id, record["description"]), CANDIDATES)
        times = tuple((first, last) for first, last in record["times"])
        samples.append(Sample(id=id, input=query, target=ChunkTarget(times), group=clips[name].id))
        if record["num_segments"] < 6:
            changes.add(id, "kept with all 21 candidates though the video has fewer than 6 chunks")
    return Dataset(
        name=_NAME,
        split=split,
        samples=tuple(samples),
        sha256=sha256_of_files([path]),
        notes=changes.notes(),
    )


def _videos(root: Path | None, names: Iterable[str]) -> dict[str, Path | None]:
    """Where each video is, or belongs if it is missing; None without a `root`."""
    if root is None:
        return dict.fromkeys(names)
    found = videos_in(root, _FOLDERS, ("", *_SUFFIXES))
    home = first_folder(root, _FOLDERS)
    stems = {name: name.rpartition(".")[0] or name for name in names}
    return {name: found.get(name) or found.get(stem) or home / name for name, stem in stems.items()}


# ---------------------------------------------------------------- reading and checking the file


def _read_records(path: Path) -> list[Json]:
    content = read_json(path, _MEND)
    if not isinstance(content, list) or not content:
        raise BadInput(f"{path}: this is no JSON list of descriptions; {_MEND}")
    faults = Faults(path, _MEND)
    ids: set[str] = set()
    segments: dict[str, int] = {}
    for place, record in enumerate(content):
        if not isinstance(record, dict) or type(record.get("annotation_id")) not in (int, str):
            faults.add(f"record {place}", "has no number or text 'annotation_id'")
            continue
        id = str(record["annotation_id"])
        where = f"record {place} (annotation_id {id!r})"
        if id in ids:
            faults.add(where, "has an annotation_id that is there twice")
        ids.add(id)
        for what in _wrong(record):
            faults.add(where, what)
        if isinstance(record.get("video"), str):
            first = segments.setdefault(record["video"], record.get("num_segments", 0))
            if first != record.get("num_segments"):
                faults.add(where, "has another 'num_segments' than before for its video")
    faults.check()
    return content


def _wrong(record: Json) -> list[str]:
    """What is wrong with one record, apart from its id."""
    reasons = [
        f"has no text {key!r}"
        for key in ("description", "video")
        if not isinstance(record.get(key), str) or not record[key].strip()
    ]
    segments, times = record.get("num_segments"), record.get("times")
    if type(segments) is not int or not 1 <= segments <= 6:
        reasons.append("has no whole number 'num_segments' from 1 to 6")
    if not isinstance(times, list) or len(times) < _LEAST_ANNOTATORS:
        reasons.append("has no list 'times' of three annotators or more")
    elif not all(_is_run(time) for time in times):
        reasons.append("has 'times' that are not [first, last] with 0 <= first <= last <= 5")
    return reasons


def _is_run(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2 or {type(end) for end in value} != {int}:
        return False
    return bool(0 <= value[0] <= value[1] < 6)
