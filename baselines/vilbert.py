"""ViLBERT (Lu et al., NeurIPS 2019): a transformer over words and one over regions that attend to
each other.

Read it beside the paper's section 2.2: here the inputs and the whole network, in vilbert_streams.py
the layers. The numbers and the parameter names are those of the official code, whose checkpoints
load as they are. Knows tensors only: no files, no pictures, no tasks (vilbert_heads.py), no
training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bert import LAYER_NORM_EPS
from .vilbert_config import CONFIGS, ViLBertConfig
from .vilbert_streams import Pooler, TwoStreamEncoder

__all__ = [
    "CONFIGS",
    "StreamState",
    "ViLBert",
    "ViLBertConfig",
    "ViLBertOutput",
    "box_locations",
    "score_every_pair",
    "with_whole_picture",
]

TASK_TOKENS = 20  # rows of the table of task embeddings (12-in-1)


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


# ---------------------------------------------------------------- the network


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
    [CLS] and IMG (batch, bi_hidden). States are arbitrary where padded. One token and one region
    alone, [CLS] and IMG, where a pair was joined for what is pooled."""

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

    def join(
        self, text: StreamState, image: StreamState, pooled_only: bool = False
    ) -> ViLBertOutput:
        """Row i of the text with row i of the image. `pooled_only`: for who reads no other states
        than [CLS] and IMG, and needs the last layers to make no others."""
        text_states, image_states = self.encoder.from_first_coattention(
            text.states, text.mask, image.states, image.mask, firsts=pooled_only
        )
        return ViLBertOutput(
            text=text_states,
            text_mask=text.mask[:, : text_states.shape[1]],
            image=image_states,
            image_mask=image.mask[:, : image_states.shape[1]],
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

    `score` gives one number per pair, (pairs,), by what is pooled. Captions of like length go
    together, so that little padding is computed. For evaluation: call it without gradients.
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
            pooled_only=True,
        )
        found[caption, picture] = score(joined).to(found.dtype)
    return found.T
