"""One ViLBERT for several tasks, as 12-in-1 trains it (Lu et al., CVPR 2020): the official network
with a head for each, fed with texts and with what was looked at. Knows tensors only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .bert import pack
from .multitask_vision import Looked, Visuals
from .vilbert import (
    StreamState,
    ViLBertConfig,
    ViLBertOutput,
    box_locations,
    score_every_pair,
)
from .vilbert_heads import ViLBertForTasks, answer_loss, choice_loss, region_loss

HEADS = ("vil_prediction", "vil_logit", "vision_logit")


class ViLBertMultitask(nn.Module):
    """ViLBertForTasks behind the same methods as VLBertMultitask. The image stream up to the first
    co-attention is made once for all texts about a picture; of many pairs, the text stream once for
    each text."""

    def __init__(self, config: ViLBertConfig, cls: int, sep: int, mask: int) -> None:
        super().__init__()
        self.config = config
        self.special = (cls, sep)
        self.network = ViLBertForTasks(config, HEADS)

    # ------------------------------------------------------------ seeing

    def see(self, looked: Looked) -> Visuals:
        """The image stream before the first co-attention."""
        locations = box_locations(looked.boxes, looked.sizes)
        appearance = looked.appearance.to(
            self.network.bert.v_embeddings.image_embeddings.weight.dtype
        )
        image = self.network.bert.encode_image(appearance, locations, looked.mask)
        return Visuals(image.states, image.mask)

    def region_vectors(self, visuals: Visuals) -> Tensor:
        """(visuals, regions, v_hidden): what names of regions are learned from."""
        return visuals.states

    # ------------------------------------------------------------ the tasks
    #
    # Texts are token ids (rows, words) without special tokens, 0 = padding; row i goes with row i
    # of `visuals`.

    def answer_logits(self, questions: Tensor, visuals: Visuals) -> Tensor:
        """-> (rows, answers)."""
        return self.network.answer_logits(self._join(self.read(questions), visuals))

    def region_logits(self, expressions: Tensor, visuals: Visuals) -> Tensor:
        """-> (rows, regions), far below all others where padded."""
        joined = self._join(self.read(expressions), visuals, pooled_only=False)
        return self.network.region_logits(joined)

    def choice_logits(
        self, query: Tensor, choices: Tensor, named: Tensor, visuals: Visuals
    ) -> Tensor:
        """query (rows, words), choices (rows, choices, words) -> (rows, choices). `named` is not
        read: words have no visual part here, a thing that is named shows its tag itself."""
        many = choices.shape[1]
        texts = self.read(query.repeat_interleave(many, dim=0), choices.flatten(0, 1))
        rows = torch.arange(len(query), device=query.device).repeat_interleave(many)
        scores = self.network.match_logit(self._join(texts, visuals.rows(rows)))
        return scores.view(-1, many)

    def match_logits(self, texts: Tensor, visuals: Visuals, which: Tensor | None = None) -> Tensor:
        """How well each text goes with its picture, or with picture i text which[i] -> (rows,)."""
        read = self.read(texts)
        return self.network.match_logit(
            self._join(read if which is None else read.rows(which), visuals)
        )

    def match_every_pair(self, texts: Tensor, visuals: Visuals, pairs_at_once: int) -> Tensor:
        """Every visual with every text -> (visuals, texts)."""
        return score_every_pair(
            self.network.bert,
            self.read(texts),
            StreamState(visuals.states, visuals.mask),
            self.network.match_logit,
            pairs_at_once,
        )

    def read(self, first: Tensor, second: Tensor | None = None) -> StreamState:
        """The text stream before the first co-attention of "[CLS] first [SEP]", or of "[CLS] first
        [SEP] second [SEP]" with the second in segment 1."""
        one = torch.ones_like(first[:, :1])
        cls, sep = self.special
        parts = [(cls * one, 0), (first, 0), (sep * one, 0)]
        if second is not None:
            parts += [(second, 1), (sep * one, 1)]
        columns = [
            torch.stack([words, torch.full_like(words, segment)], dim=-1)
            for words, segment in parts
        ]
        together, mask = pack(columns, [words > 0 for words, _ in parts])
        tokens, segments = together.unbind(-1)
        return self.network.bert.encode_text(tokens, segments, mask)

    def _join(
        self, texts: StreamState, visuals: Visuals, pooled_only: bool = True
    ) -> ViLBertOutput:
        image = StreamState(visuals.states, visuals.mask)
        return self.network.bert.join(texts, image, pooled_only)

    # ------------------------------------------------------------ what each task learns from

    answer_loss = staticmethod(answer_loss)
    choice_loss = staticmethod(choice_loss)

    @staticmethod
    def region_loss(logits: Tensor, overlaps: Tensor, visuals: Visuals) -> Tensor:
        """logits, overlaps (rows, regions), 0 where padded -> ()."""
        return region_loss(logits, overlaps)
