"""Training examples for VL-BERT and ViLBERT, read from data sets: something to look at with all its
texts and what each should lead to. Knows no network and no batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.types import (
    CaptionedVisual,
    Clip,
    Dataset,
    Expression,
    MomentQuery,
    ReasonedQuestion,
    Uncaptioned,
)

from .moment_windows import window_of
from .multitask_vision import (
    FrameRegions,
    VisionConfig,
    cut_up_frames,
    moments_of,
    read_frames,
)
from .region_encoder import PictureRegions, find_regions, named_regions
from .region_labels import labels_of, roles_of
from .text_inputs import MOST_TOKENS, with_tags_as_words
from .vlbert import soft_targets
from .words import Vocabulary

PHRASES = 6  # of a text, whose regions training may be told

Seen: TypeAlias = PictureRegions | FrameRegions | npt.NDArray[np.uint8]
Roles: TypeAlias = tuple[tuple[int, ...], ...]
Kind: TypeAlias = Literal["answers", "choices", "regions", "moments", "pairs", "clip-pairs"]


@dataclass(frozen=True)
class Text:
    """Token ids and what they should lead to. `others`: the further choices' ids, `right` the place
    of the right one; of a caption, the same words where they do not hold. `overlaps`: of each
    region or window, the whole first, with what is meant. `answers`: index -> score. `roles`: of
    each region, the phrases that speak of it."""

    ids: tuple[int, ...]
    others: tuple[tuple[int, ...], ...] = ()
    right: int = -1
    overlaps: tuple[float, ...] = ()
    answers: Mapping[int, float] | None = None
    roles: Roles = ()


@dataclass(frozen=True)
class Example:
    """A picture's regions, those of a clip's frames, or all its frames; its texts and, where things
    are annotated, the words for each region, as indices."""

    kind: Kind
    visual: Seen
    texts: tuple[Text, ...]
    labels: tuple[tuple[int, ...], ...] = ()


# ---------------------------------------------------------------- from data sets


def kind_of(dataset: Dataset) -> Kind:
    """What the samples of a data set ask for."""
    first = dataset.samples[0].input
    if isinstance(first, CaptionedVisual | Uncaptioned):
        return "clip-pairs" if isinstance(first.visual, Clip) else "pairs"
    if isinstance(first, MomentQuery):
        return "moments"
    if isinstance(first, Expression):
        return "regions"
    return "choices" if isinstance(first, ReasonedQuestion) else "answers"


def texts_of(dataset: Dataset) -> Iterator[str]:
    """Every text that a vocabulary is to hold."""
    for sample in dataset.samples:
        asked = sample.input
        if isinstance(asked, CaptionedVisual):
            yield from asked.texts
            yield from asked.foils
        elif isinstance(asked, Uncaptioned):
            yield from sample.target.references
        else:
            yield with_tags_as_words(asked.text)
        if isinstance(asked, ReasonedQuestion):
            yield from map(with_tags_as_words, (*asked.answers, *asked.reasons))


@dataclass
class Reader:
    """Reads a data set's samples as examples. Regions of a picture that several tasks share are cut
    out once."""

    vocabulary: Vocabulary
    vision: VisionConfig
    answers: dict[str, int]
    label_words: dict[str, int]

    def __post_init__(self) -> None:
        self._regions: dict[str, PictureRegions] = {}
        self._frames: dict[str, npt.NDArray[np.uint8]] = {}
        self._encoded: dict[str, tuple[int, ...]] = {}  # short questions and answers come again

    def examples_of(self, dataset: Dataset) -> list[Example]:
        """One example for each thing that is looked at."""
        views: dict[Any, list[Any]] = {}
        for sample in dataset.samples:
            things = tuple(thing.box for thing in getattr(sample.input, "objects", ()))
            views.setdefault((sample.input.visual.id, things), []).append(sample)
        kind = kind_of(dataset)
        return [self._example(kind, samples, dataset) for samples in views.values()]

    def _example(self, kind: Kind, samples: Sequence[Any], dataset: Dataset) -> Example:
        seen = self._see(samples[0].input)
        roles = self._roles_in(dataset, seen)
        texts = [text for sample in samples for text in self._texts(kind, sample, seen, roles)]
        example = Example(kind, seen, tuple(texts))
        if isinstance(seen, PictureRegions) and dataset.region_annotations and self.label_words:
            annotations = dataset.region_annotations(samples[0].input.visual)
            labels = labels_of(seen, annotations, self.label_words)
            example = replace(example, labels=tuple(map(tuple, labels)))
        return example

    def _see(self, asked: Any) -> Seen:
        visual = asked.visual
        if isinstance(visual, Clip) and not isinstance(asked, MomentQuery):
            return cut_up_frames(visual, self.vision)
        if isinstance(visual, Clip):
            assert self.vision.clips is not None
            if visual.id not in self._frames:
                self._frames[visual.id] = read_frames([visual], self.vision.clips)[0]
            return self._frames[visual.id]
        if isinstance(asked, ReasonedQuestion):
            return named_regions(visual, asked.objects, self.vision.regions)
        if visual.id not in self._regions:
            self._regions[visual.id] = find_regions(visual, self.vision.regions)
        return self._regions[visual.id]

    def _roles_in(self, dataset: Dataset, seen: Seen) -> Callable[[Any, str], Roles]:
        """A sample and one of its texts -> the phrases that speak of each region."""
        groundings = dataset.groundings
        if groundings is None or not isinstance(seen, PictureRegions) or not self.label_words:
            return lambda sample, text: ()
        return lambda sample, text: tuple(
            map(tuple, roles_of(seen, groundings(sample, text), PHRASES))
        )

    def _texts(
        self, kind: Kind, sample: Any, seen: Any, roles: Callable[[Any, str], Roles]
    ) -> list[Text]:
        asked, target = sample.input, sample.target
        if kind in ("pairs", "clip-pairs"):
            texts = target.references if isinstance(asked, Uncaptioned) else asked.texts
            foils = getattr(asked, "foils", ()) or ("",) * len(texts)
            return [
                Text(self._ids(text), (self._ids(foil),) if foil else (), roles=roles(sample, text))
                for text, foil in zip(texts, foils, strict=True)
            ]
        text = Text(self._ids(asked.text), roles=roles(sample, asked.text))
        if kind == "answers":
            return [replace(text, answers=soft_targets(target.answers, self.answers))]
        if kind == "choices":
            given = replace(text, ids=self._ids(f"{asked.text} {asked.given}"))
            return [
                self._chosen(text, asked.answers, target.answer),
                self._chosen(given, asked.reasons, target.reason),
            ]
        if kind == "regions":
            return [replace(text, overlaps=_overlaps(seen.boxes, target.box))]
        return [replace(text, overlaps=self._window_overlaps(sample))]

    def _chosen(self, query: Text, choices: Sequence[str], right: int) -> Text:
        return replace(query, others=tuple(map(self._ids, choices)), right=right)

    def _ids(self, text: str) -> tuple[int, ...]:
        if text not in self._encoded:
            ids = self.vocabulary.encode(with_tags_as_words(text), MOST_TOKENS)
            self._encoded[text] = tuple(ids)
        return self._encoded[text]

    def _window_overlaps(self, sample: Any) -> tuple[float, ...]:
        assert self.vision.clips is not None
        duration, frames = sample.input.visual.duration, self.vision.clips.frames
        right = [window_of(moment, duration, frames) for moment in sample.target.moments]
        start, end = np.array(right).T[:, :, None]  # (moments, 1) each, beside the windows'
        first, last = moments_of(self.vision).numpy().T
        shared = np.minimum(last, end) - np.maximum(first, start)
        whole = np.maximum(last, end) - np.minimum(first, start)
        best = (shared / whole).clip(0).max(axis=0)
        return (0.0, *best.tolist())  # the whole clip is row 0: no moment


def _overlaps(boxes: npt.NDArray[np.int64], box: Sequence[float]) -> tuple[float, ...]:
    """Intersection over union of each region (n, 4), the far ends exclusive, with one box."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = (high - low).clip(0).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return tuple((shared / (area + (box[2] - box[0]) * (box[3] - box[1]) - shared)).tolist())
