"""Batches of pretraining: captions and regions of which some are masked, and what stood there. The
shares are those of the official codes of VL-BERT and ViLBERT. Knows no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .bert import pack
from .region_encoder import PictureRegions, RegionBatch, pad_regions
from .text_inputs import pad_texts
from .vlbert_pretraining import NOT_MASKED
from .words import SPECIAL, Vocabulary

MASKED_SHARE = 0.15  # of the words and of the regions
_AS_MASK, _AS_ANY_WORD = 0.8, 0.1  # of the masked words; the others stay
_HIDDEN_SHARE = 0.9  # of the masked regions; the others stay
SWAPPED_SHARE = 0.5  # of the captions, where alignment is learned
SAME_PLACE = 0.4  # IoU above which a region would give a hidden one away (ViLBERT)


@dataclass(frozen=True)
class Pair:
    """A picture's regions, what is in each, (regions, classes) as soft_classes gives it, and the
    ids of its captions."""

    regions: PictureRegions
    targets: npt.NDArray[np.float32]
    captions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class PretrainingBatch:
    """`caption` (rows, words) with [CLS] and [SEP], 0 = padding; `word_labels` the same shape, the
    masked words and NOT_MASKED elsewhere; `regions` with the pixels of hidden ones blanked;
    `hidden` (rows, regions); `targets` (rows, regions, classes), zeros but for masked regions;
    `aligned` (rows,) True where the caption is the picture's own. `text`, `text_labels`: texts
    without pictures and without [CLS] and [SEP], where the model reads some."""

    caption: Tensor
    word_labels: Tensor
    regions: RegionBatch
    hidden: Tensor
    targets: Tensor
    aligned: Tensor
    text: Tensor | None = None
    text_labels: Tensor | None = None

    def to(self, device: torch.device | str) -> PretrainingBatch:
        parts: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        there = {name: part.to(device) for name, part in parts.items() if part is not None}
        return PretrainingBatch(**there)


# ---------------------------------------------------------------- masking


def choose(real: Tensor, share: float, chance: torch.Generator | None = None) -> Tensor:
    """Each place of `real`, of any shape, with this probability -> bool of the same shape."""
    return real & (torch.rand(real.shape, generator=chance) < share)


def choose_some(real: Tensor, share: float, chance: torch.Generator | None = None) -> Tensor:
    """As `choose`, of each row of `real` (rows, places) with a real place at least one: the one of
    the lowest number drawn."""
    drawn = torch.rand(real.shape, generator=chance).masked_fill(~real, 2.0)
    return real & ((drawn < share) | (drawn == drawn.min(dim=1, keepdim=True).values))


def mask_words(tokens: Tensor, chosen: Tensor, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """Eight in ten of the chosen words become [MASK], one any word, one stays.

    tokens and chosen (rows, words) -> what the network reads and what it is to tell, likewise."""
    fate = torch.rand(tokens.shape)
    any_word = torch.randint(
        len(SPECIAL), max(len(vocabulary.words), len(SPECIAL) + 1), tokens.shape
    )
    read = tokens.masked_fill(chosen & (fate < _AS_MASK), vocabulary.mask)
    other = chosen & (fate >= _AS_MASK) & (fate < _AS_MASK + _AS_ANY_WORD)
    return torch.where(other, any_word, read), labels_where(tokens, chosen)


def labels_where(tokens: Tensor, chosen: Tensor) -> Tensor:
    """The chosen tokens; NOT_MASKED elsewhere."""
    return tokens.masked_fill(~chosen, NOT_MASKED)


def blank(batch: RegionBatch, hidden: Tensor, overlap: float | None = None) -> RegionBatch:
    """The batch without the pixels of hidden regions (pictures, regions): their crops are zeros,
    and so is the whole picture's crop within their boxes. With `overlap`, it is zeros also within
    those of regions that share more than this (IoU) with a hidden one."""
    crops = batch.crops.masked_fill(hidden[:, :, None, None, None], 0)
    covered = hidden
    if overlap is not None:
        near = (overlaps_of(batch.boxes) > overlap) & batch.mask[:, :, None]
        covered = (near & hidden[:, None]).any(dim=2) | hidden
        covered = torch.cat([torch.zeros_like(covered[:, :1]), covered[:, 1:]], dim=1)
    inside_y, inside_x = (_inside(batch, axis) for axis in (1, 0))
    within = inside_y[:, :, :, None] & inside_x[:, :, None, :] & covered[:, :, None, None]
    crops[:, 0] = crops[:, 0].masked_fill(within.any(dim=1)[..., None], 0)
    return replace(batch, crops=crops)


def _inside(batch: RegionBatch, axis: int) -> Tensor:
    """(pictures, regions, side): whether that row (axis 1) or column (axis 0) of the whole
    picture's crop shows pixels of the region's box. Places are those that `crops` reads."""
    side = batch.crops.shape[2]
    low, high = batch.boxes[..., axis].long(), batch.boxes[..., axis + 2].long()
    middle = 2 * torch.arange(side) + 1
    place = low[:, :1] + middle * (high - low)[:, :1] // (2 * side)  # (pictures, side)
    return (place[:, None] >= low[..., None]) & (place[:, None] < high[..., None])


def overlaps_of(boxes: Tensor) -> Tensor:
    """Intersection over union of all boxes (pictures, regions, 4) of a picture, the far ends
    exclusive -> (pictures, regions, regions)."""
    one, other = boxes[:, :, None], boxes[:, None]
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    return shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1)


# ---------------------------------------------------------------- batches


def sentences(captions: Sequence[Sequence[int]], vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """ "[CLS] caption [SEP]" of each as ids (rows, words), 0 = padding, and which of them are words
    that may be masked."""
    words = pad_texts(captions)
    one = torch.ones_like(words[:, :1])
    parts = [vocabulary.cls * one, words, vocabulary.sep * one]
    packed, _ = pack([part[:, :, None] for part in parts], [part > 0 for part in parts])
    tokens = packed[:, :, 0]
    may = (tokens > 0) & (tokens != vocabulary.cls) & (tokens != vocabulary.sep)
    return tokens, may


def pad_targets(pairs: Sequence[Pair]) -> Tensor:
    """(pictures, regions, classes), zeros in padding."""
    most = max(len(pair.targets) for pair in pairs)
    return torch.stack(
        [F.pad(torch.from_numpy(p.targets), (0, 0, 0, most - len(p.targets))) for p in pairs]
    )


@dataclass(frozen=True)
class PretrainingCollator:
    """Pairs -> a batch, masked anew each time, with torch's generator: Trainer seeds and keeps it.

    `texts`: what is read without pictures, as many in a batch as there are captions; none for
    ViLBERT, which in turn `swaps` captions and blanks what overlaps a hidden region.
    """

    vocabulary: Vocabulary
    texts: Sequence[tuple[int, ...]] = ()
    swaps: bool = False

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, PretrainingBatch]:
        captions = [_any(pair.captions) for pair in pairs]
        aligned = torch.ones(len(pairs), dtype=torch.bool)
        if self.swaps and len(pairs) > 1:
            aligned = ~choose(aligned, SWAPPED_SHARE)
            captions = [
                own if keep else captions[(row + 1) % len(captions)]
                for row, (own, keep) in enumerate(zip(captions, aligned.tolist(), strict=True))
            ]
        tokens, may = sentences(captions, self.vocabulary)
        caption, word_labels = mask_words(tokens, choose(may, MASKED_SHARE), self.vocabulary)
        regions = pad_regions([pair.regions for pair in pairs])
        masked = choose(but_the_whole(regions.mask), MASKED_SHARE)
        hidden = choose(masked, _HIDDEN_SHARE)
        batch = PretrainingBatch(
            caption,
            word_labels,
            blank(regions, hidden, SAME_PLACE if self.swaps else None),
            hidden,
            pad_targets(pairs) * masked[..., None],
            aligned,
        )
        return {"batch": self._with_text(batch, len(pairs)) if self.texts else batch}

    def _with_text(self, batch: PretrainingBatch, count: int) -> PretrainingBatch:
        drawn = torch.randint(len(self.texts), (count,)).tolist()
        tokens = pad_texts([self.texts[place] for place in drawn])
        text, labels = mask_words(tokens, choose(tokens > 0, MASKED_SHARE), self.vocabulary)
        return replace(batch, text=text, text_labels=labels)


def but_the_whole(mask: Tensor) -> Tensor:
    """The mask (pictures, regions) without row 0, the whole picture, which is never masked."""
    return torch.cat([torch.zeros_like(mask[:, :1]), mask[:, 1:]], dim=1)


def _any(options: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return options[int(torch.randint(len(options), ()))]
