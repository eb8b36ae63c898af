"""What a training curve shows: validation samples through the model as users have it, by the
simplest measure of each task. Official scores come from `harness eval`. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from harness.types import Dataset, Question

from .moment_windows import overlap

_AT_ONCE = 50


def validate(model: Any, dataset: Dataset, searched: int) -> dict[str, float]:
    """Measures by name, of a model that has the task's capability: CIDEr as its scale is, all
    others in [0, 1]. Retrieval is measured over at most `searched` visuals."""
    samples = dataset.samples[:]
    if not samples:
        return {}
    asked, target = samples[0].input, samples[0].target
    if hasattr(target, "references"):
        # who can embed texts chooses captions among known ones, which retrieval tells better
        tells = hasattr(model, "caption") and not hasattr(model, "embed_texts")
        found = _cider(model, samples) if tells else {}
        few = samples[:searched]
        return found | _retrieval(model, few, [s.target.references for s in few])
    if hasattr(asked, "texts"):
        few = samples[:searched]
        return _retrieval(model, few, [s.input.texts for s in few]) | _binding(model, few)
    if hasattr(asked, "reasons"):
        return _choices(model, samples)
    if hasattr(target, "answers"):
        return _answers(model, samples)
    if hasattr(target, "box"):
        return _boxes(model, samples)
    return _moments(model, samples)


def _batches(samples: Sequence[Any]) -> list[Sequence[Any]]:
    return [samples[start : start + _AT_ONCE] for start in range(0, len(samples), _AT_ONCE)]


def _cider(model: Any, samples: Sequence[Any]) -> dict[str, float]:
    from harness.metrics.caption import cider
    from harness.metrics.ptb_tokenizer import tokenize_all

    told = [
        caption
        for some in _batches(samples)
        for caption in model.caption([sample.input.visual for sample in some])
    ]
    references = [tokenize_all(sample.target.references) for sample in samples]
    return {"cider": cider(tokenize_all(told), references)}


def _retrieval(
    model: Any, samples: Sequence[Any], texts: Sequence[Sequence[str]]
) -> dict[str, float]:
    """R@1 in both directions."""
    owners = np.repeat(np.arange(len(texts)), [len(some) for some in texts])
    scores = _scores(model, [s.input.visual for s in samples], [t for some in texts for t in some])
    return {
        "text_to_visual_r1": float((scores.argmax(axis=0) == owners).mean()),
        "visual_to_text_r1": float((owners[scores.argmax(axis=1)] == np.arange(len(texts))).mean()),
    }


def _scores(model: Any, visuals: Sequence[Any], texts: Sequence[str]) -> Any:
    """(visuals, texts)."""
    if not hasattr(model, "embed_visuals"):
        return model.score_pairs(visuals, texts)
    seen = np.concatenate([model.embed_visuals(some) for some in _batches(visuals)])
    return seen @ model.embed_texts(texts).T


def _binding(model: Any, samples: Sequence[Any]) -> dict[str, float]:
    """How often a caption scores above its foil: the same words, dealt otherwise."""
    pairs = [
        (sample.input.visual, text, foil)
        for sample in samples
        for text, foil in zip(sample.input.texts, sample.input.foils, strict=False)
        if foil
    ]
    if not pairs:
        return {}
    if hasattr(model, "embed_visuals"):
        visuals = list({visual.id: visual for visual, _, _ in pairs}.values())
        rows = {visual.id: row for row, visual in enumerate(visuals)}
        seen = np.concatenate([model.embed_visuals(some) for some in _batches(visuals)])
        said = model.embed_texts([text for _, text, _ in pairs])
        turned = model.embed_texts([foil for _, _, foil in pairs])
        own = seen[[rows[visual.id] for visual, _, _ in pairs]]
        return {"binding": float(((own * (said - turned)).sum(axis=1) > 0).mean())}
    scored = [model.score_pairs([visual], [text, foil])[0] for visual, text, foil in pairs]
    return {"binding": fmean(true > foil for true, foil in scored)}


def _choices(model: Any, samples: Sequence[Any]) -> dict[str, float]:
    answers, reasons = [], []
    for some in _batches(samples):
        inputs = [s.input for s in some]
        asked = [Question(i.visual, i.text, i.answers, objects=i.objects) for i in inputs]
        given = [
            Question(i.visual, i.text, i.reasons, objects=i.objects, given=i.given) for i in inputs
        ]
        for sample, answer, reason in zip(
            some, model.answer(asked), model.answer(given), strict=True
        ):
            answers.append(answer.index == sample.target.answer)
            reasons.append(reason.index == sample.target.reason)
    return {"answers": fmean(answers), "reasons": fmean(reasons)}


def _answers(model: Any, samples: Sequence[Any]) -> dict[str, float]:
    """The mean share of annotators who gave the answer, three being enough for all; by kind too."""
    scores: dict[str, list[float]] = {}
    for some in _batches(samples):
        for sample, answer in zip(some, model.answer([s.input for s in some]), strict=True):
            agreeing = sample.target.answers.count(answer.text)
            scores.setdefault(sample.input.kind, []).append(min(1.0, agreeing / 3))
    every = {"soft_score": fmean(score for some in scores.values() for score in some)}
    return every | {kind: fmean(scores[kind]) for kind in sorted(scores) if kind}


def _boxes(model: Any, samples: Sequence[Any]) -> dict[str, float]:
    """How often the box overlaps the right one by half."""
    hits = [
        box is not None and _box_overlap(box, sample.target.box) >= 0.5
        for some in _batches(samples)
        for sample, box in zip(some, model.locate([s.input for s in some]), strict=True)
    ]
    return {"accuracy": fmean(hits)}


def _box_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes with exclusive far ends."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _moments(model: Any, samples: Sequence[Any]) -> dict[str, float]:
    """Recall of the moment at an IoU of a half by the best that was found and by the five best, and
    the mean IoU of the best."""
    found = [
        moments
        for some in _batches(samples)
        for moments in model.find_moments([sample.input for sample in some])
    ]
    overlaps = [
        [max(overlap(one, right) for right in sample.target.moments) for one in moments[:5]]
        or [0.0]
        for moments, sample in zip(found, samples, strict=True)
    ]
    return {
        "r1_iou_0.5": fmean(first >= 0.5 for first, *_ in overlaps),
        "r5_iou_0.5": fmean(max(some) >= 0.5 for some in overlaps),
        "mean_iou": fmean(first for first, *_ in overlaps),
    }
