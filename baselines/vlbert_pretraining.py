"""VL-BERT's pretraining (section 3.3): masked words with visual clues, masked regions with
linguistic clues, and masked words of text alone. The network and its losses, equal to the official
code; knows tensors only: what is masked, and how the net learns, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bert import BertPredictionTransform, initialise
from .vlbert import (
    RegionProjection,
    VisualLinguisticBert,
    VLBertConfig,
    region_states,
    start_visual_scales,
    text_states,
)

NOT_MASKED = -1  # the label of a word that is not to be told
_SUM_SLACK = 0.1  # a region's target counts if it sums to 1 within this


class MaskedWordPrediction(nn.Module):
    """BERT's head: (..., hidden) -> logits (..., words); its matrix is that of the embeddings."""

    def __init__(self, embeddings: nn.Embedding) -> None:
        super().__init__()
        words, hidden = embeddings.weight.shape
        self.transform = BertPredictionTransform(hidden)
        self.decoder = nn.Linear(hidden, words, bias=False)
        self.decoder.weight = embeddings.weight
        self.bias = nn.Parameter(torch.zeros(words))

    def forward(self, states: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.transform(states)) + self.bias
        return out


class MaskedWordHead(nn.Module):
    """MaskedWordPrediction under the name that checkpoints give it."""

    def __init__(self, embeddings: nn.Embedding) -> None:
        super().__init__()
        self.predictions = MaskedWordPrediction(embeddings)

    def forward(self, states: Tensor) -> Tensor:
        out: Tensor = self.predictions(states)
        return out


class RegionTransform(nn.Module):
    """The first layer of heads on regions: dense and gelu; unlike that on words, no LayerNorm."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        return F.gelu(self.dense(states))


class MaskedRegionHead(nn.Module):
    """(..., hidden) -> logits (..., region classes)."""

    def __init__(self, hidden_size: int, classes: int) -> None:
        super().__init__()
        self.transform = RegionTransform(hidden_size)
        self.region_cls_pred = nn.Linear(hidden_size, classes)

    def forward(self, states: Tensor) -> Tensor:
        out: Tensor = self.region_cls_pred(self.transform(states))
        return out


class VisualLinguisticBertWithHeads(VisualLinguisticBert):
    """The encoder with pretraining's two heads, which the official code keeps inside it."""

    def __init__(self, config: VLBertConfig) -> None:
        super().__init__(config)
        self.mlm_head = MaskedWordHead(self.word_embeddings)
        self.mvrc_head = MaskedRegionHead(config.hidden_size, config.region_classes)


class VLBertForPretraining(nn.Module):
    """Tells masked words and masked regions.

    The official code also has a head for whether caption and picture belong together; all its
    settings leave it out, and so do its checkpoints.
    """

    def __init__(self, config: VLBertConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_size
        self.image_feature_extractor = RegionProjection(config)
        self.object_linguistic_embeddings = nn.Embedding(1, hidden)
        self.object_mask_visual_embedding = nn.Embedding(1, config.appearance_size)
        self.object_mask_word_embedding = nn.Embedding(1, hidden)
        self.aux_text_visual_embedding = nn.Embedding(1, hidden)
        self.vlbert = VisualLinguisticBertWithHeads(config)
        initialise(self, config.initializer_range)
        nn.init.zeros_(self.object_mask_visual_embedding.weight)
        start_visual_scales(self.vlbert, config)

    def forward(
        self,
        caption: Tensor,
        boxes: Tensor,
        appearance: Tensor,
        image_size: Tensor,
        region_mask: Tensor,
        masked: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """caption (batch, words) with [CLS], [SEP] and [MASK]s, 0 = padding; boxes (batch, regions,
        4) in pixels, row 0 the whole picture; appearance (batch, regions, appearance_size), with
        row 0 as whole_picture_appearance gives it; image_size (batch, 2) as width, height;
        region_mask (batch, regions) True where real; masked (batch, regions) True where a region's
        appearance is to be hidden.

        Returns logits of words (batch, words, vocabulary) and of regions (batch, regions, classes);
        those of padded places mean nothing.
        """
        hide = masked[:, :, None]
        appearance = torch.where(hide, self.object_mask_visual_embedding.weight[0], appearance)
        visuals = self.image_feature_extractor(boxes, appearance, image_size)
        region_words = torch.where(
            hide, self.object_mask_word_embedding.weight, self.object_linguistic_embeddings.weight
        )
        token_mask = caption > 0
        layers, _ = self.vlbert(
            caption,
            torch.zeros_like(caption),
            token_mask,
            visuals[:, :1].expand(-1, caption.shape[1], -1),
            region_words,
            visuals,
            region_mask,
        )
        words = self.vlbert.mlm_head(text_states(layers[-1], caption.shape[1]))
        regions = self.vlbert.mvrc_head(region_states(layers[-1], token_mask, region_mask))
        return words, regions

    def read_text(self, text: Tensor) -> Tensor:
        """text (batch, words) with [MASK]s, without [CLS] and [SEP], 0 = padding -> logits (batch,
        words, vocabulary). No regions: a learned vector stands for the picture."""
        batch, words = text.shape
        no_picture = self.aux_text_visual_embedding.weight.expand(batch, words, -1)
        no_regions = no_picture[:, :0]
        layers, _ = self.vlbert(
            text,
            torch.zeros_like(text),
            text > 0,
            no_picture,
            no_regions,
            no_regions,
            torch.ones_like(text[:, :0], dtype=torch.bool),
        )
        logits: Tensor = self.vlbert.mlm_head(text_states(layers[-1], words))
        return logits


# ---------------------------------------------------------------- losses


@dataclass(frozen=True)
class PretrainingLosses:
    """Each a scalar; the original learns from their plain sum."""

    words: Tensor
    text: Tensor
    regions: Tensor

    @property
    def total(self) -> Tensor:
        return self.words + self.text + self.regions


def masked_word_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, mean over the words of the batch that are to be told.

    logits (batch, words, vocabulary), labels (batch, words) with NOT_MASKED elsewhere -> (). A
    batch without any gives 0, where the official code gives NaN.
    """
    flat = labels.flatten()
    total = F.cross_entropy(logits.flatten(0, 1), flat, ignore_index=NOT_MASKED, reduction="sum")
    return total / (flat != NOT_MASKED).sum().clamp(min=1)


def masked_region_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy against a detector's class probabilities, mean over the regions to be told.

    logits, targets (batch, regions, classes); a region is to be told if its targets sum to 1 within
    0.1: those of the others are zeros -> (), 0 without any.
    """
    told = (targets.sum(dim=-1) - 1).abs() < _SUM_SLACK
    if not bool(told.any()):
        return logits.sum() * 0.0
    return -(F.log_softmax(logits[told], dim=-1) * targets[told]).sum(dim=-1).mean()


def whole_picture_appearance(appearance: Tensor, region_mask: Tensor, masked: Tensor) -> Tensor:
    """The appearance with row 0, the whole picture, as the mean of the real regions that are not
    masked: otherwise it would give the masked ones away.

    appearance (batch, regions, size), region_mask and masked (batch, regions) -> as appearance. Row
    0 is zeros where all regions are masked.
    """
    counted = (region_mask & ~masked)[:, 1:, None].to(appearance.dtype)
    # the official code divides by the number plus this
    mean = (appearance[:, 1:] * counted).sum(dim=1) / (counted.sum(dim=1) + 1e-5)
    return torch.cat([mean[:, None], appearance[:, 1:]], dim=1)
