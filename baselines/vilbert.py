"""ViLBERT (Lu et al., NeurIPS 2019): a transformer over words and one over regions that attend to
each other.

Read it beside the paper's section 2.2 and figure 2; the numbers, the order of layers and the
parameter names are those of the official code, whose checkpoints load as they are. Knows tensors
only: no files, no pictures, no tasks (vilbert_heads.py), no training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bert import LAYER_NORM_EPS, BertIntermediate, BertLayer, BertResidual

TASK_TOKENS = 20  # rows of the table of task embeddings (12-in-1)


@dataclass(frozen=True)
class ViLBertConfig:
    """Sizes of a ViLBERT; the defaults are BERT base with six co-attention layers.

    Names are those of the official config files. Co-attention i comes before text layer
    t_biattention_id[i] and before image layer v_biattention_id[i]. ValueError where these are not
    of one length, ascending and within the streams.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    v_feature_size: int = 2048  # a region's feature
    v_target_size: int = 1601  # the classes of the detector
    v_hidden_size: int = 1024
    v_num_hidden_layers: int = 6
    v_num_attention_heads: int = 8
    v_intermediate_size: int = 1024
    bi_hidden_size: int = 1024
    bi_num_attention_heads: int = 8
    v_biattention_id: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    t_biattention_id: tuple[int, ...] = (6, 7, 8, 9, 10, 11)
    task_specific_tokens: bool = False
    dropout: float = 0.1
    initializer_range: float = 0.02
    answers: int = 3129  # of VQA
    gqa_answers: int = 1533

    def __post_init__(self) -> None:
        for name, ids, layers in (
            ("v_biattention_id", self.v_biattention_id, self.v_num_hidden_layers),
            ("t_biattention_id", self.t_biattention_id, self.num_hidden_layers),
        ):
            if not ids or list(ids) != sorted(ids) or ids[0] < 0 or ids[-1] > layers:
                raise ValueError(f"{name} {ids} is not an ascending list within {layers} layers")
        if len(self.v_biattention_id) != len(self.t_biattention_id):
            raise ValueError("v_biattention_id and t_biattention_id differ in length")


def _with_coattention(text: ViLBertConfig, layers: int) -> ViLBertConfig:
    """So many image and co-attention layers, beside the last text layers."""
    return replace(
        text,
        v_num_hidden_layers=layers,
        v_biattention_id=tuple(range(layers)),
        t_biattention_id=tuple(range(text.num_hidden_layers - layers, text.num_hidden_layers)),
    )


_BASE = ViLBertConfig()
_LARGE = replace(
    _with_coattention(replace(_BASE, num_hidden_layers=24), 6),
    hidden_size=1024,
    num_attention_heads=16,
    intermediate_size=4096,
)

CONFIGS: dict[str, ViLBertConfig] = {
    **{f"base-{layers}": _with_coattention(_BASE, layers) for layers in (2, 4, 6, 8)},
    **{f"large-{layers}": _with_coattention(_LARGE, layers) for layers in (2, 4, 6)},
}


# ---------------------------------------------------------------- inputs


def box_locations(boxes: Tensor, image_size: Tensor) -> Tensor:
    """Where a box lies (section 2.2, "Image Representations").

    boxes (batch, regions, 4) as x1, y1, x2, y2 and image_size (batch, 2) as width, height, in the
    same unit -> (batch, regions, 5): both corners and the covered share of the picture, all in
    [0, 1].
    """
    scale = torch.cat([image_size, image_size], dim=-1)[:, None]  # (batch, 1, 4)
    x1, y1, x2, y2 = (boxes / scale).unbind(-1)
    return torch.stack([x1, y1, x2, y2, (x2 - x1) * (y2 - y1)], dim=-1)


def with_whole_picture(
    features: Tensor, locations: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Puts the IMG region first: the mean feature of the real regions, over the whole picture.

    features (batch, regions, v_feature_size), locations (batch, regions, 5), mask (batch, regions)
    True where real -> the same with one region more.
    """
    real = mask[..., None].to(features.dtype)
    mean = (features * real).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True).clamp(min=1)
    whole = locations.new_tensor([0.0, 0.0, 1.0, 1.0, 1.0]).expand(len(locations), 1, 5)
    return (
        torch.cat([mean, features], dim=1),
        torch.cat([whole, locations], dim=1),
        F.pad(mask, (1, 0), value=True),
    )


class TextEmbeddings(nn.Module):
    """Word, position and segment, summed and normalised, as in BERT."""

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, hidden)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, hidden)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, hidden)
        if config.task_specific_tokens:
            self.task_embeddings = nn.Embedding(TASK_TOKENS, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, segments: Tensor, task: Tensor | None = None) -> Tensor:
        """tokens, segments (batch, tokens), task (batch,) where the model has task tokens ->
        (batch, tokens, hidden), one token more with a task."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        states = (
            self.word_embeddings(tokens)
            + self.position_embeddings(positions)
            + self.token_type_embeddings(segments)
        )
        if task is not None:
            # after [CLS]; the words behind it keep their positions, and it has none
            token = self.task_embeddings(task)[:, None]
            states = torch.cat([states[:, :1], token, states[:, 1:]], dim=1)
        out: Tensor = self.dropout(self.LayerNorm(states))
        return out


class ImageEmbeddings(nn.Module):
    """A region's feature and location, projected, summed and normalised. Regions have no order."""

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        self.image_embeddings = nn.Linear(config.v_feature_size, config.v_hidden_size)
        self.image_location_embeddings = nn.Linear(5, config.v_hidden_size)
        self.LayerNorm = nn.LayerNorm(config.v_hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Tensor, locations: Tensor) -> Tensor:
        """features (batch, regions, v_feature_size), locations (batch, regions, 5) -> (batch,
        regions, v_hidden)."""
        place = self.image_location_embeddings(locations.to(features.dtype))
        out: Tensor = self.dropout(self.LayerNorm(self.image_embeddings(features) + place))
        return out


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
        self, text: Tensor, text_mask: Tensor, image: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the two above return, row by row a pair -> (text, image) of the last layers."""
        for number, coattention in enumerate(self.c_layer):
            image, text = coattention(image, image_mask, text, text_mask)
            for layer in self.layer[self.text_at[number] : self.text_at[number + 1]]:
                text = layer(text, text_mask)
            for layer in self.v_layer[self.image_at[number] : self.image_at[number + 1]]:
                image = layer(image, image_mask)
        return text, image


class Pooler(nn.Module):
    """A stream's first state, [CLS] or IMG, to the size in which the streams are fused."""

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, size)

    def forward(self, states: Tensor) -> Tensor:
        """(batch, positions, hidden) -> (batch, size)."""
        return F.relu(self.dense(states[:, 0]))


@dataclass(frozen=True)
class StreamState:
    """One stream before the first co-attention, when it knows nothing of the other.

    states (batch, positions, hidden), mask (batch, positions) True where real.
    """

    states: Tensor
    mask: Tensor

    def rows(self, index: Tensor) -> StreamState:
        """The named rows, which may repeat: index (rows,) -> (rows, positions, hidden)."""
        return StreamState(self.states[index], self.mask[index])

    def without_common_padding(self) -> StreamState:
        """Cuts the columns behind the last one that is real in some row."""
        real = self.mask.any(dim=0).nonzero()
        longest = int(real.max()) + 1 if len(real) else 0
        return StreamState(self.states[:, :longest], self.mask[:, :longest])


@dataclass(frozen=True)
class ViLBertOutput:
    """text (batch, tokens, hidden), image (batch, regions, v_hidden), their masks, and the pooled
    [CLS] and IMG (batch, bi_hidden). States are arbitrary where padded."""

    text: Tensor
    text_mask: Tensor
    image: Tensor
    image_mask: Tensor
    text_pooled: Tensor
    image_pooled: Tensor


class ViLBert(nn.Module):
    """Embeddings, both streams and their poolers.

    `encode_text` and `encode_image` do what depends on one side alone, `join` the rest: of many
    pairs, each caption and each picture is encoded once.
    """

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = TextEmbeddings(config)
        self.v_embeddings = ImageEmbeddings(config)
        self.encoder = TwoStreamEncoder(config)
        self.t_pooler = Pooler(config.hidden_size, config.bi_hidden_size)
        self.v_pooler = Pooler(config.v_hidden_size, config.bi_hidden_size)

    def encode_text(
        self, tokens: Tensor, segments: Tensor, mask: Tensor, task: Tensor | None = None
    ) -> StreamState:
        """tokens, segments (batch, tokens) with [CLS] first, mask the same, True where real; task
        (batch,) where the model has task tokens, which lengthens the text by one. ValueError where
        a task is missing or not understood."""
        if (task is not None) != self.config.task_specific_tokens:
            raise ValueError("a task is given exactly where the model has task_specific_tokens")
        states = self.embeddings(tokens, segments, task)
        if task is not None:
            mask = F.pad(mask, (1, 0), value=True)
        return StreamState(self.encoder.text_before_first_coattention(states, mask), mask)

    def encode_image(self, features: Tensor, locations: Tensor, mask: Tensor) -> StreamState:
        """features (batch, regions, v_feature_size), locations (batch, regions, 5) as
        `box_locations` gives them, mask (batch, regions) True where real; row 0 is the whole
        picture and real."""
        states = self.v_embeddings(features, locations)
        return StreamState(self.encoder.image_before_first_coattention(states, mask), mask)

    def join(self, text: StreamState, image: StreamState) -> ViLBertOutput:
        """Row i of the text with row i of the image."""
        text_states, image_states = self.encoder.from_first_coattention(
            text.states, text.mask, image.states, image.mask
        )
        return ViLBertOutput(
            text=text_states,
            text_mask=text.mask,
            image=image_states,
            image_mask=image.mask,
            text_pooled=self.t_pooler(text_states),
            image_pooled=self.v_pooler(image_states),
        )

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        token_mask: Tensor,
        features: Tensor,
        locations: Tensor,
        region_mask: Tensor,
        task: Tensor | None = None,
    ) -> ViLBertOutput:
        """Arguments as in `encode_text` and `encode_image`, row by row a pair."""
        text = self.encode_text(tokens, segments, token_mask, task)
        return self.join(text, self.encode_image(features, locations, region_mask))


def score_every_pair(
    model: ViLBert,
    text: StreamState,
    image: StreamState,
    score: Callable[[ViLBertOutput], Tensor],
    pairs_at_once: int = 64,
) -> Tensor:
    """Joins every picture with every caption -> scores (pictures, captions).

    `score` gives one number per pair, (pairs,). Captions of like length go together, so that little
    padding is computed. For evaluation: call it without gradients.
    """
    pictures, captions = len(image.mask), len(text.mask)
    by_length = text.mask.sum(dim=1).argsort(stable=True)
    found = image.states.new_zeros(captions, pictures)
    for start in range(0, captions * pictures, pairs_at_once):
        end = min(start + pairs_at_once, captions * pictures)
        pairs = torch.arange(start, end, device=by_length.device)
        caption, picture = by_length[pairs // pictures], pairs % pictures
        joined = model.join(
            text.rows(caption).without_common_padding(),
            image.rows(picture).without_common_padding(),
        )
        found[caption, picture] = score(joined).to(found.dtype)
    return found.T
