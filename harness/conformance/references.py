"""Plain implementations of the rules, to hold random cases against: loops, sets, fractions, nothing
fast and nothing shared with harness.metrics, which are what is tested."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations, product
from statistics import mean, median
from typing import TypeAlias

Words: TypeAlias = Sequence[str]
Pair: TypeAlias = Sequence[int]

# ---------------------------------------------------------------- captions, as lists of words


def ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu(hypotheses: Sequence[Words], references: Sequence[Sequence[Words]], order: int) -> float:
    """Corpus BLEU (Papineni et al. 2002), the closest reference length, the shorter of two. For
    corpora in which every order has a match: smoothing has no say."""
    precisions = []
    for n in range(1, order + 1):
        matches = total = 0
        for words, several in zip(hypotheses, references, strict=True):
            for gram, count in ngrams(words, n).items():
                most = max(ngrams(reference, n)[gram] for reference in several)
                matches += min(count, most)
                total += count
        precisions.append(matches / total)
    ours = sum(map(len, hypotheses))
    theirs = sum(
        min((abs(len(reference) - len(words)), len(reference)) for reference in several)[1]
        for words, several in zip(hypotheses, references, strict=True)
    )
    penalty = 1.0 if ours >= theirs else math.exp(1 - theirs / ours)
    return float(penalty * math.prod(precisions) ** (1 / order))


def rouge_l(hypotheses: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """Mean over samples of F with beta 1.2 of the best precision and the best recall."""
    scores = []
    for words, several in zip(hypotheses, references, strict=True):
        common = [_common_subsequence(words, reference) for reference in several]
        precision = max(c / len(words) for c in common)
        recall = max(c / len(reference) for c, reference in zip(common, several, strict=True))
        weight = 1.2**2
        both = recall + weight * precision
        scores.append((1 + weight) * precision * recall / both if precision and recall else 0.0)
    return mean(scores)


def _common_subsequence(a: Words, b: Words) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, ours in enumerate(a):
        for j, theirs in enumerate(b):
            same = table[i][j] + 1
            table[i + 1][j + 1] = same if ours == theirs else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def cider(hypotheses: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """CIDEr-D (Vedantam et al. 2015): cosine of clipped tf-idf vectors, a Gaussian of the
    difference in length, mean over orders and references, times ten."""
    documents: Counter[tuple[str, ...]] = Counter()
    for several in references:
        documents.update({g for r in several for n in range(1, 5) for g in ngrams(r, n)})

    def vector(words: Words, n: int) -> dict[tuple[str, ...], float]:
        images = len(references)
        return {
            gram: count * math.log(images / max(1, documents[gram]))
            for gram, count in ngrams(words, n).items()
        }

    def similarity(words: Words, reference: Words, n: int) -> float:
        ours, theirs = vector(words, n), vector(reference, n)
        norm = math.hypot(*ours.values()) * math.hypot(*theirs.values())
        shared = sum(min(w, theirs[g]) * theirs[g] for g, w in ours.items() if g in theirs)
        return shared / norm if norm else 0.0

    scores = []
    for words, several in zip(hypotheses, references, strict=True):
        of_references = []
        for reference in several:
            # coco-caption's length is the number of bigrams: 0 of one word as of none
            gap = max(0, len(words) - 1) - max(0, len(reference) - 1)
            cosine = mean(similarity(words, reference, n) for n in range(1, 5))
            of_references.append(10 * cosine * math.exp(-(gap**2) / (2 * 6**2)))
        scores.append(mean(of_references))
    return mean(scores)


# ---------------------------------------------------------------- answers


def vqa(matches: Sequence[bool]) -> Fraction:
    """Accuracy from which annotators agree with the answer, each left out in turn."""
    scores = [
        min(Fraction(1), Fraction(sum(matches[:left]) + sum(matches[left + 1 :]), 3))
        for left in range(len(matches))
    ]
    return sum(scores, Fraction(0)) / len(scores)


def chosen_right(scores: Sequence[int], right: int) -> Fraction:
    """The probability that the right one is chosen, by listing the best."""
    best = [place for place, score in enumerate(scores) if score == max(scores)]
    return Fraction(best.count(right), len(best))


# ---------------------------------------------------------------- ranks


def first_right_ranks(scores: Sequence[int], right: Sequence[int]) -> list[int]:
    """The rank of the first right candidate under every order of those that tie with it, each as
    likely as the others."""
    best = max(scores[place] for place in right)
    above = sum(score > best for score in scores)
    tied = sum(score == best for score in scores)
    ours = sum(scores[place] == best for place in right)
    return [above + 1 + min(places) for places in combinations(range(tied), ours)]


def recall(ranks: Sequence[Sequence[int]], k: int) -> float:
    return mean(mean(float(rank <= k) for rank in of_query) for of_query in ranks)


def mean_rank(ranks: Sequence[Sequence[int]]) -> float:
    return mean(mean(map(float, of_query)) for of_query in ranks)


def median_rank(ranks: Sequence[Sequence[int]]) -> float:
    return float(median(mean(map(float, of_query)) for of_query in ranks))


# ---------------------------------------------------------------- boxes with whole coordinates


def iou_exclusive(a: Pair, b: Pair) -> Fraction:
    """By listing unit cells."""
    one, other = ({*product(range(x1, x2), range(y1, y2))} for x1, y1, x2, y2 in (a, b))
    return Fraction(len(one & other), len(one | other)) if one | other else Fraction(0)


def iou_plus_one(a: Pair, b: Pair) -> Fraction:
    """By listing pixels, the far ones included."""
    one, other = ((x1, y1, x2 + 1, y2 + 1) for x1, y1, x2, y2 in (a, b))
    return iou_exclusive(one, other)


def iou_mattnet(a: Pair, b: Pair) -> Fraction:
    """computeIoU of MAttNet on x, y, w, h: an overlap at most one pixel wide or high is none."""
    columns = {*range(a[0], a[2])} & {*range(b[0], b[2])}
    rows = {*range(a[1], a[3])} & {*range(b[1], b[3])}
    shared = len(columns) * len(rows) if len(columns) > 1 and len(rows) > 1 else 0
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b))
    return Fraction(shared, areas - shared) if areas > shared else Fraction(0)


BOX_IOUS: dict[str, Callable[[Pair, Pair], Fraction]] = {
    "exclusive": iou_exclusive,
    "plus-one": iou_plus_one,
    "mattnet": iou_mattnet,
}

# ---------------------------------------------------------------- moments in whole seconds


def temporal_iou(a: Pair, b: Pair) -> Fraction:
    """By listing seconds."""
    one, other = ({*range(start, end)} for start, end in (a, b))
    return Fraction(len(one & other), len(one | other))


def suppressed(moments: Sequence[Pair], threshold: float) -> list[Pair]:
    """What non-maximum suppression leaves, best first; the threshold as a float, as the protocols'
    code has it."""
    kept: list[Pair] = []
    for moment in moments:
        if all(float(temporal_iou(moment, better)) <= threshold for better in kept):
            kept.append(moment)
    return kept


def moment_recall(
    moments: Sequence[Pair], windows: Sequence[Pair], n: int, m: float, protocol: str
) -> bool:
    if protocol == "tall":
        moments = suppressed(moments, m - 0.05)
    elif protocol == "2d-tan":
        moments = suppressed(moments, 0.5)
    for moment in moments[:n]:
        best = float(max(temporal_iou(moment, window) for window in windows))
        if best > m or (best == m and protocol != "2d-tan"):
            return True
    return False


def chunk_iou(a: Pair, b: Pair) -> Fraction:
    """Of runs of chunks, both ends included."""
    return temporal_iou((a[0], a[1] + 1), (b[0], b[1] + 1))


def didemo(ranking: Sequence[Pair], times: Sequence[Pair]) -> tuple[Fraction, Fraction]:
    """Mean rank and mean IoU of the first moment, over the three best annotators. For rankings
    that hold every annotated moment."""
    ranks = sorted([list(map(tuple, ranking)).index(tuple(chosen)) + 1 for chosen in times])
    ious = sorted((chunk_iou(ranking[0], chosen) for chosen in times), reverse=True)
    return Fraction(sum(ranks[:3]), 3), sum(ious[:3], Fraction(0)) / 3
