"""How much likelier captions become by seeing a visual, for many captions at once, given up where
it is clear that they do not: what retrieval by a captioning model ranks by. Knows tensors only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .attention_decoder import END, NO_WORD, AttentionDecoder
from .captioning_losses import with_floor

_AT_ONCE = 1024  # beginnings in one step


@dataclass(frozen=True)
class Level:
    """The distinct beginnings of one length among some captions: parent (n,), each one's place
    among those a word shorter; word (n,), its last word; captions and places (m,): the captions
    that are such a beginning as a whole, and which."""

    parent: Tensor
    word: Tensor
    captions: Tensor
    places: Tensor


def tree_of(tokens: Tensor, mask: Tensor) -> list[Level]:
    """The beginnings of captions, by length from 1 on: tokens and mask (captions, words), the mask
    true from the start to the end. A beginning that captions share is there once."""
    kept = mask.bool()
    lengths = kept.sum(dim=1)
    at = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
    levels = []
    for t in range(int(lengths.max()) if len(tokens) else 0):
        caption = kept[:, t].nonzero()[:, 0]
        pairs = torch.stack([at[caption], tokens[caption, t]], dim=1)
        distinct, place = torch.unique(pairs, dim=0, return_inverse=True)
        at[caption] = place
        whole = (lengths == t + 1).nonzero()[:, 0]
        levels.append(Level(distinct[:, 0], distinct[:, 1], whole, at[whole]))
    return levels


@torch.no_grad()
def log_likelihoods(decoder: AttentionDecoder, context: Tensor, tree: list[Level]) -> list[Tensor]:
    """log p of every beginning, level by level, (n,) each, given annotations (locations,
    ctx_dim)."""
    zeros = [torch.zeros(len(level.word), device=context.device) for level in tree]
    return _walk(decoder, context, tree, zeros, float("inf"))


@torch.no_grad()
def gains(
    decoder: AttentionDecoder,
    context: Tensor,
    tree: list[Level],
    before: list[Tensor],
    margin: float,
    captions: int,
) -> Tensor:
    """log p(caption | visual) - log p(caption) of each visual and caption: context (visuals,
    locations, ctx_dim), before the log p of every beginning -> (visuals, captions), fp32.

    A caption is given up, and keeps what it had until then, as soon as its beginning is less likely
    by more than `margin` (natural logarithms) than without the visual. A pair's score does not
    depend on other pairs.
    """
    found = torch.zeros(len(context), captions, device=context.device)
    for row, locations in enumerate(context):
        levels = _walk(decoder, locations, tree, before, margin)
        for level, gained in zip(tree, levels, strict=True):
            found[row, level.captions] = gained[level.places]
    return found


def _walk(
    decoder: AttentionDecoder,
    context: Tensor,
    tree: list[Level],
    before: list[Tensor],
    margin: float,
) -> list[Tensor]:
    """Down the tree with one visual: log p minus `before`, level by level, (n,) each."""
    device = context.device
    annotations = decoder.annotate(context[None], None)
    state = decoder.initial_state(context[None], None)
    weight = decoder.state_weight()
    gained = torch.zeros(1, device=device)  # of every beginning of the level
    above = torch.zeros(1, device=device)
    live = torch.zeros(1, dtype=torch.long, device=device)  # beginnings that are not given up
    last = torch.tensor([NO_WORD], device=device)
    levels = []
    for level, expected in zip(tree, before, strict=True):
        place = torch.full((len(gained),), -1, device=device)
        place[live] = torch.arange(len(live), device=device)
        parents = place[level.parent]
        alive = (parents >= 0).nonzero()[:, 0]
        gained, above, risen = gained[level.parent], expected, expected - above[level.parent]
        if len(alive):
            parts = []
            for rows in torch.split(torch.arange(len(live), device=device), _AT_ONCE):
                here = (state[0][:, rows], state[1][:, rows])
                words = decoder.embed(last[live[rows]])[None]
                moved, look = decoder.step(here, decoder.gates_word(words), annotations, weight)
                logits = decoder.read_out(moved[0], look.z, words)[0]
                parts.append((*moved, torch.log_softmax(logits.float(), dim=-1)))
            h, c = (torch.cat([part[i] for part in parts], dim=1) for i in (0, 1))
            log_p = torch.cat([part[2] for part in parts])
            said = with_floor(log_p[parents[alive], level.word[alive]])
            gained[alive] += said - risen[alive]
            goes_on = (gained[alive] > -margin) & (level.word[alive] != END)
            live = alive[goes_on]
            state = (h[:, parents[live]], c[:, parents[live]])
        else:
            live = alive
        last = level.word
        levels.append(gained)
    return levels
