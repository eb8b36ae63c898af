"""The metrics of retrieval: recalls, ranks and rsum from where the right candidates stand, the
binding probe from scores beside those of foils. Knows predictions and targets alone: no model, no
data set, no matrix of scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.errors import BadInput
from harness.metrics.retrieval import KS, Standing, expected_rank, hit_rate, median_rank
from harness.types import Json, Metric

from .targets import RetrievalTarget

if TYPE_CHECKING:
    from harness.types import FloatArray

Ties = Literal["expected", "first", "last"]
"""Where a right candidate stands among others that score the same: anywhere with equal probability,
before them, or behind them, as sorting in one order or the other has it."""

_VARIANTS: dict[Ties, str] = {
    "expected": "expected over ties",
    "first": "right before ties",
    "last": "right behind ties",
}
_OF_A_TIE: dict[Ties, float] = {"expected": 0.5, "first": 1.0, "last": 0.0}
_MOST = 2**31  # no set has so many candidates
_FARTHEST = 1e300  # no score lies so far out
_SAME = 1e-6  # relative difference of two scores that count as equal in the binding probe


def why_invalid(prediction: Json) -> str | None:
    """What is wrong with the form of a prediction (retrieval.py), or None if it can be scored."""
    if not _is_standing(prediction.get("visual")):
        return "'visual' is not [above, tied, right]"
    texts = prediction.get("texts")
    if not isinstance(texts, list) or not texts or not all(map(_is_standing, texts)):
        return "'texts' is not a list of [above, tied, right]"
    if prediction["visual"][2] > len(texts) or any(right > 1 for *_, right in texts):
        return "more right candidates than there are"
    if "binding" in prediction and not _is_binding(prediction["binding"], len(texts)):
        return "'binding' is not a list of [score, score of the foil]"
    return None


def _is_standing(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(number) is int and number < _MOST for number in value)
        and value[0] >= 0
        and value[1] >= value[2] >= 1
    )


def _is_binding(value: object, captions: int) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= captions
        and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
        and all(type(s) in (int, float) and abs(s) < _FARTHEST for pair in value for s in pair)
    )


# ---------------------------------------------------------------- recalls, ranks and rsum


def standing_metrics(to_visual: str, to_text: str, ties: Ties = "expected") -> list[Metric]:
    """Recalls, ranks and rsum. A row holds, for captions as queries and then for the visual as the
    query: sums of hits at 1, 5 and 10, of expected ranks, and the number of queries."""
    found = []
    variant, rows = _VARIANTS[ties], partial(_rows, ties=ties)
    for direction, name in enumerate((to_visual, to_text)):
        first = direction * (len(KS) + 2)
        for column, k in enumerate(KS):
            ratio = _Ratio(first + column, first)
            found.append(Metric(f"{name} R@{k}", variant, rows, ratio, counted=first + len(KS) + 1))
        mean = _ranks(f"{name} mean rank", variant, rows, aggregate=_Ratio(first + len(KS), first))
        found.append(replace(mean, counted=first + len(KS) + 1))
        ranks = partial((_text_ranks, _visual_ranks)[direction], ties=ties)
        found.append(_ranks(f"{name} median rank", variant, ranks, weighted=_median))
    found.append(Metric("rsum", variant, rows, _rsum, high=6.0))
    return found


def _ranks(
    name: str,
    variant: str,
    rows: Callable[..., FloatArray],
    aggregate: Callable[[FloatArray], FloatArray] = lambda sums: sums[..., 0] * np.nan,
    weighted: Callable[[FloatArray, FloatArray], FloatArray] | None = None,
) -> Metric:
    return Metric(
        name,
        variant,
        rows,
        aggregate,
        low=1.0,
        high=np.inf,
        higher_is_better=False,
        percent=False,
        weighted=weighted,
    )


@dataclass(frozen=True)
class _Ratio:
    """(..., statistics) sums of rows -> (...) a column over the number of queries, which stands
    behind the hits and the ranks of the direction that begins at `first`."""

    column: int
    first: int

    def __call__(self, sums: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[..., self.column] / sums[..., self.first + len(KS) + 1])


def _rsum(sums: FloatArray) -> FloatArray:
    size = len(KS) + 2
    ratios = [_Ratio(d * size + k, d * size)(sums) for d in (0, 1) for k in range(len(KS))]
    return np.asarray(np.sum(ratios, axis=0))


def _rows(
    predictions: Sequence[Json | None], targets: Sequence[RetrievalTarget], ties: Ties
) -> FloatArray:
    """(entries, 10). A missing entry's queries stand last."""
    of_texts, owner, of_visuals = _all_standings(predictions, targets, ties)
    by_text = np.zeros((len(targets), len(KS) + 2))
    np.add.at(by_text, owner, _query_rows(of_texts))
    return np.concatenate([by_text, _query_rows(of_visuals)], axis=1)


def _query_rows(standing: Standing) -> FloatArray:
    hits = [hit_rate(standing, k) for k in KS]
    return np.stack([*hits, expected_rank(standing), np.ones(len(standing.above))], axis=1)


def _text_ranks(
    predictions: Sequence[Json | None], targets: Sequence[RetrievalTarget], ties: Ties
) -> FloatArray:
    """(entries, most captions of one): expected ranks of its captions, nan where it has fewer."""
    standing, owner, _ = _all_standings(predictions, targets, ties)
    most = max((target.texts for target in targets), default=0)
    ranks = np.full((len(targets), most), np.nan)
    starts = np.cumsum([0, *(target.texts for target in targets)])[:-1]
    ranks[owner, np.arange(len(owner)) - starts[owner]] = expected_rank(standing)
    return ranks


def _visual_ranks(
    predictions: Sequence[Json | None], targets: Sequence[RetrievalTarget], ties: Ties
) -> FloatArray:
    return expected_rank(_all_standings(predictions, targets, ties)[2])[:, None]


def _median(weights: FloatArray, ranks: FloatArray) -> FloatArray:
    """weights (..., entries), ranks (entries, queries of each) -> (...)."""
    there = ~np.isnan(ranks)
    owner = np.nonzero(there)[0]
    return median_rank(ranks[there], weights[..., owner])


def _all_standings(
    predictions: Sequence[Json | None], targets: Sequence[RetrievalTarget], ties: Ties
) -> tuple[Standing, Any, Standing]:
    """Of all captions as queries, the entry of each, and of all visuals as queries."""
    captions, entries = sum(target.texts for target in targets), len(targets)
    last_visual = [entries - 1, 1, 1]
    texts: list[list[int]] = []
    visuals: list[list[int]] = []
    for prediction, target in zip(predictions, targets, strict=True):
        if prediction is None:
            texts += [last_visual] * target.texts
            visuals.append([captions - target.texts, target.texts, target.texts])
            continue
        if len(prediction["texts"]) != target.texts:
            raise BadInput(
                f"a retrieval prediction has {len(prediction['texts'])} captions where the data "
                f"set has {target.texts}; predict this data set"
            )
        texts += prediction["texts"]
        visuals.append(prediction["visual"])
    owner = np.repeat(np.arange(entries), [target.texts for target in targets])
    return _as_standing(texts, ties), owner, _as_standing(visuals, ties)


def _as_standing(triples: Sequence[Sequence[int]], ties: Ties) -> Standing:
    above, tied, right = np.array(triples, dtype=np.int64).reshape(-1, 3).T
    if ties == "expected":
        return Standing(above, tied, right)
    alone = np.ones_like(above)
    return Standing(above if ties == "first" else above + tied - right, alone, alone)


# ---------------------------------------------------------------- the binding probe


def binding_metric(ties: Ties = "expected") -> Metric:
    worth = {0.5: "half", 1.0: "right", 0.0: "wrong"}[_OF_A_TIE[ties]]
    return Metric(
        "binding",
        f"caption above its foil, ties {worth}",
        partial(_binding_rows, tie=_OF_A_TIE[ties]),
        _share,
        na="foils were not scored",
        counted=1,
    )


def _binding_rows(
    predictions: Sequence[Json | None], targets: Sequence[RetrievalTarget], tie: float
) -> FloatArray:
    """(entries, 2): captions that score higher than their foil, with what a tie counts, and all.
    nan for a prediction without scores of foils, such as a row of a matrix: "n/a"."""
    rows = np.zeros((len(targets), 2))
    for row, prediction, target in zip(rows, predictions, targets, strict=True):
        row[1] = target.foils
        if prediction is None or not target.foils:
            continue
        if "binding" not in prediction:
            row[0] = np.nan
        for score, foil in prediction.get("binding", ()):
            same = abs(score - foil) <= _SAME * max(abs(score), abs(foil))
            row[0] += tie if same else float(score > foil)
    return rows


def _share(sums: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])
