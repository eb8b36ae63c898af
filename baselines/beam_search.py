"""Beam search over all pictures of a batch at once, with any model that goes one word at a time.

The semantics are those of the official captioning codes: a finished hypothesis leaves the beam,
which is narrower by one from then on. (Scores are model_attention.py's; capgen.py may hand a
hypothesis the score of another.) Knows no network and no words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

State: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[[Tensor, State], tuple[Tensor, State]]


@dataclass(frozen=True)
class Hypothesis:
    """One caption: its tokens without the end, the sum of its words' log probabilities (the end's
    included), what it is ranked by, and whether it ended by itself or by the maximal length."""

    tokens: list[int]
    log_probability: float
    score: float
    finished: bool


def beam_search(
    step: Step,
    state: State,
    *,
    beam: int,
    most_words: int,
    first: int = -1,
    end: int = 0,
    by_length: bool = False,
) -> list[list[Hypothesis]]:
    """Captions of every picture, best first, at most `beam` of each.

    `step(tokens (rows,), state)` gives log probabilities (rows, words) and the next state; `state`
    are tensors with one row a picture at first, and a row for each hypothesis later: the rows of a
    picture stand together, the same number for each, best first; pictures that are done are left
    out. All begin with the token `first`. A hypothesis has at most `most_words` tokens, its `end`
    counted. `by_length` ranks by log probability per token (the end counted) instead of by their
    sum; the search itself goes by the sum in both cases. Raises ValueError for a beam or a length
    below 1.
    """
    if beam < 1 or most_words < 1:
        raise ValueError(f"a beam of {beam} and {most_words} words: both must be at least 1")
    pictures = len(state[0])
    done: list[list[Hypothesis]] = [[] for _ in range(pictures)]
    if pictures == 0:
        return done
    device = state[0].device
    live = list(range(pictures))  # the picture of each group of rows
    scores = torch.zeros(pictures, 1, device=device)  # (live pictures, width)
    words = torch.full((pictures, 1, 1), first, device=device)  # (live pictures, width, length)

    for _ in range(most_words):
        log_probabilities, state = step(words[:, :, -1].flatten(), state)
        vocabulary = log_probabilities.shape[-1]
        candidates = scores[..., None] + log_probabilities.float().view(*scores.shape, vocabulary)
        room = torch.tensor([beam - len(done[picture]) for picture in live], device=device)
        scores, parents, token = _best(candidates, room)
        words = torch.cat([words.take_along_dim(parents[..., None], 1), token[..., None]], dim=-1)
        ended = (token == end) & (scores > -torch.inf)
        _collect(done, live, words, scores, ended, by_length, finished=True)

        scores = scores.masked_fill(ended, -torch.inf)
        width = int((scores > -torch.inf).sum(dim=1).max())
        if width == 0:
            return [_ranked(hypotheses) for hypotheses in done]
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        scores, order = scores[:, :width], order[:, :width]
        left = (scores[:, 0] > -torch.inf).nonzero()[:, 0]
        groups = left[:, None] * candidates.shape[1]  # rows of `step` come before this
        rows = groups + parents.take_along_dim(order, 1)[left]
        state = tuple(part.index_select(0, rows.flatten()) for part in state)
        words = words.take_along_dim(order[..., None], 1)[left]
        scores = scores[left]
        live = [live[group] for group in left.tolist()]
    _collect(done, live, words, scores, scores > -torch.inf, by_length, finished=False)
    return [_ranked(hypotheses) for hypotheses in done]


def _best(candidates: Tensor, room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of each picture, as many as it has room for.

    candidates (pictures, width, words), room (pictures,) -> log probabilities (pictures, n), best
    first and -inf where there is none, which hypothesis each continues, and by which token.
    """
    vocabulary = candidates.shape[-1]
    flat = candidates.flatten(1)
    scores, places = flat.topk(min(int(room.max()), flat.shape[1]), dim=1)
    ranks = torch.arange(scores.shape[1], device=scores.device)
    scores = scores.masked_fill(ranks >= room[:, None], -torch.inf)
    return scores, places // vocabulary, places % vocabulary


def _collect(
    done: list[list[Hypothesis]],
    live: list[int],
    words: Tensor,
    scores: Tensor,
    which: Tensor,
    by_length: bool,
    finished: bool,
) -> None:
    """Puts some hypotheses aside: words (pictures, n, 1 + length) with what all begin with, scores
    and which (pictures, n)."""
    groups, places = which.nonzero().unbind(1)
    found = words[groups, places, 1:].tolist()
    for group, tokens, total in zip(groups.tolist(), found, scores[which].tolist(), strict=True):
        score = total / len(tokens) if by_length else total
        kept = tokens[:-1] if finished else tokens
        done[live[group]].append(Hypothesis(kept, total, score, finished))


def _ranked(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    """Best first; of equals, the one that was found first."""
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)
