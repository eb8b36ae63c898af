"""What the data sets of captioned pictures and videos share: from a list of visuals with their
captions to a Dataset for captioning or for retrieval. Knows no data set, no metric and no model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.types import CaptionedVisual, Dataset, Sample, Uncaptioned, Visual

from ..targets import CaptionTarget, RetrievalTarget
from .folders import missing_files


@dataclass(frozen=True)
class Captioned:
    """A visual, its official id and its captions as they stand in the file. `path`: its file, None
    where only the annotations were given. `gallery`: as in CaptionedVisual."""

    id: str
    visual: Visual
    captions: tuple[str, ...]
    path: Path | None = None
    gallery: str = ""


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
            input=CaptionedVisual(entry.visual, entry.captions, gallery=entry.gallery),
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
