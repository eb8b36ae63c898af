"""Batches of training examples for VL-BERT and ViLBERT, each of one task, and the order in which
they come. Knows no network and no data set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .multitask_examples import PHRASES, Example, Kind
from .multitask_vision import VisionConfig, frame_batch, moments_of, region_batch
from .region_encoder import RegionBatch
from .text_inputs import pad_texts


@dataclass(frozen=True)
class Collator:
    """Examples of one kind -> one padded batch. `draws`: how many texts of each are drawn anew for
    each batch. `named`: (vocabulary,) the row of the region that each word names. `labels`: how
    many words name regions."""

    vision: VisionConfig
    draws: Mapping[Kind, int]
    named: Tensor
    answers: int
    labels: int

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        kind = examples[0].kind
        drawn = [_draw(example.texts, self.draws[kind]) for example in examples]
        texts = [text for some in drawn for text in some]
        batch: dict[str, Any] = {
            "kind": kind,
            "texts": pad_texts([text.ids for text in texts]),
            "rows": torch.tensor(
                [row for row, some in enumerate(drawn) for _ in some], dtype=torch.long
            ),
            **self._visuals(examples),
        }
        if "labels" in batch:
            regions = batch["mask"].shape[1]
            batch["roles"] = _marked([text.roles for text in texts], len(texts), regions, PHRASES)
        if kind == "answers":
            batch["targets"] = torch.zeros(len(texts), self.answers)
            for row, text in enumerate(texts):
                for index, score in (text.answers or {}).items():
                    batch["targets"][row, index] = score
        elif kind == "choices":
            batch["choices"] = pad_choices([text.others for text in texts])
            batch["right"] = torch.tensor([text.right for text in texts])
            batch["named"] = self.named
        elif kind in ("regions", "moments"):
            batch["overlaps"] = _pad_overlaps([text.overlaps for text in texts])
        else:
            # a text whose words fit no other way is set against another picture's
            foils = [_draw(text.others, 1) for text in texts]
            batch["others"] = of_other_pictures(batch["rows"])
            others = [texts[place].ids for place in batch["others"].tolist()]
            batch["foils"] = pad_texts(
                [foil[0] if foil else ids for foil, ids in zip(foils, others, strict=True)]
            )
        return batch

    def _visuals(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        seen: list[Any] = [example.visual for example in examples]
        kind = examples[0].kind
        if kind == "moments":
            return {"clips": torch.from_numpy(np.stack(seen)), "windows": moments_of(self.vision)}
        if kind == "clip-pairs":
            batch, frames = frame_batch(seen)
            return {**_as_dict(batch), "frames": frames}
        batch, tags = region_batch(seen, kind == "choices", self.vision.tags)
        visuals = {**_as_dict(batch), "tags": tags}
        if self.labels:
            labels = [example.labels for example in examples]
            visuals["labels"] = _marked(labels, *batch.mask.shape, self.labels)
        return visuals


def of_other_pictures(rows: Tensor) -> Tensor:
    """For each text the place of a text of the next picture, that of the first for the last. rows
    (texts,): the picture of each, those of one picture together -> (texts,)."""
    _, pictures, counts = torch.unique_consecutive(rows, return_inverse=True, return_counts=True)
    starts = counts.cumsum(0) - counts
    after = (pictures + 1) % len(counts)
    place = torch.arange(len(rows)) - starts[pictures]
    found: Tensor = starts[after] + place % counts[after]
    return found


def _as_dict(batch: RegionBatch) -> dict[str, Tensor]:
    return {"crops": batch.crops, "boxes": batch.boxes, "mask": batch.mask, "size": batch.size}


def pad_choices(choices: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """(rows, choices, longest) token ids, 0 = padding; rows of fewer choices get empty ones."""
    most = max(map(len, choices))
    flat = pad_texts([ids for some in choices for ids in (*some, *[()] * (most - len(some)))])
    return flat.view(len(choices), most, flat.shape[1])


def _pad_overlaps(overlaps: Sequence[Sequence[float]]) -> Tensor:
    padded = torch.zeros(len(overlaps), max(map(len, overlaps)))
    for row, some in enumerate(overlaps):
        padded[row, : len(some)] = torch.tensor(some)
    return padded


def _marked(numbers: Sequence[Sequence[Sequence[int]]], *shape: int) -> Tensor:
    """What is in each region of each picture, or speaks of it, as numbers -> `shape`, (rows,
    regions, most numbers): 1 at each of them."""
    places = [
        (row, region, number)
        for row, regions in enumerate(numbers)
        for region, some in enumerate(regions)
        for number in some
    ]
    marked = np.zeros(shape, dtype=np.float32)
    marked[tuple(np.array(places, dtype=np.int64).reshape(-1, 3).T)] = 1.0
    return torch.from_numpy(marked)


def _draw(options: Sequence[Any], most: int) -> list[Any]:
    # torch's generator: Trainer seeds it and keeps its state in checkpoints
    return [options[i] for i in torch.randperm(len(options))[:most].tolist()]


class OneKindBatches:
    """A batch sampler: every example once an epoch, or as often as `passes` says of its kind (1.5:
    all, and half of them again), each batch of one kind, the batches of all kinds in random order.
    The order depends on the seed and the epoch alone."""

    def __init__(
        self,
        kinds: Sequence[Kind],
        sizes: Mapping[Kind, int],
        seed: int,
        passes: Mapping[Kind, float] | None = None,
    ) -> None:
        self.places: dict[Kind, list[int]] = {}
        for place, kind in enumerate(kinds):
            self.places.setdefault(kind, []).append(place)
        self.sizes, self.seed, self.epoch = sizes, seed, 0
        self.passes = passes or {}

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(self._count(kind) for kind in self.places)

    def _count(self, kind: Kind) -> int:
        """Batches of a kind in an epoch, one at least."""
        whole = -(-len(self.places[kind]) // self.sizes[kind])
        return max(1, round(whole * self.passes.get(kind, 1)))

    def __iter__(self) -> Iterator[list[int]]:
        chance = np.random.Generator(np.random.Philox([self.seed, self.epoch]))
        batches = []
        for kind, places in self.places.items():
            size, passes = self.sizes[kind], []
            for _ in range(math.ceil(self.passes.get(kind, 1))):
                order = [places[i] for i in chance.permutation(len(places)).tolist()]
                passes += [order[start : start + size] for start in range(0, len(order), size)]
            batches += passes[: self._count(kind)]
        for i in chance.permutation(len(batches)).tolist():
            yield batches[i]
