"""VL-BERT (Su et al., ICLR 2020): one transformer over words and regions.

Read it beside the paper's section 3; the numbers and parameter names are those of the official
code, whose checkpoints load as they are. Knows tensors only: no files, no pictures, no task loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bert import (
    LAYER_NORM_EPS,
    BertEncoder,
    BertPredictionTransform,
    at_places,
    initialise,
    pack,
)

CLS, SEP, MASK = 101, 102, 103  # BERT's uncased vocabulary; bundled models have their own
_GEOMETRY_SCALE = 100.0  # common/utils/bbox.py: coordinates in percent of the picture
_GEOMETRY_BASE = 1000.0


@dataclass(frozen=True)
class VLBertConfig:
    """Sizes of a VL-BERT; the defaults are VL-BERT base over precomputed features."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 3
    appearance_size: int = 2048  # a region's feature, from a detector or a CNN trained along
    geometry_size: int = 2048  # 4 coordinates x 2 (sine, cosine) x wave lengths
    dropout: float = 0.1
    initializer_range: float = 0.02
    visual_scale_text_init: float = 0.0  # weights of the visual LayerNorms at the start
    visual_scale_object_init: float = 0.0
    answers: int = 3129
    region_classes: int = 1601  # what pretraining tells a masked region by: the detector's classes


# the sizes of the released checkpoints
CONFIGS = {
    "base": VLBertConfig(),
    "large": VLBertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    ),
}


def geometry_embedding(boxes: Tensor, image_size: Tensor, size: int) -> Tensor:
    """Sines and cosines of where a box lies (section 3.2, "visual geometry embedding").

    boxes (batch, regions, 4) as x1, y1, x2, y2 and image_size (batch, 2) as width, height, in the
    same unit -> (batch, regions, size). The official code embeds centre, width and height; the
    paper's text speaks of the two corners.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    width, height = image_size[:, :1], image_size[:, 1:]
    place = torch.stack(
        [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height],
        dim=-1,
    )
    waves = size // 8
    steps = torch.arange(waves, device=boxes.device, dtype=boxes.dtype)
    lengths = _GEOMETRY_BASE ** (steps / waves)
    angles = place[..., None] * _GEOMETRY_SCALE / lengths  # (batch, regions, 4, waves)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class RegionProjection(nn.Module):
    """A region's visual embedding: geometry and appearance, in this order, through one layer
    (common/fast_rcnn.py)."""

    def __init__(self, config: VLBertConfig) -> None:
        super().__init__()
        self.geometry_size = config.geometry_size
        self.obj_downsample = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.geometry_size + config.appearance_size, config.hidden_size),
            nn.ReLU(),
        )

    def forward(self, boxes: Tensor, appearance: Tensor, image_size: Tensor) -> Tensor:
        """boxes (batch, regions, 4), appearance (batch, regions, appearance_size), image_size
        (batch, 2) -> (batch, regions, hidden). Boxes and sizes stay in fp32 whatever the model's
        precision: half a pixel would be lost in bf16."""
        geometry = geometry_embedding(boxes, image_size, self.geometry_size)
        both = torch.cat([geometry.to(appearance.dtype), appearance], dim=-1)
        out: Tensor = self.obj_downsample(both)
        return out


class VisualLinguisticBert(nn.Module):
    """The input embeddings of figure 2 and the encoder.

    Every element is the sum of a token, a visual feature, a segment and a position embedding:
        [CLS] text_a [SEP] text_b [SEP] | region_0 .. region_n-1 | [END]
    region_0 is the whole picture; its visual feature goes to every word.
    """

    def __init__(self, config: VLBertConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, hidden)
        self.end_embedding = nn.Embedding(1, hidden)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, hidden)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, hidden)
        self.embedding_LayerNorm = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        self.embedding_dropout = nn.Dropout(config.dropout)
        self.visual_ln_text = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        self.visual_ln_object = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        self.encoder = BertEncoder(
            config.num_hidden_layers,
            hidden,
            config.num_attention_heads,
            config.intermediate_size,
            config.dropout,
        )

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        token_mask: Tensor,
        token_visuals: Tensor,
        region_words: Tensor,
        region_visuals: Tensor,
        region_mask: Tensor,
        read: Tensor | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """tokens, segments, token_mask (batch, words); token_visuals (batch, words, hidden);
        region_words, region_visuals (batch, regions, hidden); region_mask (batch, regions); read
        (batch, k), the places of the last layer that are read, all where it is not given.

        Returns every layer's states (batch, n, hidden), real positions first, and their mask
        (batch, n): words, then regions, then [END]. With `read` the last layer's are (batch, k,
        hidden).
        """
        batch, words = tokens.shape
        length = token_mask.sum(dim=1)  # (batch,)
        positions = torch.arange(words, device=tokens.device)
        text = (
            self.word_embeddings(tokens)
            + self.visual_ln_text(token_visuals)
            + self.position_embeddings(positions)
            + self.token_type_embeddings(segments)
        )
        # Regions have no order: all share the position after the text; [END] has the next one.
        third_segment = self.token_type_embeddings.weight[2]
        regions = (
            region_words
            + self.visual_ln_object(region_visuals)
            + self.position_embeddings(length)[:, None]
            + third_segment
        )
        end = self.end_embedding.weight + self.position_embeddings(length + 1) + third_segment
        end_mask = torch.ones(batch, 1, dtype=torch.bool, device=tokens.device)
        states, mask = pack([text, regions, end[:, None]], [token_mask, region_mask, end_mask])
        states = self.embedding_dropout(self.embedding_LayerNorm(states))
        return self.encoder(states, mask, read), mask


def text_states(states: Tensor, words: int) -> Tensor:
    """One layer's states of the words: (batch, n, hidden) as VisualLinguisticBert returns them ->
    (batch, words, hidden). A padded word gets what stands there, which is a region or [END]."""
    return F.pad(states, (0, 0, 0, max(0, words - states.shape[1])))[:, :words]


def region_states(states: Tensor, token_mask: Tensor, region_mask: Tensor) -> Tensor:
    """One layer's states of the regions: (batch, n, hidden) as VisualLinguisticBert returns them ->
    (batch, regions, hidden), zero where region_mask (batch, regions) is not real."""
    place = token_mask.sum(dim=1, keepdim=True) + region_mask.cumsum(dim=1) - 1
    regions = at_places(states, place.masked_fill(~region_mask, 0))
    return regions.masked_fill(~region_mask[:, :, None], 0.0)


def start_visual_scales(part: VisualLinguisticBert, config: VLBertConfig) -> None:
    """The initial weights of the visual LayerNorms: 0 means that a picture contributes nothing."""
    nn.init.constant_(part.visual_ln_text.weight, config.visual_scale_text_init)
    nn.init.constant_(part.visual_ln_object.weight, config.visual_scale_object_init)


class VLBertForVQA(nn.Module):
    """Visual question answering (section 4.2.2): the answer is read off a [MASK]."""

    def __init__(
        self, config: VLBertConfig, cls: int = CLS, sep: int = SEP, mask: int = MASK
    ) -> None:
        super().__init__()
        self.config = config
        self.special = (cls, sep, mask)
        self.image_feature_extractor = RegionProjection(config)
        self.object_linguistic_embeddings = nn.Embedding(1, config.hidden_size)
        self.vlbert = VisualLinguisticBert(config)
        self.final_mlp = nn.Sequential(
            BertPredictionTransform(config.hidden_size),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden_size, config.answers),
        )
        initialise(self, config.initializer_range)
        start_visual_scales(self.vlbert, config)

    def region_embeddings(self, boxes: Tensor, appearance: Tensor, image_size: Tensor) -> Tensor:
        """The visual embedding of each region; shapes as in RegionProjection."""
        out: Tensor = self.image_feature_extractor(boxes, appearance, image_size)
        return out

    def forward(self, question: Tensor, region_visuals: Tensor, region_mask: Tensor) -> Tensor:
        """question (batch, words) without special tokens, 0 = padding; region_visuals (batch,
        regions, hidden), row 0 the whole picture; region_mask (batch, regions) True where real.

        Returns logits (batch, answers).
        """
        tokens, segments, token_mask, answer_at = self._with_answer_slot(question)
        whole_picture = region_visuals[:, :1].expand(-1, tokens.shape[1], -1)
        region_words = self.object_linguistic_embeddings.weight.expand_as(region_visuals)
        layers, _ = self.vlbert(
            tokens,
            segments,
            token_mask,
            whole_picture,
            region_words,
            region_visuals,
            region_mask,
            read=answer_at[:, None],
        )
        logits: Tensor = self.final_mlp(layers[-1][:, 0])
        return logits

    def _with_answer_slot(self, question: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[CLS] question [SEP] [MASK] [SEP], segment 1 from the [MASK] on.

        question (batch, words) -> tokens, segments, mask (batch, words + 4), place of the [MASK]
        (batch,).
        """
        cls, sep, mask = self.special
        batch, words = question.shape
        length = (question > 0).sum(dim=1, keepdim=True)  # (batch, 1)
        place = torch.arange(words + 4, device=question.device).expand(batch, -1)
        tokens = F.pad(question, (1, 3))
        tokens = tokens.masked_fill(place == 0, cls)
        tokens = tokens.masked_fill((place == length + 1) | (place == length + 3), sep)
        tokens = tokens.masked_fill(place == length + 2, mask)
        segments = ((place == length + 2) | (place == length + 3)).long()
        return tokens, segments, place < length + 4, length[:, 0] + 2


def vqa_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy against soft answer scores, summed over answers, mean over the batch.

    logits, targets (batch, answers), targets in [0, 1] -> ().
    """
    return F.binary_cross_entropy_with_logits(logits, targets) * logits.shape[1]


def soft_targets(answers: tuple[str, ...], vocabulary: dict[str, int]) -> dict[int, float]:
    """The official soft target of a question with ten annotators (vqa.py of the official code):
    min(1, 0.3 k) for an answer that k of them gave; answers outside the vocabulary are dropped.
    Returns answer index -> score."""
    scores: dict[int, float] = {}
    for answer in set(answers):
        if answer in vocabulary:
            scores[vocabulary[answer]] = min(1.0, 0.3 * answers.count(answer))
    return scores
