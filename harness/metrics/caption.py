"""BLEU-1..4, ROUGE-L and CIDEr of captions, by the rules of coco-caption (pycocoevalcap).

Captions are tokenised strings: tokens with spaces between them. BLEU and CIDEr take a run of any
white space as one separator, as the official code does; ROUGE-L splits at every single space.
A hypothesis of None is a missing one: it counts as empty and, alone, scores 0 in every metric.

`bleu`, `rouge_l` and `cider` score a corpus. For intervals and scores per sample, make `Captions`
once and take the rows: `cider_rows(Captions(hypotheses, references))` has one row a sample, and
`cider_aggregate` makes the metric from any weighted sum of rows, or of a row alone.
Knows strings only: no tokenizer, no file, no task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from .caption_ngrams import ORDERS, Captions, IntArray, TokenIds

if TYPE_CHECKING:
    from harness.types import FloatArray

    Bits: TypeAlias = npt.NDArray[np.uint64]

__all__ = [
    "Captions",
    "bleu",
    "bleu_aggregate",
    "bleu_rows",
    "cider",
    "cider_aggregate",
    "cider_rows",
    "rouge_l",
    "rouge_l_aggregate",
    "rouge_l_rows",
]

# ---------------------------------------------------------------- BLEU

# What the official code adds to numerators and denominators. An order without a match, or without
# an n-gram in the hypotheses, thereby gets a tiny precision instead of none.
_BLEU_TINY = 1e-15
_BLEU_SMALL = 1e-9


def bleu(
    hypotheses: Sequence[str | None], references: Sequence[Sequence[str]]
) -> tuple[float, float, float, float]:
    """Corpus BLEU-1, -2, -3 and -4, each in [0, 1] (Papineni et al. 2002; bleu/bleu_scorer.py with
    the option "closest").

    Per order, the n-grams of the hypotheses that their references have, each at most as often as
    the one reference that has it most often, over all n-grams of the hypotheses; BLEU-k is the
    geometric mean of the first k. The brevity penalty compares the summed length of the
    hypotheses with that of the references closest in length, the shorter of two equally close.
    A missing hypothesis counts as an empty one: its share of the reference length stays.

    Raises ValueError without samples, for a sample without references, and if there are not as
    many hypotheses as lists of references.
    """
    sums = _sums(bleu_rows(Captions(hypotheses, references)))
    first, second, third, fourth = (
        float(bleu_aggregate(sums, order)) for order in range(1, ORDERS + 1)
    )
    return first, second, third, fourth


def bleu_rows(captions: Captions) -> FloatArray:
    """(samples, 10) counts: clipped matches of order 1 to 4, n-grams of order 1 to 4, the length of
    the hypothesis, the length of the reference closest to it. All whole numbers, so sums with
    whole weights are exact. A missing hypothesis leaves but the length of its shortest reference:
    it costs brevity, not precision, so in a corpus a wrong caption may cost more."""
    samples = captions.samples
    lengths = captions.tokens.lengths[:samples]
    rows = np.zeros((samples, 2 * ORDERS + 2))
    for order, ngrams in enumerate(captions.ngrams):
        most = np.zeros(len(ngrams.gram), dtype=np.int64)
        np.maximum.at(most, ngrams.hypothesis_row, ngrams.count[ngrams.reference_row])
        hypothesis = ngrams.caption < samples
        matches = np.minimum(most, ngrams.count)[hypothesis]
        rows[:, order] = np.bincount(ngrams.caption[hypothesis], matches, minlength=samples)
        rows[:, ORDERS + order] = np.maximum(lengths - order, 0)
    rows[:, -2] = lengths
    rows[:, -1] = _closest_reference_lengths(captions)
    return rows


def bleu_aggregate(sums: FloatArray, order: int = ORDERS) -> FloatArray:
    """(..., 10) sums of rows -> (...) BLEU of that order, in [0, 1]. Of a row alone it is the
    sample's BLEU as the official code gives it. 0 where nothing was drawn."""
    if order not in range(1, ORDERS + 1):
        raise ValueError(f"BLEU has the orders 1 to {ORDERS}, not {order}")
    matches, totals = sums[..., :order], sums[..., ORDERS : ORDERS + order]
    precisions = (matches + _BLEU_TINY) / (totals + _BLEU_SMALL)
    ratio = (sums[..., -2] + _BLEU_TINY) / (sums[..., -1] + _BLEU_SMALL)
    penalty = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return np.asarray(np.prod(precisions, axis=-1) ** (1 / order) * penalty)


def _closest_reference_lengths(captions: Captions) -> IntArray:
    """(samples,) the reference lengths closest to the hypotheses', the shorter of two."""
    lengths = captions.tokens.lengths
    references = lengths[captions.samples :]
    distance = np.abs(references - lengths[captions.sample_of_reference])
    order = np.lexsort((references, distance, captions.sample_of_reference))
    return references[order[_first_references(captions)]]


def _first_references(captions: Captions) -> IntArray:
    """(samples,) the number, among all references, of each sample's first."""
    return np.cumsum(captions.reference_counts) - captions.reference_counts


# ---------------------------------------------------------------- ROUGE-L

_ROUGE_BETA = 1.2
_BITS = 64


def rouge_l(hypotheses: Sequence[str | None], references: Sequence[Sequence[str]]) -> float:
    """Mean ROUGE-L over samples, in [0, 1] (Lin 2004; rouge/rouge.py).

    With the longest common subsequence of the hypothesis and each reference: the best precision
    over the references and the best recall, be they of different references, as F with beta 1.2.
    An empty caption is one empty token there, so empty against empty scores 1. A missing hypothesis
    scores 0.

    Raises ValueError as `bleu` does.
    """
    return float(rouge_l_aggregate(_sums(rouge_l_rows(Captions(hypotheses, references)))))


def rouge_l_rows(captions: Captions) -> FloatArray:
    """(samples, 2): the sample's ROUGE-L in [0, 1], and 1."""
    if not captions.samples:
        return np.zeros((0, 2))
    tokens = captions.tokens_between_spaces
    lengths, references = tokens.lengths[: captions.samples], tokens.lengths[captions.samples :]
    common = _common_subsequences(captions, tokens)
    firsts = _first_references(captions)
    precision = np.maximum.reduceat(common, firsts) / lengths
    recall = np.maximum.reduceat(common / references, firsts)
    weight = _ROUGE_BETA**2
    scores = np.zeros(captions.samples)
    np.divide(
        (1 + weight) * precision * recall,
        recall + weight * precision,
        out=scores,
        where=(precision > 0) & ~captions.missing,
    )
    return _with_ones(scores)


def rouge_l_aggregate(sums: FloatArray) -> FloatArray:
    """(..., 2) sums of rows -> (...) means; nan where nothing was drawn."""
    return _mean_of_rows(sums)


def _common_subsequences(captions: Captions, tokens: TokenIds) -> IntArray:
    """(references,) length of the longest common subsequence with the hypothesis."""
    samples, sample_of = captions.samples, captions.sample_of_reference
    ends = np.cumsum(tokens.lengths)
    starts = ends - tokens.lengths
    split = int(ends[samples - 1])
    hypothesis_of_token = np.repeat(np.arange(samples), tokens.lengths[:samples])
    position = np.arange(split) - starts[hypothesis_of_token]
    masks = _masks(
        hypothesis_of_token * tokens.words + tokens.ids[:split],
        position,
        np.repeat(sample_of, tokens.lengths[samples:]) * tokens.words + tokens.ids[split:],
    )
    result = _bit_parallel(masks, starts[samples:] - split, tokens.lengths[samples:])
    for reference in np.flatnonzero(tokens.lengths[sample_of] > _BITS):
        ours, theirs = sample_of[reference], samples + reference
        result[reference] = _long_common_subsequence(
            tokens.ids[starts[ours] : ends[ours]].tolist(),
            tokens.ids[starts[theirs] : ends[theirs]].tolist(),
        )
    return result


def _masks(ours: IntArray, position: IntArray, theirs: IntArray) -> Bits:
    """(reference tokens,) at which of the first 64 positions of the hypothesis the token stands.

    `ours` and `theirs` are keys of tokens, of hypotheses and references, that are equal where
    sample and word are; `position` is where each of `ours` stands in its hypothesis.
    """
    ours, position = ours[position < _BITS], position[position < _BITS]
    order = np.argsort(ours)
    keys, firsts = np.unique(ours[order], return_index=True)
    bits = np.left_shift(np.uint64(1), position[order].astype(np.uint64))
    masks = np.bitwise_or.reduceat(bits, firsts)
    places = np.minimum(np.searchsorted(keys, theirs), len(keys) - 1)
    return np.where(keys[places] == theirs, masks[places], np.uint64(0))


def _bit_parallel(masks: Bits, starts: IntArray, lengths: IntArray) -> IntArray:
    """(references,) common subsequences with hypotheses of at most 64 tokens (Hyyrö 2004): bit i
    of a state becomes 0 where one token more of the hypothesis's first i + 1 can be kept."""
    order = np.argsort(-lengths, kind="stable")
    starts, falling = starts[order], -lengths[order]
    state = np.full(len(order), np.iinfo(np.uint64).max, dtype=np.uint64)
    for step in range(-int(falling[0])):
        active = int(np.searchsorted(falling, -step))  # references of more than `step` tokens
        old = state[:active]
        kept = old & masks[starts[:active] + step]
        state[:active] = (old + kept) | (old - kept)
    zeros = np.unpackbits((~state).view(np.uint8)).reshape(-1, _BITS).sum(axis=1, dtype=np.int64)
    result = np.empty(len(order), dtype=np.int64)
    result[order] = zeros
    return result


def _long_common_subsequence(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """The same for one pair, with a Python integer as wide as the hypothesis is long."""
    masks: dict[int, int] = {}
    for position, token in enumerate(ours):
        masks[token] = masks.get(token, 0) | 1 << position
    every = (1 << len(ours)) - 1
    state = every
    for token in theirs:
        kept = state & masks.get(token, 0)
        state = ((state + kept) | (state - kept)) & every
    return len(ours) - state.bit_count()


# ---------------------------------------------------------------- CIDEr

_CIDER_SIGMA = 6.0
_CIDER_FACTOR = 10.0


def cider(hypotheses: Sequence[str | None], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr over samples, in [0, 10]: the formula CIDEr-D, which coco-caption calls CIDEr
    (Vedantam et al. 2015; cider/cider_scorer.py).

    Captions are vectors of n-gram counts times log(samples / samples that have the n-gram in some
    reference). A hypothesis and a reference score the cosine of their vectors, the hypothesis
    clipped to the reference, times a Gaussian, sigma 6, of the difference of their lengths in
    bigrams; then the mean over orders 1 to 4 and over references, times 10. The score of a sample
    depends on the references of all: never average the scores of parts of a data set.
    An empty or missing hypothesis scores 0.

    Raises ValueError as `bleu` does, and for a single sample: its n-grams are in one sample of one,
    weigh log(1), and CIDEr would be 0 whatever the captions say.
    """
    return float(cider_aggregate(_sums(cider_rows(Captions(hypotheses, references)))))


def cider_rows(captions: Captions) -> FloatArray:
    """(samples, 2): the sample's CIDEr in [0, 10], and 1. Document frequencies are those of all
    the samples given, so a weighted sum of rows keeps them fixed."""
    samples, sample_of = captions.samples, captions.sample_of_reference
    if samples == 1:
        raise ValueError(
            "CIDEr of a single sample is 0 whatever its captions say: it weighs n-grams by their "
            "document frequency among the samples; score the whole set at once"
        )
    cosines = np.zeros(len(sample_of))
    for ngrams in captions.ngrams:
        rarity = np.log(max(samples, 1)) - np.log(np.maximum(ngrams.document_frequency, 1))
        weight = ngrams.count * rarity[ngrams.gram]
        norm = np.sqrt(np.bincount(ngrams.caption, weight**2, samples + len(sample_of)))
        theirs = weight[ngrams.reference_row]
        products = np.minimum(weight[ngrams.hypothesis_row], theirs) * theirs
        reference = ngrams.caption[ngrams.reference_row] - samples
        product = np.bincount(reference, products, len(sample_of))
        norms = norm[sample_of] * norm[samples:]
        cosines += np.divide(product, norms, out=np.zeros(len(norms)), where=norms > 0)
    bigrams = np.maximum(captions.tokens.lengths - 1, 0)
    difference = bigrams[sample_of] - bigrams[samples:]
    similarity = cosines / ORDERS * np.exp(-(difference**2) / (2 * _CIDER_SIGMA**2))
    scores = np.bincount(sample_of, similarity, samples) / captions.reference_counts
    return _with_ones(_CIDER_FACTOR * scores)


def cider_aggregate(sums: FloatArray) -> FloatArray:
    """(..., 2) sums of rows -> (...) means; nan where nothing was drawn."""
    return _mean_of_rows(sums)


# ---------------------------------------------------------------- rows


def _sums(rows: FloatArray) -> FloatArray:
    if not len(rows):
        raise ValueError("no captions to score")
    return np.asarray(rows.sum(axis=0))


def _with_ones(scores: FloatArray) -> FloatArray:
    return np.stack([scores, np.ones_like(scores)], axis=-1)


def _mean_of_rows(sums: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])
