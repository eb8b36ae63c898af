"""Where VL-BERT and ViLBERT look as they predict: how much of its attention each word of a text
gives to each region, read off the very states that the forward pass makes. Knows no training.

VL-BERT: the last layer, mean over heads. Words attend to words too, so a word's weights over the
regions sum to less than 1. ViLBERT: the last co-attention, mean over heads; they sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.types import (
    Answer,
    Choice,
    Expression,
    Json,
    ModelDescription,
    MomentQuery,
    Question,
)

from .multitask_vision import moments_of
from .region_encoder import find_regions, named_regions
from .vilbert_multitask import ViLBertMultitask
from .vlbert_multitask import VLBertMultitask

if TYPE_CHECKING:
    from .multitask_model import MultitaskModel

_DIGITS = 3
_TAG = "tag"  # "tag2" stands for the "[2]" of a text


@dataclass(frozen=True)
class Attention:
    """Of one forward pass: tokens (rows, words) with the special ones, 0 = padding; weights (rows,
    words, regions)."""

    tokens: Tensor
    weights: Tensor


# ---------------------------------------------------------------- read off the networks


@contextmanager
def kept_attention(network: nn.Module) -> Iterator[list[Attention]]:
    """A list that gets the attention of each forward pass of a multitask network while inside. The
    hooks read; they change nothing that is computed."""
    if isinstance(network, VLBertMultitask):
        with _kept_vlbert(network) as kept:
            yield kept
    elif isinstance(network, ViLBertMultitask):
        with _kept_vilbert(network) as kept:
            yield kept
    else:
        raise TypeError(f"no attention is read off a {type(network).__name__}")


@contextmanager
def _kept_vlbert(network: VLBertMultitask) -> Iterator[list[Attention]]:
    kept: list[Attention] = []
    given: list[tuple[Tensor, ...]] = []
    encoder: Any = network.choices.encoder
    last = encoder.encoder.layer[-1].attention.self

    def keep(part: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        states, mask = arguments
        tokens, token_mask, region_mask = (given[-1][place] for place in (0, 2, 6))
        weights = attention_weights(last.query(states), last.key(states), mask, last.heads)
        # words stand first in a row, then its regions
        places = token_mask.sum(dim=1, keepdim=True) + region_mask.cumsum(dim=1) - 1
        places = places.clamp(max=weights.shape[2] - 1)[:, None].expand(-1, weights.shape[1], -1)
        of_regions = weights.gather(2, places).masked_fill(~region_mask[:, None], 0.0)
        words = tokens.shape[1]
        kept.append(Attention(tokens.masked_fill(~token_mask, 0), of_regions[:, :words]))

    with _hooked((encoder, lambda part, arguments: given.append(arguments)), (last, keep)):
        yield kept


@contextmanager
def _kept_vilbert(network: ViLBertMultitask) -> Iterator[list[Attention]]:
    kept: list[Attention] = []
    read: list[Tensor] = []
    bert: Any = network.network.bert
    last = bert.encoder.c_layer[-1].biattention

    def keep(part: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        image, image_mask, text, text_mask = arguments
        weights = attention_weights(last.query2(text), last.key1(image), image_mask, last.heads)
        kept.append(Attention(read[-1].masked_fill(~text_mask, 0), weights))

    embed = (bert.embeddings, lambda part, arguments: read.append(arguments[0]))
    with _hooked(embed, (last, keep)):
        yield kept


@contextmanager
def _hooked(*hooks: tuple[nn.Module, Any]) -> Iterator[None]:
    handles = [part.register_forward_pre_hook(hook) for part, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def attention_weights(query: Tensor, key: Tensor, mask: Tensor, heads: int) -> Tensor:
    """softmax(q k / sqrt(size)), mean over heads: query (rows, n, hidden), key (rows, m, hidden),
    mask (rows, m) True where real -> (rows, n, m)."""

    def split(x: Tensor) -> Tensor:  # -> (rows, heads, positions, size)
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2).float()

    queries, keys = split(query), split(key)
    products: Tensor = queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5
    return products.masked_fill(~mask[:, None, None], -torch.inf).softmax(dim=3).mean(dim=1)


# ---------------------------------------------------------------- a model that is watched


class WatchedModel:
    """A multitask model that keeps where it looked for each input: `maps`, in the order in which
    inputs were given.

    A map is {"words", "weights" (words, regions), "boxes" (regions, 4) in pixels, or for a clip
    "spans" (regions, 2) in seconds}; the first region is the whole picture or clip. Of a question
    with choices it is that of the choice that was taken. A model that sees no pictures keeps none.
    """

    def __init__(self, model: MultitaskModel) -> None:
        self._model = model
        self.maps: list[Json] = []

    @property
    def description(self) -> ModelDescription:
        return self._model.description

    def answer(self, questions: Sequence[Question]) -> list[Answer | Choice]:
        with kept_attention(self._model.seer.network) as passes:
            answers = self._model.answer(questions)
        if self._model.config.vision.blind:
            return answers
        passes.reverse()  # open questions first, then those with choices: taken from the end
        open_ones = passes.pop() if any(not one.choices for one in questions) else None
        chosen = passes.pop() if any(one.choices for one in questions) else None
        many = max((len(one.choices) for one in questions), default=0)
        rows = {True: 0, False: 0}
        for question, answer in zip(questions, answers, strict=True):
            picks = isinstance(answer, Choice)
            row, source = rows[picks], chosen if picks else open_ones
            rows[picks] += 1
            assert source is not None
            place = row * many + answer.index if isinstance(answer, Choice) else row
            cut = self._model.config.vision.regions
            seen = (
                named_regions(question.visual, question.objects, cut)
                if picks
                else find_regions(question.visual, cut)
            )
            self.maps.append(self._map(source, place, boxes=seen.boxes.tolist()))
        return answers

    def locate(
        self, expressions: Sequence[Expression]
    ) -> list[tuple[float, float, float, float] | None]:
        with kept_attention(self._model.seer.network) as passes:
            found = self._model.locate(expressions)
        if not self._model.config.vision.blind:
            for row, expression in enumerate(expressions):
                seen = find_regions(expression.visual, self._model.config.vision.regions)
                self.maps.append(self._map(passes[0], row, boxes=seen.boxes.tolist()))
        return found

    def find_moments(self, queries: Sequence[MomentQuery]) -> list[list[tuple[float, float]]]:
        with kept_attention(self._model.seer.network) as passes:
            found = self._model.find_moments(queries)
        for query, one in zip(queries, passes, strict=True):
            spans = [(0.0, query.visual.duration), *self._windows(query)]
            self.maps.append(
                self._map(one, 0, spans=[[round(end, 3) for end in span] for span in spans])
            )
        return found

    def _windows(self, query: MomentQuery) -> Sequence[tuple[float, float]]:
        if query.candidates:
            return query.candidates
        vision = self._model.config.vision
        assert vision.clips is not None
        windows = moments_of(vision) * query.visual.duration / vision.clips.frames
        return [(start, end) for start, end in windows.tolist()]

    def _map(self, attention: Attention, row: int, **regions: list[Any]) -> Json:
        count = len(next(iter(regions.values())))
        real = attention.tokens[row] > 0
        words = [self._word(token) for token in attention.tokens[row][real].tolist()]
        weights = attention.weights[row][real][:, :count].double().cpu().numpy()
        return {"words": words, "weights": weights.round(_DIGITS).tolist(), **regions}

    def _word(self, token: int) -> str:
        word = self._model.vocabulary.words[token]
        tag = word.removeprefix(_TAG)
        return f"[{tag}]" if tag != word and tag.isdigit() else word
