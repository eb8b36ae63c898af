"""Training examples for the captioners: a visual with texts about it and, where the data set tells,
what is where in it. Knows no loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.types import Dataset, Picture

from .captioner_network import CaptionerConfig, CaptionerNetwork, CaptionWords, pad_captions
from .captioner_vision import cells_of, read_visuals
from .moment_windows import Window, every_window, window_of

_FARTHER = 0.7  # windows that overlap a moment less (IoU) are mismatches
_READ_AT_ONCE = 64


@dataclass(frozen=True)
class Told:
    """A text, as token ids with the end; the box that it speaks of, as parts of the picture's width
    and height; the window that it speaks of, in frames."""

    tokens: list[int]
    box: tuple[float, float, float, float] | None = None
    window: Window | None = None


@dataclass(frozen=True)
class Example:
    """A visual as the network takes it, what is told of it, and its annotations: the location of
    each annotated thing's middle, and the indices of the words for it."""

    visual: npt.NDArray[Any]
    told: tuple[Told, ...]
    things: tuple[tuple[int, tuple[int, ...]], ...] = field(default=())


def texts_of(dataset: Dataset) -> Iterator[str]:
    """Every text that is learnt from."""
    for sample in dataset.samples:
        yield from _texts(sample)


def _texts(sample: Any) -> Sequence[str]:
    if hasattr(sample.target, "references"):
        references: Sequence[str] = sample.target.references
        return references
    if hasattr(sample.input, "texts"):
        texts: Sequence[str] = sample.input.texts
        return texts
    return (sample.input.text,)


def examples_of(
    dataset: Dataset,
    words: CaptionWords,
    network: CaptionerNetwork,
    labels: dict[str, int],
    device: str = "cpu",
) -> list[Example]:
    """An example a visual, in the data set's order. `labels`: words that annotate things, with
    their indices; empty where annotations are not learnt from."""
    groups: dict[str, list[Any]] = {}
    for sample in dataset.samples:
        groups.setdefault(sample.input.visual.id, []).append(sample)
    together = list(groups.values())
    examples, config = [], network.config
    network.eval()
    for start in range(0, len(together), _READ_AT_ONCE):
        some = together[start : start + _READ_AT_ONCE]
        read = read_visuals([samples[0].input.visual for samples in some], config.vision, device)
        prepared = network.vision.prepare(torch.from_numpy(read).to(device)).cpu().numpy()
        for visual, samples in zip(prepared, some, strict=True):
            told = tuple(told for sample in samples for told in _told(sample, words, config))
            things = _things(dataset, samples[0].input.visual, config, labels)
            examples.append(Example(visual, told, things))
    return examples


def _told(sample: Any, words: CaptionWords, config: CaptionerConfig) -> Iterator[Told]:
    box: tuple[float, float, float, float] | None = None
    window: Window | None = None
    if hasattr(sample.target, "box"):
        width, height = _size_of(sample.input.visual)
        x1, y1, x2, y2 = sample.target.box
        box = (x1 / width, y1 / height, x2 / width, y2 / height)
    if hasattr(sample.target, "moments"):
        clip = sample.input.visual
        window = window_of(sample.target.moments[0], clip.duration, config.vision.visual.frames)
    for text in _texts(sample):
        yield Told(words.encode(text)[-config.most_words :], box, window)


def _size_of(picture: Picture) -> tuple[int, int]:
    if picture.size is not None:
        return picture.size
    height, width = picture.read().shape[:2]
    return width, height


def _things(
    dataset: Dataset, visual: Any, config: CaptionerConfig, labels: dict[str, int]
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    if not labels or dataset.region_annotations is None:
        return ()
    side = config.vision.map_side
    width, height = _size_of(visual)
    things = []
    for annotation in dataset.region_annotations(visual):
        x1, y1, x2, y2 = annotation.box
        column = min(int((x1 + x2) / 2 / width * side), side - 1)
        row = min(int((y1 + y2) / 2 / height * side), side - 1)
        known = tuple(labels[label] for label in annotation.labels if label in labels)
        things.append((row * side + column, known))
    return tuple(things)


def labels_of(dataset: Dataset) -> dict[str, int]:
    """Every word that annotates a thing of a data set of pictures -> its index, in the order of
    words."""
    if dataset.region_annotations is None:
        return {}
    pictures = {sample.input.visual.id: sample.input.visual for sample in dataset.samples}
    found = {
        word
        for picture in pictures.values()
        for annotation in dataset.region_annotations(picture)
        for word in annotation.labels
    }
    return {word: index for index, word in enumerate(sorted(found))}


# ---------------------------------------------------------------- batches


@dataclass(frozen=True)
class Collator:
    """Examples -> one padded batch. `texts` are drawn of each example's, anew in each batch;
    `windows`: how many of a clip, the right one first, are to be told apart."""

    config: CaptionerConfig
    labels: int
    texts: int
    windows: int = 0

    def __call__(self, examples: list[Example]) -> dict[str, Tensor]:
        # torch's generator: Trainer seeds it and keeps its state in checkpoints
        drawn = [
            [example.told[i] for i in torch.randperm(len(example.told))[: self.texts].tolist()]
            for example in examples
        ]
        told = [one for some in drawn for one in some]
        tokens, mask = pad_captions([one.tokens for one in told])
        owners = [row for row, some in enumerate(drawn) for _ in some]
        batch = {
            "visuals": torch.from_numpy(np.stack([example.visual for example in examples])),
            "tokens": tokens,
            "mask": mask,
            "owners": torch.tensor(owners),
        }
        if any(example.things for example in examples):
            batch["things"] = self._things(examples)
        if told[0].box is not None:
            boxes = np.array([one.box for one in told])
            cover = cells_of(boxes, 1.0, self.config.vision.map_side)
            batch["inside"] = torch.from_numpy(cover).float()
        if told[0].window is not None:
            batch["windows"] = torch.tensor([self._windows(one.window) for one in told])
        return batch

    def _things(self, examples: list[Example]) -> Tensor:
        """(pictures, locations, labels)"""
        things = torch.zeros(len(examples), self.config.vision.locations, self.labels)
        for row, example in enumerate(examples):
            for location, words in example.things:
                things[row, location, list(words)] = 1.0
        return things

    def _windows(self, right: Window | None) -> list[Window]:
        """The right window and others, drawn."""
        assert right is not None
        every = every_window(self.config.vision.visual.frames, self.config.moment_lengths)
        shared = np.minimum(every[:, 1], right[1]) - np.maximum(every[:, 0], right[0])
        whole = np.maximum(every[:, 1], right[1]) - np.minimum(every[:, 0], right[0])
        others = every[shared < _FARTHER * whole]
        places = torch.randint(len(others), (max(0, self.windows - 1),)).tolist()
        return [right, *((int(a), int(b)) for a, b in others[places])]
