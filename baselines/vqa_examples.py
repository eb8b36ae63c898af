"""Training examples for question answering: pictures with all their questions, as padded batches.

Pictures come with their questions, so that one pass of the CNN serves several. Knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.types import Box, Dataset, RegionAnnotation, Sample

from .region_encoder import PictureRegions, RegionConfig, find_regions, pad_regions
from .vlbert import soft_targets
from .vlbert_vqa import MOST_QUESTION_TOKENS, pad_questions
from .words import Vocabulary

PHRASES = 3  # of a question, whose regions training may be told


@dataclass(frozen=True)
class Example:
    """A picture with all its questions; training shuffles pictures, so that one pass through the
    CNN serves several questions."""

    regions: PictureRegions
    questions: list[list[int]]
    targets: list[dict[int, float]]
    labels: list[list[int]]  # of each region, indices into the label words; empty if not annotated
    mentions: list[list[int]]  # of each question, the label words that stand in it
    roles: list[list[list[int]]]  # of each question and region, the phrases that speak of it
    kinds: list[str]  # of each question, its type


def examples_of(
    dataset: Dataset,
    vocabulary: Vocabulary,
    answers: dict[str, int],
    regions: RegionConfig,
    label_words: dict[str, int],
) -> list[Example]:
    by_picture: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        by_picture.setdefault(sample.input.visual.id, []).append(sample)
    groundings = dataset.groundings or (lambda sample: ())
    examples = []
    for samples in by_picture.values():
        picture = samples[0].input.visual
        found = find_regions(picture, regions)
        annotations = dataset.region_annotations(picture) if dataset.region_annotations else ()
        examples.append(
            Example(
                found,
                [vocabulary.encode(s.input.text, MOST_QUESTION_TOKENS) for s in samples],
                [soft_targets(s.target.answers, answers) for s in samples],
                labels_of(found, annotations, label_words),
                [_mentions(s.input.text, label_words) for s in samples],
                [roles_of(found, groundings(s)) for s in samples],
                [s.input.kind for s in samples],
            )
        )
    return examples


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


def _mentions(text: str, label_words: dict[str, int]) -> list[int]:
    """The label words in a question, in the singular or a regular plural."""
    words = set(re.findall(r"\w+", text.lower()))
    return [index for word, index in label_words.items() if words & {word, f"{word}s", f"{word}es"}]


def roles_of(regions: PictureRegions, groundings: Sequence[Sequence[Box]]) -> list[list[int]]:
    """For each region, the phrases that speak of it, as indices below PHRASES."""
    return [
        [
            phrase
            for phrase, boxes in enumerate(groundings[:PHRASES])
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


@dataclass(frozen=True)
class Collator:
    """Pictures with their questions -> one padded batch."""

    answers: int
    labels: int

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        batch = pad_regions([example.regions for example in examples])
        questions = [ids for example in examples for ids in example.questions]
        picture_of = [row for row, e in enumerate(examples) for _ in e.questions]
        targets = torch.zeros(len(questions), self.answers)
        for row, scores in enumerate(s for example in examples for s in example.targets):
            for index, score in scores.items():
                targets[row, index] = score
        labels = torch.zeros(*batch.mask.shape, self.labels)
        labelled = torch.zeros(batch.mask.shape, dtype=torch.bool)
        for row, example in enumerate(examples):
            for region, words in enumerate(example.labels):
                labels[row, region, words] = 1.0
                labelled[row, region] = bool(words)
        mentions = torch.zeros(len(questions), self.labels)
        for row, mentioned in enumerate(m for example in examples for m in example.mentions):
            mentions[row, mentioned] = 1.0
        roles = torch.zeros(len(questions), batch.mask.shape[1], PHRASES)
        for row, of_regions in enumerate(r for example in examples for r in example.roles):
            for region, phrases in enumerate(of_regions):
                roles[row, region, phrases] = 1.0
        return {
            "mentions": mentions,
            "roles": roles,
            "question": pad_questions(questions),
            "picture_of": torch.tensor(picture_of),
            "targets": targets,
            "crops": batch.crops,
            "boxes": batch.boxes,
            "mask": batch.mask,
            "size": batch.size,
            "labels": labels,
            "labelled": labelled,
        }


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
