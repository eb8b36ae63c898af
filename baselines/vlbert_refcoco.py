"""VL-BERT for referring expressions (section 4.2.3): which region does an expression speak of?

The network, its loss and its labels, equal to the official code. Knows tensors only.
"""

from __future__ import annotations

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
    region_states,
    start_visual_scales,
)
from .vlbert_pretraining import RegionTransform


class VLBertForReferring(nn.Module):
    """A logit for each region; the whole picture, row 0, is one of them."""

    def __init__(self, config: VLBertConfig, cls: int = CLS, sep: int = SEP) -> None:
        super().__init__()
        self.config = config
        self.special = (cls, sep)
        self.image_feature_extractor = RegionProjection(config)
        self.object_linguistic_embeddings = nn.Embedding(1, config.hidden_size)
        self.vlbert = VisualLinguisticBert(config)
        self.final_mlp = nn.Sequential(
            RegionTransform(config.hidden_size),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden_size, 1),
        )
        initialise(self, config.initializer_range)
        start_visual_scales(self.vlbert, config)

    def region_embeddings(self, boxes: Tensor, appearance: Tensor, image_size: Tensor) -> Tensor:
        """The visual embedding of each region; shapes as in RegionProjection."""
        out: Tensor = self.image_feature_extractor(boxes, appearance, image_size)
        return out

    def forward(self, expression: Tensor, region_visuals: Tensor, region_mask: Tensor) -> Tensor:
        """expression (batch, words) without special tokens, 0 = padding; region_visuals (batch,
        regions, hidden), row 0 the whole picture; region_mask (batch, regions) True where real.

        Returns logits (batch, regions); those of padded regions mean nothing.
        """
        tokens, token_mask = self._as_sentence(expression)
        layers, _ = self.vlbert(
            tokens,
            torch.zeros_like(tokens),
            token_mask,
            region_visuals[:, :1].expand(-1, tokens.shape[1], -1),
            self.object_linguistic_embeddings.weight.expand_as(region_visuals),
            region_visuals,
            region_mask,
        )
        regions = region_states(layers[-1], token_mask, region_mask)
        logits: Tensor = self.final_mlp(regions).squeeze(-1)
        return logits

    def _as_sentence(self, expression: Tensor) -> tuple[Tensor, Tensor]:
        """[CLS] expression [SEP]: (batch, words) -> tokens and their mask (batch, longest + 2)."""
        one = torch.ones_like(expression[:, :1])
        cls, sep = self.special
        parts = [cls * one, expression, sep * one]
        tokens, mask = pack([part[:, :, None] for part in parts], [part > 0 for part in parts])
        return tokens[:, :, 0], mask


def referring_loss(logits: Tensor, labels: Tensor, region_mask: Tensor) -> Tensor:
    """Binary cross entropy, mean over the real regions of the batch.

    logits, labels in [0, 1] and region_mask: (batch, regions) -> ().
    """
    return F.binary_cross_entropy_with_logits(logits[region_mask], labels[region_mask])


def referred_region(logits: Tensor, region_mask: Tensor) -> Tensor:
    """The row of the most likely real region; logits, region_mask (batch, regions) -> (batch,)."""
    return logits.masked_fill(~region_mask, -torch.inf).argmax(dim=1)


def overlap_labels(boxes: Tensor, target: Tensor) -> Tensor:
    """1 for each region whose intersection over union with the target is above 0.5, else 0.

    boxes (batch, regions, 4), target (batch, 4), as x1, y1, x2, y2 in pixels; a box includes its
    last pixel, as in the official labels, so sides are x2 - x1 + 1 -> (batch, regions).
    """
    return (_overlap(boxes, target[:, None]) > 0.5).to(boxes.dtype)


def _overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4), both ends included -> (...)."""

    def area(corner: Tensor, opposite: Tensor) -> Tensor:
        return (opposite - corner + 1).clamp(min=0).prod(dim=-1)

    both = area(
        torch.maximum(first[..., :2], second[..., :2]),
        torch.minimum(first[..., 2:], second[..., 2:]),
    )
    either = area(first[..., :2], first[..., 2:]) + area(second[..., :2], second[..., 2:]) - both
    return both / either
