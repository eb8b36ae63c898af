"""How likely a decoder finds each of many captions for each of many pictures: what retrieval by a
captioning model ranks by. Knows tensors only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .attention_decoder import NO_WORD, Annotations, AttentionDecoder, State
from .captioning_losses import with_floor


class Beginnings(NamedTuple):
    """The distinct beginnings that some captions have after the same number of words.

    parent (beginnings,), each one's place among those a word shorter; last (beginnings,), its last
    token. caption, beginning and word (n,): the captions that go on, from where, and with what.
    """

    parent: Tensor
    last: Tensor
    caption: Tensor
    beginning: Tensor
    word: Tensor


@torch.no_grad()
def score_captions(
    decoder: AttentionDecoder,
    context: Tensor,
    tokens: Tensor,
    mask: Tensor,
    context_mask: Tensor | None = None,
    most_pairs: int = 512,
) -> Tensor:
    """log p(caption | picture), summed over words: context (pictures, locations, ctx_dim), tokens
    and mask (captions, words), context_mask (pictures, locations) -> (pictures, captions) in fp32,
    minus what `caption_costs` gives. The decoder is to be in evaluation mode.

    A picture is projected once, and a beginning that captions share is read once. Memory: some
    `most_pairs` x (locations x ctx_dim + n_words) numbers at a time. Raises ValueError for a mask
    with gaps.
    """
    kept = mask.bool()
    if (kept[:, 1:] & ~kept[:, :-1]).any():
        raise ValueError("a caption's mask has a gap: it must be true from the start to the end")
    annotations = decoder.annotate(context, context_mask)
    h, c = decoder.initial_state(context, context_mask)
    weight = decoder.state_weight()
    scores = torch.zeros(len(context), len(tokens), device=context.device)
    everything = torch.arange(len(context), device=context.device)
    for chosen in torch.split(_alphabetical(tokens, kept), max(1, most_pairs)):
        tree = shared_beginnings(tokens[chosen], kept[chosen])
        widest = max((len(level.last) for level in tree), default=1)
        for rows in torch.split(everything, max(1, most_pairs // widest)):
            here, state = annotations.of(rows), (h[rows], c[rows])
            part = _score(decoder, tree, here, state, weight, len(chosen))
            scores[rows[:, None], chosen] = part
    return scores


def shared_beginnings(tokens: Tensor, kept: Tensor) -> list[Beginnings]:
    """The tree of what captions begin with, level by level: tokens and kept (captions, words)."""
    levels: list[Beginnings] = []
    at = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)  # a caption's beginning
    last = torch.full_like(at, NO_WORD)
    for t in range(tokens.shape[1]):
        caption = kept[:, t].nonzero()[:, 0]
        if len(caption) == 0:
            break
        pairs = torch.stack([at[caption], last[caption]], dim=1)
        distinct, beginning = torch.unique(pairs, dim=0, return_inverse=True)
        word = tokens[caption, t]
        levels.append(Beginnings(distinct[:, 0], distinct[:, 1], caption, beginning, word))
        at[caption] = beginning
        last[caption] = word
    return levels


def _score(
    decoder: AttentionDecoder,
    tree: list[Beginnings],
    annotations: Annotations,
    state: State,
    weight: Tensor,
    captions: int,
) -> Tensor:
    """log p of the tree's captions for some pictures: (pictures, captions)."""
    h, c = state
    scores = torch.zeros(len(h), captions, device=h.device)
    for level in tree:
        words = decoder.embed(level.last)[None]
        before = (h[:, level.parent], c[:, level.parent])
        (h, c), look = decoder.step(before, decoder.gates_word(words), annotations, weight)
        log_p = torch.log_softmax(decoder.read_out(h, look.z, words).float(), dim=-1)
        scores[:, level.caption] += with_floor(log_p[:, level.beginning, level.word])
    return scores


def _alphabetical(tokens: Tensor, kept: Tensor) -> Tensor:
    """The captions' order in which shared beginnings stand together."""
    texts = tokens.masked_fill(~kept, NO_WORD).tolist()
    order = sorted(range(len(texts)), key=texts.__getitem__)
    return torch.tensor(order, dtype=torch.long, device=tokens.device)
