"""What pretraining has learned: how many masked words are told with the picture and without it, how
many masked regions with the text and without it, and how many captions are known for the picture's
own. Knows no training and no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from .pretraining_batches import (
    MASKED_SHARE,
    SAME_PLACE,
    Pair,
    blank,
    but_the_whole,
    choose_some,
    pad_targets,
    sentences,
)
from .pretraining_learning import Pretraining, PretrainingViLBert
from .region_encoder import RegionBatch, pad_regions
from .vilbert_heads import alignment_score
from .words import Vocabulary

_AT_ONCE = 32
_SEED = 0  # the same words and regions are masked whenever it is measured
_Z = 1.959964  # of the normal's 97.5% point

# what is measured -> how a card says it
MEASURED = {
    "words": "masked words, with the picture",
    "words_black": "masked words, with a black picture",
    "words_other": "masked words, with another picture",
    "regions": "masked regions, with the caption",
    "regions_no_text": "masked regions, without the caption",
    "alignment": "captions known for the picture's own or another's (chance: 50 %)",
}


@dataclass(frozen=True)
class Share:
    """So many of `total` were right."""

    right: int
    total: int

    @property
    def value(self) -> float:
        return self.right / self.total if self.total else 0.0

    def interval95(self) -> tuple[float, float]:
        """Wilson's (1927) score interval of a proportion."""
        if not self.total:
            return 0.0, 1.0
        n, p, z2 = self.total, self.value, _Z**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        reach = _Z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, middle - reach), min(1.0, middle + reach)

    def __str__(self) -> str:
        low, high = self.interval95()
        return (
            f"{100 * self.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}], "
            f"{self.right:,} of {self.total:,}"
        )


@torch.inference_mode()
def measure(
    network: Pretraining, pairs: Sequence[Pair], vocabulary: Vocabulary, device: str = "cpu"
) -> dict[str, Share]:
    """By the names of MEASURED. Of each picture one caption; 15 % of its words, at least one, are
    [MASK]; 15 % of the regions, at least one, are hidden: never both at once. Captions of another
    picture are those of the next."""
    chance = torch.Generator().manual_seed(_SEED)
    was_training = network.training
    network.eval()
    found = {name: [0, 0] for name in MEASURED}
    for own, other in _with_the_next(pairs, chance):
        for name, hits in _hits(network, own, other, vocabulary, chance, device).items():
            found[name][0] += int(hits.sum())
            found[name][1] += len(hits)
    network.train(was_training)
    return {name: Share(*counts) for name, counts in found.items() if counts[1]}


def lines(measured: Mapping[str, Share]) -> list[str]:
    """For a card."""
    return [f"- {MEASURED[name]}: {share}" for name, share in measured.items()]


@dataclass(frozen=True)
class _Captioned:
    """A picture with one of its captions."""

    pair: Pair
    caption: tuple[int, ...]


def _with_the_next(
    pairs: Sequence[Pair], chance: torch.Generator
) -> Iterator[tuple[list[_Captioned], list[_Captioned]]]:
    """Batches of pictures, and of those after them."""
    drawn = [
        _Captioned(
            pair, pair.captions[int(torch.randint(len(pair.captions), (), generator=chance))]
        )
        for pair in pairs
    ]
    turned = drawn[1:] + drawn[:1]
    for start in range(0, len(drawn), _AT_ONCE):
        yield drawn[start : start + _AT_ONCE], turned[start : start + _AT_ONCE]


def _hits(
    network: Pretraining,
    own: Sequence[_Captioned],
    other: Sequence[_Captioned],
    vocabulary: Vocabulary,
    chance: torch.Generator,
    device: str,
) -> dict[str, Tensor]:
    """Whether each thing that was to be told was told, (things,) bool, by the names of MEASURED."""
    tokens, may = sentences([one.caption for one in own], vocabulary)
    chosen = choose_some(may, MASKED_SHARE, chance)
    read = tokens.masked_fill(chosen, vocabulary.mask)
    pictures = pad_regions([one.pair.regions for one in own])
    others = pad_regions([one.pair.regions for one in other])

    def words(regions: RegionBatch) -> Tensor:
        told = _tell(network, read, regions, torch.zeros_like(regions.mask), device)[0]
        return (told.argmax(dim=-1) == tokens)[chosen]

    hidden = choose_some(but_the_whole(pictures.mask), MASKED_SHARE, chance)
    overlap = SAME_PLACE if isinstance(network, PretrainingViLBert) else None
    blanked = blank(pictures, hidden, overlap)
    right = pad_targets([one.pair for one in own]).argmax(dim=-1)
    no_text, _ = sentences([()] * len(own), vocabulary)

    def regions(text: Tensor) -> Tensor:
        told = _tell(network, text, blanked, hidden, device)[1]
        return (told.argmax(dim=-1) == right)[hidden]

    hits = {
        "words": words(pictures),
        "words_black": words(black(pictures)),
        "words_other": words(others),
        "regions": regions(tokens),
        "regions_no_text": regions(no_text),
    }
    if isinstance(network, PretrainingViLBert):
        turned, _ = sentences([one.caption for one in other], vocabulary)
        seen = torch.zeros_like(pictures.mask)
        matches = _tell(network, tokens, pictures, seen, device)[2] > 0
        differs = _tell(network, turned, pictures, seen, device)[2] <= 0
        hits["alignment"] = torch.cat([matches, differs])
    return hits


def _tell(
    network: Pretraining, text: Tensor, regions: RegionBatch, hidden: Tensor, device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of words, of regions and of alignment, this (rows,) and 0 where it is not told."""
    told = network.tell(text.to(device), regions.to(device), hidden.to(device))
    aligned = told.words.new_zeros(len(text), 2) if told.alignment is None else told.alignment
    return told.words.cpu(), told.regions.cpu(), alignment_score(aligned).cpu()


def black(batch: RegionBatch) -> RegionBatch:
    """Black pictures in which no region is found."""
    crops = torch.zeros_like(batch.crops[:, :1])
    crops[..., 3] = 255  # as of any whole picture
    return RegionBatch(crops, batch.boxes[:, :1], batch.mask[:, :1], batch.size)
