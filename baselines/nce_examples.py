"""Training examples for the dual encoder: a visual with the texts that hold of it and, for each,
mismatches of its own; or a visual with texts that each speak of one of its parts. Knows no network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.types import CaptionedVisual, Dataset, Expression, Question, Uncaptioned

from .frozen_networks import Frozen
from .moment_windows import every_window, window_of
from .nce_folder import NceConfig
from .region_encoder import PictureRegions, find_regions, named_regions, pad_regions
from .region_labels import labels_of, roles_of
from .text_inputs import (
    MOST_TOKENS,
    choice_text,
    pad_texts,
    tags_of,
)
from .visual_encoder import read_clips, read_pictures
from .words import Vocabulary

PHRASES = 3  # of a question, whose regions training may be told


@dataclass(frozen=True)
class Claim:
    """A text that holds of a visual. `foils`: texts that do not. `part`: the region or window that
    it speaks of, -1 where it speaks of the whole. A question is no claim before its answer:
    `answer` is the place of the right one among the data set's, `also` those of others given.
    `roles`: for each region, which phrases speak of it, where a data set knows."""

    text: str
    foils: tuple[str, ...] = ()
    part: int = -1
    answer: int = -1
    also: tuple[int, ...] = ()
    roles: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Example:
    """A visual as its encoder takes it, uint8 pixels, regions or a frozen network's vector, and its
    claims. `labels`: the words for each region, as indices, where regions are annotated."""

    visual: npt.NDArray[Any] | PictureRegions
    claims: tuple[Claim, ...]
    labels: tuple[tuple[int, ...], ...] = ()


# ---------------------------------------------------------------- from data sets


def examples_of(
    dataset: Dataset, config: NceConfig, foils: bool, frozen: Frozen | None = None
) -> list[Example]:
    """Examples for the task that the data set's samples are of. `foils`: with the captions of the
    same words that do not hold, where the data set has them. `frozen`: what sees photographs."""
    eye, first = config.encoder.eye, dataset.samples[0].input
    if eye == "efficientnet-lite0":
        vectors = (frozen or Frozen()).see([sample.input.visual for sample in dataset.samples])
        claims = [_whole_claims(sample, foils) for sample in dataset.samples]
        return [Example(*pair) for pair in zip(vectors.numpy(), claims, strict=True)]
    if eye in ("pictures", "clips") or isinstance(first, CaptionedVisual | Uncaptioned):
        return [_captioned(sample, config, foils) for sample in dataset.samples]
    if eye == "moments":
        return [_moment(sample, config) for sample in dataset.samples]
    make = _referred if isinstance(first, Expression) else _claimed
    return [make(samples, config) for samples in _by_view(dataset)]


def with_roles(examples: Sequence[Example], dataset: Dataset) -> list[Example]:
    """The examples of questions, of _by_view's order, with what their phrases speak of."""
    assert dataset.groundings is not None
    grounded = []
    for example, samples in zip(examples, _by_view(dataset), strict=True):
        assert isinstance(example.visual, PictureRegions)
        roles = {}
        for sample in samples:
            groundings = dataset.groundings(sample, sample.input.text)
            roles[sample.input.text] = tuple(
                map(tuple, roles_of(example.visual, groundings, PHRASES))
            )
        claims = tuple(replace(claim, roles=roles[claim.text]) for claim in example.claims)
        grounded.append(replace(example, claims=claims))
    return grounded


def with_labels(
    examples: Sequence[Example], dataset: Dataset, words: dict[str, int]
) -> list[Example]:
    """The examples of _by_view's order with the words for their regions."""
    assert dataset.region_annotations is not None
    labelled = []
    for example, samples in zip(examples, _by_view(dataset), strict=True):
        assert isinstance(example.visual, PictureRegions)
        annotations = dataset.region_annotations(samples[0].input.visual)
        labels = labels_of(example.visual, annotations, words)
        labelled.append(replace(example, labels=tuple(map(tuple, labels))))
    return labelled


def texts_of(dataset: Dataset) -> Iterator[str]:
    """Every text of the data set that a vocabulary is to hold; the answers once, not with each
    question."""
    yield from dataset.answers
    for sample in dataset.samples:
        for claim in _claims_of(sample, ()):
            yield claim.text
            yield from claim.foils


def _claims_of(sample: Any, answers: Sequence[str]) -> list[Claim]:
    """What a sample says of its visual."""
    asked, target = sample.input, sample.target
    if hasattr(target, "references"):
        return [Claim(text) for text in target.references]
    if hasattr(asked, "texts"):
        foils = asked.foils or ("",) * len(asked.texts)
        return [
            Claim(text, (foil,) if foil else ())
            for text, foil in zip(asked.texts, foils, strict=True)
        ]
    if hasattr(asked, "reasons"):
        answering = Question(asked.visual, asked.text, asked.answers)
        reasoning = replace(answering, choices=asked.reasons, given=asked.given)
        return [_choice(answering, target.answer), _choice(reasoning, target.reason)]
    if hasattr(target, "answers"):
        places = [answers.index(a) for a in target.answers if a in answers]
        majority = Counter(places).most_common(1)[0][0] if places else -1
        return [Claim(asked.text, answer=majority, also=tuple(set(places) - {majority}))]
    return [Claim(asked.text)]


def _choice(question: Question, right: int) -> Claim:
    texts = [choice_text(question, choice) for choice in question.choices]
    return Claim(texts[right], tuple(text for i, text in enumerate(texts) if i != right))


def _captioned(sample: Any, config: NceConfig, foils: bool) -> Example:
    visual, seen = config.encoder.visual, sample.input.visual
    pixels: npt.NDArray[np.uint8] | PictureRegions
    if config.encoder.eye == "clips":
        pixels = read_clips([seen], visual.frames, visual.side)[0]
    elif config.encoder.eye == "regions":
        pixels = find_regions(seen, config.regions)
    else:
        pixels = read_pictures([seen], visual.side)[0]
    return Example(pixels, _whole_claims(sample, foils))


def _whole_claims(sample: Any, foils: bool) -> tuple[Claim, ...]:
    claims = _claims_of(sample, ())
    return tuple(claim if foils else replace(claim, foils=()) for claim in claims)


def _by_view(dataset: Dataset) -> list[list[Any]]:
    """Samples that look at the same picture by the same named things, together."""
    views: dict[Any, list[Any]] = {}
    for sample in dataset.samples:
        things = tuple(thing.box for thing in getattr(sample.input, "objects", ()))
        views.setdefault((sample.input.visual.id, things), []).append(sample)
    return list(views.values())


def _claimed(samples: Sequence[Any], config: NceConfig) -> Example:
    asked = samples[0].input
    regions = (
        named_regions(asked.visual, asked.objects, config.regions)
        if config.encoder.tagged
        else find_regions(asked.visual, config.regions)
    )
    claims = [claim for sample in samples for claim in _claims_of(sample, config.answers)]
    known = [claim for claim in claims if claim.foils or claim.answer >= 0]
    return Example(regions, tuple(known))


def _referred(samples: Sequence[Any], config: NceConfig) -> Example:
    """Each expression speaks of the region that overlaps its box most, if by at least half."""
    regions = find_regions(samples[0].input.visual, config.regions)
    claims = []
    for sample in samples:
        overlaps = _overlaps(regions.boxes[1:].astype(np.float64), sample.target.box)
        if len(overlaps) and overlaps.max() >= 0.5:
            claims.append(Claim(sample.input.text, part=1 + int(overlaps.argmax())))
    return Example(regions, tuple(claims))


def _overlaps(boxes: npt.NDArray[np.float64], box: Sequence[float]) -> npt.NDArray[np.float64]:
    """Intersection over union of each box (n, 4) with one, the far ends exclusive."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = (high - low).clip(0).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = area + (box[2] - box[0]) * (box[3] - box[1]) - shared
    overlaps: npt.NDArray[np.float64] = shared / union
    return overlaps


def _moment(sample: Any, config: NceConfig) -> Example:
    """The sentence speaks of the window that overlaps its moment most."""
    visual, clip = config.encoder.visual, sample.input.visual
    pixels = read_clips([clip], visual.frames, visual.side)[0]
    windows = every_window(visual.frames, config.moment_lengths)
    start, end = window_of(sample.target.moments[0], clip.duration, visual.frames)
    shared = np.minimum(windows[:, 1], end) - np.maximum(windows[:, 0], start)
    whole = np.maximum(windows[:, 1], end) - np.minimum(windows[:, 0], start)
    return Example(pixels, (Claim(sample.input.text, part=int((shared / whole).argmax())),))


# ---------------------------------------------------------------- batches


@dataclass(frozen=True)
class Collator:
    """Examples -> one padded batch. `texts`: claims drawn of each example, `foils`: mismatches
    drawn of each claim; anew in each batch. `labels`: how many words name regions;
    `grounded`: with what phrases speak of. `frozen`: what reads texts where MiniLM does."""

    vocabulary: Vocabulary
    config: NceConfig
    texts: int
    foils: int
    labels: int = 0
    grounded: bool = False
    frozen: Frozen = field(default_factory=Frozen)

    def __call__(self, examples: list[Example]) -> dict[str, Tensor]:
        drawn = [self._draw(example.claims, self.texts) for example in examples]
        claims = [claim for some in drawn for claim in some]
        foils = [
            (place, foil)
            for place, claim in enumerate(claims)
            for foil in self._draw(claim.foils, self.foils)
        ]
        texts = [claim.text for claim in claims] + [foil for _, foil in foils]
        owners = [row for row, some in enumerate(drawn) for _ in some]
        batch = {
            "tokens": self._read(texts),
            "owners": torch.tensor(owners, dtype=torch.long),
            "foil_of": torch.tensor([place for place, _ in foils], dtype=torch.long),
            "parts": torch.tensor([claim.part for claim in claims], dtype=torch.long),
            **self._visuals([example.visual for example in examples]),
        }
        if self.config.encoder.matching == "question":
            batch |= self._answers(claims)
        if self.labels:
            batch["labels"] = self._labels(examples, batch["mask"].shape[1])
        if self.grounded:
            batch["roles"] = torch.zeros(len(claims), PHRASES, batch["mask"].shape[1])
            for row, claim in enumerate(claims):
                for region, phrases in enumerate(claim.roles):
                    batch["roles"][row, list(phrases), region] = 1.0
        return batch

    def _read(self, texts: Sequence[str]) -> Tensor:
        if self.config.encoder.text == "minilm":
            return self.frozen.read(texts)
        return pad_texts([self.vocabulary.encode(text, MOST_TOKENS) for text in texts])

    def _answers(self, claims: Sequence[Claim]) -> dict[str, Tensor]:
        """The place of each question's answer, and which answers it is told from."""
        options = torch.ones(len(claims), len(self.config.answers), dtype=torch.bool)
        for row, claim in enumerate(claims):
            options[row, list(claim.also)] = False
        return {"answers": torch.tensor([claim.answer for claim in claims]), "options": options}

    def _labels(self, examples: Sequence[Example], most: int) -> Tensor:
        """(pictures, regions, words), 1 for a word of the region; all 0 where none is annotated."""
        labels = torch.zeros(len(examples), most, self.labels)
        for row, example in enumerate(examples):
            for region, words in enumerate(example.labels):
                labels[row, region, list(words)] = 1.0
        return labels

    def _draw(self, options: Sequence[Any], most: int) -> list[Any]:
        # torch's generator: Trainer seeds it and keeps its state in checkpoints
        return [options[i] for i in torch.randperm(len(options))[:most].tolist()]

    def _visuals(self, visuals: Sequence[Any]) -> dict[str, Tensor]:
        if self.config.encoder.eye != "regions":
            pixels = torch.from_numpy(np.stack(visuals))
            if self.config.encoder.eye != "moments":
                return {"pixels": pixels}
            windows = every_window(pixels.shape[1], self.config.moment_lengths)
            return {"pixels": pixels, "places": torch.from_numpy(windows)}
        batch = pad_regions(visuals)
        tags = tags_of(batch, self.config.encoder.tags)
        return {
            "crops": batch.crops,
            "boxes": batch.boxes,
            "mask": batch.mask,
            "size": batch.size,
            "tags": tags if self.config.encoder.tagged else torch.zeros_like(tags),
        }
