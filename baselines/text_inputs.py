"""Inputs as the bundled networks take them: texts, and the things that texts name. Knows no network
and no training."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.types import Dataset, Question

from .region_encoder import RegionBatch
from .words import Vocabulary

MOST_TOKENS = 48
_TAG = re.compile(r"tag(\d{1,3})")


def with_tags_as_words(text: str) -> str:
    """ "[0,2] are red" -> "tag0 tag2 are red": a word of its own for each thing that is named."""
    return re.sub(r"\[(\d+(?:,\d+)*)\]", lambda tags: _tag_words(tags[1]), text)


def _tag_words(tags: str) -> str:
    return " ".join(f"tag{tag}" for tag in tags.split(","))


def choice_text(question: Question, choice: str) -> str:
    """What a choice claims, as one text: the question, what is given, and the choice."""
    return with_tags_as_words(" ".join(filter(None, (question.text, question.given, choice))))


def rows_of_tags(vocabulary: Vocabulary) -> Tensor:
    """(words,) for each word of a vocabulary, the row of the region that it names: row 0 is the
    whole picture and stands for none, so tag 0 is row 1."""
    rows = [int(tag[1]) + 1 if (tag := _TAG.fullmatch(word)) else 0 for word in vocabulary.words]
    return torch.tensor(rows, dtype=torch.long)


def tags_of(batch: RegionBatch, most: int) -> Tensor:
    """(pictures, regions) the tag of each region from 1 on, 0 for the whole picture and padding."""
    places = torch.arange(batch.mask.shape[1], device=batch.mask.device).clamp(max=most)
    return places * batch.mask


def draw_captions(dataset: Dataset, most: int, seed: int) -> list[str]:
    """One caption each of at most so many visuals."""
    chance = np.random.Generator(np.random.Philox(seed))
    chosen = chance.permutation(len(dataset.samples))[:most]
    captions = []
    for place in sorted(chosen.tolist()):
        references = dataset.samples[place].target.references
        captions.append(" ".join(references[int(chance.integers(len(references)))].split()))
    return captions


def pad_texts(texts: Sequence[Sequence[int]]) -> Tensor:
    """(texts, longest) token ids, 0 = padding at the end."""
    padded = torch.zeros(len(texts), max([1, *map(len, texts)]), dtype=torch.long)
    for row, ids in enumerate(texts):
        padded[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    return padded
