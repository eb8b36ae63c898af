"""Random cases, the same for the same seed: inputs of each family with outcomes from the plain
references. Case i of a family asks for the family's metric number i, and begins anew."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from harness.types import Json

from . import references as plain
from .cases import FAMILIES, Case, Pitfall

Made: TypeAlias = tuple[Json, float | str]  # input and outcome
Draw: TypeAlias = random.Random

_WHAT = "random inputs: not a plain implementation's number"
_SOURCE = "harness/conformance/references.py"
_WHY = "A plain implementation of the rule, which shares nothing with our metrics, gives this."

_IOUS = (0.3, 0.5, 0.7)
_METRICS = {
    "captions": ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr", "BLEU-2", "BLEU-3"),
    "vqa": ("accuracy", "accuracy-always-normalise"),
    "vcr": ("Q->A", "QA->R", "Q->AR"),
    "retrieval": (
        *(f"{way} R@{k}" for k in (1, 5) for way in ("text-to-image", "image-to-text")),
        *(f"{way} mean rank" for way in ("text-to-image", "image-to-text")),
        "text-to-image median rank",
        "rsum",
    ),
    "boxes": ("accuracy", "mean-iou", "invalid"),
    "moments": (*(f"R@{n}, IoU={m}" for n in (1, 5) for m in _IOUS), "mIoU"),
    "didemo": ("rank@1", "rank@5", "mIoU"),
}


def random_cases(families: Sequence[str], count: int, seed: int) -> list[Case]:
    """`count` cases of each family. A case depends on family, seed and number alone."""
    found = []
    for family in (one for one in FAMILIES if one in families):
        pitfall = Pitfall(family, "random", _WHAT, _SOURCE)
        for number in range(count):
            metric = _METRICS[family][number % len(_METRICS[family])]
            draw = random.Random(f"{family} {seed} {number}")
            given, expect = _MAKE[family](draw, metric)
            name = f"random-{seed}-{number}"
            found.append(Case(name, pitfall, metric, given, expect, _WHY))
    return found


def _paired(predictions: Sequence[Json], targets: Sequence[Json], **options: Any) -> Json:
    """Both with ids "1", "2", ..."""
    return {
        "predictions": [{"id": str(i), **one} for i, one in enumerate(predictions, 1)],
        "targets": [{"id": str(i), **one} for i, one in enumerate(targets, 1)],
        **options,
    }


def _mean(values: Sequence[Fraction]) -> float:
    return float(sum(values, Fraction(0)) / len(values))


# ---------------------------------------------------------------- captions and answers

_WORDS = ("red", "blue", "dog", "cat", "ball", "runs", "sleeps", "near", "grass", "house")


def _captions(draw: Draw, metric: str) -> Made:
    hypotheses, references = [], []
    for _ in range(draw.randint(2, 6)):
        several = [
            [draw.choice(_WORDS) for _ in range(draw.randint(5, 10))]
            for _ in range(draw.randint(1, 4))
        ]
        # The first four words of a reference stay: BLEU has a match at every order, so that
        # smoothing decides nothing.
        own = list(draw.choice(several))
        kept = [word for word in own[4:] if draw.random() < 0.7]
        added = [draw.choice(_WORDS) for _ in range(draw.choice((0, 0, 1, 3)))]
        hypotheses.append([*own[:4], *kept, *added])
        references.append(several)
    if metric.startswith("BLEU"):
        expect = plain.bleu(hypotheses, references, int(metric[-1]))
    else:
        expect = {"ROUGE-L": plain.rouge_l, "CIDEr": plain.cider}[metric](hypotheses, references)
    predictions = [{"caption": " ".join(words)} for words in hypotheses]
    targets = [{"references": [" ".join(words) for words in several]} for several in references]
    return _paired(predictions, targets), expect


# Each row is one answer in forms that the official normalisation makes equal.
_ANSWERS = (
    ("dog", "a dog", "The dog.", "Dog"),
    ("2", "two", "Two"),
    ("don't", "dont", "Dont"),
    ("hot dog", "hot-dog", "a hot dog"),
    ("red", "Red", "red!"),
)


def _vqa(draw: Draw, metric: str) -> Made:
    scores, predictions, targets = [], [], []
    for _ in range(draw.randint(1, 5)):
        rows = draw.sample(_ANSWERS, 2)
        if draw.random() < 0.3:  # ten equal answers, where the official rule normalises nothing
            answers = [draw.choice(rows[0])] * 10
        else:
            answers = [draw.choice(draw.choice(rows)) for _ in range(10)]
        row = draw.choice(rows)
        answer = draw.choice(row)
        as_written = metric == "accuracy" and len(set(answers)) == 1
        matches = [given == answer if as_written else given in row for given in answers]
        scores.append(plain.vqa(matches))
        predictions.append({"answer": answer})
        targets.append({"answers": answers})
    return _paired(predictions, targets), _mean(scores)


def _vcr(draw: Draw, metric: str) -> Made:
    def four() -> list[int]:
        return [draw.randrange(4) for _ in range(4)]

    chances, predictions, targets = [], [], []
    for _ in range(draw.randint(1, 6)):
        answer_scores, reason_scores = four(), [four() for _ in range(4)]
        answer, reason = draw.randrange(4), draw.randrange(4)
        answered = plain.chosen_right(answer_scores, answer)
        reasoned = plain.chosen_right(reason_scores[answer], reason)
        chances.append({"Q->A": answered, "QA->R": reasoned, "Q->AR": answered * reasoned}[metric])
        predictions.append({"answer_scores": answer_scores, "reason_scores": reason_scores})
        targets.append({"answer": answer, "reason": reason})
    return _paired(predictions, targets), _mean(chances)


# ---------------------------------------------------------------- ranks


def _retrieval(draw: Draw, metric: str) -> Made:
    captions = [draw.randint(1, 2) for _ in range(draw.randint(5, 8))]
    image_of = [image for image, count in enumerate(captions) for _ in range(count)]
    highest = draw.choice((2, 5, 1000))  # many ties, some, hardly any
    scores = [[draw.randrange(highest) for _ in image_of] for _ in captions]
    to_text = [
        plain.first_right_ranks(row, [c for c, owner in enumerate(image_of) if owner == image])
        for image, row in enumerate(scores)
    ]
    to_image = [
        plain.first_right_ranks([row[caption] for row in scores], [image])
        for caption, image in enumerate(image_of)
    ]
    given = {"scores": scores, "captions": captions}
    if metric == "rsum":
        both = (to_image, to_text)
        return given, sum(plain.recall(ranks, k) for ranks in both for k in (1, 5, 10))
    way, _, statistic = metric.partition(" ")
    ranks = to_image if way == "text-to-image" else to_text
    if statistic.startswith("R@"):
        return given, plain.recall(ranks, int(statistic[2:]))
    of_ranks = plain.mean_rank if statistic == "mean rank" else plain.median_rank
    return given, of_ranks(ranks)


# ---------------------------------------------------------------- places and moments


def _boxes(draw: Draw, metric: str) -> Made:
    rules = {}
    if draw.random() < 0.5:
        rules["box-convention"] = draw.choice(tuple(plain.BOX_IOUS))
    if metric == "accuracy" and draw.random() < 0.5:
        rules["at-half"] = draw.choice(("counts", "fails"))
    iou_of = plain.BOX_IOUS[rules.get("box-convention", "exclusive")]
    half = Fraction(1, 2)
    ious, predictions, targets = [], [], []
    for _ in range(draw.randint(1, 6)):
        target = _box(draw)
        moved = [end + draw.choice((0, 0, 0, 1, 2)) for end in target]
        box = moved if draw.random() < 0.8 else _box(draw)
        if broken := draw.random() < (0.5 if metric == "invalid" else 0.15):
            box = [box[2] + 1, *box[1:]]  # inverted
        ious.append(None if broken else iou_of(box, target))
        predictions.append({"box": box})
        targets.append({"box": target})
    if metric == "invalid":
        return _paired(predictions, targets, rules=rules), float(ious.count(None))
    values = [iou or Fraction(0) for iou in ious]
    if metric == "accuracy":
        strict = rules.get("at-half") == "fails"
        values = [Fraction(value > half if strict else value >= half) for value in values]
    return _paired(predictions, targets, rules=rules), _mean(values)


def _box(draw: Draw) -> list[int]:
    x1, y1 = draw.randrange(10), draw.randrange(10)
    return [x1, y1, x1 + draw.randint(2, 10), y1 + draw.randint(2, 10)]


def _moments(draw: Draw, metric: str) -> Made:
    protocol = draw.choice(("", "plain", "tall", "2d-tan"))
    rules = {"moments": protocol} if protocol else {}
    too_few = metric.startswith("R@5") and draw.random() < 0.2
    values, predictions, targets = [], [], []
    queries = draw.randint(1, 4)
    for query in range(queries):
        few = too_few and query == 0
        moments = [_moment(draw) for _ in range(draw.randint(1, 4) if few else 6)]
        near = [[max(0, start - draw.randrange(3)), end] for start, end in moments]
        windows = [draw.choice((draw.choice(near), _moment(draw)))]
        windows += [_moment(draw) for _ in range(draw.randrange(2))]
        if metric == "mIoU":
            values.append(max(plain.temporal_iou(moments[0], window) for window in windows))
        else:
            n, m = int(metric[2]), float(metric.partition("=")[2])
            values.append(Fraction(plain.moment_recall(moments, windows, n, m, protocol)))
        predictions.append({"moments": moments})
        targets.append({"moments": windows})
    return _paired(predictions, targets, rules=rules), "n/a" if too_few else _mean(values)


def _moment(draw: Draw) -> list[int]:
    start = draw.randrange(15)
    return [start, start + draw.randint(1, 12)]


def _didemo(draw: Draw, metric: str) -> Made:
    values, predictions, targets = [], [], []
    for _ in range(draw.randint(1, 4)):
        ranking = [[first, last] for first in range(6) for last in range(first, 6)]
        draw.shuffle(ranking)
        first = draw.choice((0, 0, 2, 4))
        likely = ranking[first : first + draw.randint(1, 6)]
        times = [draw.choice(likely) for _ in range(draw.randint(4, 5))]
        rank, iou = plain.didemo(ranking, times)
        values.append(iou if metric == "mIoU" else Fraction(rank <= int(metric[-1])))
        predictions.append({"moments": ranking})
        targets.append({"times": times})
    return _paired(predictions, targets), _mean(values)


_MAKE: dict[str, Callable[[Draw, str], Made]] = {
    "captions": _captions,
    "vqa": _vqa,
    "vcr": _vcr,
    "retrieval": _retrieval,
    "boxes": _boxes,
    "moments": _moments,
    "didemo": _didemo,
}
