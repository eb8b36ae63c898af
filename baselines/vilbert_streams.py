"""ViLBERT's two streams (Lu et al., NeurIPS 2019): transformer layers over words and over regions,
and the co-attention between them.

Read it beside the paper's section 2.2 and figures 1 and 2; the order of layers and the parameter
names are those of the official code. Knows states and masks only: not what words and regions are
embedded from (vilbert.py), no tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .bert import LAYER_NORM_EPS, BertIntermediate, BertLayer, BertResidual
from .vilbert_config import ViLBertConfig

# ---------------------------------------------------------------- co-attention (figure 2b)


class CoAttention(nn.Module):
    """Each stream asks with its own queries and gets the other stream's values.

    1 names what is made of the image stream, 2 what is made of the text stream.
    """

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        size = config.bi_hidden_size
        if size % config.bi_num_attention_heads:
            raise ValueError(f"size {size} is no multiple of {config.bi_num_attention_heads} heads")
        self.heads = config.bi_num_attention_heads
        self.dropout = config.dropout
        self.query1 = nn.Linear(config.v_hidden_size, size)
        self.key1 = nn.Linear(config.v_hidden_size, size)
        self.value1 = nn.Linear(config.v_hidden_size, size)
        self.query2 = nn.Linear(config.hidden_size, size)
        self.key2 = nn.Linear(config.hidden_size, size)
        self.value2 = nn.Linear(config.hidden_size, size)

    def forward(
        self, image: Tensor, image_mask: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """-> what regions learn of the words (batch, regions, bi_hidden), and words of the regions
        (batch, tokens, bi_hidden)."""
        of_words = self._attend(self.query1(image), self.key2(text), self.value2(text), text_mask)
        of_regions = self._attend(
            self.query2(text), self.key1(image), self.value1(image), image_mask
        )
        return of_words, of_regions

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        def split(x: Tensor) -> Tensor:  # -> (batch, heads, positions, size / heads)
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        context = F.scaled_dot_product_attention(
            split(query),
            split(key),
            split(value),
            attn_mask=mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return context.transpose(1, 2).reshape(query.shape)


class CoAttentionOutput(nn.Module):
    """Projects what either stream has learnt to its own size and adds it: 1 image, 2 text."""

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        size, v_hidden, hidden = config.bi_hidden_size, config.v_hidden_size, config.hidden_size
        self.dense1 = nn.Linear(size, v_hidden)
        self.LayerNorm1 = nn.LayerNorm(v_hidden, eps=LAYER_NORM_EPS)
        self.dense2 = nn.Linear(size, hidden)
        self.LayerNorm2 = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        # Official checkpoints hold these two; nothing has ever used them.
        self.q_dense1 = nn.Linear(size, v_hidden)
        self.q_dense2 = nn.Linear(size, hidden)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, of_words: Tensor, image: Tensor, of_regions: Tensor, text: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What CoAttention returned, beside the states that asked -> (image, text) states."""
        return (
            self.LayerNorm1(self.dropout(self.dense1(of_words)) + image),
            self.LayerNorm2(self.dropout(self.dense2(of_regions)) + text),
        )


class CoAttentionLayer(nn.Module):
    """One co-attentional transformer block, with a feed-forward part for each stream."""

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        v_hidden, v_wide = config.v_hidden_size, config.v_intermediate_size
        hidden, wide = config.hidden_size, config.intermediate_size
        self.biattention = CoAttention(config)
        self.biOutput = CoAttentionOutput(config)
        self.v_intermediate = BertIntermediate(v_hidden, v_wide)
        self.v_output = BertResidual(v_wide, v_hidden, config.dropout)
        self.t_intermediate = BertIntermediate(hidden, wide)
        self.t_output = BertResidual(wide, hidden, config.dropout)

    def forward(
        self, image: Tensor, image_mask: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """image (batch, regions, v_hidden), text (batch, tokens, hidden), masks True where real ->
        (image, text) of the same shapes."""
        of_words, of_regions = self.biattention(image, image_mask, text, text_mask)
        image, text = self.biOutput(of_words, image, of_regions, text)
        return (
            self.v_output(self.v_intermediate(image), image),
            self.t_output(self.t_intermediate(text), text),
        )


# ---------------------------------------------------------------- the two streams (figure 1)


class TwoStreamEncoder(nn.Module):
    """Text layers, image layers and, between them, co-attention.

    The text runs alone up to the first co-attention. From then on each co-attention is followed by
    the layers of both streams up to the next one.
    """

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        text = (config.hidden_size, config.num_attention_heads, config.intermediate_size)
        image = (config.v_hidden_size, config.v_num_attention_heads, config.v_intermediate_size)
        self.layer = nn.ModuleList(
            BertLayer(*text, config.dropout) for _ in range(config.num_hidden_layers)
        )
        self.v_layer = nn.ModuleList(
            BertLayer(*image, config.dropout) for _ in range(config.v_num_hidden_layers)
        )
        self.c_layer = nn.ModuleList(CoAttentionLayer(config) for _ in config.v_biattention_id)
        self.text_at = (*config.t_biattention_id, config.num_hidden_layers)
        self.image_at = (*config.v_biattention_id, config.v_num_hidden_layers)

    def text_before_first_coattention(self, text: Tensor, mask: Tensor) -> Tensor:
        """text (batch, tokens, hidden), mask (batch, tokens) -> the same shape as text."""
        for layer in self.layer[: self.text_at[0]]:
            text = layer(text, mask)
        return text

    def image_before_first_coattention(self, image: Tensor, mask: Tensor) -> Tensor:
        """image (batch, regions, v_hidden), mask (batch, regions) -> the same shape as image. All
        published models start with co-attention here and have nothing to do."""
        for layer in self.v_layer[: self.image_at[0]]:
            image = layer(image, mask)
        return image

    def from_first_coattention(
        self,
        text: Tensor,
        text_mask: Tensor,
        image: Tensor,
        image_mask: Tensor,
        firsts: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """What the two above return, row by row a pair -> (text, image) of the last layers; with
        `firsts` the first state of each alone: the last layers make no others then."""
        for number, coattention in enumerate(self.c_layer):
            image, text = coattention(image, image_mask, text, text_mask)
            first = firsts and number + 1 == len(self.c_layer)
            text_layers = self.layer[self.text_at[number] : self.text_at[number + 1]]
            image_layers = self.v_layer[self.image_at[number] : self.image_at[number + 1]]
            text = _through(list(text_layers), text, text_mask, first)
            image = _through(list(image_layers), image, image_mask, first)
        return text, image


def _through(layers: Sequence[nn.Module], states: Tensor, mask: Tensor, first: bool) -> Tensor:
    """What the layers make of the states (batch, positions, hidden) -> the same; with `first`,
    (batch, 1, hidden)."""
    for number, layer in enumerate(layers, start=1):
        alone = first and number == len(layers)
        states = layer(states, mask, states[:, :1] if alone else None)
    return states[:, :1] if first else states


class Pooler(nn.Module):
    """A stream's first state, [CLS] or IMG, to the size in which the streams are fused."""

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, size)

    def forward(self, states: Tensor) -> Tensor:
        """(batch, positions, hidden) -> (batch, size)."""
        return F.relu(self.dense(states[:, 0]))
