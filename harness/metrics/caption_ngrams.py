"""Hypotheses and references as integer arrays: token ids, n-gram counts, and which n-grams of a
hypothesis its references share. Knows tokenised strings only: no tokenizer, no file, no task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

ORDERS = 4


@dataclass(frozen=True)
class TokenIds:
    """The tokens of all captions, one caption after the other. Ids are ranks among the sorted
    words, so that what is summed in the order of ids does not depend on the order of captions."""

    ids: IntArray  # (tokens,), from 0 below `words`
    lengths: IntArray  # (captions,), in tokens
    words: int  # how many different ones


@dataclass(frozen=True)
class NgramCounts:
    """How often each caption has each n-gram of one order.

    A row is an n-gram in a caption; rows stand by n-gram, then caption. A match is a row of a
    reference whose n-gram its hypothesis has too.
    """

    gram: IntArray  # (rows,), ids from 0
    caption: IntArray  # (rows,)
    count: IntArray  # (rows,), at least 1
    document_frequency: IntArray  # (n-grams,), samples with the n-gram in some reference
    hypothesis_row: IntArray  # (matches,), into rows
    reference_row: IntArray  # (matches,), into rows


class Captions:
    """A hypothesis and its references for each of many samples, all tokenised: strings of tokens
    with spaces between them.

    A hypothesis of None is a missing one and counts as empty. Captions are numbered: first the
    hypotheses, then the references, sample after sample. References are sorted within a sample, so
    that their order cannot matter. What metrics share is computed once.

    Raises ValueError if the two sequences differ in length or a sample has no reference.
    """

    def __init__(
        self, hypotheses: Sequence[str | None], references: Sequence[Sequence[str]]
    ) -> None:
        if isinstance(hypotheses, str) or len(hypotheses) != len(references):
            given = "a bare string" if isinstance(hypotheses, str) else len(hypotheses)
            raise ValueError(
                f"as many hypotheses as lists of references are needed: {given} for "
                f"{len(references)}"
            )
        for number, texts in enumerate(references):
            if isinstance(texts, str) or not texts:
                raise ValueError(
                    f"sample {number}: references must be a sequence of at least one string, "
                    f"not {texts!r}"
                )
        self.samples = len(hypotheses)
        self.missing: BoolArray = np.array([text is None for text in hypotheses], dtype=np.bool_)
        self.reference_counts: IntArray = np.array([len(texts) for texts in references], np.int64)
        self.sample_of_reference: IntArray = np.repeat(
            np.arange(self.samples), self.reference_counts
        )
        self._texts = [text or "" for text in hypotheses]
        self._texts += chain.from_iterable(sorted(texts) for texts in references)

    @cached_property
    def tokens(self) -> TokenIds:
        """Tokens between any white space: an empty caption has none."""
        return _token_ids(self._words)

    @cached_property
    def tokens_between_spaces(self) -> TokenIds:
        """Tokens between single spaces: an empty caption is one empty token, "a  b" is three."""
        words = [text.split(" ") for text in self._texts]
        return self.tokens if words == self._words else _token_ids(words)

    @cached_property
    def ngrams(self) -> tuple[NgramCounts, ...]:
        """Counts of the n-grams of order 1, 2, 3 and 4."""
        tokens = self.tokens
        captions = len(tokens.lengths)
        caption_of = np.repeat(np.arange(captions), tokens.lengths)
        left = np.cumsum(tokens.lengths)[caption_of] - np.arange(len(caption_of))
        gram = tokens.ids.copy()  # of the n-gram that starts at each token
        orders = []
        for order in range(1, ORDERS + 1):
            starts = np.flatnonzero(left >= order)
            keys = gram[starts]
            if order > 1:
                keys = keys * tokens.words + tokens.ids[starts + order - 1]
            by_gram = _argsort_pairs(keys, caption_of[starts], captions)
            starts, keys = starts[by_gram], keys[by_gram]
            ids = np.cumsum(_is_new(keys)) - 1
            gram[starts] = ids
            orders.append(self._counts(ids, caption_of[starts]))
        return tuple(orders)

    @cached_property
    def _words(self) -> list[list[str]]:
        return [text.split() for text in self._texts]

    def _counts(self, ids: IntArray, captions: IntArray) -> NgramCounts:
        """From the n-grams as they occur: ids and captions, sorted by id, then caption."""
        firsts = np.flatnonzero(_is_new(ids) | _is_new(captions))
        gram, caption = ids[firsts], captions[firsts]
        of_reference = caption >= self.samples
        hypothesis_rows = np.flatnonzero(~of_reference)
        reference_rows = np.flatnonzero(of_reference)
        ours = gram[hypothesis_rows] * self.samples + caption[hypothesis_rows]
        sample = self.sample_of_reference[caption[reference_rows] - self.samples]
        theirs = gram[reference_rows] * self.samples + sample
        places = np.searchsorted(ours, theirs)
        matches = np.flatnonzero(np.append(ours, -1)[places] == theirs)
        return NgramCounts(
            gram=gram,
            caption=caption,
            count=np.diff(firsts, append=len(ids)),
            document_frequency=np.bincount(
                gram[reference_rows][_is_new(theirs)],
                minlength=int(gram[-1]) + 1 if len(gram) else 0,
            ),
            hypothesis_row=hypothesis_rows[places[matches]],
            reference_row=reference_rows[matches],
        )


def _token_ids(captions: Sequence[Sequence[str]]) -> TokenIds:
    flat = list(chain.from_iterable(captions))
    id_of = {word: id for id, word in enumerate(sorted(set(flat)))}
    ids = np.fromiter(map(id_of.__getitem__, flat), np.int64, len(flat))
    lengths = np.fromiter(map(len, captions), np.int64, len(captions))
    return TokenIds(ids, lengths, len(id_of))


def _argsort_pairs(keys: IntArray, captions: IntArray, caption_count: int) -> IntArray:
    """Sorts by key, then caption; the captions come in order."""
    if len(keys) and int(keys.max()) < np.iinfo(np.int64).max // caption_count:
        return np.argsort(keys * caption_count + captions)  # faster than a stable sort
    return np.argsort(keys, kind="stable")


def _is_new(values: IntArray) -> BoolArray:
    """Where a value differs from the one before it."""
    new = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new
