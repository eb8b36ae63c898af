"""What the data sets of captioned pictures and videos share: from a list of visuals with their
captions to a Dataset for captioning or for retrieval, Karpathy's split files, and the check that
media are there. Knows no data set, no metric and no model."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.media.images import file_picture
from harness.media.video import video_clip
from harness.types import CaptionedVisual, Clip, Dataset, Picture, Sample, Uncaptioned, Visual

from ..targets import CaptionTarget, RetrievalTarget
from .json_files import read_records, value_of

if TYPE_CHECKING:
    from harness.types import Frames, Pixels

_NAMED = 3  # so many files of a folder are named one by one


@dataclass(frozen=True)
class Captioned:
    """A visual, its official id and its captions as they stand in the file. `path`: its file, None
    where only the annotations were given."""

    id: str
    visual: Visual
    captions: tuple[str, ...]
    path: Path | None = None


@dataclass(frozen=True)
class CaptionedSplit:
    """One split of a data set as read. `files`: the annotation files, which `sha256` covers."""

    name: str
    split: str
    entries: Sequence[Captioned]
    files: Sequence[Path]
    notes: tuple[str, ...] = ()


def captioning_dataset(read: CaptionedSplit) -> Dataset:
    """A sample a visual: Uncaptioned and a CaptionTarget of all its captions.

    A caption of nothing but spaces is left out, and so is a visual without captions; notes count
    both. Raises BadInput if nothing is left.
    """
    entries, notes = _with_captions(read)
    samples = tuple(
        Sample(
            id=entry.id,
            input=Uncaptioned(entry.visual),
            target=CaptionTarget(entry.captions),
            group=entry.visual.id,
        )
        for entry in entries
    )
    return _dataset(read, samples, notes)


def retrieval_dataset(read: CaptionedSplit, at_most: int | None = None) -> Dataset:
    """A sample a visual: CaptionedVisual and a RetrievalTarget.

    Of each visual the first `at_most` captions are kept, all with None; a note counts the others.
    Otherwise as `captioning_dataset`.
    """
    entries, notes = _with_captions(read)
    if at_most is not None:
        entries, notes = _first_captions(entries, notes, at_most)
    samples = tuple(
        Sample(
            id=entry.id,
            input=CaptionedVisual(entry.visual, entry.captions),
            target=RetrievalTarget(len(entry.captions)),
            group=entry.visual.id,
        )
        for entry in entries
    )
    return _dataset(read, samples, notes)


def _dataset(read: CaptionedSplit, samples: tuple[Sample, ...], notes: tuple[str, ...]) -> Dataset:
    return Dataset(read.name, read.split, samples, sha256_of_files(read.files), notes=notes)


def _with_captions(read: CaptionedSplit) -> tuple[list[Captioned], tuple[str, ...]]:
    kept, blank, bare = [], [], []
    for entry in read.entries:
        captions = tuple(caption for caption in entry.captions if caption.strip())
        blank += [entry.id] * (len(entry.captions) - len(captions))
        if captions:
            kept.append(replace(entry, captions=captions))
        else:
            bare.append(entry.id)
    if not kept:
        raise BadInput(
            f"{read.files[0]}: there is no caption of the split {read.split!r}; give the file that "
            "belongs to the split, or another --split"
        )
    notes = list(read.notes)
    if blank:
        notes.append(f"{len(blank):,} empty captions left out, the first of {blank[0]}")
    if bare:
        notes.append(
            f"{len(bare):,} of {len(read.entries):,} entries dropped: they have no caption; the "
            f"first is {bare[0]}"
        )
    return kept, tuple(notes)


def _first_captions(
    entries: list[Captioned], notes: tuple[str, ...], at_most: int
) -> tuple[list[Captioned], tuple[str, ...]]:
    counts = [len(entry.captions) for entry in entries]
    beyond = [count - at_most for count in counts if count > at_most]
    if not beyond:
        return entries, notes
    note = (
        f"{sum(beyond):,} of {sum(counts):,} captions left out: a picture's first {at_most} are "
        f"searched, as is customary, and {len(beyond):,} pictures have more"
    )
    return [replace(entry, captions=entry.captions[:at_most]) for entry in entries], (*notes, note)


# ---------------------------------------------------------------- visuals


def picture_of(id: str, path: Path | None, size: tuple[int, int] | None = None) -> Picture:
    """The picture in the file `path`; without one, reading it raises BadInput."""
    if path is not None:
        return replace(file_picture(id, path), size=size)

    def read() -> Pixels:
        raise BadInput(f"picture {id}: no folder of pictures was given; add --data-dir")

    return Picture(id=id, read=read, size=size)


def clip_of(id: str, path: Path | None, duration: float) -> Clip:
    """The video in the file `path`, `duration` in seconds; without a file, reading it raises
    BadInput."""
    if path is not None:
        return video_clip(id, path, duration)

    def read(count: int) -> Frames:
        raise BadInput(f"video {id}: no folder of videos was given; add --data-dir")

    return Clip(id=id, read=read, duration=duration)


def data_folder(root: Path | None, name: str, mend: str) -> Path:
    """`root` if there is such a folder, else BadInput."""
    if root is None:
        raise BadInput(f"{name} needs --data-dir, the folder of its files; {mend}")
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder; correct --data-dir, or {mend}")
    return root


def known_split(name: str, split: str, splits: Collection[str]) -> None:
    """Raises BadInput if `split` is none of `splits`."""
    if split not in splits:
        raise BadInput(f"{name} has no split {split!r}; use one of: {', '.join(splits)}")


def annotation_file(name: str, files: Mapping[str, Path]) -> Path:
    """The file of the role "annotations", else BadInput."""
    if "annotations" not in files:
        raise BadInput(f"{name} needs its annotation file; add --annotations FILE")
    return files["annotations"]


def first_folder(root: Path, names: Sequence[str]) -> Path:
    """The first of `names` that is a folder in `root`; the first of all if none is."""
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])


def videos_in(root: Path, folders: Sequence[str], suffixes: Sequence[str]) -> dict[str, Path]:
    """Name without suffix -> path of the video files in `folders` of `root`; where a name comes
    twice, the earlier folder and the earlier suffix have it."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not (root / folder).is_dir():
            continue
        names = sorted(path.name for path in (root / folder).iterdir())
        for suffix in suffixes:
            for name in names:
                if name.lower().endswith(suffix):
                    found.setdefault(name[: -len(suffix)], root / folder / name)
    return found


# ---------------------------------------------------------------- Karpathy's files


@dataclass(frozen=True)
class KarpathyImage:
    """An image of Karpathy's dataset_*.json. `number` is COCO's image id, None where there is none;
    `folder` is "" where the file gives none; `captions` are the sentences' raw texts."""

    name: str
    folder: str
    number: int | None
    split: str
    captions: tuple[str, ...]


def read_karpathy(path: Path, mend: str) -> list[KarpathyImage]:
    """All images of one of Karpathy's files, in order. Raises BadInput for whatever is wrong."""
    images = [
        _karpathy_image(record, where, mend) for where, record in read_records(path, "images", mend)
    ]
    refuse_twice(path, ((image.folder, image.name) for image in images), "image", mend)
    return images


def _karpathy_image(record: dict[str, object], where: str, mend: str) -> KarpathyImage:
    name = value_of(record, "filename", str, where, mend)
    where = f"{where} ({name})"
    captions = []
    for position, sentence in enumerate(value_of(record, "sentences", list, where, mend)):
        if not isinstance(sentence, dict) or not isinstance(sentence.get("raw"), str):
            raise BadInput(f"{where}: sentences[{position}] has no text 'raw'; {mend}")
        captions.append(sentence["raw"])
    return KarpathyImage(
        name=name,
        folder=value_of(record, "filepath", str, where, mend) if "filepath" in record else "",
        number=value_of(record, "cocoid", int, where, mend) if "cocoid" in record else None,
        split=value_of(record, "split", str, where, mend),
        captions=tuple(captions),
    )


def refuse_twice(path: Path, keys: Iterable[object], what: str, mend: str) -> None:
    """Raises BadInput if one of `keys` comes twice."""
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise BadInput(f"{path}: {what} {twice[0]!r} is there twice; {mend}")


# ---------------------------------------------------------------- verifying


def verify_splits(
    root: Path, splits: Iterable[str], read: Callable[[str], CaptionedSplit], what: str
) -> list[str]:
    """Everything that is wrong with the annotation files of `splits` and everything missing among
    the media they name, `what` being "pictures" or "videos", a line each."""
    problems: dict[str, None] = {}
    paths: dict[Path, None] = {}
    for split in splits:
        try:
            entries = read(split).entries
        except BadInput as error:
            problems[str(error).removeprefix(f"{root}{os.sep}")] = None
            continue
        paths.update((entry.path, None) for entry in entries if entry.path is not None)
    return [*problems, *missing_files(root, paths, what)]


def missing_files(root: Path, paths: Iterable[Path], what: str) -> list[str]:
    """A line for each of `paths` that is missing or empty; where a folder misses more than three,
    one line for all of them. Folders are listed once, files are not opened."""
    folders: dict[Path, list[str]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path.name)
    problems = []
    for folder, names in folders.items():
        shown = folder.relative_to(root).as_posix()
        if not folder.is_dir():
            problems.append(f"{shown}/: there is no such folder; it holds {len(names):,} {what}")
            continue
        with os.scandir(folder) as found:
            sizes = {file.name: file.stat().st_size for file in found if file.is_file()}
        missing = [name for name in names if name not in sizes]
        empty = [name for name in names if sizes.get(name) == 0]
        for state, of_it in (("missing", missing), ("empty", empty)):
            if len(of_it) <= _NAMED:
                problems += [f"{shown}/{name}: {state}; fetch it again" for name in of_it]
            else:
                problems.append(
                    f"{len(of_it):,} of {len(names):,} {what} {state} in {shown}/, the first is "
                    f"{of_it[0]}"
                )
    return problems
