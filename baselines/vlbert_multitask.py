"""One VL-BERT for several tasks: the official networks for questions, choices and expressions over
one trunk, and a logit for how well a text and a picture go together. Knows tensors only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .bert import pack
from .multitask_vision import Looked, Visuals
from .vlbert import VLBertConfig, VLBertForVQA, vqa_loss
from .vlbert_refcoco import VLBertForReferring, referring_loss
from .vlbert_vcr import VLBertForVCR, each_choice_loss


class VLBertMultitask(nn.Module):
    """VLBertForVQA, VLBertForReferring and VLBertForVCR with one encoder, one projection of regions
    and one "[IMG]" word among them, so that what one task teaches serves the others.

    Retrieval reads the alignment of "[CLS] text [SEP] | regions | [END]" off the pooled [CLS].
    """

    def __init__(self, config: VLBertConfig, cls: int, sep: int, mask: int) -> None:
        super().__init__()
        self.config = config
        self.special = (cls, sep)
        self.choices = VLBertForVCR(config, cls, sep)
        self.answers = VLBertForVQA(config, cls, sep, mask)
        self.expressions = VLBertForReferring(config, cls, sep)
        for part in (self.answers, self.expressions):
            part.vlbert = self.choices.encoder
            part.image_feature_extractor = self.choices.region_projection
            part.object_linguistic_embeddings = self.choices.object_linguistic_embeddings
        self.alignment = nn.Linear(config.hidden_size, 1)
        nn.init.normal_(self.alignment.weight, std=config.initializer_range)
        nn.init.zeros_(self.alignment.bias)

    # ------------------------------------------------------------ seeing

    def see(self, looked: Looked) -> Visuals:
        """The visual embedding of each region, made once for all texts about it."""
        appearance = looked.appearance.to(self.alignment.weight.dtype)
        states = self.choices.region_embeddings(looked.boxes, appearance, looked.sizes)
        return Visuals(states, looked.mask)

    def region_vectors(self, visuals: Visuals) -> Tensor:
        """What the encoder gets of each region but its place in the sequence, (visuals, regions,
        hidden): what names of regions are learned from."""
        vectors: Tensor = self.choices.encoder.visual_ln_object(visuals.states)
        return vectors

    # ------------------------------------------------------------ the tasks
    #
    # Texts are token ids (rows, words) without special tokens, 0 = padding; row i goes with row i
    # of `visuals`.

    def answer_logits(self, questions: Tensor, visuals: Visuals) -> Tensor:
        """-> (rows, answers)."""
        logits: Tensor = self.answers(questions, visuals.states, visuals.mask)
        return logits

    def region_logits(self, expressions: Tensor, visuals: Visuals) -> Tensor:
        """-> (rows, regions); those of padded regions mean nothing."""
        logits: Tensor = self.expressions(expressions, visuals.states, visuals.mask)
        return logits

    def choice_logits(
        self, query: Tensor, choices: Tensor, named: Tensor, visuals: Visuals
    ) -> Tensor:
        """query (rows, words), choices (rows, choices, words), named (vocabulary,) the row of the
        region that a word of the vocabulary names, 0 for none -> (rows, choices). A word that
        names a region that its picture has not names none."""
        counts = visuals.mask.sum(dim=1)
        query_tags = _within(named[query], counts[:, None])
        choice_tags = _within(named[choices], counts[:, None, None])
        logits: Tensor = self.choices(
            query, query_tags, choices, choice_tags, visuals.states, visuals.mask
        )
        return logits

    def match_logits(self, texts: Tensor, visuals: Visuals, which: Tensor | None = None) -> Tensor:
        """How well each text goes with its picture, or with picture i text which[i] -> (rows,)."""
        texts = texts if which is None else texts[which]
        one = torch.ones_like(texts[:, :1])
        cls, sep = self.special
        parts = [cls * one, texts, sep * one]
        packed, mask = pack([part[:, :, None] for part in parts], [part > 0 for part in parts])
        tokens = packed[:, :, 0]
        encoder = self.choices.encoder
        layers, _ = encoder(
            tokens,
            torch.zeros_like(tokens),
            mask,
            visuals.states[:, :1].expand(-1, tokens.shape[1], -1),
            self.choices.object_linguistic_embeddings.weight.expand_as(visuals.states),
            visuals.states,
            visuals.mask,
            read=torch.zeros_like(tokens[:, :1]),
        )
        logits: Tensor = self.alignment(encoder.pooler(layers[-1]))[:, 0]
        return logits

    def match_every_pair(self, texts: Tensor, visuals: Visuals, pairs_at_once: int) -> Tensor:
        """Every visual with every text -> (visuals, texts). One sequence a pair: a single stream
        has nothing that two pairs could share but the regions' embeddings."""
        count, pictures = len(texts), len(visuals.mask)
        by_length = (texts > 0).sum(dim=1).argsort(stable=True)
        found = visuals.states.new_zeros(count, pictures)
        for start in range(0, count * pictures, pairs_at_once):
            end = min(start + pairs_at_once, count * pictures)
            pairs = torch.arange(start, end, device=texts.device)
            text, picture = by_length[pairs // pictures], pairs % pictures
            longest = int((texts[text] > 0).sum(dim=1).max())
            scores = self.match_logits(texts[text, : max(1, longest)], visuals.rows(picture))
            found[text, picture] = scores.to(found.dtype)
        return found.T

    # ------------------------------------------------------------ what each task learns from

    answer_loss = staticmethod(vqa_loss)
    choice_loss = staticmethod(each_choice_loss)

    @staticmethod
    def region_loss(logits: Tensor, overlaps: Tensor, visuals: Visuals) -> Tensor:
        """The official loss, of which the mean over regions is taken, as a sum over them, so that
        it weighs as much as the other tasks' beside it. logits, overlaps (rows, regions); a region
        is right that overlaps what is meant by more than half."""
        labels = (overlaps > 0.5).to(logits.dtype)
        regions = visuals.mask.sum() / len(logits)
        return referring_loss(logits, labels, visuals.mask) * regions

    # ------------------------------------------------------------ weights

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Each weight once, though the parts share some."""
        state = super().state_dict(*args, **kwargs)
        return without_shared(self, state, kwargs.get("prefix", ""))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes what state_dict() gives."""
        super()._load_from_state_dict(with_shared(self, state, prefix), prefix, *args)


def without_shared(module: nn.Module, state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """`state` without second names for one parameter of `module`, whose names begin with
    `prefix`."""
    for name in _second_names(module):
        state.pop(prefix + name, None)
    return state


def with_shared(module: nn.Module, state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """`state` with the second names that without_shared left out, so that none counts as missing:
    Trainer, when it goes on from a checkpoint, stumbles over missing names."""
    for name, first in _second_names(module).items():
        if prefix + first in state:
            state.setdefault(prefix + name, state[prefix + first])
    return state


def _second_names(module: nn.Module) -> dict[str, str]:
    """Further names of a parameter that has several -> its first name."""
    first = {id(value): name for name, value in module.named_parameters()}
    return {
        name: first[id(value)]
        for name, value in module.named_parameters(remove_duplicate=False)
        if first[id(value)] != name
    }


def _within(rows: Tensor, regions: Tensor) -> Tensor:
    """Rows of regions below how many there are; 0, the whole picture, for others."""
    return torch.where(rows < regions, rows, 0)
