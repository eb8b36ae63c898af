"""What annotations say of the regions that a picture was cut into: the words for each, and which
phrases of a text speak of it. For training only; knows no network."""

from __future__ import annotations

from collections.abc import Sequence

from harness.types import Box, Dataset, RegionAnnotation

from .region_encoder import PictureRegions


def label_words_of(dataset: Dataset) -> dict[str, int]:
    """Every word that annotates a region of the data set -> its index, in the order of words."""
    if dataset.region_annotations is None:
        return {}
    pictures = {sample.group: sample.input.visual for sample in dataset.samples}
    words = {
        word
        for picture in pictures.values()
        for annotation in dataset.region_annotations(picture)
        for word in annotation.labels
    }
    return {word: index for index, word in enumerate(sorted(words))}


def labels_of(
    regions: PictureRegions,
    annotations: Sequence[RegionAnnotation],
    label_words: dict[str, int],
) -> list[list[int]]:
    """For each region but the whole picture, the labels of the annotation that overlaps it most, if
    by at least half: how detectors assign their targets."""
    labels: list[list[int]] = [[] for _ in regions.boxes]
    for row, box in enumerate(regions.boxes.tolist()[1:], start=1):
        best = max(annotations, key=lambda a: _overlap(a.box, box), default=None)
        if best is not None and _overlap(best.box, box) >= 0.5:
            labels[row] = [label_words[word] for word in best.labels if word in label_words]
    return labels


def roles_of(
    regions: PictureRegions, groundings: Sequence[Sequence[Box]], phrases: int
) -> list[list[int]]:
    """For each region, which of the first `phrases` phrases of a text speak of it."""
    return [
        [
            phrase
            for phrase, boxes in enumerate(groundings[:phrases])
            if row > 0 and any(_overlap(box, region) >= 0.5 for box in boxes)
        ]
        for row, region in enumerate(regions.boxes.tolist())
    ]


def _overlap(a: Sequence[int], b: Sequence[int]) -> float:
    """Intersection over union of two boxes with exclusive far ends."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)
