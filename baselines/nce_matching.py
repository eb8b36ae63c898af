"""What questions need beside the product of two vectors: words against the things they name, and a
picture seen through a question. Knows no objective, no files and no data set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_QUERY = 32  # channels in which a query meets a region
_VALUE = 64  # channels that are kept of what a query finds


class WordsOnThings(nn.Module):
    """Late interaction: a text's score is the sum over its words of how well the word's state fits
    the thing that it names by its tag; for every other word, how well it fits the regions, the best
    counting most."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(words, size)

    def forward(
        self, states: Tensor, real: Tensor, named: Tensor, regions: Tensor, mask: Tensor
    ) -> Tensor:
        """states (texts, words, channels); real (texts, words); named (texts, words), the region
        that a word names, 0 = none; regions (texts, regions, size); mask (texts, regions), True
        where there is one -> (texts,)."""
        fits = self.query(states) @ regions.transpose(1, 2) / regions.shape[2] ** 0.5
        # the mean rather than the sum, so that a long text has no start before a short one
        count = mask.sum(dim=1).clamp(min=1).log()[:, None]
        anywhere = fits.masked_fill(~mask[:, None], -1e9).logsumexp(dim=2) - count.to(fits.dtype)
        known = (named > 0) & mask.gather(1, named.clamp(max=mask.shape[1] - 1))
        known &= named < mask.shape[1]
        there = fits.gather(2, named.clamp(max=mask.shape[1] - 1)[:, :, None])[:, :, 0]
        scores: Tensor = (torch.where(known, there, anywhere) * real).sum(dim=1)
        return scores


class SeenThroughQuestion(nn.Module):
    """A picture and a question -> one vector. Queries made of the question weigh the regions, then
    once more in the light of what they found, as "left of the red star" wants; kept are what they
    found and how many regions fitted each."""

    def __init__(self, asked: int, size: int, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.keys = nn.Linear(size, _QUERY)
        self.values = nn.Linear(size, _VALUE)
        found = queries * (_VALUE + 1)
        self.first = nn.Linear(asked, queries * (_QUERY + 1))
        self.second = nn.Linear(asked + found, queries * (_QUERY + 1))
        self.dense = nn.Sequential(
            nn.Linear(asked + 2 * found, size), nn.ReLU(), nn.Linear(size, size)
        )

    def forward(
        self, asked: Tensor, regions: Tensor, mask: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """asked (questions, channels); regions (questions, regions, size); mask (questions,
        regions) -> (questions, size) and, of either look, how well regions fit each query, as
        logits (questions, queries, regions)."""
        keys, values = self.keys(regions), self.values(regions)
        once, fits = self._look(self.first(asked), keys, values, mask)
        more = self.second(torch.cat([asked, once], dim=1))
        again, fit_again = self._look(more, keys, values, mask)
        seen: Tensor = self.dense(torch.cat([asked, once, again], dim=1))
        return seen, (fits, fit_again)

    def _look(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """-> what each query finds, and how often (questions, queries * (_VALUE + 1)); and fits."""
        split = queries.view(len(queries), self.queries, _QUERY + 1)
        fits = split[..., :_QUERY] @ keys.transpose(1, 2) + split[..., _QUERY:]
        fits = fits.masked_fill(~mask[:, None], -1e9)
        found = fits.softmax(dim=2) @ values
        counted = fits.sigmoid().sum(dim=2, keepdim=True)
        return torch.cat([found, counted], dim=2).flatten(1), fits
