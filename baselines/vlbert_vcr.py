"""VL-BERT for visual commonsense reasoning (section 4.2.1): which of a query's choices holds?

The network and its losses, equal to the official code but for its side task of naming what is in
each box. Knows tensors only. For the reason after a given answer, the query is the question and
that answer, one after the other.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bert import initialise, pack
from .vlbert import (
    CLS,
    SEP,
    RegionProjection,
    VisualLinguisticBert,
    VLBertConfig,
    start_visual_scales,
)


class Pooler(nn.Module):
    """What the encoder says of the whole: [CLS]'s state through one layer."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """(batch, n, hidden) -> (batch, hidden)."""
        return torch.tanh(self.dense(states[:, 0]))


class VisualLinguisticBertWithPooler(VisualLinguisticBert):
    """The encoder with BERT's pooler, which the official code keeps inside it."""

    def __init__(self, config: VLBertConfig) -> None:
        super().__init__(config)
        self.pooler = Pooler(config.hidden_size)


class VLBertForVCR(nn.Module):
    """A logit for each choice: "[CLS] query [SEP] choice [SEP] | regions | [END]", one sequence a
    choice. A word that names an object carries this object's visual embedding.

    The one-entry ModuleDicts make the names of parameters those of the official code's wrappers.
    """

    def __init__(self, config: VLBertConfig, cls: int = CLS, sep: int = SEP) -> None:
        super().__init__()
        self.config = config
        self.special = (cls, sep)
        self.image_feature_extractor = nn.ModuleDict({"fe": RegionProjection(config)})
        self.object_linguistic_embeddings = nn.Embedding(1, config.hidden_size)
        self.vlbert = nn.ModuleDict({"_module": VisualLinguisticBertWithPooler(config)})
        self.final_mlp = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.hidden_size, 1))
        initialise(self, config.initializer_range)
        start_visual_scales(self.encoder, config)

    @property
    def encoder(self) -> VisualLinguisticBertWithPooler:
        return cast(VisualLinguisticBertWithPooler, self.vlbert["_module"])

    @property
    def region_projection(self) -> RegionProjection:
        return cast(RegionProjection, self.image_feature_extractor["fe"])

    def region_embeddings(self, boxes: Tensor, appearance: Tensor, image_size: Tensor) -> Tensor:
        """The visual embedding of each region; shapes as in RegionProjection."""
        out: Tensor = self.region_projection(boxes, appearance, image_size)
        return out

    def forward(
        self,
        query: Tensor,
        query_tags: Tensor,
        choices: Tensor,
        choice_tags: Tensor,
        region_visuals: Tensor,
        region_mask: Tensor,
    ) -> Tensor:
        """query (batch, words) and choices (batch, choices, words) without special tokens, 0 =
        padding; their tags, of the same shapes: the row of the region that a word names, 0, the
        whole picture, for a word that names none; region_visuals (batch, regions, hidden);
        region_mask (batch, regions) True where real.

        Returns logits (batch, choices).
        """
        many = choices.shape[1]
        tokens, segments, tags, token_mask = self._two_sentences(
            query.repeat_interleave(many, dim=0),
            query_tags.repeat_interleave(many, dim=0),
            choices.flatten(0, 1),
            choice_tags.flatten(0, 1),
        )
        visuals = region_visuals.repeat_interleave(many, dim=0)
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        layers, _ = self.encoder(
            tokens,
            segments,
            token_mask,
            visuals[rows, tags],
            self.object_linguistic_embeddings.weight.expand_as(visuals),
            visuals,
            region_mask.repeat_interleave(many, dim=0),
            read=torch.zeros_like(tokens[:, :1]),
        )
        logits: Tensor = self.final_mlp(self.encoder.pooler(layers[-1]))
        return logits.view(-1, many)

    def _two_sentences(
        self, query: Tensor, query_tags: Tensor, choice: Tensor, choice_tags: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[CLS] query [SEP] choice [SEP], the choice and the last [SEP] in segment 1.

        All (rows, words) -> tokens, segments, tags, mask (rows, longest).
        """
        one = torch.ones_like(query[:, :1])
        cls, sep = self.special
        parts = [
            (cls * one, 0, 0 * one),
            (query, 0, query_tags),
            (sep * one, 0, 0 * one),
            (choice, 1, choice_tags),
            (sep * one, 1, 0 * one),
        ]
        columns = [
            torch.stack([words, torch.full_like(words, segment), tags], dim=-1)
            for words, segment, tags in parts
        ]
        together, mask = pack(columns, [words > 0 for words, _, _ in parts])
        tokens, segments, tags = together.unbind(-1)
        return tokens, segments, tags, mask


def start_second_segment(model: VLBertForVCR) -> None:
    """Gives segment 1 the embedding of segment 0, after weights of pretraining were loaded: there,
    captions were one sentence, and segment 1 was never learned."""
    table = model.encoder.token_type_embeddings.weight
    with torch.no_grad():
        table[1] = table[0]


def each_choice_loss(logits: Tensor, right: Tensor) -> Tensor:
    """The official loss: binary cross entropy of every choice for itself, mean over all.

    logits (batch, choices), right (batch,) the index of the right one -> ().
    """
    labels = F.one_hot(right, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, labels)


def best_choice_loss(logits: Tensor, right: Tensor) -> Tensor:
    """Cross entropy over the choices, the official code's other setting; shapes as above."""
    return F.cross_entropy(logits, right)
